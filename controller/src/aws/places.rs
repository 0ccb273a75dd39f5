//! Where an instance can be launched and on what: subnets, and the instance types that EC2 offers. Asked, never tabled.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, InstanceType, InstanceTypeInfo, LocationType};

use super::instances::filter;
use super::{CallError, failed};

/// A subnet as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// `subnet-...`
    pub(crate) id: String,
    /// The network that it is part of: `vpc-...`
    pub(crate) network: String,
    /// Its availability zone.
    pub(crate) zone: String,
    /// Whether it is the one that EC2 takes for its zone when none is named.
    pub(crate) default: bool,
    /// Addresses that are free in it.
    pub(crate) free: i32,
}

/// An instance type as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Its name, such as `t3.small`.
    pub(crate) name: String,
    /// The architectures that it runs, in EC2's words.
    pub(crate) architectures: Vec<String>,
    /// Its memory in MiB.
    pub(crate) memory: i64,
    /// Its processors.
    pub(crate) processors: i32,
}

/// Which subnets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subnets<'a> {
    /// The one with this id.
    Id(&'a str),
    /// Those of this network.
    Network(&'a str),
    /// The default one of each zone: none where the region has no default network.
    Default,
}

/// The subnets that can be used now.
pub(crate) async fn subnets(client: &Client, which: Subnets<'_>) -> Result<Vec<Subnet>, CallError> {
    let (name, value) = match which {
        Subnets::Id(id) => ("subnet-id", id),
        Subnets::Network(id) => ("vpc-id", id),
        Subnets::Default => ("default-for-az", "true"),
    };
    let filters = vec![filter(name, [value.to_owned()]), filter("state", ["available".to_owned()])];
    let mut pages = client.describe_subnets().set_filters(Some(filters)).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(format!("ec2 DescribeSubnets {value}")))?;
        found.extend(page.subnets.unwrap_or_default().into_iter().filter_map(|subnet| {
            Some(Subnet {
                id: subnet.subnet_id?,
                network: subnet.vpc_id?,
                zone: subnet.availability_zone?,
                default: subnet.default_for_az.unwrap_or(false),
                free: subnet.available_ip_address_count.unwrap_or(0),
            })
        }));
    }
    Ok(found)
}

/// The instance type of this name; `None` if EC2 knows none.
pub(crate) async fn kind(client: &Client, name: &str) -> Result<Option<Kind>, CallError> {
    let answer = client.describe_instance_types().instance_types(InstanceType::from(name)).send().await;
    match answer.map_err(failed(format!("ec2 DescribeInstanceTypes {name}"))) {
        Err(error) if error.code.as_deref().is_some_and(|code| code.starts_with("InvalidInstanceType")) => Ok(None),
        answer => Ok(answer?.instance_types.unwrap_or_default().into_iter().find_map(read)),
    }
}

/// The instance types that run an architecture, are of EC2's current generation and cost little while they idle.
pub(crate) async fn burstable(client: &Client, architecture: &str) -> Result<Vec<Kind>, CallError> {
    let filters = [
        ("processor-info.supported-architecture", architecture),
        ("current-generation", "true"),
        ("burstable-performance-supported", "true"),
    ];
    let filters: Vec<Filter> = filters.map(|(name, value)| filter(name, [value.to_owned()])).to_vec();
    let mut pages = client.describe_instance_types().set_filters(Some(filters)).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(format!("ec2 DescribeInstanceTypes for {architecture}")))?;
        found.extend(page.instance_types.unwrap_or_default().into_iter().filter_map(read));
    }
    Ok(found)
}

/// The zones in which each of these types is offered; a type that is offered nowhere has no entry.
pub(crate) async fn offers(client: &Client, kinds: &[String]) -> Result<BTreeMap<String, Vec<String>>, CallError> {
    let call = client.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
    let mut pages = call.filters(filter("instance-type", kinds.to_vec())).into_paginator().send();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(format!("ec2 DescribeInstanceTypeOfferings {}", kinds.join(" "))))?;
        for offering in page.instance_type_offerings.unwrap_or_default() {
            if let (Some(kind), Some(zone)) = (offering.instance_type, offering.location) {
                found.entry(kind.as_str().to_owned()).or_default().push(zone);
            }
        }
    }
    for zones in found.values_mut() {
        zones.sort();
    }
    Ok(found)
}

fn read(info: InstanceTypeInfo) -> Option<Kind> {
    let architectures = info.processor_info.and_then(|processor| processor.supported_architectures);
    Some(Kind {
        name: info.instance_type?.as_str().to_owned(),
        architectures: architectures.unwrap_or_default().iter().map(|kind| kind.as_str().to_owned()).collect(),
        memory: info.memory_info.and_then(|memory| memory.size_in_mib).unwrap_or(0),
        processors: info.v_cpu_info.and_then(|processors| processors.default_v_cpus).unwrap_or(0),
    })
}
