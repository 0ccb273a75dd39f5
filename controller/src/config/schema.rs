//! Every field of the operator's configuration: where it stands, the flag that goes before it, and how it is written.
//!
//! A table for messages and tests; the reading itself is in `document`.

use fleetkey_common::config_file::{Field, Schema, field};

/// The table of profiles.
pub(super) const PROFILE: &str = "profile";

/// The field that names the profile that counts where none is asked for.
pub(super) const DEFAULT_PROFILE: &str = "default_profile";

/// The fields that stand at the top of the file, for all profiles, and in each profile.
macro_rules! everywhere {
    ($(($name:literal, $flag:literal, $example:literal),)*) => {
        /// All fields.
        const FIELDS: &[Field] = &[
            field("", DEFAULT_PROFILE, "profile", r#""prod""#),
            $(field("", $name, $flag, $example),)*
            $(field(PROFILE, $name, $flag, $example),)*
        ];
    };
}

everywhere! {
    ("aws_profile", "", r#""production""#),
    ("region", "region", r#""us-west-2""#),
    ("zone", "zone", r#""us-west-2a""#),
    ("namespace", "namespace", r#""/prod/""#),
    ("me", "", r#""alice""#),
    ("keypairs", "keypairs", r#"["__me__", "@@developers"]"#),
    ("instance_type", "instance-type", r#""t3.small""#),
    ("bucket", "bucket", r#""123456789012-fleetkey""#),
    ("topic", "topic", r#""fleetkey-agent-notifications""#),
    ("output", "output", r#""json""#),
    ("address", "address", r#""private""#),
    ("jump", "jump", r#""bastion""#),
    ("via", "via", r#""ssm""#),
    ("ssh_from", "ssh-from", r#""auto""#),
}

/// The file.
pub(super) const SCHEMA: Schema = Schema { fields: FIELDS, special: (PROFILE, "[profile.NAME]") };
