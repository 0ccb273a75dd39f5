//! The worker of one instance: carries out what is ordered, one order after the other.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::disk::Disk;
use super::machine::{End, Machine};
use super::record::Boot;
use super::volumes::{self, Plugged};
use super::{Fleet, Phase, running_init};
use crate::inside::{network, note};

/// What an instance is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// To run.
    Start,
    /// To go down, and keep its disk.
    Stop,
    /// To go down and come up at once; it counts as running meanwhile.
    Reboot,
    /// To go down, and lose its disk.
    Terminate,
    /// To be the model of an image; from a running box that is shut down first, as EC2 does, or left as it runs.
    Image { image_id: String, shut_down: bool },
    /// To have the volumes that moto says it has.
    Plug,
}

#[derive(Debug)]
pub(super) struct Worker {
    fleet: Arc<Fleet>,
    id: String,
    disk: Option<Disk>,
    /// What runs, and the cable that it has.
    machine: Option<(Machine, network::Cable)>,
    /// Its volumes beside the root volume, while it runs.
    volumes: Vec<Plugged>,
}

impl Worker {
    /// Starts the worker of a new instance, which ends with that.
    pub(super) fn start(fleet: Arc<Fleet>, id: String) -> mpsc::UnboundedSender<Order> {
        let (orders, mut given) = mpsc::unbounded_channel();
        let mut worker = Self { fleet, id, disk: None, machine: None, volumes: Vec::new() };
        tokio::spawn(async move {
            loop {
                let machine = async {
                    match &mut worker.machine {
                        Some((machine, _)) => machine.ends().await,
                        None => std::future::pending().await,
                    }
                };
                let outcome = tokio::select! {
                    order = given.recv() => match order {
                        Some(order) => worker.obey(order).await,
                        None => return,
                    },
                    end = machine => worker.ended(end).await,
                };
                match outcome {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => worker.give_up(&error).await,
                }
            }
        });
        orders
    }

    /// Returns whether there is more to do.
    async fn obey(&mut self, order: Order) -> Result<bool> {
        match order {
            Order::Start => {
                self.power_on(true).await?;
                self.fleet.set_phase(&self.id, Phase::Pending, Phase::Running);
            }
            Order::Stop => {
                self.power_off().await?;
                self.fleet.set_phase(&self.id, Phase::Stopping, Phase::Stopped);
            }
            Order::Reboot => {
                if self.machine.is_some() {
                    self.power_off().await?;
                    self.power_on(false).await?;
                }
            }
            Order::Plug => self.plug().await?,
            Order::Image { image_id, shut_down } => self.image(&image_id, shut_down).await?,
            Order::Terminate => {
                self.power_off().await?;
                if let Some(disk) = self.disk.take() {
                    disk.remove().await?;
                }
                self.fleet.set_phase(&self.id, Phase::ShuttingDown, Phase::Terminated);
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn image(&mut self, image_id: &str, shut_down: bool) -> Result<()> {
        let restart = shut_down && self.machine.is_some();
        if restart {
            self.power_off().await?;
        }
        let copied = match &self.disk {
            Some(disk) => disk.image(&self.fleet.place.folder, image_id).await,
            None => Err(anyhow::anyhow!("it has no disk")),
        };
        if let Err(error) = &copied {
            note(&format!("{}: no image {image_id}: {error:#}", self.id));
        }
        self.fleet.images.finish(image_id, copied.ok());
        if restart {
            self.power_on(false).await?;
        }
        Ok(())
    }

    /// Boots the box. After a stop its console begins anew.
    async fn power_on(&mut self, new_console: bool) -> Result<()> {
        let (instance, cable, cut) = {
            let all = self.fleet.known();
            let known = all.get(&self.id).context("an instance that works is known")?;
            (known.instance.clone(), known.cable.clone(), known.cut)
        };
        let cable = cable.context("moto gave it no address")?;
        let boot = Boot::load(&self.fleet.account, &instance).await?;
        if let Some(known) = self.fleet.known().get_mut(&self.id) {
            known.boot = boot;
        }
        if self.disk.is_none() {
            let image = instance.image_id().context("moto names no image")?;
            let layers = self.fleet.images.layers(image);
            let layers = layers.with_context(|| format!("the cloud has no disk for {image}"))?;
            self.disk = Some(Disk::create(&self.fleet.place.folder, &self.id, layers)?);
        }
        let disk = self.disk.as_ref().context("it was just made")?;
        if new_console {
            std::fs::write(disk.console(), "")?;
        }
        let name = instance.private_dns_name().and_then(|name| name.split('.').next()).unwrap_or("box");
        let booted = async {
            disk.mount().await?;
            network::attach(&cable, &disk.network(), cut).await?;
            Machine::boot(disk, &self.id, name, &self.fleet.place.groups).await
        };
        match booted.await {
            Ok(machine) => {
                self.machine = Some((machine, cable));
                self.plug().await
            }
            Err(error) => {
                // What was not reached cannot be undone, and the first error is the one to tell.
                let _ = network::detach(&cable, &disk.network()).await;
                let _ = disk.unmount().await;
                Err(error)
            }
        }
    }

    /// Has the box have the volumes that moto says it has.
    async fn plug(&mut self) -> Result<()> {
        let init = running_init(&self.fleet.place.folder, &self.id);
        let (Some(init), Some(_)) = (init, &self.machine) else { return Ok(()) };
        let instance = self.fleet.known().get(&self.id).map(|known| known.instance.clone());
        let wanted = volumes::of(&self.fleet.account, &instance.context("an instance that works is known")?).await?;
        let is_wanted = |volume: &Plugged| wanted.iter().any(|(wanted, _)| wanted.volume_id() == Some(&volume.id));
        while let Some(at) = self.volumes.iter().position(|volume| !is_wanted(volume)) {
            let volume = self.volumes.remove(at);
            self.fleet.note_holder(&volume.id, None);
            volume.unplug(init).await?;
        }
        for (volume, device) in &wanted {
            if !self.volumes.iter().any(|plugged| Some(plugged.id.as_str()) == volume.volume_id()) {
                let plugged = Plugged::plug(&self.fleet.place.folder, volume, device, init).await?;
                self.fleet.note_holder(&plugged.id, Some(&self.id));
                self.volumes.push(plugged);
            }
        }
        Ok(())
    }

    async fn power_off(&mut self) -> Result<()> {
        let Some((machine, cable)) = self.machine.take() else { return Ok(()) };
        let disk = self.disk.as_ref().context("what runs has a disk")?;
        machine.shut_down().await;
        for volume in self.volumes.drain(..) {
            self.fleet.note_holder(&volume.id, None);
        }
        disk.tell_init(None)?;
        network::detach(&cable, &disk.network()).await?;
        disk.unmount().await
    }

    /// The box has ended, and nobody outside has told it to.
    async fn ended(&mut self, end: End) -> Result<bool> {
        if end == End::Reboot {
            self.power_off().await?;
            self.power_on(false).await?;
            return Ok(true);
        }
        self.fleet.set_phase(&self.id, Phase::Running, Phase::Stopping);
        self.power_off().await?;
        let ec2 = self.fleet.account.ec2();
        let asked = ec2.describe_instance_attribute().instance_id(&self.id);
        let asked = asked.attribute("instanceInitiatedShutdownBehavior".into()).send().await?;
        let behaviour = asked.instance_initiated_shutdown_behavior().and_then(|value| value.value());
        if behaviour == Some("terminate") {
            ec2.terminate_instances().instance_ids(&self.id).send().await?;
            // The order for the rest comes back from there.
            self.fleet.reconcile().await;
        } else {
            ec2.stop_instances().instance_ids(&self.id).send().await?;
            self.fleet.set_phase(&self.id, Phase::Stopping, Phase::Stopped);
        }
        Ok(true)
    }

    /// An instance that cannot be what it should be is terminated, as EC2 does.
    async fn give_up(&mut self, error: &anyhow::Error) {
        note(&format!("{}: {error:#}", self.id));
        if let Err(error) = self.fleet.account.ec2().terminate_instances().instance_ids(&self.id).send().await {
            note(&format!("{}: cannot terminate it: {error:#}", self.id));
        }
        self.fleet.reconcile().await;
    }
}
