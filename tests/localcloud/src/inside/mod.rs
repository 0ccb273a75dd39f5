//! The cloud itself, in a network, a table of mounts and a process namespace of its own.
//!
//! | part | does |
//! | --- | --- |
//! | `network` | the router that boxes are connected to, as a VPC has one |
//! | `front` | takes the calls to AWS, hands them to moto, and makes true what they say |
//! | `fleet` | which instance has a box, in what state; disks and images |
//! | `imds` | what each box may know about itself |
//!
//! It knows one account and one region. Calls for others are moto's alone.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::Moto;

use crate::hello::{Hello, Up};

mod fleet;
mod front;
mod imds;
mod network;
mod seed;

pub(crate) use fleet::{console, running_init};
pub(crate) use front::CONTROL;

/// What the keeper tells the cloud.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The cloud's own folder, empty
    #[arg(long)]
    folder: PathBuf,
    /// The Debian that boxes boot from
    #[arg(long)]
    root_file_system: PathBuf,
    /// The control groups that boxes go below
    #[arg(long)]
    groups: String,
    /// Check signatures and IAM policies
    #[arg(long)]
    enforce_iam: bool,
}

/// Runs a cloud until it is killed; says one line on standard output when it is up. Standard input is the socket on
/// which the machine reaches it.
pub fn serve(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outer = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let outcome = runtime.block_on(start(arguments, outer));
    let hello = match outcome {
        Ok(up) => Hello::Up(up),
        Err(error) => Hello::Failed(format!("{error:#}")),
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&hello)?)?;
    if matches!(hello, Hello::Up(_)) {
        // Everything else is tasks of the runtime.
        runtime.block_on(std::future::pending::<()>());
    }
    Ok(())
}

async fn start(arguments: &Arguments, outer: TcpListener) -> Result<Up> {
    network::hide_machine().await?;
    network::set_up().await.context("cannot set up the cloud's network")?;
    let image = seed::debian();
    let catalogue = arguments.folder.join("images.json");
    std::fs::write(&catalogue, image.catalogue().to_string())?;
    // Never dropped: it ends with this namespace.
    let moto: &'static Moto = tokio::task::spawn_blocking(move || {
        let settings = [("MOTO_AMIS_PATH", catalogue.as_os_str()), ("MOTO_ENABLE_AMI_VALIDATION", "true".as_ref())];
        Moto::start_with(&settings).map(|moto| &*Box::leak(Box::new(moto)))
    })
    .await??;
    let account = Cloud::on(moto).await?;
    let place = fleet::Place {
        folder: arguments.folder.clone(),
        groups: arguments.groups.clone(),
        base_image: image.id.clone(),
        root_file_system: arguments.root_file_system.clone(),
    };
    let fleet = fleet::Fleet::new(account.clone(), place).await?;
    if arguments.enforce_iam {
        tokio::task::spawn_blocking(|| moto.enforce_iam(0)).await??;
    }
    let outer_address = outer.local_addr()?;
    let front = front::Front::new(moto.address(), Arc::clone(&fleet), image.clone(), arguments.enforce_iam);
    let endpoint = front.listen(outer).await?;
    imds::start(Arc::clone(&fleet)).await?;
    let credentials = account.credentials();
    Ok(Up {
        init: 0,
        folder: arguments.folder.clone(),
        endpoint,
        outer_endpoint: format!("http://{outer_address}"),
        account_id: account.account_id().to_owned(),
        access_key_id: credentials.access_key_id().to_owned(),
        secret_access_key: credentials.secret_access_key().to_owned(),
        session_token: credentials.session_token().unwrap_or_default().to_owned(),
        image_id: image.id,
    })
}

/// Writes a line to the cloud's log.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs one of the machine's programs to its end.
///
/// # Errors
/// When it fails; with what it wrote to stderr.
async fn run(program: &str, arguments: &[&str], input: &str) -> Result<()> {
    use tokio::io::AsyncWriteExt as _;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::piped()).kill_on_drop(true);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input says by its status what it thinks.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {}: {}: {}", arguments.join(" "), output.status, stderr.trim());
    Ok(())
}

/// A path as text; the cloud's own paths are all of that kind.
fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
