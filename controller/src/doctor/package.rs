//! The agent's packages: which kinds of boxes can install one, and whether it is this program's version.

use super::world::World;
use super::{Blocked, Finding};
use crate::aws::agent_package::{self, PackagesError};
use crate::package::Index;
use crate::role::{Arch, PackageFormat};

const NAME: &str = "package";

/// This program's version, with which the agent's is released.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const PUBLISH: &str = "fleetkey agent publish FILE, with what `make packages` made";

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    let bucket = world.bucket().await?;
    Ok(match agent_package::index(bucket).await {
        Ok(index) => judge(&index),
        Err(PackagesError::Call(error)) => vec![Finding::failed(NAME, &error)],
        Err(error) => {
            let causes = anyhow::Error::from(error);
            vec![Finding::missing(NAME, format!("{causes:#}")).mend("use the newest fleetkey; or publish anew")]
        }
    })
}

fn judge(index: &Index) -> Vec<Finding> {
    let (mut findings, mut without) = (Vec::new(), Vec::new());
    for format in [PackageFormat::Deb, PackageFormat::Rpm] {
        for arch in [Arch::X86_64, Arch::Arm64] {
            let Some(package) = index.newest(format, arch) else {
                without.push(format!("{format} {arch}"));
                continue;
            };
            let what = format!("{format} {arch} {}", package.version);
            findings.push(if is_ours(&package.version) {
                Finding::ok(NAME, what)
            } else {
                Finding::warning(NAME, format!("{what}, and this program is {VERSION}")).mend(PUBLISH)
            });
        }
    }
    if findings.is_empty() {
        let what = "no package of the agent is published: fleetkey create needs one, or --no-agent";
        return vec![Finding::missing(NAME, what).mend(PUBLISH)];
    }
    if !without.is_empty() {
        // A fleet of one kind of boxes needs no other.
        findings.push(Finding::ok(NAME, format!("none for {}", without.join(", "))));
    }
    findings
}

/// A package's version has the release of its format behind it: `0.1.0-1`.
fn is_ours(version: &str) -> bool {
    version.split(['-', '~', '+']).next() == Some(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_ours_whatever_release_its_format_puts_behind_it() {
        assert!(is_ours(VERSION) && is_ours(&format!("{VERSION}-1")) && is_ours(&format!("{VERSION}+git")));
        assert!(!is_ours("0.0.9") && !is_ours(&format!("{VERSION}1")));
    }

    #[test]
    fn nothing_published_is_missing() {
        let found = judge(&Index::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].state, crate::doctor::State::Missing);
    }
}
