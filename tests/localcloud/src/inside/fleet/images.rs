//! Machine images: which layers each is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Image {
    /// Its disk is being copied.
    Pending,
    /// It is there; its layers, the topmost first.
    Available(Vec<PathBuf>),
    /// Its disk could not be copied.
    Failed,
}

/// All images that boxes can be made of.
#[derive(Debug)]
pub(in crate::inside) struct Images {
    by_id: Mutex<BTreeMap<String, Image>>,
}

impl Images {
    /// One image of one layer.
    pub(super) fn with(id: &str, layer: PathBuf) -> Self {
        Self { by_id: Mutex::new(BTreeMap::from([(id.to_owned(), Image::Available(vec![layer]))])) }
    }

    /// Notes an image whose disk is still to be copied.
    pub(super) fn begin(&self, id: &str) {
        self.by_id().insert(id.to_owned(), Image::Pending);
    }

    /// The copy is done, or has failed.
    pub(super) fn finish(&self, id: &str, layers: Option<Vec<PathBuf>>) {
        // It may have been deregistered meanwhile.
        if let Some(image) = self.by_id().get_mut(id) {
            *image = layers.map_or(Image::Failed, Image::Available);
        }
    }

    /// No box can be made of it any more; those that were keep their layers.
    pub(in crate::inside) fn forget(&self, id: &str) {
        self.by_id().remove(id);
    }

    /// The state, as EC2 names it, of an image that the cloud has a disk of, or should have.
    pub(in crate::inside) fn state(&self, id: &str) -> Option<&'static str> {
        self.by_id().get(id).map(|image| match image {
            Image::Pending => "pending",
            Image::Available(_) => "available",
            Image::Failed => "failed",
        })
    }

    /// The layers of an image that is there.
    pub(super) fn layers(&self, id: &str) -> Option<Vec<PathBuf>> {
        match self.by_id().get(id) {
            Some(Image::Available(layers)) => Some(layers.clone()),
            _ => None,
        }
    }

    fn by_id(&self) -> MutexGuard<'_, BTreeMap<String, Image>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
