//! The region: whether one is chosen, exists, and is on for the account.

use super::world::World;
use super::{Blocked, Finding};
use crate::aws::regions;

const NAME: &str = "region";

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    const CHOOSE: &str = "aws configure set region REGION, or give --region or FLEETKEY_ZONE";
    let Ok(region) = world.region() else {
        return Ok(vec![Finding::missing(NAME, "none is chosen").mend(CHOOSE)]);
    };
    world.caller().await?;
    Ok(vec![match regions::opted_in(&world.ec2(), region).await {
        Ok(None) => Finding::missing(NAME, format!("EC2 knows no region {region}")).mend(CHOOSE),
        Ok(Some(state)) if state == "not-opted-in" => {
            Finding::missing(NAME, format!("{region} is off for the account"))
                .mend(format!("aws account enable-region --region-name {region}"))
        }
        Ok(Some(_)) => Finding::ok(NAME, region),
        // It answered.
        Err(error) if error.missing_permission().is_some() => {
            Finding::ok(NAME, format!("{region}, where EC2 answers; the caller lacks ec2:DescribeRegions"))
        }
        // The host of a region that is none is not to be found.
        Err(error) => Finding::failed(NAME, &error)
            .mend(format!("if there is a region {region} at all, see to the network; else {CHOOSE}")),
    }])
}
