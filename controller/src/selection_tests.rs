use std::collections::BTreeMap;

use super::*;

fn boxed(id: &str, launched: i64, address: &str, state: State, cluster: Option<&str>) -> Instance {
    Instance {
        id: id.to_owned(),
        name: "/prod/web".parse().unwrap(),
        state,
        launched: jiff::Timestamp::from_second(launched).ok(),
        instance_type: "t3.micro".to_owned(),
        zone: "us-west-2a".to_owned(),
        image: "ami-12345678".to_owned(),
        architecture: "x86_64".to_owned(),
        private_address: Some(address.to_owned()),
        public_address: None,
        generation: Some(0),
        cluster: cluster.map(str::to_owned),
        cluster_ordinal: None,
        tags: BTreeMap::new(),
    }
}

fn boxes() -> Vec<Instance> {
    vec![
        boxed("i-00000003", 20, "10.0.0.10", State::Running, None),
        boxed("i-00000001", 10, "10.0.0.1", State::Stopped, None),
        boxed("i-00000004", 5, "10.0.0.1", State::Terminated, None),
        boxed("i-00000002", 20, "10.0.0.9", State::Running, Some("spark")),
    ]
}

fn choose(among: &Among, boxes: Vec<Instance>) -> Result<String, anyhow::Error> {
    Ok(one(&"/prod/web".parse().unwrap(), among, boxes)?.id)
}

fn ordinal(ordinal: i64) -> Among {
    Among { ordinal: Some(ordinal), ..Among::default() }
}

#[test]
fn ordinals_count_live_boxes_by_launch_then_address_and_negative_ones_from_the_newest() {
    for (number, id) in [(0, "1"), (1, "2"), (2, "3"), (-1, "3"), (-3, "1")] {
        assert_eq!(choose(&ordinal(number), boxes()).unwrap(), format!("i-0000000{id}"), "{number}");
    }
    for number in [3, -4, i64::MIN, i64::MAX] {
        let error = choose(&ordinal(number), boxes()).unwrap_err();
        assert_eq!(error.to_string(), format!("no box /prod/web has ordinal {number}"));
        assert_eq!(crate::refusal::hints(&error), ["ordinals run from 0 to 2, or from -1 back to -3"]);
    }
}

#[test]
fn of_several_boxes_none_is_guessed_and_each_is_named() {
    let error = choose(&Among::default(), boxes()).unwrap_err();
    assert_eq!(error.to_string(), "3 boxes are /prod/web; which one?");
    assert_eq!(
        crate::refusal::hints(&error)[1],
        "0: i-00000001 (stopped, 10.0.0.1), 1: i-00000002 (running, 10.0.0.9), 2: i-00000003 (running, 10.0.0.10)"
    );
    let error = choose(&Among::default(), Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "there is no box /prod/web");
}

#[test]
fn the_only_box_needs_no_ordinal_and_a_cluster_leaves_out_the_others() {
    let among = Among { cluster_name: Some("spark".to_owned()), ..Among::default() };
    assert_eq!(choose(&among, boxes()).unwrap(), "i-00000002");
    let among = Among { cluster_name: Some("hadoop".to_owned()), ..Among::default() };
    assert_eq!(choose(&among, boxes()).unwrap_err().to_string(), "there is no box /prod/web in cluster hadoop");
}

#[test]
fn an_instance_id_must_be_of_a_box_of_the_role() {
    let among = |id: &str| Among { instance_id: Some(id.to_owned()), ..Among::default() };
    assert_eq!(choose(&among("i-00000004"), boxes()).unwrap(), "i-00000004");
    assert_eq!(
        choose(&among("i-0000000a"), boxes()).unwrap_err().to_string(),
        "i-0000000a is no box of role /prod/web"
    );
}

#[test]
fn fault_10_ids_of_8_and_of_17_digits_are_taken_and_nothing_else() {
    for good in ["i-0123abcd", "i-0123456789abcdef0"] {
        assert_eq!(parse_instance_id(good).unwrap(), good);
    }
    for bad in ["", "i-", "i-0123abc", "i-0123ABCD", "ami-0123abcd", "i-0123456789abcdef", "i-0123abcd\n", "0123abcd"] {
        assert!(parse_instance_id(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn t5_a_role_that_is_no_name_is_refused() {
    let namespace: Namespace = "/prod/".parse().unwrap();
    assert_eq!(name(&namespace, "web").unwrap().as_str(), "/prod/web");
    assert_eq!(name(&namespace, "/web").unwrap().as_str(), "/web");
    for bad in ["", "/", "a\nb", "a*", "../x", "web/", "_x"] {
        assert!(name(&namespace, bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_selection_that_fits_none_names_what_is_in_other_clusters_and_what_is_gone() {
    let among = Among { cluster_name: Some("hadoop".to_owned()), ..Among::default() };
    let error = choose(&among, boxes()).unwrap_err();
    insta::assert_snapshot!(crate::refusal::hints(&error).join("\n"), @"
    fleetkey list shows the boxes that there are; --namespace and --region say where to look
    its boxes are in cluster spark, no cluster
    gone, or about to be: i-00000004 (terminated); -I ID names one
    ");
    let gone = vec![boxed("i-00000004", 5, "10.0.0.1", State::Terminated, None)];
    let error = choose(&Among::default(), gone).unwrap_err();
    assert_eq!(crate::refusal::hints(&error)[1], "gone, or about to be: i-00000004 (terminated); -I ID names one");
}
