//! What the cloud knows before anybody calls it: the image of Debian 12, as AWS lists it.

use serde_json::{Value, json};

/// Debian's account at AWS. <https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm>
const OWNER: &str = "136693071363";

/// A machine image.
#[derive(Debug, Clone)]
pub(super) struct BaseImage {
    /// Such as `ami-0123456789abcdef0`.
    pub(super) id: String,
    /// As Debian names its images.
    pub(super) name: String,
    /// The SSM public parameter that names it.
    pub(super) parameter: &'static str,
}

/// The image of Debian 12.
pub(super) fn debian() -> BaseImage {
    BaseImage {
        id: "ami-0deb1a0120000000f".to_owned(),
        name: "debian-12-amd64-20261101-2281".to_owned(),
        parameter: "/aws/service/debian/release/12/latest/amd64",
    }
}

impl BaseImage {
    /// The images that moto is to know, in its own format.
    pub(super) fn catalogue(&self) -> Value {
        json!([{
            "ami_id": self.id, "name": self.name, "owner_id": OWNER, "state": "available", "public": true,
            "description": "Debian 12, on systemd-nspawn", "architecture": "x86_64", "image_type": "machine",
            "image_location": format!("amazon/{}", self.name), "virtualization_type": "hvm", "hypervisor": "xen",
            "root_device_type": "ebs", "root_device_name": "/dev/xvda", "sriov": "simple",
            "creation_date": "2026-11-01T00:00:00.000Z",
        }])
    }
}
