//! Keys for emergencies: let in to every managed account, whatever becomes of the source.

use std::path::{Path, PathBuf};

use fleetkey_common::error_text::one_line;
use fleetkey_common::key_line;
use fleetkey_common::names::PersonName;
use fleetkey_common::restrictions::AllowedOptions;
use fleetkey_common::trusted_file;

use crate::key_set::GrantedKey;

/// How the holder of an emergency key is named on its line.
const HOLDER: &str = "break-glass";

/// The keys of the break-glass file.
#[derive(Debug, Default)]
pub struct BreakGlass {
    path: PathBuf,
    keys: Vec<GrantedKey>,
    /// What was said last of the file, so that it is said once.
    complaint: Option<String>,
}

impl BreakGlass {
    /// Keys to be read from `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path, keys: Vec::new(), complaint: None }
    }

    /// From now on reads `path`. Where that is the path so far, the keys stay, as they do when a file goes bad.
    pub fn read_from(&mut self, path: &Path) {
        if self.path != path {
            *self = Self::new(path.to_owned());
        }
    }

    /// The keys, as last read.
    pub fn keys(&self) -> &[GrantedKey] {
        &self.keys
    }

    /// Reads the file anew; true when the keys changed. A file that cannot be read leaves the keys as they were: no
    /// fault may take the last way in.
    pub fn refresh(&mut self) -> bool {
        let body = match trusted_file::read(&self.path) {
            Ok(body) => body.unwrap_or_default(),
            Err(error) => {
                self.complain(Some(one_line(&error)));
                return false;
            }
        };
        let holder: PersonName = HOLDER.parse().expect("the holder's name is well formed");
        let mut complaint = None;
        let mut keys = Vec::new();
        for line in key_line::registered(&body, &AllowedOptions::default()) {
            match line {
                Ok(accepted) => keys.push(GrantedKey {
                    person: holder.clone(),
                    key: accepted.key,
                    restrictions: accepted.restrictions,
                }),
                Err(error) => {
                    complaint = Some(format!("{}: a key is left out: {}", self.path.display(), one_line(&error)));
                }
            }
        }
        keys.sort_by_key(|granted| granted.key.fingerprint());
        keys.dedup_by_key(|granted| granted.key.fingerprint());
        self.complain(complaint);
        let changed = self.keys != keys;
        self.keys = keys;
        changed
    }

    fn complain(&mut self, complaint: Option<String>) {
        if let Some(text) = complaint.as_ref().filter(|text| self.complaint.as_ref() != Some(text)) {
            tracing::error!(action = "break-glass", "{text}");
        }
        self.complaint = complaint;
    }
}
