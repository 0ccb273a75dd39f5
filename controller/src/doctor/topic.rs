//! The topic of the hints: without it, boxes learn of changes only when they poll.

use super::world::World;
use super::{Blocked, Finding};
use crate::aws::topics;

const NAME: &str = "topic";

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    let (region, caller) = (world.region()?, world.caller().await?);
    Ok(vec![match topics::exists(&world.sns(), caller, region, &world.topic).await {
        Ok(true) => Finding::ok(NAME, format!("{} in {region}", world.topic)),
        Ok(false) => {
            let what = format!("there is no topic {} in {region}: boxes see changes by polling alone", world.topic);
            Finding::missing(NAME, what).mend(format!("fleetkey init --region {region} --topic {}", world.topic))
        }
        Err(error) => Finding::failed(NAME, &error),
    }])
}
