//! What `create` and `recreate` print as JSON, held to the schema.

use anyhow::Result;

use super::super::json::Printed;
use super::ground::{Ground, printed, take_image};

#[tokio::test]
async fn what_create_and_recreate_print_is_as_the_schema_says() -> Result<()> {
    let ground = Ground::new().await?;
    take_image(ground.cloud(), "team_web__2026-11-11__04-05-06", "x86_64").await?;
    let mut kept = Printed::default();
    for verb in ["create", "recreate"] {
        for more in [&["--dry-run", "--output", "json"][..], &["--quick", "--output", "json"]] {
            kept.keep(verb, printed(&ground.run(verb, more).await?.ended(0))?);
        }
    }
    kept.check()
}
