//! From what an account should have, and what it has, to what is to be done. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bucket::{self, Setting};
use super::look::{Found, FoundPolicy};
use super::shipped::{Audience, SHIPPED, Shipped};
use super::words::{LONGEST, Words, regions_of};
use crate::aws::instance_profiles::PATH;
use crate::refusal::Refusal;

/// What an account should have.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The account id.
    pub(crate) account: String,
    /// The partition of the account.
    pub(crate) partition: String,
    /// The regions to set up, at least one.
    pub(crate) regions: Vec<String>,
    /// Regions that no policy is to allow any more.
    pub(crate) dropped: Vec<String>,
    /// The bucket's name.
    pub(crate) bucket: String,
    /// Where the bucket is, or would be made.
    pub(crate) bucket_region: String,
    /// The topic's name.
    pub(crate) topic: String,
    /// Whose policies are made.
    pub(crate) audiences: Vec<Audience>,
    /// Whether a bucket that Fleetkey did not make is taken over.
    pub(crate) adopt: bool,
}

/// A part of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The bucket itself.
    Bucket,
    /// A setting of the bucket.
    Setting(Setting),
    /// The topic in a region.
    Topic {
        /// The region.
        region: String,
    },
    /// A managed policy.
    Policy {
        /// Its name.
        name: String,
        /// What it is for.
        shipped: Shipped,
        /// What it is to say.
        document: Value,
        /// Its ARN, if it is there.
        arn: Option<String>,
    },
}

/// What becomes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Todo {
    /// It is not there, and is made.
    Make,
    /// It is otherwise, and is changed.
    Change,
    /// It is as it should be.
    Keep,
    /// It is left out, for the reason in the details.
    Leave,
}

impl Todo {
    /// In a word or two.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Todo::Make => "make",
            Todo::Change => "change",
            Todo::Keep => "as it is",
            Todo::Leave => "leave out",
        }
    }
}

/// A part, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The part.
    pub(crate) part: Part,
    /// What becomes of it.
    pub(crate) todo: Todo,
    /// How it will be, or is.
    pub(crate) details: String,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In the order in which they are carried out.
    pub(crate) steps: Vec<Step>,
    /// For the user.
    pub(crate) notes: Vec<String>,
    /// For the user, to be careful.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// The steps that change something.
    pub(crate) fn changes(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.todo, Todo::Make | Todo::Change)).count()
    }
}

/// The policies for these people and boxes. Those for administrators are for nobody: whoever has them needs no other.
pub(crate) fn policies(audiences: &[Audience]) -> impl Iterator<Item = &'static Shipped> {
    let wanted = |audience| audience != Audience::Administrators && audiences.contains(&audience);
    SHIPPED.iter().filter(move |shipped| wanted(shipped.audience))
}

/// Works out what is to be done.
///
/// # Errors
/// When something of that name is somebody else's, or when IAM would not take a policy.
pub(crate) fn plan(wanted: &Wanted, found: &Found) -> Result<Plan, Refusal> {
    let mut plan = Plan::default();
    plan_bucket(&mut plan, wanted, found)?;
    for region in &wanted.regions {
        let there = found.topics.get(region).copied().unwrap_or(false);
        let todo = if there { Todo::Keep } else { Todo::Make };
        plan.steps.push(Step { part: Part::Topic { region: region.clone() }, todo, details: format!("in {region}") });
    }
    plan_policies(&mut plan, wanted, found)?;
    Ok(plan)
}

fn plan_bucket(plan: &mut Plan, wanted: &Wanted, found: &Found) -> Result<(), Refusal> {
    let name = &wanted.bucket;
    let arn = format!("arn:{}:s3:::{name}", wanted.partition);
    let details = format!("in {}", wanted.bucket_region);
    let nothing = bucket::Found::default();
    let settings = match &found.bucket {
        None => {
            plan.steps.push(Step { part: Part::Bucket, todo: Todo::Make, details });
            &nothing
        }
        Some((settings, empty)) => {
            // An empty one may be of a run that ended right after making it; whoever's it is, there is nothing to harm.
            if !bucket::is_marked(&settings.tags) && !empty && !wanted.adopt {
                return Err(Refusal::new(format!(
                    "there is a bucket {name} with something in it, which does not say that it is Fleetkey's"
                ))
                .hint("--adopt takes it over, and sets it up; --dry-run --adopt shows what that changes")
                .hint("--bucket NAME uses another bucket"));
            }
            plan.steps.push(Step { part: Part::Bucket, todo: Todo::Keep, details });
            settings
        }
    };
    for rule in bucket::dangerous(&settings.rules) {
        plan.warnings.push(format!(
            "lifecycle rule {rule} of the bucket, which is not Fleetkey's, deletes objects that are current; keys or \
             packages may be among them"
        ));
    }
    for statement in bucket::strangers(settings.policy.as_ref()) {
        plan.warnings.push(format!(
            "statement {statement} of the bucket's policy, which is not Fleetkey's, allows what it says; whoever may write \
             in the bucket says who may log in"
        ));
    }
    for setting in Setting::ALL {
        let (todo, details) = if setting == Setting::TlsOnly && found.in_the_clear {
            (Todo::Leave, "the endpoint is spoken to without TLS: this would shut it to everybody".to_owned())
        } else if settings.has(setting, &arn) {
            (Todo::Keep, kept(setting, settings))
        } else {
            (Todo::Change, setting.wanted().to_owned())
        };
        plan.steps.push(Step { part: Part::Setting(setting), todo, details });
    }
    Ok(())
}

fn kept(setting: Setting, settings: &bucket::Found) -> String {
    match (setting, &settings.encryption) {
        (Setting::Encrypted, Some(kind)) => format!("at rest, {kind}"),
        _ => setting.wanted().to_owned(),
    }
}

fn plan_policies(plan: &mut Plan, wanted: &Wanted, found: &Found) -> Result<(), Refusal> {
    let regions = all_regions(wanted, &found.policies);
    let others: Vec<&str> =
        regions.iter().filter(|region| !wanted.regions.contains(region)).map(String::as_str).collect();
    if !others.is_empty() {
        plan.notes.push(format!(
            "the policies go on to allow {}, which they did before; --drop-region takes a region out",
            others.join(", ")
        ));
    }
    let allowed = allowed(&found.policies);
    for region in wanted.dropped.iter().filter(|region| !allowed.contains(region)) {
        plan.notes.push(format!("no policy allows {region}, so that there is nothing to drop"));
    }
    let words = Words {
        partition: wanted.partition.clone(),
        account: wanted.account.clone(),
        regions: regions.clone(),
        bucket: wanted.bucket.clone(),
        topic: wanted.topic.clone(),
    };
    for shipped in policies(&wanted.audiences) {
        let (name, document) = (shipped.name(), words.fill(shipped.document()));
        let length = document.to_string().len();
        if length > LONGEST {
            return Err(Refusal::new(format!(
                "the policy {name} would have {length} characters for {} regions, and IAM takes {LONGEST}",
                regions.len()
            ))
            .hint("--drop-region takes a region out"));
        }
        let (todo, arn, was) = match found.policies.get(&name) {
            None => (Todo::Make, None, None),
            Some(there) if there.path != PATH => {
                return Err(Refusal::new(format!("there is a policy {}{name} that Fleetkey did not make", there.path))
                    .hint("delete it, or make it anew under another name: IAM renames none, and holds no two of a name")
                    .hint("--no-policies leaves IAM as it is"));
            }
            Some(there) if there.document == document => (Todo::Keep, Some(there.arn.clone()), None),
            Some(there) => (Todo::Change, Some(there.arn.clone()), Some(regions_of(&there.document))),
        };
        let now = regions_of(&document);
        let was = was.filter(|was| *was != now).map(|was| format!(", was in {}", was.join(" "))).unwrap_or_default();
        let place = if now.is_empty() { String::new() } else { format!(", in {}", now.join(" ")) };
        let details = format!("for {}{place}{was}", shipped.audience.as_str());
        plan.steps.push(Step { part: Part::Policy { name, shipped: *shipped, document, arn }, todo, details });
    }
    Ok(())
}

/// The regions that are asked for, and those that Fleetkey's policies allow already: setting up a second region takes
/// nothing from the first.
fn all_regions(wanted: &Wanted, policies: &BTreeMap<String, FoundPolicy>) -> Vec<String> {
    let mut regions = allowed(policies);
    regions.retain(|region| !wanted.dropped.contains(region));
    regions.extend(wanted.regions.iter().cloned());
    regions.sort();
    regions.dedup();
    regions
}

/// The regions that Fleetkey's policies allow.
fn allowed(policies: &BTreeMap<String, FoundPolicy>) -> Vec<String> {
    let ours = policies.values().filter(|policy| policy.path == PATH);
    ours.flat_map(|policy| regions_of(&policy.document)).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
