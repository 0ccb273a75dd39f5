//! The agent over TLS, as in earnest: everything else here speaks plain HTTP, and would not notice a program that cannot.

use anyhow::Result;
use fleetkey_tests::agent::Agent;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Proxy, count};
use fleetkey_tests::tls::TestCa;
use nix::sys::signal::Signal;

use super::fixture::{Fixture, faults, push};

/// A box whose way to AWS is TLS by this authority.
async fn behind(ca: &TestCa) -> Result<Fixture> {
    let cloud = Cloud::new().await?;
    Fixture::of(cloud, Proxy::start_tls(Moto::shared()?.address(), ca)?).await
}

#[tokio::test]
async fn every_service_is_reached_over_tls_by_the_authorities_that_were_configured() -> Result<()> {
    let ca = TestCa::new()?;
    let fixture = behind(&ca).await?;
    let agent = Agent::start(&fixture.sandbox, &fixture.config().ca_bundle(&ca.ca_bundle())?)?;
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_well()?;
    let services: Vec<String> = count(&fixture.proxy.take_calls())
        .into_keys()
        .filter_map(|kind| Some(kind.split_once(':')?.0.to_owned()))
        .collect();
    for service in ["ec2", "iam", "s3", "sns", "sqs"] {
        assert!(services.iter().any(|seen| seen == service), "{service} was not asked: {services:?}");
    }
    assert!(agent.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn t10_a_server_of_another_authority_is_told_nothing_and_lets_nobody_in() -> Result<()> {
    let (ca, other) = (TestCa::new()?, TestCa::new()?);
    let fixture = behind(&ca).await?;
    let mut agent = Agent::start(&fixture.sandbox, &fixture.config().ca_bundle(&other.ca_bundle())?)?;
    agent.wait_ready()?;
    let refused = |text: &str| text.contains("invalid peer certificate");
    fixture.wait_status("the status tells of the certificate", |status| {
        faults(status).iter().any(|line| line.starts_with("group developers") && refused(line)) && refused(push(status))
    })?;
    assert!(faults(&agent.status_json()?).iter().all(|line| refused(line)));
    assert_eq!(fixture.proxy.take_calls(), [], "not a request is sent to it");
    assert!(!fixture.lets_in(&fixture.alice));
    Ok(())
}

#[tokio::test]
async fn a_reload_goes_by_the_authorities_that_stand_in_the_bundle_now() -> Result<()> {
    let (ca, other) = (TestCa::new()?, TestCa::new()?);
    let fixture = behind(&ca).await?;
    let config = fixture.config().set("poll_interval", "1h");
    let mut agent = Agent::start(&fixture.sandbox, &config.clone().ca_bundle(&ca.ca_bundle())?)?;
    fixture.wait_let_in(&fixture.alice)?;
    fixture.wait_well()?;
    // Also a connection that stands since before is not good any more.
    config.clone().ca_bundle(&other.ca_bundle())?.write(&fixture.sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    fixture.wait_status("the server is refused", |status| {
        !faults(status).is_empty() && push(status).contains("invalid peer certificate")
    })?;
    config.ca_bundle(&ca.ca_bundle())?.write(&fixture.sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    fixture.wait_well()?;
    Ok(())
}
