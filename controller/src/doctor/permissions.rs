//! What the caller may do, policy by policy: tried where that is harmless, else asked of IAM, else not known. Which of
//! these it was is said.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use super::statement::{Statement, statements};
use super::world::World;
use super::{Blocked, Finding};
use crate::account::shipped::{SHIPPED, Shipped};
use crate::account::words::Words;
use crate::aws::simulate;
use crate::aws::tries::{self, Target, Tried};

const NAME: &str = "permissions";

/// How many actions are tried at a time.
const TRIES: usize = 8;

/// What is known of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Tried(bool),
    Inferred(bool),
    Not,
}

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    let (region, caller) = (world.region()?, world.caller().await?);
    let bucket = world.bucket().await.ok();
    let person = world.person().await;
    let name = world.bucket_name(caller);
    let words = Words {
        partition: caller.partition().to_owned(),
        account: caller.account.clone(),
        regions: vec![region.to_owned()],
        bucket: name,
        topic: world.topic.clone(),
    };
    let instance = tries::any_box(&world.ec2()).await;
    let mut may_simulate = true;
    let mut findings = Vec::new();
    for shipped in SHIPPED.iter().filter(|shipped| world.audiences.contains(&shipped.audience)) {
        let document = words.fill(shipped.document()).to_string();
        let document = document.replace("${aws:username}", person.as_ref().map_or("*", |person| person.as_str()));
        let statements = statements(&serde_json::from_str(&document).unwrap_or_default());
        let prefixes: Vec<String> = statements.iter().map(Statement::prefix).collect();
        let all = statements.iter().zip(&prefixes);
        let each = all.flat_map(|(statement, prefix)| statement.actions.iter().map(move |action| (action, prefix)));
        let asking = stream::iter(each.enumerate()).map(async |(at, (action, prefix))| {
            let target = Target {
                config: &world.config,
                caller,
                region,
                topic: &world.topic,
                bucket,
                prefix,
                person: person.as_ref(),
                instance: instance.as_deref(),
            };
            (at, tries::try_action(action, &target).await)
        });
        let mut tried: Vec<(usize, Tried)> = asking.buffer_unordered(TRIES).collect().await;
        tried.sort_by_key(|(at, _)| *at);
        let mut outcomes = tried.into_iter().map(|(_, tried)| tried);
        let mut known = Vec::new();
        for statement in &statements {
            let of_statement: Vec<Tried> = outcomes.by_ref().take(statement.actions.len()).collect();
            known.extend(conclude(world, statement, &of_statement, &mut may_simulate).await);
        }
        findings.push(judge(
            shipped,
            known,
            caller.person().ok().as_ref().map(fleetkey_common::names::PersonName::as_str),
            &words,
        ));
    }
    Ok(findings)
}

/// What is known of each action of a statement, IAM asked about those that cannot be tried.
async fn conclude(
    world: &World,
    statement: &Statement,
    tried: &[Tried],
    may_simulate: &mut bool,
) -> Vec<(String, Known)> {
    let all: Vec<_> = statement.actions.iter().zip(tried).collect();
    let open = all.iter().filter(|(_, tried)| **tried == Tried::Unknown);
    let open: Vec<String> = open.map(|(action, _)| (*action).clone()).collect();
    let mut inferred = BTreeMap::new();
    let source = world.caller().await.ok().and_then(simulate::source);
    if let (Some(source), true, false) = (source, *may_simulate, open.is_empty()) {
        let answer = simulate::allowed(&world.iam(), &source, &open, &statement.resources, &statement.context).await;
        // Who may not ask about one may not ask about another.
        *may_simulate = answer.is_ok();
        inferred = answer.unwrap_or_default();
    }
    let known = |(action, tried): (&String, &Tried)| {
        let known = match (tried, inferred.get(action)) {
            (Tried::Allowed, _) => Known::Tried(true),
            (Tried::Denied, _) => Known::Tried(false),
            (Tried::Unknown, Some(allowed)) => Known::Inferred(*allowed),
            (Tried::Unknown, None) => Known::Not,
        };
        (action.clone(), known)
    };
    all.into_iter().map(known).collect()
}

/// One line for a policy. An action in several statements is as little allowed as in the worst of them.
fn judge(shipped: &Shipped, known: Vec<(String, Known)>, user: Option<&str>, words: &Words) -> Finding {
    let mut worst: BTreeMap<String, Known> = BTreeMap::new();
    let rank = |known: Known| match known {
        Known::Tried(false) => 0,
        Known::Inferred(false) => 1,
        Known::Not => 2,
        Known::Inferred(true) => 3,
        Known::Tried(true) => 4,
    };
    for (action, known) in known {
        worst
            .entry(action)
            .and_modify(|so_far| *so_far = std::cmp::min_by_key(*so_far, known, |k| rank(*k)))
            .or_insert(known);
    }
    let of = |wanted: Known| -> Vec<&str> {
        worst.iter().filter(|(_, known)| **known == wanted).map(|(action, _)| action.as_str()).collect()
    };
    let purpose = shipped.purpose;
    let (denied, inferred_no, open) = (of(Known::Tried(false)), of(Known::Inferred(false)), of(Known::Not));
    let (tried, inferred) = (of(Known::Tried(true)).len(), of(Known::Inferred(true)).len());
    if !denied.is_empty() || !inferred_no.is_empty() {
        let mut lacks: Vec<String> = denied.iter().map(|action| (*action).to_owned()).collect();
        lacks.extend(inferred_no.iter().map(|action| format!("{action} (inferred)")));
        let arn = format!("arn:{}:iam::{}:policy/fleetkey/{}", words.partition, words.account, shipped.name());
        let mend = match user {
            Some(user) => format!("aws iam attach-user-policy --user-name {user} --policy-arn {arn}"),
            None => format!("attach {arn} to the caller's role"),
        };
        return Finding::missing(NAME, format!("{purpose}: lacks {}", lacks.join(", "))).mend(mend);
    }
    let mut seen = Vec::new();
    if tried > 0 {
        seen.push(format!("{tried} tried and allowed"));
    }
    if inferred > 0 {
        seen.push(format!("{inferred} allowed as IAM infers"));
    }
    if open.is_empty() {
        return Finding::ok(NAME, format!("{purpose}: {}", seen.join(", ")));
    }
    seen.push(format!("{} not known, since they cannot be tried without harm: {}", open.len(), open.join(", ")));
    Finding::unknown(NAME, format!("{purpose}: {}", seen.join(", ")))
        .mend("iam:SimulatePrincipalPolicy lets IAM be asked; fleetkey-controller-doctor has it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn judged(known: &[(&str, Known)]) -> Finding {
        let shipped = SHIPPED.iter().find(|shipped| shipped.file == "controller-ssh").unwrap();
        let known = known.iter().map(|(action, known)| ((*action).to_owned(), *known)).collect();
        judge(shipped, known, Some("alice"), &Words::example())
    }

    #[test]
    fn what_was_tried_what_was_inferred_and_what_is_not_known_is_told_apart() {
        let found = judged(&[("a:A", Known::Tried(true)), ("a:B", Known::Inferred(true)), ("a:A", Known::Tried(true))]);
        let what = "find boxes and their host keys: 1 tried and allowed, 1 allowed as IAM infers";
        assert_eq!((found.state, found.what.as_str()), (State::Ok, what));
        let found = judged(&[("a:A", Known::Tried(true)), ("a:B", Known::Not)]);
        assert_eq!(found.state, State::Unknown);
        assert!(found.what.ends_with("1 not known, since they cannot be tried without harm: a:B"), "{}", found.what);
    }

    #[test]
    fn an_action_that_is_denied_anywhere_is_lacking() {
        let found =
            judged(&[("a:A", Known::Tried(true)), ("a:A", Known::Inferred(false)), ("a:B", Known::Tried(false))]);
        assert_eq!(found.state, State::Missing);
        assert_eq!(found.what, "find boxes and their host keys: lacks a:B, a:A (inferred)");
        assert_eq!(
            found.mend.as_deref(),
            Some(
                "aws iam attach-user-policy --user-name alice --policy-arn \
                 arn:aws:iam::123456789012:policy/fleetkey/fleetkey-controller-ssh"
            )
        );
    }
}
