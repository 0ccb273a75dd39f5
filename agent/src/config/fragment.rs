//! The configuration as written: every field optional, every value still text, each with the place where it stands.
//!
//! The file and the flags each make one [`Fragment`]; laid one over the other they are what the validation takes.
//! Nothing is checked here, and no default is known.

use fleetkey_common::config_file::{List, Origin, Text, Written};

/// One `[[grant]]` or `--grant` as written.
#[derive(Debug, Clone)]
pub(super) struct GrantFragment {
    /// Where the grant begins.
    pub(super) origin: Origin,
    pub(super) account: Option<Text>,
    pub(super) keys: Option<List>,
    pub(super) mode: Option<Text>,
}

macro_rules! fragment {
    ($($field:ident: $type:ty,)*) => {
        /// One configuration as written, named `<table>_<field>`; `None` where nothing was written.
        #[derive(Debug, Clone, Default)]
        pub(super) struct Fragment {
            $(pub(super) $field: Option<$type>,)*
        }

        impl Fragment {
            /// This fragment, with what it leaves out taken from `under`.
            pub(super) fn over(self, under: Self) -> Self {
                Self { $($field: self.$field.or(under.$field),)* }
            }
        }
    };
}

fragment! {
    source: Text,
    registries: List,
    directory: Text,
    poll_interval: Text,
    grants: Vec<GrantFragment>,
    guard_max_removed: Text,
    guard_break_glass: Text,
    guard_max_stale: Text,
    push_enabled: Written<bool>,
    push_topic: Text,
    push_delete_queue: Text,
    aws_region: Text,
    aws_bucket: Text,
    aws_endpoint_url: Text,
    aws_ca_bundle: Text,
    aws_credentials_file: Text,
    instance_id: Text,
    instance_account_id: Text,
    instance_metadata_url: Text,
    render_allowed_options: List,
    render_expiry_time: Written<bool>,
    report_status_object: Written<bool>,
    metrics_enabled: Written<bool>,
    metrics_interval: Text,
    metrics_namespace: Text,
    autostop_after: Text,
    autostop_action: Text,
    autostop_max_load: Text,
    autostop_max_stay: Text,
    paths_state: Text,
    paths_runtime: Text,
    paths_system_keys: Text,
}
