//! How a cloud ends, in whatever way, and what a machine must have for one to begin.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_localcloud::{LocalCloud, Options};
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::process::{children, runs, signal};
use fleetkey_tests::{program, wait_until};
use nix::sys::signal::Signal;

use crate::support::{launch, running, up};

/// Launches a box from Python, since that is what this machine has beside the programs under test.
const LAUNCH: &str = r#"
import os, time, boto3
ec2 = boto3.client("ec2", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
id = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
while ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]["State"]["Name"] != "running":
    time.sleep(0.1)
print("up", flush=True)
time.sleep(600)
"#;

/// The control groups of the cloud that this process keeps.
fn groups(keeper: u32) -> Vec<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
    let entries = roots.iter().filter_map(|root| std::fs::read_dir(root).ok()).flatten().flatten();
    let prefix = format!("fleetkey-cloud-{keeper}-");
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains(&prefix)).collect()
}

fn python() -> Result<PathBuf> {
    let environment = match std::env::var_os("FLEETKEY_TEST_VENV") {
        Some(environment) => PathBuf::from(environment),
        None => PathBuf::from(crate::support::here(
            fleetkey_tests::nspawn::script("prepare").to_str().context("a plain path")?,
            &[],
        )?),
    };
    Ok(environment.join("bin/python"))
}

#[test]
fn a_killed_owner_leaves_nothing() -> Result<()> {
    let mut owner = Command::new(program("fleetkey-localcloud"));
    owner.args(["run", "--"]).arg(python()?).args(["-c", LAUNCH]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut owner = owner.spawn()?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().context("stdout")?).read_line(&mut line)?;
    let family = children(owner.id());
    let keeper = family.iter().copied().find(|&child| !groups(child).is_empty()).context("a keeper")?;
    assert_eq!(line.trim(), "up");
    signal(owner.id(), Signal::SIGKILL)?;
    owner.wait()?;
    let gone = || Ok(!family.iter().any(|&child| runs(child)));
    wait_until("the keeper and the command are gone", Duration::from_mins(1), gone)?;
    // A group that holds a process cannot be removed.
    assert_eq!(groups(keeper), Vec::<PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn what_a_killed_keeper_leaves_is_swept_by_the_next_start() -> Result<()> {
    let cloud = LocalCloud::start(Options::default())?;
    let (_, booted) = up(&cloud, launch(&cloud)).await?;
    let (keeper, folder) = (cloud.keeper_pid(), cloud.folder().to_owned());
    let left = groups(keeper);
    assert!(!left.is_empty() && folder.is_dir());
    signal(keeper, Signal::SIGKILL)?;
    let gone = || Ok(!booted.path("/").exists());
    wait_until("the kernel ends the box", Duration::from_mins(1), gone)?;
    drop(cloud);
    let next = LocalCloud::start(Options::default())?;
    assert!(!left.iter().any(|path| path.exists()), "{left:?}");
    assert!(!folder.exists());
    assert!(!groups(next.keeper_pid()).is_empty(), "but not those of one that lives");
    let (keeper, folder) = (next.keeper_pid(), next.folder().to_owned());
    drop(next);
    assert_eq!(groups(keeper), Vec::<PathBuf>::new());
    assert!(!folder.exists());
    Ok(())
}

#[tokio::test]
async fn two_clouds_side_by_side_know_nothing_of_each_other() -> Result<()> {
    let first = LocalCloud::start(Options::default())?;
    let second = LocalCloud::start(Options { enforce_iam: true })?;
    let (one, in_first) = up(&first, launch(&first)).await?;
    let subnets = second.account().ec2().describe_subnets().send().await?;
    let subnet = subnets.subnets().iter().find(|subnet| subnet.availability_zone() == Some("us-west-2a"));
    let subnet = subnet.and_then(|subnet| subnet.subnet_id()).context("a subnet")?;
    let (two, in_second) = up(&second, launch(&second).subnet_id(subnet)).await?;
    assert_eq!(one.private_ip_address(), two.private_ip_address(), "each has a network to itself");
    assert!(first.running(in_second.instance_id()).is_none());
    in_first.sh("echo first >/srv/whose");
    assert!(!in_second.path("/srv/whose").exists());
    drop(first);
    running(&second, in_second.instance_id())?.sh("true");
    Ok(())
}

#[test]
fn without_root_or_namespaces_it_says_so() -> Result<()> {
    let folder = tempfile::tempdir_in("/tmp")?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let copy = folder.path().join("fleetkey-localcloud");
    // By another process: what this one has open for writing, a child of another test has too, for a moment.
    anyhow::ensure!(Command::new("cp").arg(program("fleetkey-localcloud")).arg(&copy).status()?.success());
    let nobody: &[&str] = &["--reuid=65534", "--regid=65534", "--clear-groups"];
    let confined: &[&str] = &["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    for (how, wanted) in [(nobody, "needs root"), (confined, "namespaces")] {
        let mut command = Command::new("setpriv");
        command.args(how).arg(&copy).args(["run", "--", "true"]).current_dir("/");
        let output = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(wanted) && !said.contains("panicked"), "{said}");
    }
    Ok(())
}

#[test]
fn a_command_has_the_clouds_surroundings_and_its_own_status() -> Result<()> {
    let line = "test -n \"$AWS_ENDPOINT_URL\" && ip -4 -oneline address | grep -q 169.254.169.254 && exit 7";
    let mut command = Command::new(program("fleetkey-localcloud"));
    let output = command.args(["run", "--", "sh", "-c", line]).stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
