use serde_json::json;

use super::*;

fn wanted(regions: &[&str]) -> Wanted {
    Wanted {
        account: "123456789012".to_owned(),
        partition: "aws".to_owned(),
        regions: regions.iter().map(ToString::to_string).collect(),
        dropped: Vec::new(),
        bucket: "123456789012-fleetkey".to_owned(),
        bucket_region: "us-west-2".to_owned(),
        topic: "hints".to_owned(),
        audiences: vec![Audience::Publishers],
        adopt: false,
    }
}

fn shown(plan: &Plan) -> Vec<String> {
    let part = |part: &Part| match part {
        Part::Bucket => "bucket".to_owned(),
        Part::Setting(setting) => setting.as_str().to_owned(),
        Part::Topic { .. } => "topic".to_owned(),
        Part::Policy { name, .. } => name.clone(),
    };
    plan.steps.iter().map(|step| format!("{} {}: {}", step.todo.as_str(), part(&step.part), step.details)).collect()
}

/// What the account has once a plan was carried out.
fn carried(wanted: &Wanted, found: &Found) -> Found {
    let arn = format!("arn:aws:s3:::{}", wanted.bucket);
    let settings = bucket::Found {
        tags: bucket::marked(BTreeMap::new()),
        private: true,
        owned: true,
        encryption: Some("AES256".to_owned()),
        versioned: true,
        rules: bucket::with_rules(&[]).unwrap(),
        policy: Some(bucket::with_tls_only(None, &arn)),
    };
    let mut after = Found { bucket: Some((settings, false)), ..found.clone() };
    for step in plan(wanted, found).unwrap().steps {
        match step.part {
            Part::Topic { region } => {
                after.topics.insert(region, true);
            }
            Part::Policy { name, document, .. } => {
                let arn = format!("arn:aws:iam::123456789012:policy/fleetkey/{name}");
                after.policies.insert(name, FoundPolicy { arn, path: PATH.to_owned(), document });
            }
            Part::Bucket | Part::Setting(_) => {}
        }
    }
    after
}

#[test]
fn a_bare_account_gets_all_of_it_and_one_that_has_it_nothing() {
    let wanted = wanted(&["us-west-2"]);
    let first = plan(&wanted, &Found::default()).unwrap();
    insta::assert_snapshot!(shown(&first).join("\n"), @r"
    make bucket: in us-west-2
    change tag: fleetkey:created-by=fleetkey
    change public access: blocked
    change ownership: all objects are the account's
    change encryption: at rest, AES256
    change versions: kept
    change transport: TLS alone
    change lifecycle: earlier versions go: of agent/ after 90 days, of status/ after 1
    make topic: in us-west-2
    make fleetkey-controller-publish-agent: for publishers
    ");
    let again = plan(&wanted, &carried(&wanted, &Found::default())).unwrap();
    assert_eq!((again.changes(), again.notes.len()), (0, 0));
}

#[test]
fn only_what_differs_is_changed() {
    let wanted = wanted(&["us-west-2"]);
    let mut found = carried(&wanted, &Found::default());
    let (settings, _) = found.bucket.as_mut().unwrap();
    settings.versioned = false;
    settings.encryption = Some("aws:kms".to_owned());
    let policy = found.policies.get_mut("fleetkey-controller-publish-agent").unwrap();
    policy.document = json!({"Statement": []});
    let plan = plan(&wanted, &found).unwrap();
    let changed: Vec<_> = shown(&plan).into_iter().filter(|line| line.starts_with("change")).collect();
    assert_eq!(changed, ["change versions: kept", "change fleetkey-controller-publish-agent: for publishers"]);
    assert!(shown(&plan).contains(&"as it is encryption: at rest, aws:kms".to_owned()));
    assert_eq!(plan.changes(), 2);
}

#[test]
fn a_second_region_takes_nothing_from_the_first_unless_it_is_dropped() {
    let operators = |regions: &[&str], dropped: &[&str]| Wanted {
        audiences: vec![Audience::Operators],
        dropped: dropped.iter().map(ToString::to_string).collect(),
        ..wanted(regions)
    };
    let first = carried(&operators(&["us-west-2"], &[]), &Found::default());
    let second = plan(&operators(&["eu-west-1"], &[]), &first).unwrap();
    assert!(second.notes[0].starts_with("the policies go on to allow us-west-2,"), "{:?}", second.notes);
    let line = "change fleetkey-controller-ssh: for operators, in eu-west-1 us-west-2, was in us-west-2";
    assert!(shown(&second).contains(&line.to_owned()), "{:?}", shown(&second));
    assert_eq!(plan(&operators(&["us-west-2"], &[]), &first).unwrap().changes(), 0);

    let moved = plan(&operators(&["eu-west-1"], &["us-west-2"]), &first).unwrap();
    assert!(moved.notes.is_empty());
    let mistyped = plan(&operators(&["us-west-2"], &["eu-wset-1"]), &first).unwrap();
    assert_eq!(mistyped.notes, ["no policy allows eu-wset-1, so that there is nothing to drop"]);
    assert_eq!(mistyped.changes(), 0);
    let line = "change fleetkey-controller-ssh: for operators, in eu-west-1, was in us-west-2";
    assert!(shown(&moved).contains(&line.to_owned()), "{:?}", shown(&moved));
}

#[test]
fn what_somebody_else_made_is_refused_and_a_bucket_can_be_adopted() {
    let stranger = |empty| Found { bucket: Some((bucket::Found::default(), empty)), ..Found::default() };
    let wanted = wanted(&["us-west-2"]);
    let error = plan(&wanted, &stranger(false)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is a bucket 123456789012-fleetkey with something in it, which does not say that it is Fleetkey's"
    );
    assert_eq!(plan(&wanted, &stranger(true)).unwrap().changes(), 9);
    assert_eq!(plan(&Wanted { adopt: true, ..wanted.clone() }, &stranger(false)).unwrap().changes(), 9);

    let policy = json!({"Statement": [{"Sid": "Writers", "Effect": "Allow"}, {"Sid": "No", "Effect": "Deny"}]});
    let open = bucket::Found { policy: Some(policy), ..bucket::Found::default() };
    let adopted = Wanted { adopt: true, ..wanted.clone() };
    let warned = plan(&adopted, &Found { bucket: Some((open, false)), ..Found::default() }).unwrap().warnings;
    assert!(warned.len() == 1 && warned[0].starts_with("statement Writers of the bucket's policy"), "{warned:?}");

    let policy = FoundPolicy { arn: "x".to_owned(), path: "/".to_owned(), document: Value::Null };
    let policies = BTreeMap::from([("fleetkey-controller-publish-agent".to_owned(), policy)]);
    let error = plan(&wanted, &Found { policies, ..Found::default() }).unwrap_err();
    assert_eq!(error.to_string(), "there is a policy /fleetkey-controller-publish-agent that Fleetkey did not make");
}

#[test]
fn a_bucket_that_is_spoken_to_without_tls_is_not_shut_to_those_who_do() {
    let found = Found { in_the_clear: true, ..Found::default() };
    let plan = plan(&wanted(&["us-west-2"]), &found).unwrap();
    let step = plan.steps.iter().find(|step| step.part == Part::Setting(Setting::TlsOnly)).unwrap();
    assert_eq!(step.todo, Todo::Leave);
}

#[test]
fn a_policy_that_is_too_long_for_iam_is_told_before_anything_is_made() {
    let regions: Vec<String> = (0..60).map(|n| format!("us-imaginary-{n}")).collect();
    let audiences = vec![Audience::Operators];
    let error = plan(&Wanted { regions, audiences, ..wanted(&[]) }, &Found::default()).unwrap_err();
    assert!(error.to_string().ends_with("for 60 regions, and IAM takes 6144"), "{error}");
}

#[test]
fn the_policies_of_administrators_are_made_for_nobody() {
    assert_eq!(policies(&[Audience::Administrators]).count(), 0);
}
