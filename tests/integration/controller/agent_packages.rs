//! Packages of the agent published, listed and given by URL: what is in the bucket afterwards, and what bad input gets.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use fleetkey_tests::moto::Moto;
use fleetkey_tests::packages::Packages;
use fleetkey_tests::proxy::{Fault, Proxy};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::fleetkey::{Operator, Ran};

const INDEX: &str = "agent/index.json";

fn json(ran: &Ran) -> Result<Value> {
    serde_json::from_str(&ran.stdout).with_context(|| format!("stdout is JSON: {}", ran.stdout))
}

async fn publish(operator: &Operator, files: &[&Path], more: &[&str]) -> Result<Ran> {
    let files: Vec<_> = files.iter().map(|file| file.to_str().context("the path is text")).collect::<Result<_>>()?;
    operator.run(&[&["agent", "publish", "--output", "json"], &files[..], more].concat()).await
}

/// What became of each package, in the order of the command line.
fn results(ran: &Ran) -> Result<Vec<String>> {
    let rows = json(ran)?;
    let rows = rows["packages"].as_array().context("there are rows")?;
    Ok(rows.iter().map(|row| row["result"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Version, kind, architecture and whether it is the newest, of each package that is listed.
async fn listed(operator: &Operator) -> Result<Vec<String>> {
    let rows = json(&operator.run(&["agent", "list", "--output", "json"]).await?.ended(0))?;
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = rows["packages"].as_array().context("there are rows")?.iter();
    Ok(rows
        .map(|row| {
            let newest = if row["newest"] == true { " newest" } else { "" };
            format!("{} {} {}{newest}", text(row, "version"), text(row, "format"), text(row, "arch"))
        })
        .collect())
}

/// What a URL gives to somebody without credentials.
fn fetch(url: &str) -> Result<Vec<u8>> {
    let script = "import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())";
    let output = Command::new("python3").args(["-c", script, url]).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

#[tokio::test]
async fn a_package_is_published_once_under_its_digest_and_whoever_has_its_url_gets_it() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let packages = Packages::stand_in()?;
    let (deb, rpm) = (packages.deb()?, packages.rpm()?);
    let version = env!("CARGO_PKG_VERSION");
    let planned = publish(&operator, &[&deb, &rpm], &["--dry-run"]).await?.ended(0);
    assert_eq!(results(&planned)?, ["planned", "planned"]);
    assert!(operator.cloud.objects("").await?.is_empty());

    let published = publish(&operator, &[&deb, &rpm], &[]).await?.ended(0);
    assert_eq!(results(&published)?, ["published", "published"]);
    let objects = operator.cloud.objects("").await?;
    assert_eq!(objects.len(), 3, "{:?}", objects.keys());
    for (file, name) in [
        (&deb, format!("fleetkey-agent_{version}_amd64.deb")),
        (&rpm, format!("fleetkey-agent-{version}-1.x86_64.rpm")),
    ] {
        let bytes = std::fs::read(file)?;
        let key = format!("agent/{}/{name}", hex::encode(Sha256::digest(&bytes)));
        assert_eq!(objects.get(&key), Some(&bytes), "{key}");
    }
    let by = format!("arn:aws:iam::{}:user/alice", operator.cloud.account_id());
    let index: Value = serde_json::from_slice(&objects[INDEX])?;
    assert_eq!(index["packages"][0]["published_by"], by);

    let again = publish(&operator, &[&deb, &rpm], &[]).await?.ended(0);
    assert_eq!(results(&again)?, ["already", "already"]);
    assert_eq!(operator.cloud.objects("").await?, objects);
    let wanted = [format!("{version}-1 rpm x86_64 newest"), format!("{version} deb x86_64 newest")];
    assert_eq!(listed(&operator).await?, wanted);

    let signed = json(&operator.run(&["agent", "url", "--format", "deb", "--output", "json"]).await?.ended(0))?;
    let url = signed["url"].as_str().context("there is a URL")?.to_owned();
    assert!(url.contains("X-Amz-Expires=86400") && url.contains("X-Amz-SignedHeaders=host&"), "{url}");
    let fetched = tokio::task::spawn_blocking(move || fetch(&url)).await??;
    assert_eq!(signed["sha256"], hex::encode(Sha256::digest(&fetched)));
    assert_eq!(fetched, std::fs::read(&deb)?);
    let table = operator.run(&["agent", "url", "--format", "rpm", "--valid", "7d"]).await?.ended(0);
    assert!(table.stdout.contains("X-Amz-Expires=604800") && table.stderr.is_empty(), "{}", table.stderr);
    Ok(())
}

#[tokio::test]
async fn new_boxes_get_what_was_published_last_also_when_that_is_an_earlier_version() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let packages = Packages::stand_in()?;
    let old = packages.deb()?;
    let new = packages.deb_changed("new", "sed -i 's/^Version: .*/Version: 9.0.0~rc.1/' DEBIAN/control")?;
    let arm = packages.deb_changed("arm", "sed -i 's/^Architecture: .*/Architecture: arm64/' DEBIAN/control")?;
    for file in [&old, &new, &arm] {
        assert_eq!(results(&publish(&operator, &[file], &[]).await?.ended(0))?, ["published"]);
    }
    let version = env!("CARGO_PKG_VERSION");
    let (old_row, arm_row) = (format!("{version} deb x86_64"), format!("{version} deb arm64 newest"));
    assert_eq!(listed(&operator).await?, [&arm_row, "9.0.0~rc.1 deb x86_64 newest", &old_row]);

    assert_eq!(results(&publish(&operator, &[&old], &[]).await?.ended(0))?, ["published"]);
    let back = format!("{old_row} newest");
    assert_eq!(listed(&operator).await?, [&back, &arm_row, "9.0.0~rc.1 deb x86_64"]);
    assert_eq!(operator.cloud.objects("agent/").await?.len(), 4);
    Ok(())
}

#[tokio::test]
async fn publishers_at_the_same_time_do_not_lose_each_others_packages() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let packages = Packages::stand_in()?;
    let deb = packages.deb()?;
    let rpm = packages.rpm()?;
    let arm = packages.deb_changed("arm", "sed -i 's/^Architecture: .*/Architecture: arm64/' DEBIAN/control")?;
    let (deb, rpm, arm) = ([deb.as_path()], [rpm.as_path()], [arm.as_path()]);
    let ran =
        tokio::try_join!(publish(&operator, &deb, &[]), publish(&operator, &rpm, &[]), publish(&operator, &arm, &[]))?;
    for ran in [ran.0, ran.1, ran.2] {
        ran.ended(0);
    }
    assert_eq!(listed(&operator).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_run_that_was_stopped_is_finished_by_the_same_command() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let packages = Packages::stand_in()?;
    let deb = packages.deb()?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("s3:PutObject", Fault::ServerError);
    let stopped = publish(&operator, &[&deb], &[]).await?.ended(1);
    assert!(
        stopped.stderr.contains("error: not everything was published; the same command goes on"),
        "{}",
        stopped.stderr
    );
    proxy.heal();
    // As if it had stopped between the package and the index.
    publish(&operator, &[&deb], &[]).await?.ended(0);
    let bucket = operator.cloud.bucket();
    operator.cloud.s3().delete_object().bucket(&bucket).key(INDEX).send().await?;
    assert_eq!(results(&publish(&operator, &[&deb], &[]).await?.ended(0))?, ["published"]);
    assert_eq!(operator.cloud.objects("").await?.len(), 2);
    // As if somebody had deleted the package and left the index.
    let key = operator.cloud.objects("agent/").await?.into_keys().find(|key| key != INDEX).context("a package")?;
    operator.cloud.s3().delete_object().bucket(&bucket).key(&key).send().await?;
    assert_eq!(results(&publish(&operator, &[&deb], &[]).await?.ended(0))?, ["published"]);
    assert!(operator.cloud.objects("agent/").await?.contains_key(&key));
    Ok(())
}

#[tokio::test]
async fn the_bucket_is_made_by_the_first_package_and_not_by_a_dry_run_or_a_look() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let deb = Packages::stand_in()?;
    let file = deb.deb()?;
    let bucket = operator.cloud.bucket();
    operator.cloud.s3().delete_bucket().bucket(&bucket).send().await?;
    publish(&operator, &[&file], &["--dry-run"]).await?.ended(0);
    let list = operator.run(&["agent", "list"]).await?.ended(0);
    assert!(list.stderr.contains(&format!("no package of the agent is published in {bucket}")), "{}", list.stderr);
    let url = operator.run(&["agent", "url", "--format", "deb"]).await?.ended(1);
    assert!(url.stderr.contains("error: no deb of the agent for x86_64 is published in"), "{}", url.stderr);
    assert!(operator.cloud.s3().head_bucket().bucket(&bucket).send().await.is_err());
    let published = publish(&operator, &[&file], &[]).await?.ended(0);
    assert!(published.stderr.contains(&format!("made the public-key bucket {bucket}")), "{}", published.stderr);
    let other = operator.run(&["agent", "url", "--format", "deb", "--arch", "arm64"]).await?.ended(1);
    assert!(other.stderr.contains("no deb of the agent for arm64"), "{}", other.stderr);
    Ok(())
}

#[tokio::test]
async fn a_url_that_ends_with_its_credentials_says_so() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let packages = Packages::stand_in()?;
    publish(&operator, &[&packages.deb()?], &[]).await?.ended(0);
    let of_role = operator.cloud.instance_role("role");
    let ends = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 3000)?;
    let told = serde_json::json!({
        "Version": 1, "AccessKeyId": of_role.access_key_id, "SecretAccessKey": of_role.secret_access_key,
        "SessionToken": of_role.session_token, "Expiration": ends.to_string(),
    });
    let file = operator.file("told.json", &told.to_string())?;
    operator.file(".aws/credentials", "")?;
    operator.file(".aws/config", &format!("[default]\ncredential_process = cat {}\n", file.display()))?;
    let url = ["agent", "url", "--format", "deb", "--output", "json"];
    let long = operator.run(&url).await?.ended(0);
    assert!(long.stderr.contains(&format!("warning: the URL ends at {ends}, as the credentials")), "{}", long.stderr);
    assert_eq!(json(&long)?["ends"], ends.to_string());
    let short = operator.run(&[&url[..], &["--valid", "5m"]].concat()).await?.ended(0);
    assert_eq!(short.stderr, "");
    Ok(())
}

#[tokio::test]
async fn what_is_no_package_of_the_agent_is_refused_before_anything_is_sent() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    // Nothing listens there: a call would be the error that is told.
    operator.go_through("http://127.0.0.1:9".to_owned());
    let packages = Packages::stand_in()?;
    let (deb, rpm) = (packages.deb()?, packages.rpm()?);
    let half = |file: &Path| std::fs::read(file).map(|bytes| bytes[..bytes.len() / 2].to_vec());
    let (half_deb, half_rpm) = (operator.file("half.deb", "")?, operator.file("half.rpm", "")?);
    std::fs::write(&half_deb, half(&deb)?)?;
    std::fs::write(&half_rpm, half(&rpm)?)?;
    let altered = operator.file("altered.rpm", "")?;
    let mut bytes = std::fs::read(&rpm)?;
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    std::fs::write(&altered, bytes)?;
    let other = packages.deb_changed("other", "sed -i 's/^Package: .*/Package: bash/' DEBIAN/control")?;
    let i386 = packages.deb_changed("i386", "sed -i 's/^Architecture: .*/Architecture: i386/' DEBIAN/control")?;
    let script = operator.file("install.sh", "#!/bin/sh\n")?;
    for (file, said) in [
        (half_deb.as_path(), "is damaged"),
        (&half_rpm, "is damaged"),
        (&altered, "is damaged: its payload is not what its digest says"),
        (&other, "is the package \"bash\", not fleetkey-agent"),
        (&i386, "is for \"i386\"; boxes are"),
        (&script, "is neither a Debian package nor an RPM"),
        (Path::new("/nowhere/x.deb"), "cannot read /nowhere/x.deb"),
        (Path::new("/etc"), "cannot read /etc"),
    ] {
        let ran = publish(&operator, &[&deb, file], &[]).await?.ended(1);
        assert!(
            ran.stderr.starts_with("error: nothing was published: ") && ran.stderr.contains(said),
            "{}",
            ran.stderr
        );
    }
    let copy = operator.file("copy.deb", "")?;
    std::fs::copy(&deb, &copy)?;
    let ran = publish(&operator, &[&deb, &copy], &[]).await?.ended(2);
    assert!(ran.stderr.contains("are both a deb for x86_64\nhint: give the one"), "{}", ran.stderr);
    for (arguments, said) in [
        (&["agent"][..], "Usage: fleetkey agent"),
        (&["agent", "publish"], "<FILE>..."),
        (&["agent", "list", "x"], "unexpected argument"),
        (&["agent", "url"], "--format <KIND>"),
        (&["agent", "url", "--format", "zip"], "\"zip\" is not a kind of package; give deb, rpm"),
        (&["agent", "url", "--format", "deb", "--arch", "vax"], "\"vax\" is not an architecture; give x86_64, arm64"),
        (&["agent", "url", "--format", "deb", "--valid", "8d"], "valid for at most 7d"),
        (&["agent", "url", "--format", "deb", "--valid", "1s"], "less than 1m"),
        (&["agent", "url", "--format", "deb", "--valid", "long"], "invalid value 'long'"),
    ] {
        let ran = operator.run(arguments).await?.ended(2);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_not_overwritten() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let packages = Packages::stand_in()?;
    for (body, said) in [("{", "it is no index of packages"), (r#"{"version": 2}"#, "is of version 2, which a later")] {
        operator.cloud.put_object(INDEX, body, &[]).await?;
        let ran = publish(&operator, &[&packages.deb()?], &[]).await?.ended(1);
        assert!(ran.stderr.contains("error: nothing was published: ") && ran.stderr.contains(said), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: use the newest fleetkey"), "{}", ran.stderr);
        let objects = operator.cloud.objects("").await?;
        assert_eq!(objects.keys().collect::<Vec<_>>(), [INDEX]);
        assert_eq!(objects[INDEX], body.as_bytes());
        operator.run(&["agent", "list"]).await?.ended(1);
    }
    Ok(())
}
