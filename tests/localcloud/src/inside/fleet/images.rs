//! Machine images: which layers each is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All images that boxes can be made of.
#[derive(Debug)]
pub(in crate::inside) struct Images {
    by_id: Mutex<BTreeMap<String, Option<Vec<PathBuf>>>>,
}

impl Images {
    /// One image of one layer.
    pub(super) fn with(id: &str, layer: PathBuf) -> Self {
        Self { by_id: Mutex::new(BTreeMap::from([(id.to_owned(), Some(vec![layer]))])) }
    }

    /// Notes an image whose disk is still to be copied.
    pub(super) fn begin(&self, id: &str) {
        self.by_id().insert(id.to_owned(), None);
    }

    /// The copy is done; the topmost layer comes first.
    pub(super) fn finish(&self, id: &str, layers: Vec<PathBuf>) {
        self.by_id().insert(id.to_owned(), Some(layers));
    }

    /// No box can be made of it any more; those that were keep their layers.
    pub(in crate::inside) fn forget(&self, id: &str) {
        self.by_id().remove(id);
    }

    /// Whether the cloud has such an image, be it still in the making.
    pub(in crate::inside) fn has(&self, id: &str) -> bool {
        self.by_id().contains_key(id)
    }

    /// Whether its disk is still being copied.
    pub(in crate::inside) fn is_pending(&self, id: &str) -> bool {
        matches!(self.by_id().get(id), Some(None))
    }

    /// The layers of an image that is there.
    pub(super) fn layers(&self, id: &str) -> Option<Vec<PathBuf>> {
        self.by_id().get(id).cloned().flatten()
    }

    fn by_id(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<PathBuf>>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
