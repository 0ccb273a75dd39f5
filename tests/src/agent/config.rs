//! The agent's configuration for a test: `agent.toml` and what it names, written into a sandbox.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use crate::cloud::Cloud;
use crate::imds::Imds;
use crate::sandbox::Sandbox;

/// The credentials file inside the sandbox.
const CREDENTIALS: &str = "/etc/fleetkey/credentials";

/// The CA bundle inside the sandbox.
const CA_BUNDLE: &str = "/etc/fleetkey/ca.pem";

/// The agent's configuration, being built.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    table: Table,
    /// Files that go with it, by their path inside; only root may read them.
    files: Vec<(&'static str, String)>,
}

impl AgentConfig {
    /// Where it is written, inside.
    pub const FILE: &str = "/etc/fleetkey/agent.toml";

    /// Keys from a folder inside the sandbox.
    pub fn directory(folder: &str) -> Self {
        Self { table: Table::new(), files: Vec::new() }.set("source", "directory").set("directory", folder)
    }

    /// Keys from IAM, with the registries `s3` and `ec2`, on an instance of this cloud.
    pub fn iam(cloud: &Cloud) -> Self {
        Self { table: Table::new(), files: Vec::new() }
            .set("source", "iam")
            .set("registries", vec!["s3", "ec2"])
            .set("instance.id", "i-0123456789abcdef0")
            .set("instance.account_id", cloud.account_id())
            .set("aws.region", Cloud::REGION)
            .set("aws.bucket", cloud.bucket())
            .set("aws.endpoint_url", cloud.endpoint())
            .credentials(&cloud.credentials_file())
    }

    /// The same on an instance that asks this metadata service who it is, and for its credentials.
    pub fn iam_by_metadata(cloud: &Cloud, imds: &Imds) -> Self {
        Self { table: Table::new(), files: Vec::new() }
            .set("source", "iam")
            .set("registries", vec!["s3", "ec2"])
            .set("instance.metadata_url", imds.url())
            .set("aws.bucket", cloud.bucket())
            .set("aws.endpoint_url", cloud.endpoint())
    }

    /// Lets the holders of these key specs log in to the account.
    #[must_use]
    pub fn grant(self, account: &str, keys: &[&str]) -> Self {
        self.grant_in_mode(account, keys, "shared")
    }

    /// The same in a mode: `shared`, `exclusive` or `system`.
    #[must_use]
    pub fn grant_in_mode(mut self, account: &str, keys: &[&str], mode: &str) -> Self {
        let mut grant = Table::new();
        grant.insert("account".to_owned(), account.into());
        grant.insert("keys".to_owned(), keys.to_vec().into());
        grant.insert("mode".to_owned(), mode.into());
        let grants = self.table.entry("grant").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(grants) = grants {
            grants.push(Value::Table(grant));
        }
        self
    }

    /// Sets one field, such as `poll_interval` or `guard.max_removed`.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        match field.split_once('.') {
            None => {
                self.table.insert(field.to_owned(), value.into());
            }
            Some((table, field)) => {
                let table = self.table.entry(table).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(table) = table {
                    table.insert(field.to_owned(), value.into());
                }
            }
        }
        self
    }

    /// Takes these AWS credentials, in the form of `~/.aws/credentials`.
    #[must_use]
    pub fn credentials(mut self, file: &str) -> Self {
        self.files.push((CREDENTIALS, file.to_owned()));
        self.set("aws.credentials_file", CREDENTIALS)
    }

    /// Trusts the certificates in this PEM file of the host.
    pub fn ca_bundle(mut self, host: &Path) -> Result<Self> {
        let bundle = std::fs::read_to_string(host).with_context(|| format!("cannot read {}", host.display()))?;
        self.files.push((CA_BUNDLE, bundle));
        Ok(self.set("aws.ca_bundle", CA_BUNDLE))
    }

    /// The text of `agent.toml`.
    pub fn toml(&self) -> String {
        self.table.to_string()
    }

    /// Writes it and the files that it names, each with mode 0600. A running agent takes it on SIGHUP.
    pub fn write(&self, sandbox: &Sandbox) -> Result<()> {
        let config = (Self::FILE, self.toml());
        for (inside, content) in self.files.iter().chain([&config]) {
            sandbox.write(inside, content)?;
            std::fs::set_permissions(sandbox.path(inside), Permissions::from_mode(0o600))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_holds_what_was_set() -> Result<()> {
        let config = AgentConfig::directory("/srv/keys")
            .grant("ubuntu", &["alice", "@@ops"])
            .grant_in_mode("ci", &["@@ci"], "exclusive")
            .set("poll_interval", "5s")
            .set("guard.max_removed", "100%");
        let read: Table = config.toml().parse()?;
        assert_eq!(read["directory"].as_str(), Some("/srv/keys"));
        assert_eq!(read["guard"]["max_removed"].as_str(), Some("100%"));
        assert_eq!(read["grant"][0]["keys"][1].as_str(), Some("@@ops"));
        assert_eq!(read["grant"][1]["mode"].as_str(), Some("exclusive"));
        Ok(())
    }
}
