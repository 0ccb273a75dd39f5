//! The disks of boxes: an overlay each, with what the box wrote on top of its image's layers.
//!
//! An image is the image of the box below a copy of what the box wrote, so that nothing is copied twice.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::inside::{run, utf8};

/// One box's folder below the cloud's.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    folder: PathBuf,
    /// What lies below, the topmost first.
    pub(super) layers: Vec<PathBuf>,
}

impl Disk {
    /// Makes an empty disk above these layers.
    pub(super) fn create(cloud: &Path, instance_id: &str, layers: Vec<PathBuf>) -> Result<Self> {
        let folder = folder_of(cloud, instance_id);
        for name in ["upper", "work", "root"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        // The upper folder is the box's `/`.
        fs::set_permissions(folder.join("upper"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Self { folder, layers })
    }

    /// Where the box's `/` is while the disk is mounted.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// The file that holds the box's network namespace.
    pub(super) fn network(&self) -> PathBuf {
        self.folder.join("network")
    }

    /// The file that the box's console goes to.
    pub(super) fn console(&self) -> PathBuf {
        self.folder.join("console")
    }

    /// A file with a number by which software knows a machine of EC2's: it begins with `ec2`.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html>
    pub(super) fn uuid(&self, instance_id: &str) -> io::Result<PathBuf> {
        let digits = format!("ec2{:0<29}", instance_id.trim_start_matches("i-"));
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        let uuid = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
        let file = self.folder.join("uuid");
        fs::write(&file, format!("{uuid}\n"))?;
        Ok(file)
    }

    /// Says, to the owner's handle, which process is the box's init; `None` when there is none.
    pub(super) fn tell_init(&self, init: Option<u32>) -> io::Result<()> {
        let (file, aside) = (self.folder.join("init"), self.folder.join("init.new"));
        match init {
            Some(init) => fs::write(&aside, init.to_string()).and_then(|()| fs::rename(&aside, &file)),
            None => match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Mounts it at [`Disk::root`].
    pub(super) async fn mount(&self) -> Result<()> {
        let layers = self.layers.iter().map(|layer| utf8(layer)).collect::<Result<Vec<_>>>()?.join(":");
        let (upper, work) = (self.folder.join("upper"), self.folder.join("work"));
        // Nothing in a layer may depend on where another one lies, or a copy of it would be none.
        let options = format!(
            "redirect_dir=off,index=off,metacopy=off,lowerdir={layers},upperdir={},workdir={}",
            utf8(&upper)?,
            utf8(&work)?
        );
        run("mount", &["-t", "overlay", "-o", &options, "fleetkey-cloud", utf8(&self.root())?], "").await
    }

    /// Unmounts it; what the box wrote stays.
    pub(super) async fn unmount(&self) -> Result<()> {
        run("umount", &[utf8(&self.root())?], "").await
    }

    /// The layers of an image of the disk as it is now; what the box wrote is copied.
    pub(super) async fn image(&self, cloud: &Path, image_id: &str) -> Result<Vec<PathBuf>> {
        let folder = cloud.join("images").join(image_id);
        fs::create_dir_all(&folder)?;
        let (upper, copy) = (self.folder.join("upper"), folder.join("layer"));
        // Attributes included: they say which folders hide those of the layers below.
        let copied = run("cp", &["--archive", "--reflink=auto", utf8(&upper)?, utf8(&copy)?], "").await;
        copied.with_context(|| format!("cannot copy the disk for {image_id}"))?;
        let mut layers = vec![copy];
        layers.extend_from_slice(&self.layers);
        Ok(layers)
    }

    /// Removes all of it.
    pub(super) async fn remove(&self) -> Result<()> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await??;
        Ok(())
    }
}

/// What an instance's box has printed since it was last started.
pub(crate) fn console(cloud: &Path, instance_id: &str) -> String {
    let read = fs::read(folder_of(cloud, instance_id).join("console"));
    read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The init of an instance's box, as the cloud counts; `None` when it does not run.
pub(crate) fn running_init(cloud: &Path, instance_id: &str) -> Option<u32> {
    fs::read_to_string(folder_of(cloud, instance_id).join("init")).ok()?.parse().ok()
}

fn folder_of(cloud: &Path, instance_id: &str) -> PathBuf {
    cloud.join("boxes").join(instance_id)
}
