//! Settings as written, in the file, in variables or in flags: each with the place where it stands.
//!
//! Nothing is checked here, and no default is known. One fragment is laid over another.

use fleetkey_common::config_file::{Origin, Text, Written};

macro_rules! fragment {
    ($($field:ident,)*) => {
        /// Settings as written; `None` where nothing was.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct Fragment {
            $(pub(crate) $field: Option<Text>,)*
        }

        impl Fragment {
            /// This fragment, with what it leaves out taken from `under`.
            pub(crate) fn over(self, under: &Self) -> Self {
                Self { $($field: self.$field.or_else(|| under.$field.clone()),)* }
            }

            /// The names of the settings, and what was written of each.
            pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, Option<&Text>)> {
                [$((stringify!($field), self.$field.as_ref()),)*].into_iter()
            }
        }
    };
}

fragment! {
    aws_profile,
    region,
    zone,
    namespace,
    me,
    // Words, separated by blanks: no key spec has one in it.
    keypairs,
    instance_type,
    bucket,
    topic,
    output,
    address,
    jump,
    via,
    ssh_from,
}

/// What a flag says, if it was given.
pub(crate) fn flag(name: &str, value: Option<&String>) -> Option<Text> {
    value.map(|value| Written { value: value.clone(), origin: Origin::Flag(name.to_owned()) })
}
