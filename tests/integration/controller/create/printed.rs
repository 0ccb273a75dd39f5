//! What `create` and the commands that bring to what a role says print as JSON, held to the schema.

use anyhow::Result;

use super::super::json::Printed;
use super::ground::{Ground, WEB, printed, take_image};

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

#[tokio::test]
async fn what_brings_groups_and_profiles_to_what_the_role_says_prints_as_the_schema_says() -> Result<()> {
    let ground = Ground::new().await?;
    ground.create(&[]).await?;
    ground.role("web", &WEB.replace("ports: 8000-8010", "ports: 9000").replace("queue:", "other:"))?;
    let mut kept = Printed::default();
    for verb in ["reset-security", "update-instance-profile"] {
        for more in ["--dry-run", "--yes", "--yes"] {
            kept.keep(verb, printed(&ground.run(verb, &[more, "--output", "json"]).await?.ended(0))?);
        }
    }
    kept.check()
}
