//! The words that a role has for things of which there are a few.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Gives an enum of words its text, its parser and its place in YAML: the word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $kind:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every word, as written in a role.
            pub(crate) const WORDS: &[&str] = &[$($word),*];

            /// The word.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("{text:?} is not {}; give {}", $kind, Self::WORDS.join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// An architecture, in EC2's words.
    Arch: "an architecture" {
        /// Intel and AMD.
        X86_64 = "x86_64",
        /// Graviton.
        Arm64 = "arm64",
    }
}

words! {
    /// A kind of package.
    PackageFormat: "a kind of package" {
        /// Debian, Ubuntu.
        Deb = "deb",
        /// Amazon Linux, Rocky.
        Rpm = "rpm",
    }
}

words! {
    /// A type of EBS volume. <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>
    VolumeKind: "a type of volume" {
        /// The usual SSD.
        Gp3 = "gp3",
        /// The SSD before it.
        Gp2 = "gp2",
        /// Provisioned IOPS.
        Io1 = "io1",
        /// Provisioned IOPS, durable.
        Io2 = "io2",
        /// Throughput on magnetic disks.
        St1 = "st1",
        /// Cold magnetic disks.
        Sc1 = "sc1",
        /// Magnetic disks of the first generation.
        Standard = "standard",
    }
}

words! {
    /// How the agent keeps an account's key file.
    AccountMode: "a mode" {
        /// A block of its own among other lines.
        Shared = "shared",
        /// The whole file.
        Exclusive = "exclusive",
        /// A file below `/etc/ssh`.
        System = "system",
    }
}

words! {
    /// What EC2 does with a box that powers itself off (`InstanceInitiatedShutdownBehavior`).
    AutostopAction: "what becomes of a box" {
        /// It can be started again.
        Stop = "stop",
        /// It is gone.
        Terminate = "terminate",
    }
}

words! {
    /// What is let in.
    Protocol: "a protocol" {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// ICMP.
        Icmp = "icmp",
        /// ICMP of IPv6.
        Icmpv6 = "icmpv6",
        /// Everything.
        All = "all",
    }
}

words! {
    /// A file system that is made on ephemeral disks.
    FileSystem: "a file system" {
        /// Everywhere.
        Ext4 = "ext4",
        /// What Rocky and Amazon Linux prefer.
        Xfs = "xfs",
    }
}
