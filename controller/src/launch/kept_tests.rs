use super::*;
use crate::launch::testing;
use crate::role::Volume;

fn role() -> Role {
    let volume = |name: &str, device: &str, keep| Volume { keep, ..Volume::new(name.into(), device.into(), 10) };
    let volumes =
        vec![volume("data", "/dev/sdf", true), volume("logs", "/dev/sdg", true), volume("scratch", "/dev/sdh", false)];
    Role { volumes, ..testing::role("web") }
}

fn stored(id: &str, label: &str) -> Stored {
    Stored {
        id: format!("vol-{id}"),
        label: label.into(),
        of: "/team/web".parse().unwrap(),
        node: None,
        state: AVAILABLE.into(),
        zone: "us-west-2b".into(),
        gib: 20,
        kind: "gp3".into(),
        encrypted: true,
        made: None,
        instance: None,
        device: None,
    }
}

fn on(instance: &str, volume: Stored) -> Stored {
    Stored { state: "in-use".into(), instance: Some(instance.into()), ..volume }
}

#[expect(clippy::unnecessary_wraps, reason = "as a volume has it")]
fn node(cluster: &str, ordinal: u32) -> Option<Node> {
    Some(Node { cluster: cluster.into(), ordinal })
}

fn chosen(wishes: &Wishes, there: &[Stored]) -> Result<Vec<String>, String> {
    let gone = BTreeSet::from(["i-gone".to_owned()]);
    let found = wishes.choose(&"/team/web".parse().unwrap(), &role(), there, &gone);
    let shown =
        |found: Vec<Takeover>| found.into_iter().map(|found| format!("{} {}", found.id, found.device)).collect();
    found.map(shown).map_err(|error| error.to_string())
}

fn reuse(ids: &[&str]) -> Wishes {
    Wishes { reuse: ids.iter().map(ToString::to_string).collect(), ..Wishes::default() }
}

#[test]
fn the_only_free_volume_of_a_name_is_taken_over_and_no_other() {
    let none = Wishes::default();
    assert_eq!(chosen(&none, &[]).unwrap(), [""; 0]);
    let there = [
        stored("1", "data"),
        on("i-1", stored("2", "data")),
        stored("3", "scratch"),
        stored("4", "unknown"),
        Stored { node: node("c", 0), ..stored("5", "logs") },
    ];
    assert_eq!(chosen(&none, &there).unwrap(), ["vol-1 /dev/sdf"]);
    assert_eq!(chosen(&Wishes { blank: true, ..Wishes::default() }, &there).unwrap(), [""; 0]);
    // One that is about to be free counts.
    assert_eq!(chosen(&none, &[on("i-gone", stored("2", "logs"))]).unwrap(), ["vol-2 /dev/sdg"]);
    assert_eq!(chosen(&none, &[Stored { state: "error".into(), ..stored("2", "logs") }]).unwrap(), [""; 0]);
}

#[test]
fn which_of_several_free_volumes_is_said_by_the_operator() {
    let there = [stored("1", "data"), stored("2", "data"), on("i-1", stored("3", "data")), stored("4", "scratch")];
    let error = chosen(&Wishes::default(), &there).unwrap_err();
    assert_eq!(error, "2 volumes are data of /team/web and hang on nothing; which one?");
    assert_eq!(chosen(&reuse(&["vol-2"]), &there).unwrap(), ["vol-2 /dev/sdf"]);
    for (ids, error) in [
        (&["vol-1", "vol-2"][..], "--reuse names 2 volumes for data"),
        (&["vol-3"], "--reuse vol-3: it is in-use and hangs on i-1"),
        (&["vol-4"], "--reuse vol-4: role web keeps no volume scratch"),
        (&["vol-9"], "--reuse vol-9: there is no such volume of /team/web here"),
    ] {
        assert_eq!(chosen(&reuse(ids), &there).unwrap_err(), error);
    }
}

#[test]
fn a_node_of_a_cluster_has_the_volumes_of_its_place_and_waits_for_nobody_elses() {
    let of = |ordinal, id: &str| Stored { node: node("c", ordinal), ..stored(id, "data") };
    let there = [of(0, "1"), of(1, "2"), on("i-1", of(2, "3")), stored("4", "data")];
    let be = |ordinal| Wishes { node: node("c", ordinal), ..Wishes::default() };
    assert_eq!(chosen(&be(1), &there).unwrap(), ["vol-2 /dev/sdf"]);
    assert_eq!(chosen(&be(3), &there).unwrap(), [""; 0]);
    let error = "volume vol-3 (data of /team/web, node 2 of cluster c, 20 GiB, us-west-2b) is in-use and hangs on i-1";
    assert_eq!(chosen(&be(2), &there).unwrap_err(), error);
    let error = "--reuse: vol-2 (data of /team/web, node 1 of cluster c, 20 GiB, us-west-2b) is not of that node";
    assert_eq!(chosen(&reuse(&["vol-2"]), &there).unwrap_err(), error);
    assert_eq!(chosen(&Wishes { node: node("d", 1), ..Wishes::default() }, &there).unwrap(), [""; 0]);
}

#[test]
fn the_box_goes_where_its_volumes_are_or_is_refused() {
    let subnet = |zone: &str| Subnet {
        id: format!("subnet-{zone}"),
        network: "vpc-1".into(),
        zone: format!("us-west-2{zone}"),
        default: true,
        free: 9,
    };
    let there = [stored("1", "data"), stored("2", "logs")];
    let of = "/team/web".parse().unwrap();
    let found = Wishes::default().choose(&of, &role(), &there, &BTreeSet::new()).unwrap();
    assert_eq!(places(&found, vec![subnet("a"), subnet("b"), subnet("c")]).unwrap(), [subnet("b")]);
    assert_eq!(places(&[], vec![subnet("a")]).unwrap(), [subnet("a")]);
    let error = places(&found, vec![subnet("c"), subnet("a")]).unwrap_err().to_string();
    assert_eq!(error, "volume vol-1 (data) is in us-west-2b, and the box would be in us-west-2a, us-west-2c");
    let apart = [stored("1", "data"), Stored { zone: "us-west-2a".into(), ..stored("2", "logs") }];
    let error = chosen(&Wishes::default(), &apart).unwrap_err();
    assert_eq!(error, "no box can have both vol-2 (logs) in us-west-2a and vol-1 (data) in us-west-2b");
}
