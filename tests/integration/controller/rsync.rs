//! `fleetkey rsync`: files both ways, through the same check of the host key.

use std::fs;

use anyhow::{Context as _, Result};

use super::box_at_hand::{ADMIN, BoxAtHand, FINISHED, machine};

#[tokio::test]
async fn files_are_copied_both_ways_whatever_their_names_are() -> Result<()> {
    const NAMES: [&str; 5] = ["a b", "it's", "$(touch x)", "-e sh", "a:b"];
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    fs::create_dir(there.operator.path("from here"))?;
    for name in NAMES {
        there.operator.file(&format!("from here/{name}"), name)?;
    }
    let here = there.operator.path("from here").display().to_string();
    there.rsync(&["-r", &format!("{here}/"), ":to there"]).await?.ended(0);
    for name in NAMES {
        assert_eq!(machine.read(format!("/home/{ADMIN}/to there/{name}"))?, name);
    }
    assert!(!machine.path(format!("/home/{ADMIN}/x")).exists());

    let back = there.operator.path("back").display().to_string();
    let ran = there.rsync(&["-rv", ":to there/", &back]).await?.ended(0);
    assert!(ran.stdout.contains("a b"), "{}", ran.stdout);
    for name in NAMES {
        let copied = fs::read_to_string(there.operator.path("back").join(name));
        assert_eq!(copied.with_context(|| format!("{name}: {}", ran.stdout))?, name);
    }
    // A single name with a blank, the home itself, and a path from the root.
    there.rsync(&[":to there/a b", &format!("{here}/copy of a")]).await?.ended(0);
    assert_eq!(fs::read_to_string(there.operator.path("from here/copy of a"))?, "a b");
    there.rsync(&["--", &format!("{here}/it's"), ":"]).await?.ended(0);
    assert_eq!(machine.read(format!("/home/{ADMIN}/it's"))?, "it's");
    let ran = there.rsync(&[":/nowhere", &back]).await?;
    assert_eq!(ran.code, Some(23), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn fault_15_nothing_is_copied_where_the_host_key_is_not_the_known_one() -> Result<()> {
    let machine = machine()?;
    let mut there = BoxAtHand::new(&machine).await?;
    let file = there.operator.file("secret", "s")?.display().to_string();
    there.print(FINISHED);
    let ran = there.rsync(&[&file, ":"]).await?.ended(1);
    assert!(ran.stderr.contains("no others are trusted"), "{}", ran.stderr);
    there.print(&super::box_at_hand::console(&[&there.host_key()?]));
    there.rsync(&["--dry-run", &file, ":"]).await?.ended(0);
    there.change_host_key()?;
    let ran = there.rsync(&[&file, ":"]).await?;
    // ssh's exit code, or rsync's for a connection that ends; whichever rsync notices first.
    assert!(matches!(ran.code, Some(255 | 12)), "{:?}", ran.code);
    assert!(ran.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", ran.stderr);
    assert!(!machine.path(format!("/home/{ADMIN}/secret")).exists());
    assert!(!there.was_entered()?);
    Ok(())
}

#[tokio::test]
async fn paths_and_options_that_lead_elsewhere_are_wrong_usage() -> Result<()> {
    let machine = machine()?;
    let there = BoxAtHand::new(&machine).await?;
    for (words, said) in [
        (&["a", "b"][..], "no path is on the box"),
        (&["other:x", ":"], "\"other:x\" is a path on another machine"),
        (&["-e", "sh", "a", ":"], "rsync's -e would put another program"),
        (&["-a", "--rsh=sh", "a", ":"], "rsync's --rsh would put another program"),
    ] {
        let ran = there.rsync(words).await?.ended(2);
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
    }
    assert!(there.proxy.take_calls().is_empty());
    Ok(())
}
