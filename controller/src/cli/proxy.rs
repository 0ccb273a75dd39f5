//! `fleetkey proxy`: the connection of an ssh that knows a box by its id alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::KeepAlive;
use tokio::time::timeout;

use super::on_box::told;
use super::reach::{account, does_not_answer, knock, running};
use super::route::RouteFlags;
use crate::aws::instances;
use crate::complete;
use crate::fleet::Fleet;
use crate::instance::Instance;
use crate::interrupt;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection::parse_instance_id;
use crate::settings::Settings;
use crate::ssh::ready::circle;
use crate::ssh::route::{Jump, Way};
use crate::ssh::{Ssh, host_keys, not_installed};
use crate::wait::{Waiter, parse_timeout};

/// How long a connection may take to open: sshd has answered since the box was started.
const CONNECT: Duration = Duration::from_secs(10);

/// The variable in which a proxy tells those on its way for which boxes they are: ids with commas between them.
const UNDER_WAY: &str = "FLEETKEY_PROXY_FOR";

/// How much is passed on at a time, in bytes: as much as a pipe holds.
const BUFFER: usize = 64 * 1024;

/// Be the connection of ssh to a box, wherever the box is now: a ProxyCommand, as ssh-config writes it.
///
/// Input and output are those of the box's port. The box's host keys are learned first, from its console, so that the ssh
/// that waits for the connection knows them.
#[derive(Debug, Args)]
pub(super) struct Proxy {
    /// The box, by its instance id
    #[arg(value_name = "ID", value_parser = parse_instance_id, add = ArgValueCandidates::new(complete::instance_ids))]
    id: String,
    /// The port
    #[arg(default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    #[command(flatten)]
    route: RouteFlags,
    /// How long a box that boots is waited for
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_timeout)]
    timeout: Duration,
}

impl Proxy {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let Self { id, port, .. } = self;
        let others = std::env::var(UNDER_WAY).ok().filter(|others| !others.is_empty());
        let settings = &if others.is_some() { on_the_way(settings) } else { settings.clone() };
        let route = self.route.route(settings)?;
        let under_way = match &route.way {
            Way::Jump(jump) => under_way(others.as_deref(), &id, jump)?,
            _ => id.clone(),
        };
        // An id needs no namespace, and so nobody is asked who calls.
        let fleet = Fleet::open(&Settings { namespace: "/".to_owned(), ..settings.clone() }, printer).await?;
        let interrupted = interrupt::listen()?;
        let waiter = Waiter::new(printer, interrupted.clone(), self.timeout);
        let found = instances::describe(&fleet.ec2, &id).await.map_err(told)?.and_then(Instance::read);
        let found = found.ok_or_else(|| {
            Refusal::new(format!("there is no box {id} in {}", fleet.region))
                .hint("fleetkey ssh-config writes the names of those that there are")
        })?;
        let instance = running(&fleet, &waiter, found).await?;
        // Nobody is logged in here; any account will do.
        let anyone = account(&instance).or_else(|_| "nobody".parse())?;
        let ssh = Ssh::to(&fleet, &instance, anyone, &route)?;
        let ssh = ssh.with_options(vec!["-p".into(), port.to_string().into()]);
        let ssh = ssh.with_variable(UNDER_WAY, under_way.clone());
        host_keys::learn(&fleet, &waiter, &instance).await?;
        knock(&fleet, &waiter, &instance, &ssh, &route).await?;
        if let Some(mut tunnel) = route.tunnel(&id, &fleet.region, ssh.address(), port) {
            let error = tunnel.env(UNDER_WAY, under_way).exec();
            return Err(not_installed(tunnel.get_program(), error));
        }
        let address = SocketAddr::new(ssh.address(), port);
        let connection = async {
            let connected = timeout(CONNECT, tokio::net::TcpStream::connect(address)).await.map_err(|late| {
                anyhow::Error::from(late)
                    .context(format!("connecting to {address}"))
                    .context(does_not_answer(&fleet, &instance))
            })?;
            let stream = connected.with_context(|| format!("connecting to {address}"))?;
            tokio::task::spawn_blocking(move || connect(stream.into_std()?, address))
                .await
                .context("passing bytes on")?
        };
        tokio::select! {
            // The thread that passes bytes on cannot be asked to end.
            () = interrupted.cancelled() => interrupt::end(),
            done = connection => done,
        }
    }
}

/// The settings as they count for a machine on the way to a box. They name the machines that boxes are reached over, and the
/// address at the end: these would lead such a machine over itself. What its own command line says counts.
fn on_the_way(settings: &Settings) -> Settings {
    match settings.jump {
        Some(_) => Settings { jump: None, address: None, ..settings.clone() },
        None => settings.clone(),
    }
}

/// The boxes that proxies are under way for, this one among them.
fn under_way(others: Option<&str>, id: &str, jump: &Jump) -> Result<String, Refusal> {
    if others.is_some_and(|others| others.split(',').any(|other| other == id)) {
        return Err(circle(id, jump.as_str()));
    }
    Ok(others.map_or_else(|| id.to_owned(), |others| format!("{others},{id}")))
}

/// Passes bytes between this program's input and output and a port, until the port has no more.
fn connect(mut stream: TcpStream, address: SocketAddr) -> anyhow::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    // Over a network that is gone nothing comes any more, not even an end.
    setsockopt(&stream, KeepAlive, &true)?;
    let mut to_box = stream.try_clone()?;
    // Not those of the standard library, which hold back what is no whole line.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // It ends with the program, whatever it waits for.
    std::thread::spawn(move || {
        let sent = pass(&mut input, &mut to_box);
        let _ = to_box.shutdown(Shutdown::Write);
        sent
    });
    match pass(&mut stream, &mut output) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        passed => passed.with_context(|| format!("the connection to {address}")),
    }
}

/// Passes bytes on as they come. io::copy would have the kernel splice them, which holds them back where one side is a
/// pipe.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_met_again_on_the_way_is_refused() {
        let jump = "bastion".parse().unwrap();
        let ways = |others| under_way(others, "i-2", &jump).map_err(|error| error.to_string());
        assert_eq!(ways(None).unwrap(), "i-2");
        assert_eq!(ways(Some("i-1,i-3")).unwrap(), "i-1,i-3,i-2");
        assert_eq!(ways(Some("i-1,i-2")).unwrap_err(), "box i-2 is on the way to itself: bastion leads to it");
    }
}
