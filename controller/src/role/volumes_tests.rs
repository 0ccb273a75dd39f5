//! Volumes of role files and of flags.

use super::super::library::tests::Folder;
use super::*;

/// The volumes of a role file as they are printed, or what is wrong with it.
fn of_file(volumes: &str) -> String {
    let folder = Folder::new();
    folder.role("mine", format!("extends: [generic-debian-12-box]\nvolumes:\n{volumes}"));
    match folder.load("mine") {
        Ok(role) => serde_saphyr::to_string(&role.volumes).unwrap(),
        Err(error) => {
            let error = error.to_string();
            error.lines().flat_map(|line| [&line[line.find("mine.yaml").unwrap_or(0)..], "\n"]).collect()
        }
    }
}

/// The role of a file with flags.
fn with(volumes: &str, flags: &[&str]) -> Result<Role, String> {
    let folder = Folder::new();
    folder.role("mine", format!("extends: [generic-debian-12-box]\nvolumes: [{volumes}]\n"));
    let flags: Result<Vec<_>, _> = flags.iter().map(|flag| VolumeFlag::parse(flag)).collect();
    folder.load("mine").unwrap().with_volumes(&flags?)
}

#[test]
fn a_volume_has_all_that_its_file_says_and_a_good_default_for_the_rest() {
    let volumes = "  - {name: data, size: 100}
  - name: db
    size: 200
    kind: io2
    iops: 4000
    encrypted: false
    keep: true
    image: false
    mount: /var/lib/postgresql
    file_system: xfs
    owner: postgres:postgres
    device: /dev/xvdh
  - {name: logs, size: 10, throughput: 200, mount: /srv/logs}
";
    insta::assert_snapshot!(of_file(volumes), @r"
    - name: data
      device: /dev/sdf
      size: 100
      kind: gp3
      encrypted: true
      keep: false
      image: true
    - name: db
      device: /dev/xvdh
      size: 200
      kind: io2
      iops: 4000
      encrypted: false
      keep: true
      image: false
      mount: /var/lib/postgresql
      file_system: xfs
      owner: postgres:postgres
    - name: logs
      device: /dev/sdg
      size: 10
      kind: gp3
      throughput: 200
      encrypted: true
      keep: false
      image: true
      mount: /srv/logs
      file_system: ext4
    ");
}

#[test]
fn what_cannot_be_of_a_volume_in_a_file_is_told_with_its_place() {
    let volumes = "  - {name: a, size: 10, device: /dev/sdf}
  - {name: b, size: 10, device: /dev/xvdf}
  - {name: c, size: 10, device: /dev/nvme1n1}
  - {name: d, size: 10, mount: data}
  - {name: e, size: 10, owner: jenkins}
  - {name: f, size: 10, kind: st1}
  - {name: g, size: 10, mount: /etc}
  - {name: h, size: 10, mount: /srv/h, owner: 'a b'}
  - {name: i, size: 10, mount: /srv/i}
  - {name: j, size: 10, mount: /srv/i}
  - {name: k, size: 10, kind: io2}
  - {name: l, size: 10, keeps: true}
  - {name: m, size: 100000}
";
    insta::assert_snapshot!(of_file(volumes), @r#"
    mine.yaml:4:5: device /dev/xvdf is that of volume a already
    mine.yaml:5:5: device "/dev/nvme1n1" is none such as /dev/sdf
    mine.yaml:6:5: mount: "data" is no full path of letters, digits and ._-
    mine.yaml:7:5: file_system and owner are of a volume that is mounted: say mount too
    mine.yaml:8:5: st1 volumes have 125 to 16384 GiB, not 10
    mine.yaml:9:5: mount: /etc cannot be a volume: a box needs what is there to boot
    mine.yaml:10:5: owner "a b" is neither an account nor account:group
    mine.yaml:12:5: volume i is mounted at /srv/i already
    mine.yaml:13:5: io2 volumes need iops
    mine.yaml:14:25: unknown field "keeps" in a volume (did you mean "keep"?)
    mine.yaml:15:21: size, in GiB,: 100000 is out of range; give 1 to 65536
    "#);
}

#[test]
fn a_flag_adds_a_volume_or_changes_one_of_the_role() {
    let role = with(
        "{name: data, size: 10, mount: /srv/data, keep: true}",
        &[
            "data=40,kind=io1,iops=200",
            "logs=5,mount=/srv/logs,file_system=xfs,owner=admin,keep,image=false,encrypted=false",
        ],
    );
    let [data, logs] = &role.unwrap().volumes[..] else { panic!("two volumes") };
    assert_eq!((data.gib, data.kind, data.iops, data.keep), (40, VolumeKind::Io1, Some(200), true));
    assert_eq!(data.mount.as_ref().unwrap().folder, "/srv/data");
    assert_eq!(
        (logs.device.as_str(), logs.gib, logs.keep, logs.image, logs.encrypted),
        ("/dev/sdg", 5, true, false, false)
    );
    let mount = logs.mount.as_ref().unwrap();
    assert_eq!((mount.file_system, mount.owner.as_deref()), (FileSystem::Xfs, Some("admin")));
}

#[test]
fn a_flag_that_is_wrong_says_what_is_good() {
    let said = |flag: &str| with("{name: data, size: 10, mount: /srv/data}", &[flag]).map(drop).unwrap_err();
    let lines: String = [
        "data",
        "Data=1",
        "data=ten",
        "data=-1",
        "data=0",
        "data=1,size=2",
        "data=1,kept",
        "data=1,keep=yes",
        "data=1,keep,keep=false",
        "data=1,kind=ssd",
        "data=1,mount=here",
        "logs=1,mount=/srv/data",
        "logs=1,device=/dev/xvdf",
        "logs=1,owner=admin",
        "logs=20000,kind=gp2",
    ]
    .map(|flag| format!("{flag}: {}\n", said(flag)))
    .concat();
    insta::assert_snapshot!(lines, @r#"
    data: write NAME=GIB, then fields as a role has them: data=100,mount=/srv/data,keep
    Data=1: "Data": volumes have names of 0-9 a-z . _ -, each its own
    data=ten: size is a whole number of GiB, not "ten"
    data=-1: size is a whole number of GiB, not "-1"
    data=0: --volume data: gp3 volumes have 1 to 65536 GiB, not 0
    data=1,size=2: unknown field "size"; known are kind, device, iops, throughput, encrypted, keep, image, mount, file_system, owner
    data=1,kept: unknown field "kept"; known are kind, device, iops, throughput, encrypted, keep, image, mount, file_system, owner
    data=1,keep=yes: keep is true or false, not "yes"
    data=1,keep,keep=false: keep is given twice
    data=1,kind=ssd: kind is gp3, gp2, io1, io2, st1, sc1, standard, not "ssd"
    data=1,mount=here: --volume data: mount: "here" is no full path of letters, digits and ._-
    logs=1,mount=/srv/data: --volume logs: volume data is mounted at /srv/data already
    logs=1,device=/dev/xvdf: --volume logs: device /dev/xvdf is that of volume data already
    logs=1,owner=admin: --volume logs: file_system and owner are of a volume that is mounted: say mount too
    logs=20000,kind=gp2: --volume logs: gp2 volumes have 1 to 16384 GiB, not 20000
    "#);
    let many: Vec<_> = (0..11).map(|number| format!("v{number}=1")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let error = with("{name: data, size: 10}", &many).unwrap_err();
    assert_eq!(error, "--volume v10: there are more volumes than free devices, /dev/sdf to /dev/sdp");
    assert_eq!(with("", &["a=1", "a=2"]).unwrap_err(), "--volume a is given twice");
}

#[test]
fn where_the_disks_of_the_instance_are_no_volume_is_mounted() {
    let folder = Folder::new();
    let ephemeral = "ephemeral: {mount: /mnt/x, directories: [/var/lib/docker]}";
    folder.role("mine", format!("extends: [generic-debian-12-box]\n{ephemeral}\n"));
    let with = |flag: &str| folder.load("mine").unwrap().with_volumes(&[VolumeFlag::parse(flag).unwrap()]);
    for taken in ["/mnt/x", "/var/lib/docker"] {
        let error = with(&format!("data=1,mount={taken}")).map(drop).unwrap_err();
        assert_eq!(error, format!("volume data is mounted at {taken}, where the disks of the instance are"));
    }
    assert!(with("data=1,mount=/var/lib/other").is_ok());
    let volumes = "volumes: [{name: data, size: 1, mount: /var/lib/docker}]";
    folder.role("mine", format!("extends: [generic-debian-12-box]\n{ephemeral}\n{volumes}\n"));
    let error = folder.load("mine").unwrap_err().to_string();
    assert!(error.contains("mine.yaml:3:10: volume data is mounted at /var/lib/docker"), "{error}");
}
