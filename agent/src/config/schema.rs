//! Every field of the file: its table, its name, the flag that is laid over it, and how it is written.
//!
//! A table for messages and tests; the reading itself is in `document` and `flags`.

/// A field of the file.
#[derive(Debug)]
pub(super) struct Field {
    /// The table it stands in; empty at the top of the file.
    pub(super) table: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
    /// The long flag for it, without dashes.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests hold the flags against this table"))]
    pub(super) flag: &'static str,
    /// A value for it, as written in TOML.
    pub(super) example: &'static str,
}

const fn field(table: &'static str, name: &'static str, flag: &'static str, example: &'static str) -> Field {
    Field { table, name, flag, example }
}

/// The table of one grant.
pub(super) const GRANT: &str = "grant";

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

/// The names that can stand in a table: its fields, and at the top of the file the tables too.
pub(super) fn names_in(table: &str) -> Vec<&'static str> {
    let fields = FIELDS.iter().filter(|field| field.table == table).map(|field| field.name);
    let tables = FIELDS.iter().map(|field| field.table).filter(|name| table.is_empty() && !name.is_empty());
    let mut names: Vec<_> = fields.chain(tables).collect();
    names.dedup();
    names
}

/// How a field is written, such as `poll_interval = "60s"`.
pub(super) fn example(table: &str, name: &str) -> String {
    let example = FIELDS.iter().find(|field| field.table == table && field.name == name).map_or("...", |f| f.example);
    format!("{name} = {example}")
}

/// Where else a field of this name stands, in words; `None` also when it could be meant in several tables.
pub(super) fn home_of(name: &str) -> Option<String> {
    let mut fields = FIELDS.iter().filter(|field| field.name == name);
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    Some(match field.table {
        "" => format!("{name} stands at the top of the file, above the first [table]"),
        GRANT => format!("{name} stands in a [[grant]]"),
        table => format!("{name} stands in [{table}]"),
    })
}
