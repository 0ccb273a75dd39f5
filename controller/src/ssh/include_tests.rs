use super::*;

const LINE: &[u8] = b"Include \"/h/.config/fleetkey/ssh_config.d/*.conf\"\n";

/// A home with an ssh configuration, if one is given.
fn home(config: Option<&[u8]>) -> (tempfile::TempDir, Place) {
    let home = tempfile::tempdir().unwrap();
    if let Some(config) = config {
        fs::create_dir(home.path().join(".ssh")).unwrap();
        fs::write(home.path().join(".ssh/config"), config).unwrap();
    }
    let place = Place::of(home.path(), &home.path().join(".config")).unwrap();
    (home, place)
}

fn carry_out(steps: &[Step]) {
    for step in steps {
        step.carry_out().unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_line_comes_first_and_everything_else_stays_byte_for_byte() {
    for old in [&b""[..], b"Host a\n  User b\n", b"# no line end", b"\xff\x00\r\nHost *\r\n", b"\n\n"] {
        let new = with_line(old, LINE).unwrap();
        assert_eq!(new, [LINE, old].concat());
        assert_eq!(with_line(&new, LINE), None, "once is enough");
        assert_eq!(without_line(&new, LINE).unwrap(), old);
        assert_eq!(without_line(old, LINE), None);
    }
    // Before all blocks it does as well wherever it stands; within one it would not count for others.
    let moved = [b"# mine\nServerAliveInterval 5\n", LINE, b"Host a\n"].concat();
    assert_eq!(with_line(&moved, LINE), None);
    for block in [&b"Host a\n"[..], b"\thost=a\n", b"MATCH all\n"] {
        let within = [block, LINE, b"User b\n"].concat();
        assert_eq!(with_line(&within, LINE).unwrap(), [LINE, block, b"User b\n"].concat());
    }
}

#[test]
fn what_is_installed_is_its_owners_alone_and_is_taken_out_again() {
    let old = b"Host a\n  User b\n";
    let (home, place) = home(Some(old));
    let config = home.path().join(".ssh/config");
    fs::set_permissions(&config, Permissions::from_mode(0o640)).unwrap();
    let file = place.file("us-west-2");
    let steps = place.install(&file, "Host web\n").unwrap();
    assert_eq!(steps.iter().map(|step| &step.file).collect::<Vec<_>>(), [&file, &config]);
    assert_eq!(fs::read(&config).unwrap(), old, "nothing is done yet");
    carry_out(&steps);
    assert_eq!(place.install(&file, "Host web\n").unwrap(), []);
    assert_eq!((mode(&file), mode(file.parent().unwrap()), mode(&config)), (0o600, 0o700, 0o640));
    assert!(fs::read(&config).unwrap().ends_with(old));
    assert_eq!(place.taken(&file).unwrap(), BTreeMap::new());
    assert_eq!(place.taken(&place.file("other")).unwrap(), BTreeMap::from([("web".to_owned(), "web".to_owned())]));
    // Another box, and nothing else changes.
    let steps = place.install(&file, "Host db\n").unwrap();
    assert_eq!(steps.len(), 1);
    carry_out(&steps);
    carry_out(&place.uninstall().unwrap());
    assert_eq!(fs::read(&config).unwrap(), old);
    assert!(!file.exists());
    assert_eq!(place.uninstall().unwrap(), []);
    let left: Vec<_> = fs::read_dir(home.path().join(".ssh")).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_home_without_an_ssh_configuration_gets_one_that_ssh_takes() {
    let (home, place) = home(None);
    carry_out(&place.install(&place.file("us-west-2"), "Host web\n").unwrap());
    let folder = home.path().join(".ssh");
    assert_eq!((mode(&folder), mode(&folder.join("config"))), (0o700, 0o600));
}

#[test]
fn t7_a_link_and_what_is_no_file_are_left_alone() {
    let (home, place) = home(None);
    let (folder, elsewhere) = (home.path().join(".ssh"), home.path().join("elsewhere"));
    fs::create_dir(&folder).unwrap();
    fs::write(&elsewhere, "Host a\n").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.join("config")).unwrap();
    let error = place.install(&place.file("x"), "").unwrap_err();
    assert!(error.to_string().ends_with(".ssh/config is a link, so it is not changed"), "{error}");
    assert!(crate::refusal::hints(&error)[0].contains("put this line at its top by hand: Include \"/"));
    assert!(place.uninstall().is_err());
    fs::remove_file(folder.join("config")).unwrap();
    fs::create_dir(folder.join("config")).unwrap();
    let error = place.install(&place.file("x"), "").unwrap_err();
    assert!(error.to_string().ends_with("is no regular file, so it is not changed"), "{error}");
    // Nor is a file of its own replaced that is a link.
    fs::remove_dir(folder.join("config")).unwrap();
    fs::create_dir_all(place.file("x").parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.file("x")).unwrap();
    assert!(place.install(&place.file("x"), "Host b\n").is_err());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "Host a\n");
}

#[test]
fn a_folder_that_ssh_would_take_for_a_pattern_is_refused() {
    for bad in ["/a*b", "/a[b", "/a\"b", "/a%b", "/a\nb"] {
        assert!(Place::of(Path::new("/home"), Path::new(bad)).is_err(), "{bad}");
    }
}
