//! `--ssh-from` and `fleetkey refresh-ingress`: port 22 is open to whom it was opened, wherever they are by now.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::SecurityGroup;
use fleetkey_tests::stub::{Answer, Stub};

use super::super::create::ground::{Ground, printed};
use super::super::fleetkey::Ran;
use super::super::json::Printed;

/// A ground whose operator is seen by the world at some address.
struct Here {
    ground: Ground,
    service: Stub,
    answer: Arc<Mutex<(u16, String)>>,
}

impl Here {
    async fn new() -> Result<Self> {
        let answer = Arc::new(Mutex::new((200, "203.0.113.7\n".to_owned())));
        let said = Arc::clone(&answer);
        let service = Stub::start(move |_| {
            let (status, text) = said.lock().unwrap().clone();
            Answer::new(status, "text/plain", text)
        })?;
        Ok(Self { ground: Ground::new().await?, service, answer })
    }

    fn at(&self, address: &str) {
        *self.answer.lock().unwrap() = (200, format!("{address}\n"));
    }

    async fn run(&self, verb: &str, more: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        let url = self.service.endpoint();
        let place = [("FLEETKEY_ADDRESS_URL", url.as_str()), ("FLEETKEY_KEYPAIRS", "alice")];
        let variables = [&place, variables].concat();
        self.ground.run_with(verb, more, &variables).await
    }

    async fn create(&self, more: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        self.run("create", &[&["--quick", "--anew"], more].concat(), variables).await
    }

    async fn refresh(&self, more: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        let url = self.service.endpoint();
        let place = [("FLEETKEY_ZONE", "us-west-2a"), ("FLEETKEY_ADDRESS_URL", url.as_str())];
        let words = [&["refresh-ingress", "--namespace", "/team/"], more].concat();
        self.ground.operator.run_with(&words, &[&place, variables].concat()).await
    }

    /// What the group of /team/web lets in to port 22, and what is written beside it.
    async fn ssh(&self) -> Result<Vec<String>> {
        let groups = self.ground.groups("team_web").await?;
        Ok(ssh(groups.first().context("there is a group")?))
    }
}

fn ssh(group: &SecurityGroup) -> Vec<String> {
    let permissions = group.ip_permissions().iter().filter(|permission| permission.from_port() == Some(22));
    let ranges = permissions.flat_map(|permission| permission.ip_ranges().iter());
    let mut rules: Vec<_> = ranges
        .map(|range| {
            let text = range.description().unwrap_or_default();
            format!("{} {text}", range.cidr_ip().unwrap_or_default()).trim_end().to_owned()
        })
        .collect();
    rules.sort();
    rules
}

#[tokio::test]
async fn port_22_is_open_as_the_role_says_unless_somebody_narrows_it_and_then_it_stays_narrow() -> Result<()> {
    let here = Here::new().await?;
    let ran = here.create(&[], &[]).await?.ended(0);
    assert_eq!(here.ssh().await?, ["0.0.0.0/0"]);
    assert!(ran.stderr.contains("hint: port 22 is open to every address"), "{}", ran.stderr);

    here.create(&["--ssh-from", "auto"], &[]).await?.ended(0);
    assert_eq!(here.ssh().await?, ["203.0.113.7/32 fleetkey: ssh of alice"]);
    // Another person, who says nothing, gets in too, and opens it to nobody else.
    here.at("198.51.100.9");
    let ran = here.create(&[], &[("FLEETKEY_ME", "bob")]).await?.ended(0);
    assert!(!ran.stderr.contains("port 22 is open"), "{}", ran.stderr);
    let both = ["198.51.100.9/32 fleetkey: ssh of bob", "203.0.113.7/32 fleetkey: ssh of alice"];
    assert_eq!(here.ssh().await?, both);
    // The same again changes nothing; nor does one who comes over another machine.
    here.create(&[], &[("FLEETKEY_ME", "bob")]).await?.ended(0);
    here.at("192.0.2.77");
    here.create(&["--jump", "bastion"], &[("FLEETKEY_ME", "carol")]).await?.ended(0);
    assert_eq!(here.ssh().await?, both);

    let planned = here.create(&["--ssh-from", "any", "--dry-run"], &[]).await?.ended(0);
    assert!(planned.stdout.contains("tcp 22 from 0.0.0.0/0"), "{}", planned.stdout);
    here.create(&[], &[("FLEETKEY_SSH_FROM", "any")]).await?.ended(0);
    assert_eq!(here.ssh().await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn whoever_has_moved_is_let_in_from_there_and_all_others_as_before() -> Result<()> {
    let here = Here::new().await?;
    here.create(&["--ssh-from", "auto"], &[]).await?.ended(0);
    here.create(&["--ssh-from", "203.0.113.7,192.0.2.0/24"], &[("FLEETKEY_ME", "bob")]).await?.ended(0);
    let shared = ["192.0.2.0/24 fleetkey: ssh of bob", "203.0.113.7/32 fleetkey: ssh of alice bob"];
    assert_eq!(here.ssh().await?, shared);
    let ran = here.refresh(&[], &[]).await?.ended(0);
    assert!(ran.stderr.contains("nothing is to be changed for alice at 203.0.113.7/32"), "{}", ran.stderr);

    here.at("198.51.100.9");
    let ran = here.refresh(&["--dry-run", "--output", "json"], &[]).await?.ended(0);
    let shown = printed(&ran)?;
    assert_eq!(shown["addresses"][0], "198.51.100.9/32");
    assert_eq!(shown["steps"][0]["result"], "planned");
    assert_eq!(here.ssh().await?, shared);
    let mut kept = Printed::default();
    kept.keep("refresh-ingress", shown);
    let ran = here.refresh(&["--output", "json"], &[]).await?.ended(0);
    kept.keep("refresh-ingress", printed(&ran)?);
    kept.check()?;
    let moved = [
        "192.0.2.0/24 fleetkey: ssh of bob",
        "198.51.100.9/32 fleetkey: ssh of alice",
        "203.0.113.7/32 fleetkey: ssh of bob",
    ];
    assert_eq!(here.ssh().await?, moved, "{}", ran.stdout);
    // bob is still where he was, by a range that covers him.
    here.at("192.0.2.200");
    here.refresh(&[], &[("FLEETKEY_ME", "bob")]).await?.ended(0);
    assert_eq!(here.ssh().await?, moved);

    // Somebody whom it did not let in before says of which boxes.
    let carol = [("FLEETKEY_ME", "carol")];
    let ran = here.refresh(&[], &carol).await?.ended(0);
    assert!(ran.stderr.contains("hint: fleetkey refresh-ingress ROLE opens port 22"), "{}", ran.stderr);
    here.refresh(&["web"], &carol).await?.ended(0);
    assert!(here.ssh().await?.contains(&"192.0.2.200/32 fleetkey: ssh of carol".to_owned()));
    here.refresh(&["web", "--ssh-from", "198.51.100.9"], &carol).await?.ended(0);
    assert!(here.ssh().await?.contains(&"198.51.100.9/32 fleetkey: ssh of alice carol".to_owned()));
    assert_eq!(here.ssh().await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn only_an_address_that_can_be_the_callers_is_taken_and_nothing_is_changed_else() -> Result<()> {
    let here = Here::new().await?;
    for (status, text, said) in [
        (200, "203.0.113.7, 10.0.0.1\n", "that is no address"),
        (200, "<html>captive portal</html>", "that is no address"),
        (200, "127.0.0.1\n", "that is an address of every machine's own"),
        (200, "0.0.0.0\n", "that is no address of anybody's"),
        (200, &"1".repeat(100), "the answer is not a short text"),
        (302, "203.0.113.7\n", "the answer has status 302"),
        (500, "", "the answer has status 500"),
    ] {
        *here.answer.lock().unwrap() = (status, text.to_owned());
        let ran = here.create(&["--ssh-from", "auto"], &[]).await?.ended(1);
        assert!(ran.stderr.contains("does not tell your address") && ran.stderr.contains(said), "{}", ran.stderr);
        assert!(here.ground.is_bare().await?);
    }
    for url in ["ftp://203.0.113.1/", "203.0.113.1"] {
        let ran = here.create(&["--ssh-from", "auto"], &[("FLEETKEY_ADDRESS_URL", url)]).await?.ended(1);
        assert!(ran.stderr.contains("it is not the URL of a web page"), "{}", ran.stderr);
    }
    // A network of the operator's own may be one of private addresses.
    here.at("10.1.2.3");
    here.create(&["--ssh-from", "auto"], &[]).await?.ended(0);
    assert_eq!(here.ssh().await?, ["10.1.2.3/32 fleetkey: ssh of alice"]);

    for bad in ["me", "10.1.2.3/8", "::/0", "10.0.0.0/8,", ""] {
        here.create(&["--ssh-from", bad], &[]).await?.ended(2);
        here.refresh(&["--ssh-from", bad], &[]).await?.ended(2);
    }
    here.create(&[], &[("FLEETKEY_SSH_FROM", "everywhere")]).await?.ended(2);
    let ran = here.refresh(&["--ssh-from", "any"], &[]).await?.ended(2);
    assert!(ran.stderr.contains("this opens port 22 to you, not to everybody"), "{}", ran.stderr);
    let ran = here.refresh(&["none"], &[]).await?.ended(1);
    assert!(ran.stderr.contains("no box of /team/none was made in us-west-2"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn what_fails_is_told_and_the_old_rule_stays_until_the_new_one_is_there() -> Result<()> {
    use fleetkey_tests::proxy::Fault;
    let here = Here::new().await?;
    here.create(&["--ssh-from", "auto"], &[]).await?.ended(0);
    here.at("198.51.100.9");
    here.ground
        .proxy
        .spoil("ec2:AuthorizeSecurityGroupIngress", Fault::Refuse("RulesPerSecurityGroupLimitExceeded", "full"));
    let ran = here.refresh(&[], &[]).await?.ended(1);
    assert!(ran.stdout.contains("failed") && ran.stdout.contains("not-tried"), "{}", ran.stdout);
    assert!(ran.stderr.contains("of 2 changes failed"), "{}", ran.stderr);
    assert_eq!(here.ssh().await?, ["203.0.113.7/32 fleetkey: ssh of alice"]);
    here.ground.proxy.heal();
    here.refresh(&[], &[]).await?.ended(0);
    assert_eq!(here.ssh().await?, ["198.51.100.9/32 fleetkey: ssh of alice"]);
    Ok(())
}
