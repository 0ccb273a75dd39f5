//! The manual pages: each is one, and a formatter has nothing to say about it.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::fleetkey::Operator;

#[tokio::test]
async fn every_page_is_formatted_without_a_warning_and_has_the_words_of_the_help() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let folder = operator.path("man1");
    std::fs::create_dir(&folder)?;
    let ran = operator.run(&["man", folder.to_str().context("the path is text")?]).await?.ended(0);
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
    let mut pages = 0;
    for entry in std::fs::read_dir(&folder)? {
        let page = entry?.path();
        // Lines that a long word leaves ragged are no fault.
        let output = Command::new("groff").args(["-man", "-ww", "-Wbreak", "-Tutf8", "-P-cbou"]).arg(&page).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{}: {told}", page.display());
        let text = String::from_utf8(output.stdout)?;
        assert!(text.contains("SYNOPSIS") && text.contains("--output"), "{}: {text}", page.display());
        if page.ends_with("fleetkey-terminate.1") {
            assert!(text.contains("Say what would be done, and change nothing"), "{text}");
        }
        pages += 1;
    }
    assert!(pages > 30, "{pages}");
    let gone = operator.run(&["man", "/nonexistent"]).await?.ended(1);
    assert!(gone.stderr.starts_with("error: cannot write the manual pages into /nonexistent: "), "{}", gone.stderr);
    Ok(())
}
