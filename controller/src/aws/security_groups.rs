//! Security groups and what they let in: found, made, changed, deleted.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroup, Tag, TagSpecification,
    UserIdGroupPair,
};

use super::instances::filter;
use super::{CallError, failed};
use crate::ingress::{Rule, RuleSource, Rules};

/// A security group as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// `sg-...`
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// The network that it is in: `vpc-...`
    pub(crate) network: String,
    /// What it lets in, a rule for each source.
    pub(crate) rules: Rules,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

/// The protocol that stands for all.
const ALL: &str = "-1";

/// The group of this name in a network; no two there have the same.
pub(crate) async fn find(client: &Client, network: &str, name: &str) -> Result<Option<Group>, CallError> {
    let filters = [filter("group-name", [name.to_owned()]), filter("vpc-id", [network.to_owned()])];
    let answer = client.describe_security_groups().set_filters(Some(filters.to_vec())).send().await;
    let answer = answer.map_err(failed(format!("ec2 DescribeSecurityGroups {name} in {network}")))?;
    Ok(answer.security_groups.unwrap_or_default().into_iter().find_map(read))
}

/// Groups on a page: the most that EC2 gives.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSecurityGroups.html>
const PAGE: i32 = 1000;

/// The groups of this name in all networks of the region.
pub(crate) async fn named(client: &Client, name: &str) -> Result<Vec<Group>, CallError> {
    list(client, filter("group-name", [name.to_owned()]), &format!("ec2 DescribeSecurityGroups {name}")).await
}

/// The groups of the region with this tag, whatever its value.
pub(crate) async fn tagged(client: &Client, tag: &str) -> Result<Vec<Group>, CallError> {
    list(client, filter("tag-key", [tag.to_owned()]), &format!("ec2 DescribeSecurityGroups with {tag}")).await
}

/// The groups of the region that have this tag with one of these values; `*` in one stands for any text.
pub(crate) async fn tagged_as(client: &Client, tag: &str, values: &[String]) -> Result<Vec<Group>, CallError> {
    let wanted = filter(&format!("tag:{tag}"), values.iter().cloned());
    list(client, wanted, &format!("ec2 DescribeSecurityGroups with {tag}")).await
}

async fn list(client: &Client, wanted: Filter, action: &str) -> Result<Vec<Group>, CallError> {
    let mut pages = client.describe_security_groups().filters(wanted).max_results(PAGE).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let groups = page.map_err(failed(action))?.security_groups.unwrap_or_default();
        found.extend(groups.into_iter().filter_map(read));
    }
    Ok(found)
}

/// Makes a group, with its tags from the first moment, and gives its id. It lets nothing in yet.
pub(crate) async fn create(
    client: &Client,
    network: &str,
    name: &str,
    description: &str,
    tags: &[(&str, &str)],
) -> Result<String, CallError> {
    let action = format!("ec2 CreateSecurityGroup {name} in {network}");
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
    let tags = TagSpecification::builder().resource_type(ResourceType::SecurityGroup).set_tags(Some(tags)).build();
    let call = client.create_security_group().vpc_id(network).group_name(name).description(description);
    let answer = call.tag_specifications(tags).send().await.map_err(failed(action.clone()))?;
    answer.group_id.ok_or_else(|| CallError::answer(action, "the answer has no id"))
}

/// Lets something in, and writes beside it why. Let in already: done.
pub(crate) async fn authorize(client: &Client, group: &str, rule: &Rule, text: &str) -> Result<(), CallError> {
    let permission = permission(rule, group, text);
    let call = client.authorize_security_group_ingress().group_id(group).ip_permissions(permission);
    match call.send().await.map_err(failed(format!("ec2 AuthorizeSecurityGroupIngress {rule} to {group}"))) {
        Err(error) if error.code.as_deref() != Some("InvalidPermission.Duplicate") => Err(error),
        _ => Ok(()),
    }
}

/// Writes something else beside a rule.
pub(crate) async fn describe(client: &Client, group: &str, rule: &Rule, text: &str) -> Result<(), CallError> {
    let call = client.update_security_group_rule_descriptions_ingress().group_id(group);
    let answer = call.ip_permissions(permission(rule, group, text)).send().await;
    answer.map_err(failed(format!("ec2 UpdateSecurityGroupRuleDescriptionsIngress {rule} of {group}")))?;
    Ok(())
}

/// Lets something in no more. Not let in anyway: done.
pub(crate) async fn revoke(client: &Client, group: &str, rule: &Rule) -> Result<(), CallError> {
    let call = client.revoke_security_group_ingress().group_id(group).ip_permissions(permission(rule, group, ""));
    match call.send().await.map_err(failed(format!("ec2 RevokeSecurityGroupIngress {rule} to {group}"))) {
        Err(error) if error.code.as_deref() != Some("InvalidPermission.NotFound") => Err(error),
        _ => Ok(()),
    }
}

/// Deletes a group that nothing uses. Gone already: done.
pub(crate) async fn delete(client: &Client, group: &str) -> Result<(), CallError> {
    let answer = client.delete_security_group().group_id(group).send().await;
    match answer.map_err(failed(format!("ec2 DeleteSecurityGroup {group}"))) {
        Err(error) if error.code.as_deref() != Some("InvalidGroup.NotFound") => Err(error),
        _ => Ok(()),
    }
}

fn read(described: SecurityGroup) -> Option<Group> {
    let id = described.group_id?;
    let permissions = described.ip_permissions.unwrap_or_default().into_iter();
    let rules = permissions.flat_map(|permission| flatten(&permission, &id)).collect();
    let tags = described.tags.unwrap_or_default().into_iter();
    let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect();
    let (name, network) = (described.group_name.unwrap_or_default(), described.vpc_id.unwrap_or_default());
    Some(Group { id, name, network, rules, tags })
}

/// A rule for each source of a permission, with what is written beside it.
fn flatten(permission: &IpPermission, own: &str) -> Vec<(Rule, String)> {
    let protocol = permission.ip_protocol().unwrap_or(ALL);
    let ports = if protocol == ALL { None } else { permission.from_port().zip(permission.to_port()) };
    let group = |id: &str| if id == own { RuleSource::Group } else { RuleSource::OtherGroup(id.to_owned()) };
    let ipv4 = permission.ip_ranges().iter();
    let ipv4 = ipv4.filter_map(|range| Some((RuleSource::Ipv4(range.cidr_ip()?.to_owned()), range.description())));
    let ipv6 = permission.ipv6_ranges().iter();
    let ipv6 = ipv6.filter_map(|range| Some((RuleSource::Ipv6(range.cidr_ipv6()?.to_owned()), range.description())));
    let groups = permission.user_id_group_pairs().iter();
    let groups = groups.filter_map(|pair| Some((group(pair.group_id()?), pair.description())));
    let lists = permission.prefix_list_ids().iter();
    let lists =
        lists.filter_map(|list| Some((RuleSource::PrefixList(list.prefix_list_id()?.to_owned()), list.description())));
    let sources = ipv4.chain(ipv6).chain(groups).chain(lists);
    let rule = |source| Rule { protocol: protocol.to_owned(), ports, source };
    sources.map(|(source, text)| (rule(source), text.unwrap_or_default().to_owned())).collect()
}

fn permission(rule: &Rule, own: &str, text: &str) -> IpPermission {
    let (ports, text) = (rule.ports, Some(text.to_owned()).filter(|text| !text.is_empty()));
    let permission = IpPermission::builder().ip_protocol(&rule.protocol);
    let permission = permission.set_from_port(ports.map(|(from, _)| from)).set_to_port(ports.map(|(_, to)| to));
    let group = |id: &str| UserIdGroupPair::builder().group_id(id).set_description(text.clone()).build();
    match &rule.source {
        RuleSource::Ipv4(range) => {
            permission.ip_ranges(IpRange::builder().cidr_ip(range).set_description(text).build())
        }
        RuleSource::Ipv6(range) => {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(range).set_description(text).build())
        }
        RuleSource::Group => permission.user_id_group_pairs(group(own)),
        RuleSource::OtherGroup(id) => permission.user_id_group_pairs(group(id)),
        RuleSource::PrefixList(id) => {
            permission.prefix_list_ids(PrefixListId::builder().prefix_list_id(id).set_description(text).build())
        }
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_of_several_sources_is_as_many_rules_and_each_goes_back_to_ec2_alone() {
        let described = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(22)
            .to_port(22)
            .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").description("anybody").build())
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").build())
            .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("::/0").build())
            .user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-1").build())
            .user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-2").build())
            .prefix_list_ids(PrefixListId::builder().prefix_list_id("pl-1").build())
            .build();
        let rules = flatten(&described, "sg-1");
        assert_eq!(rules.len(), 6);
        assert_eq!(rules.iter().filter(|(_, text)| text == "anybody").count(), 1);
        for (rule, text) in rules {
            assert_eq!(flatten(&permission(&rule, "sg-1", &text), "sg-1"), [(rule, text)]);
        }
        let all = Rule { protocol: ALL.to_owned(), ports: None, source: RuleSource::Group };
        assert_eq!(flatten(&permission(&all, "sg-1", ""), "sg-1"), [(all, String::new())]);
    }
}
