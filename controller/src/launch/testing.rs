//! What the tests of this folder share.

use std::collections::BTreeMap;

use crate::role::{Node, PackageFormat, Place, Role, Value};

/// A role of this name that says nothing.
pub(super) fn role(name: &str) -> Role {
    let place = Place { file: "test".into(), line: 1, column: 1 };
    Role {
        name: name.parse().unwrap(),
        description: String::new(),
        abstract_: false,
        base_images: BTreeMap::new(),
        package: Some(PackageFormat::Deb),
        admin_account: Some("admin".parse().unwrap()),
        instance_type: None,
        root_volume: None,
        volumes: Vec::new(),
        ingress: Vec::new(),
        iam_policies: BTreeMap::new(),
        accounts: Vec::new(),
        options: BTreeMap::new(),
        ephemeral: None,
        agent: true,
        autostop: None,
        cloud_config: Node { value: Value::Map(Vec::new()), place },
    }
}
