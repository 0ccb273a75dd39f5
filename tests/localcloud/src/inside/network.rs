//! The cloud's network: a router with a cable to each box, and nothing beyond.
//!
//! There is no shared segment, as there is none in a VPC: what a box sends to a neighbour goes to the router, which
//! answers for all addresses. The router takes from a cable only packets that come from the address of the box at its
//! end (`rp_filter`), so that no box can speak, or be answered, as another.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{run, utf8};

/// Where the AWS API is: the router's address in the first subnet.
pub(super) const API: (Ipv4Addr, u16) = (Ipv4Addr::new(172, 31, 0, 1), 5000);

/// Where the metadata service is.
pub(super) const METADATA: (Ipv4Addr, u16) = (Ipv4Addr::new(169, 254, 169, 254), 80);

/// Where boxes look for a name server; nobody listens there, so that look-ups are refused at once.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

/// What the box's end of its cable is called, as on EC2's own machines.
const IN_BOX: &str = "ens5";

/// Where systemd-nspawn keeps notes about boxes.
const NSPAWN_NOTES: &str = "/run/systemd/nspawn";

/// A box's place in the network.
#[derive(Debug, Clone)]
pub(super) struct Cable {
    /// The router's end.
    pub(super) link: String,
    /// The box's hardware address.
    pub(super) mac: String,
    /// The box's private address.
    pub(super) private: Ipv4Addr,
    /// The bits of its subnet's prefix.
    pub(super) prefix: u8,
    /// The router's address in that subnet.
    pub(super) gateway: Ipv4Addr,
    /// The public address.
    pub(super) public: Option<Ipv4Addr>,
}

/// Gives the cloud's processes a place of their own for notes that would else be left on the machine.
pub(super) async fn hide_machine() -> Result<()> {
    std::fs::create_dir_all(NSPAWN_NOTES).with_context(|| format!("cannot make {NSPAWN_NOTES}"))?;
    run("mount", &["-t", "tmpfs", "-o", "mode=0755", "fleetkey-cloud", NSPAWN_NOTES], "").await
}

/// Makes the router, with the addresses that are the same in each cloud.
pub(super) async fn set_up() -> Result<()> {
    for (name, value) in [
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("ipv4/ip_forward", "1"),
        // Or a box that asks for several names at once waits for the refusal of the last ones.
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv4/conf/all/rp_filter", "1"),
        ("ipv4/conf/default/rp_filter", "1"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
    ] {
        set(name, value)?;
    }
    let addresses = [API.0, METADATA.0, NAME_SERVER].map(|address| format!("address replace {address}/32 dev lo\n"));
    run("ip", &["-batch", "-"], &format!("link set lo up\n{}", addresses.concat())).await
}

/// Gives the router its address in a subnet.
pub(super) async fn add_gateway(gateway: Ipv4Addr) -> Result<()> {
    run("ip", &["address", "replace", &format!("{gateway}/32"), "dev", "lo"], "").await
}

/// Makes a network namespace for a box, held by a file, and lays the cable to it.
pub(super) async fn attach(cable: &Cable, namespace: &Path, cut: bool) -> Result<()> {
    let file = utf8(namespace)?;
    std::fs::write(namespace, "")?;
    run("unshare", &[&format!("--net={file}"), "--", "true"], "").await?;
    let Cable { link, mac, private, prefix, gateway, public } = cable;
    run("ip", &["link", "add", link, "type", "veth", "peer", "name", IN_BOX, "address", mac, "netns", file], "")
        .await?;
    set(&format!("ipv4/conf/{link}/proxy_arp"), "1")?;
    // The kernel else waits a moment before it answers for another.
    set(&format!("ipv4/neigh/{link}/proxy_delay"), "0")?;
    // EC2 translates; here the box itself answers to its public address too.
    let public = public.map(|public| format!("address add {public}/32 dev lo\n")).unwrap_or_default();
    let batch = format!(
        "link set lo up\naddress add {private}/{prefix} dev {IN_BOX}\nlink set {IN_BOX} up\n\
         route add {gateway}/32 dev {IN_BOX}\nroute add default via {gateway} dev {IN_BOX} src {private}\n{public}"
    );
    run("nsenter", &[&format!("--net={file}"), "ip", "-batch", "-"], &batch).await?;
    if cut { Ok(()) } else { connect(cable).await }
}

/// Plugs a cable in.
pub(super) async fn connect(cable: &Cable) -> Result<()> {
    let Cable { link, mac, private, public, .. } = cable;
    let public = public.map(|public| format!("route replace {public}/32 via {private} dev {link} onlink\n"));
    let batch = format!(
        "link set {link} up\nroute replace {private}/32 dev {link}\n\
         neighbour replace {private} lladdr {mac} dev {link} nud permanent\n{}",
        public.unwrap_or_default()
    );
    run("ip", &["-batch", "-"], &batch).await
}

/// Pulls a cable out at the router's end.
pub(super) async fn disconnect(cable: &Cable) -> Result<()> {
    run("ip", &["link", "set", &cable.link, "down"], "").await
}

/// Takes a cable and the box's network namespace away.
pub(super) async fn detach(cable: &Cable, namespace: &Path) -> Result<()> {
    run("ip", &["link", "delete", &cable.link], "").await?;
    run("umount", &[utf8(namespace)?], "").await
}

fn set(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys/net").join(name);
    match std::fs::write(&path, value) {
        // A kernel without IPv6 has nothing to turn off.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && name.starts_with("ipv6/") => Ok(()),
        outcome => outcome.with_context(|| format!("cannot set {}", path.display())),
    }
}
