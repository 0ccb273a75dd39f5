//! Which instance has a box and in what state: what moto says is what is wanted, what is here is what there is.
//!
//! moto flips an instance's state at once; the [`Phase`] kept here is the true one, and the front puts it into moto's
//! answers. After each call that may change something, and on a slow timer, [`Fleet::reconcile`] asks moto for all
//! instances and gives orders to the workers, one for each instance, which carry them out one after the other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{Instance, InstanceStateName, Subnet};
use fleetkey_tests::cloud::Cloud;
use tokio::sync::mpsc;

use super::{network, note};
use worker::{Order, Worker};

mod disk;
mod images;
mod machine;
mod phase;
mod record;
mod volumes;
mod worker;

pub(crate) use disk::{console, running_init};
pub(super) use images::Images;
pub(super) use phase::Phase;
pub(super) use record::{Record, RoleKeys};

/// How long moto may know of something that nobody here was told of.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where a cloud has its things.
#[derive(Debug)]
pub(super) struct Place {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// The name of its control groups.
    pub(super) groups: String,
    /// The id of the image of Debian.
    pub(super) base_image: String,
    /// Where that is.
    pub(super) root_file_system: PathBuf,
}

/// What is known of one instance.
#[derive(Debug)]
struct Known {
    /// As moto told it last.
    instance: Instance,
    phase: Phase,
    /// Its cable was pulled.
    cut: bool,
    /// What goes into the next boot, or is in the present one.
    boot: record::Boot,
    cable: Option<network::Cable>,
    orders: mpsc::UnboundedSender<Order>,
}

/// All instances.
#[derive(Debug)]
pub(super) struct Fleet {
    /// The cloud's account, at moto itself.
    account: Cloud,
    sts: aws_sdk_sts::Client,
    place: Place,
    known: Mutex<BTreeMap<String, Known>>,
    images: Images,
    /// For each volume that is a disk now, the instance whose box has it.
    plugged: Mutex<BTreeMap<String, String>>,
    subnets: Mutex<Vec<Subnet>>,
    /// What was last asked counts, so that questions are asked one after the other.
    asking: tokio::sync::Mutex<()>,
}

impl Fleet {
    /// A fleet without boxes, which looks after itself from now on.
    pub(super) async fn new(account: Cloud, place: Place) -> Result<Arc<Self>> {
        let sts = aws_sdk_sts::Client::new(&account.sdk_config());
        let images = Images::with(&place.base_image, place.root_file_system.clone());
        let (known, subnets, asking) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        let plugged = Mutex::default();
        let fleet = Arc::new(Self { account, sts, place, known, images, plugged, subnets, asking });
        fleet.load_subnets().await?;
        let looking = Arc::clone(&fleet);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                looking.reconcile().await;
            }
        });
        Ok(fleet)
    }

    /// The machine images.
    pub(super) fn images(&self) -> &Images {
        &self.images
    }

    /// The cloud's account number.
    pub(super) fn account_id(&self) -> &str {
        self.account.account_id()
    }

    /// The true state of an instance; `None` when it has none but moto's.
    pub(super) fn phase(&self, instance_id: &str) -> Option<Phase> {
        self.known().get(instance_id).map(|known| known.phase)
    }

    /// What the box has printed since it was started.
    pub(super) fn console(&self, instance_id: &str) -> String {
        console(&self.place.folder, instance_id)
    }

    /// Asks moto what is wanted, and orders it.
    pub(super) async fn reconcile(self: &Arc<Self>) {
        if let Err(error) = self.try_reconcile().await {
            note(&format!("cannot ask moto for the instances: {error:#}"));
        }
    }

    async fn try_reconcile(self: &Arc<Self>) -> Result<()> {
        let _asking = self.asking.lock().await;
        let mut pages = self.account.ec2().describe_instances().into_paginator().items().send();
        let mut instances = Vec::new();
        while let Some(reservation) = pages.next().await {
            instances.extend(reservation?.instances.unwrap_or_default());
        }
        let subnets = self.subnets();
        let is_known = |instance: &Instance| subnets.iter().any(|subnet| subnet.subnet_id == instance.subnet_id);
        if !instances.iter().all(|instance| instance.subnet_id.is_none() || is_known(instance)) {
            self.load_subnets().await?;
        }
        let subnets = self.subnets();
        for instance in instances {
            self.want(instance, &subnets);
        }
        Ok(())
    }

    async fn load_subnets(&self) -> Result<()> {
        let subnets = self.account.ec2().describe_subnets().send().await?.subnets.unwrap_or_default();
        for subnet in &subnets {
            if let Some((gateway, _)) = subnet.cidr_block.as_deref().and_then(parse_block) {
                network::add_gateway(gateway).await?;
            }
        }
        *self.subnets.lock().unwrap_or_else(PoisonError::into_inner) = subnets;
        Ok(())
    }

    fn subnets(&self) -> Vec<Subnet> {
        self.subnets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The default subnet of a zone, or of the first one.
    pub(super) fn default_subnet(&self, zone: Option<&str>) -> Option<String> {
        let mut subnets = self.subnets();
        subnets.retain(|subnet| subnet.default_for_az() == Some(true));
        subnets.sort_by(|a, b| a.availability_zone.cmp(&b.availability_zone));
        let is_there = |subnet: &Subnet| zone.is_none() || subnet.availability_zone() == zone;
        subnets.into_iter().find(is_there)?.subnet_id
    }

    /// Gives the order that takes an instance from its state here to what moto says.
    fn want(self: &Arc<Self>, instance: Instance, subnets: &[Subnet]) {
        let Some(id) = instance.instance_id.clone() else { return };
        let state = instance.state().and_then(|state| state.name()).cloned();
        let mut all = self.known();
        let known = match (all.contains_key(&id), &state) {
            (false, Some(InstanceStateName::Terminated)) => return,
            (false, _) => {
                let orders = Worker::start(Arc::clone(self), id.clone());
                let new = Known {
                    instance: instance.clone(),
                    phase: Phase::Stopped,
                    cut: false,
                    boot: record::Boot::default(),
                    cable: None,
                    orders,
                };
                all.entry(id).or_insert(new)
            }
            (true, _) => match all.get_mut(&id) {
                Some(known) => known,
                None => return,
            },
        };
        known.instance = instance;
        let (phase, order) = match (state, known.phase) {
            (Some(InstanceStateName::Running), Phase::Stopped) => {
                known.cable = cable(&known.instance, subnets);
                (Phase::Pending, Order::Start)
            }
            (Some(InstanceStateName::Stopped), Phase::Pending | Phase::Running) => (Phase::Stopping, Order::Stop),
            (Some(InstanceStateName::Terminated), Phase::ShuttingDown | Phase::Terminated) => return,
            (Some(InstanceStateName::Terminated), _) => (Phase::ShuttingDown, Order::Terminate),
            _ => return,
        };
        known.phase = phase;
        // The worker ends with its instance.
        let _ = known.orders.send(order);
    }

    /// Orders that a box has the volumes that moto says it has, and no others.
    pub(super) fn plug(&self, instance_id: &str) {
        if let Some(known) = self.known().get(instance_id) {
            let _ = known.orders.send(Order::Plug);
        }
    }

    /// The box, if any, that has a volume and runs.
    pub(super) fn holder(&self, volume_id: &str) -> Option<String> {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner).get(volume_id).cloned()
    }

    /// Notes which box has a volume: `None` when none has it any more.
    fn note_holder(&self, volume_id: &str, instance_id: Option<&str>) {
        let mut plugged = self.plugged.lock().unwrap_or_else(PoisonError::into_inner);
        match instance_id {
            Some(instance) => plugged.insert(volume_id.to_owned(), instance.to_owned()),
            None => plugged.remove(volume_id),
        };
    }

    /// Orders a reboot.
    pub(super) fn reboot(&self, instance_id: &str) {
        if let Some(known) = self.known().get(instance_id) {
            let _ = known.orders.send(Order::Reboot);
        }
    }

    /// Orders an image of an instance's disk, of which moto has just given the id.
    pub(super) fn image(&self, instance_id: &str, image_id: &str, shut_down: bool) {
        self.images.begin(image_id);
        if let Some(known) = self.known().get(instance_id) {
            let _ = known.orders.send(Order::Image { image_id: image_id.to_owned(), shut_down });
        }
    }

    /// Pulls an instance's cable, or plugs it in again.
    ///
    /// # Errors
    /// When there is no such instance.
    pub(super) async fn set_cut(&self, instance_id: &str, cut: bool) -> Result<()> {
        let cable = {
            let mut all = self.known();
            let known = all.get_mut(instance_id).with_context(|| format!("there is no {instance_id}"))?;
            known.cut = cut;
            known.cable.clone().filter(|_| matches!(known.phase, Phase::Pending | Phase::Running))
        };
        match cable {
            Some(cable) if cut => network::disconnect(&cable).await,
            Some(cable) => network::connect(&cable).await,
            None => Ok(()),
        }
    }

    fn set_phase(&self, instance_id: &str, from: Phase, to: Phase) {
        if let Some(known) = self.known().get_mut(instance_id)
            && known.phase == from
        {
            known.phase = to;
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance's place in the network; `None` when moto gave it no address.
fn cable(instance: &Instance, subnets: &[Subnet]) -> Option<network::Cable> {
    let private: Ipv4Addr = instance.private_ip_address()?.parse().ok()?;
    let subnet = subnets.iter().find(|subnet| subnet.subnet_id == instance.subnet_id);
    let block = subnet.and_then(|subnet| parse_block(subnet.cidr_block()?));
    // moto gives an address from elsewhere to an instance for which no subnet was named.
    let block = block.filter(|&(gateway, prefix)| {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        u32::from(gateway) & mask == u32::from(private) & mask
    });
    let (gateway, prefix) = block.unwrap_or((network::API.0, 32));
    let interface = instance.network_interfaces().first();
    let mac = interface.and_then(|interface| interface.mac_address()).unwrap_or("02:00:00:00:00:01");
    Some(network::Cable {
        // Fifteen letters at most; the address is nobody else's.
        link: format!("ve-{:08x}", u32::from(private)),
        mac: mac.to_owned(),
        private,
        prefix,
        gateway,
        public: instance.public_ip_address().and_then(|address| address.parse().ok()),
    })
}

/// The router's address in a subnet, the first after the subnet's own, and the bits of the prefix.
fn parse_block(block: &str) -> Option<(Ipv4Addr, u8)> {
    let (base, prefix) = block.split_once('/')?;
    let base: Ipv4Addr = base.parse().ok()?;
    Some((Ipv4Addr::from(u32::from(base) + 1), prefix.parse().ok()?))
}
