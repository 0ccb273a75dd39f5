//! What an object in the bucket says of the key in it by its name, and whether that is so.
//!
//! Whoever can put an object can name it anything: a key that is not the one that the name tells of is never taken.

use crate::public_key::{Ec2Fingerprint, Fingerprint, PublicKey, Verdict};
use crate::registry::ec2::KeyPair;

/// What the key in an object has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// `people/<person>/<sha256>.pub`: the key with that fingerprint.
    Sha256(Fingerprint),
    /// Any other file of a person: whatever keys stand there.
    Any,
    /// `ssh_pubkey:<fingerprint>`: the key of the key pair with that fingerprint.
    KeyPair {
        /// The fingerprint in the object's name, as EC2 prints it.
        fingerprint: String,
        /// The public half that EC2 returned, if any. What it says goes before the fingerprint.
        public_half: Option<PublicKey>,
    },
}

impl Rule {
    /// The rules for the objects in which the key of this pair may stand, each with its fingerprint in the name.
    ///
    /// One object, but for stand-ins of EC2 that print fingerprints of Ed25519 in forms of their own: there the key may
    /// also stand under the fingerprint that AWS documents.
    pub(super) fn of_pair(pair: &KeyPair) -> Vec<Self> {
        let public_half = pair.public_half();
        let mut fingerprints = vec![pair.fingerprint.clone()];
        if pair.fingerprint.parse::<Ec2Fingerprint>().is_err()
            && let Some(key) = &public_half
        {
            fingerprints.push(key.ec2_fingerprint().to_string());
        }
        fingerprints.retain(|fingerprint| !fingerprint.is_empty());
        let rule = |fingerprint| Rule::KeyPair { fingerprint, public_half: public_half.clone() };
        fingerprints.into_iter().map(rule).collect()
    }

    /// Whether `key` may stand in the object; if not, why.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), String> {
        match self {
            Rule::Any => Ok(()),
            Rule::Sha256(named) if *named == key.fingerprint() => Ok(()),
            Rule::Sha256(_) => Err(format!("its key is another than its name says, {}", key.fingerprint())),
            Rule::KeyPair { public_half: Some(half), .. } if half == key => Ok(()),
            Rule::KeyPair { public_half: Some(half), .. } => {
                Err(format!("its key is {}, and that of the key pair {}", key.fingerprint(), half.fingerprint()))
            }
            Rule::KeyPair { fingerprint, public_half: None } => {
                match fingerprint.parse::<Ec2Fingerprint>().map(|fingerprint| fingerprint.verify(key)) {
                    Ok(Verdict::Same) => Ok(()),
                    Ok(Verdict::Different) => {
                        Err(format!("its key is another than its name says, {}", key.fingerprint()))
                    }
                    Ok(Verdict::CannotTell) => Err("its fingerprint is that of a private key, and EC2 returned no \
                                                    public half to hold its key against"
                        .to_owned()),
                    Err(error) => Err(error.to_string()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::{ed25519, rsa};

    fn pair(fingerprint: &str, public_half: Option<PublicKey>) -> Rule {
        Rule::KeyPair { fingerprint: fingerprint.to_owned(), public_half }
    }

    #[test]
    fn a_key_under_anothers_fingerprint_is_refused() {
        let (ours, other) = (rsa(1), rsa(2));
        assert!(Rule::Sha256(ours.fingerprint()).check(&ours).is_ok());
        assert!(Rule::Sha256(ours.fingerprint()).check(&other).is_err());
        let rule = pair(&ours.ec2_fingerprint().to_string(), None);
        assert!(rule.check(&ours).is_ok());
        assert!(rule.check(&other).is_err());
        let rule = pair(&ed25519(1).ec2_fingerprint().to_string(), None);
        assert!(rule.check(&ed25519(1)).is_ok());
        assert!(rule.check(&ed25519(2)).is_err());
    }

    #[test]
    fn under_a_fingerprint_of_a_private_key_only_the_key_that_ec2_returns_is_taken() {
        let sha1 = "aa:".repeat(19) + "aa";
        assert!(pair(&sha1, None).check(&rsa(1)).unwrap_err().contains("no public half"));
        assert!(pair(&sha1, Some(rsa(1))).check(&rsa(1)).is_ok());
        assert!(pair(&sha1, Some(rsa(1))).check(&rsa(2)).is_err());
    }

    #[test]
    fn what_ec2_returns_goes_before_a_fingerprint_that_can_be_forged_or_not_be_read() {
        let ours = rsa(1);
        assert!(pair(&ours.ec2_fingerprint().to_string(), Some(rsa(2))).check(&ours).is_err());
        assert!(pair("zz", None).check(&ours).is_err());
        assert!(pair("zz", Some(ours.clone())).check(&ours).is_ok());
    }
}
