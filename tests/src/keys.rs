//! SSH key pairs for tests, made by ssh-keygen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fleetkey_common::public_key::{Fingerprint, PublicKey};

use crate::scratch::{Scratch, cache};

/// What IAM takes, and what EC2 has an MD5 fingerprint of.
const RSA: [&str; 4] = ["-t", "rsa", "-b", "2048"];

/// A key pair on disk, gone when dropped.
#[derive(Debug)]
pub struct TestKey {
    private: PathBuf,
    line: String,
    public: PublicKey,
    /// Where the files lie; `None` for the RSA key, which is kept between runs.
    _folder: Option<Scratch>,
}

impl TestKey {
    /// A new Ed25519 key. It takes a few milliseconds.
    pub fn new(comment: &str) -> Result<Self> {
        let folder = Scratch::new()?;
        generate(folder.path(), &["-t", "ed25519"], comment)?;
        Self::read(&folder.path().join("id"), Some(folder))
    }

    /// A new 2048-bit RSA key, for a test that needs more than the one of [`TestKey::rsa`]. It takes up to a second.
    pub fn new_rsa(comment: &str) -> Result<Self> {
        let folder = Scratch::new()?;
        generate(folder.path(), &RSA, comment)?;
        Self::read(&folder.path().join("id"), Some(folder))
    }

    /// A 2048-bit RSA key, the same in every test and run, since making one is slow.
    pub fn rsa() -> Result<Self> {
        let kept = cache()?.join("rsa-2048");
        if !kept.join("id").is_file() {
            let aside = Scratch::new()?;
            let pair = aside.path().join("pair");
            fs::create_dir(&pair)?;
            generate(&pair, &RSA, "rsa@test")?;
            // Another test may have been faster; its key is as good.
            if let Err(error) = fs::rename(&pair, &kept) {
                ensure!(kept.join("id").is_file(), "cannot keep the RSA key in {}: {error}", kept.display());
            }
        }
        Self::read(&kept.join("id"), None)
    }

    fn read(private: &Path, folder: Option<Scratch>) -> Result<Self> {
        let line = fs::read_to_string(private.with_extension("pub"))?.trim_end().to_owned();
        let public = line.parse().with_context(|| format!("ssh-keygen made a strange key: {line}"))?;
        Ok(Self { private: private.to_owned(), line, public, _folder: folder })
    }

    /// The file with the private half, of mode 0600.
    pub fn private(&self) -> &Path {
        &self.private
    }

    /// The public half as ssh-keygen writes it, `type base64 comment`, with no line end.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The SHA-256 fingerprint of the public half.
    pub fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }
}

/// Makes `id` and `id.pub` in `folder`.
fn generate(folder: &Path, kind: &[&str], comment: &str) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").args(kind).args(["-N", "", "-C", comment, "-f"]).arg(folder.join("id"));
    let output = command.output().context("cannot run ssh-keygen; install openssh-client")?;
    ensure!(output.status.success(), "ssh-keygen failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_new_each_time_and_the_rsa_key_is_kept() -> Result<()> {
        let (a, b) = (TestKey::new("a@test")?, TestKey::new("b@test")?);
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert!(a.line().ends_with(" a@test"));
        let rsa = TestKey::rsa()?;
        assert_eq!(rsa.public().algorithm(), "ssh-rsa");
        assert_eq!(rsa.line(), TestKey::rsa()?.line());
        let file = a.private().to_owned();
        drop(a);
        assert!(!file.exists());
        Ok(())
    }
}
