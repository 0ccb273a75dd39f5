//! Every field of the file: its table, its name, the flag that is laid over it, and how it is written.
//!
//! A table for messages and tests; the reading itself is in `document` and `flags`.

use fleetkey_common::config_file::{Field, Schema, field};

/// The table of one grant.
pub(super) const GRANT: &str = "grant";

/// The file.
pub(super) const SCHEMA: Schema = Schema { fields: FIELDS, special: (GRANT, "[[grant]]") };

/// All fields.
pub(super) const FIELDS: &[Field] = &[
    field("", "source", "source", r#""iam""#),
    field("", "registries", "registry", r#"["s3", "ec2"]"#),
    field("", "directory", "directory", r#""/etc/fleetkey/directory""#),
    field("", "poll_interval", "poll-interval", r#""60s""#),
    field(GRANT, "account", "grant", r#""ubuntu""#),
    field(GRANT, "keys", "grant", r#"["@@developers", "alice"]"#),
    field(GRANT, "mode", "grant", r#""shared""#),
    field("guard", "max_removed", "max-removed", r#""50%""#),
    field("guard", "break_glass", "break-glass", r#""/etc/fleetkey/break_glass.pub""#),
    field("guard", "max_stale", "max-stale", r#""72h""#),
    field("push", "enabled", "push", "true"),
    field("push", "topic", "push-topic", r#""fleetkey-agent-notifications""#),
    field("push", "delete_queue", "delete-queue", r#""poweroff""#),
    field("aws", "region", "region", r#""us-west-2""#),
    field("aws", "bucket", "bucket", r#""123456789012-fleetkey""#),
    field("aws", "endpoint_url", "endpoint-url", r#""https://aws.example.net""#),
    field("aws", "ca_bundle", "ca-bundle", r#""/etc/fleetkey/ca.pem""#),
    field("aws", "credentials_file", "credentials-file", r#""/etc/fleetkey/credentials""#),
    field("instance", "id", "instance-id", r#""i-0123456789abcdef0""#),
    field("instance", "account_id", "account-id", r#""123456789012""#),
    field("instance", "metadata_url", "metadata-url", r#""http://169.254.169.254""#),
    field("render", "allowed_options", "allow-option", r#"["command"]"#),
    field("render", "expiry_time", "expiry-time", "true"),
    field("report", "status_object", "status-object", "true"),
    field("metrics", "enabled", "metrics", "true"),
    field("metrics", "interval", "metrics-interval", r#""5m""#),
    field("metrics", "namespace", "metrics-namespace", r#""CGCloud""#),
    field("autostop", "after", "autostop", r#""2h""#),
    field("autostop", "action", "autostop-action", r#""stop""#),
    field("autostop", "max_load", "autostop-max-load", r#""0.5""#),
    field("autostop", "max_stay", "autostop-max-stay", r#""24h""#),
    field("paths", "state", "state-folder", r#""/var/lib/fleetkey""#),
    field("paths", "runtime", "runtime-folder", r#""/run/fleetkey""#),
    field("paths", "system_keys", "system-keys", r#""/etc/ssh/fleetkey/authorized_keys.d""#),
];
