//! `fleetkey proxy`: the connection of an ssh that knows a box by its id alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::on_box::told;
use super::reach::{account, knock, running};
use super::route::RouteFlags;
use crate::aws::instances;
use crate::fleet::Fleet;
use crate::instance::Instance;
use crate::interrupt;
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::selection::parse_instance_id;
use crate::settings::Settings;
use crate::ssh::{Ssh, host_keys, not_installed};
use crate::wait::{Waiter, parse_timeout};

/// How long a connection may take to open: sshd has answered a moment ago.
const CONNECT: Duration = Duration::from_secs(10);

/// How much is passed on at a time, in bytes: as much as a pipe holds.
const BUFFER: usize = 64 * 1024;

/// Be the connection of ssh to a box, wherever the box is now: a ProxyCommand, as ssh-config writes it.
///
/// Input and output are those of the box's port. The box's host keys are learned first, from its console, so that the ssh
/// that waits for the connection knows them.
#[derive(Debug, Args)]
pub(super) struct Proxy {
    /// The box, by its instance id
    #[arg(value_name = "ID", value_parser = parse_instance_id)]
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
        let route = self.route.route(settings)?;
        // An id needs no namespace, and so nobody is asked who calls.
        let fleet = Fleet::open(&Settings { namespace: "/".to_owned(), ..settings.clone() }, printer).await?;
        let waiter = Waiter::new(printer, interrupt::listen()?, self.timeout);
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
        host_keys::learn(&fleet, &waiter, &instance).await?;
        knock(&fleet, &waiter, &instance, &ssh, &route).await?;
        match route.tunnel(&id, &fleet.region, ssh.address(), port) {
            Some(mut tunnel) => {
                let error = tunnel.exec();
                Err(not_installed(tunnel.get_program(), error))
            }
            None => connect(SocketAddr::new(ssh.address(), port)),
        }
    }
}

/// Passes bytes between this program's input and output and a port, until the port has no more.
fn connect(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream =
        TcpStream::connect_timeout(&address, CONNECT).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
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
