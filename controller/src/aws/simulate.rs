//! What IAM says a caller may do, by its policies: inferred, since neither policies of the organisation in full nor those
//! of a session are seen.

use std::collections::BTreeMap;

use aws_sdk_iam::Client;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};

use super::caller::Caller;
use super::{CallError, failed};

/// Whose policies count: the user, or the role behind a session, which is taken to have no path.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
pub(crate) fn source(caller: &Caller) -> Option<String> {
    let resource = caller.arn.splitn(6, ':').nth(5)?;
    if resource.starts_with("user/") {
        return Some(caller.arn.clone());
    }
    let role = resource.strip_prefix("assumed-role/")?.split('/').next()?;
    Some(format!("arn:{}:iam::{}:role/{role}", caller.partition(), caller.account))
}

/// Which of the actions these policies allow on all the resources, in these circumstances.
pub(crate) async fn allowed(
    client: &Client,
    source: &str,
    actions: &[String],
    resources: &[String],
    context: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, bool>, CallError> {
    let entry = |(key, values): (&String, &Vec<String>)| {
        let kind = if values.len() > 1 { ContextKeyTypeEnum::StringList } else { ContextKeyTypeEnum::String };
        ContextEntry::builder()
            .context_key_name(key)
            .context_key_type(kind)
            .set_context_key_values(Some(values.clone()))
            .build()
    };
    let call = client.simulate_principal_policy().policy_source_arn(source);
    let call = call.set_action_names(Some(actions.to_vec())).set_resource_arns(Some(resources.to_vec()));
    let call = call.set_context_entries(Some(context.iter().map(entry).collect()));
    let mut pages = call.into_paginator().send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(format!("iam SimulatePrincipalPolicy of {source}")))?;
        for result in page.evaluation_results.unwrap_or_default() {
            let allowed = result.eval_decision == PolicyEvaluationDecisionType::Allowed;
            // An action that is told of more than once, by resource, is allowed if it is each time.
            found.entry(result.eval_action_name).and_modify(|so_far| *so_far &= allowed).or_insert(allowed);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_of_a_session_are_those_of_its_role() {
        let of = |arn: &str| source(&Caller { arn: arn.to_owned(), account: "123456789012".to_owned() });
        let user = "arn:aws:iam::123456789012:user/team/alice";
        assert_eq!(of(user).as_deref(), Some(user));
        let role = of("arn:aws-cn:sts::123456789012:assumed-role/admin/alice");
        assert_eq!(role.as_deref(), Some("arn:aws-cn:iam::123456789012:role/admin"));
        assert_eq!(of("arn:aws:iam::123456789012:root"), None);
    }
}
