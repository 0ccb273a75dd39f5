//! The user database: whose key file it is, and where the home is.
//!
//! Blocking: the name service may ask a directory server. It must never take "no answer" for "no such account".

use std::path::PathBuf;

use fleetkey_common::names::AccountName;
use nix::unistd::{Gid, Uid, User};

use super::error::WriteError;

/// A Linux account as the user database has it at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// Its user id.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
    /// Its home, as the database has it: not checked, perhaps not there.
    pub home: PathBuf,
}

/// Asks the user database (getpwnam(3)) for an account. Blocking, for as long as the name service takes.
pub fn look_up(name: &AccountName) -> Result<Account, WriteError> {
    match User::from_name(name.as_str()) {
        Ok(Some(user)) => Ok(Account { name: name.clone(), uid: user.uid, gid: user.gid, home: user.dir }),
        Ok(None) => Err(WriteError::NoSuchAccount { account: name.clone() }),
        Err(errno) => Err(WriteError::UserDatabase { account: name.clone(), source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_with_its_home() {
        let root = look_up(&"root".parse().unwrap()).unwrap();
        assert_eq!((root.uid, root.gid), (Uid::from_raw(0), Gid::from_raw(0)));
        assert!(root.home.is_absolute());
    }

    #[test]
    fn r14_an_account_that_was_removed_is_an_error_of_its_own() {
        let error = look_up(&"no-such-account".parse().unwrap()).unwrap_err();
        assert!(matches!(error, WriteError::NoSuchAccount { .. }), "{error}");
    }
}
