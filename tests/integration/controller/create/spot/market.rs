//! The spot market as EC2 describes it. moto fills a request in the moment in which it is made and forgets it when it is
//! cancelled; here, a request is open until a test says otherwise.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice};
use fleetkey_tests::proxy::Call;
use fleetkey_tests::wait_until;

use super::super::super::fleetkey::Running;
use super::super::ground::Ground;
use super::{DESCRIBE, LONG, count, form};

/// A spot request.
#[derive(Debug, Clone)]
struct Request {
    id: String,
    state: &'static str,
    code: String,
    instance: Option<String>,
    token: String,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    /// Why requests are not filled.
    code: String,
    /// What the next request is filled with.
    fill: Option<String>,
    /// What a request is filled with in the moment in which it is cancelled.
    fill_on_cancel: Option<String>,
    /// How many looks do not show a request that is cancelled.
    hidden: u32,
    /// Whether what is said to the next request is not heard.
    unheard: bool,
    /// The instance types that the account may not have more of.
    limited: Vec<&'static str>,
}

/// A market in which no request is filled unless a test says so.
pub(super) struct Market(Arc<Mutex<State>>);

impl Market {
    /// Opens it behind the proxy of this ground. Requests are held for this reason.
    pub(super) fn open(ground: &Ground, code: &str) -> Self {
        let state = Arc::new(Mutex::new(State { code: code.to_owned(), ..State::default() }));
        let own = Arc::clone(&state);
        ground.proxy.play(move |call| lock(&own).answer(call));
        Self(state)
    }

    /// A bare instance, with which the request that is open, or the next one, is filled.
    pub(super) async fn fill(&self, ground: &Ground) -> Result<String> {
        let instance = bare_instance(ground).await?;
        let mut state = lock(&self.0);
        state.fill = Some(instance.clone());
        state.decide();
        Ok(instance)
    }

    /// A bare instance, with which the next request is filled in the moment in which it is cancelled.
    pub(super) async fn fill_on_cancel(&self, ground: &Ground) -> Result<String> {
        let instance = bare_instance(ground).await?;
        lock(&self.0).fill_on_cancel = Some(instance.clone());
        Ok(instance)
    }

    /// The next looks, so many, do not show a request that is cancelled.
    pub(super) fn hide_cancelled(&self, looks: u32) {
        lock(&self.0).hidden = looks;
    }

    /// EC2 takes the next request, and whoever makes it does not hear of that.
    pub(super) fn lose_answer(&self) {
        lock(&self.0).unheard = true;
    }

    /// From now on requests for this type are refused, since the account may not have more of it.
    pub(super) fn limit(&self, kind: &'static str) {
        lock(&self.0).limited.push(kind);
    }

    /// The states of all requests that were ever made, in their order.
    pub(super) fn states(&self) -> Vec<&'static str> {
        lock(&self.0).requests.iter().map(|request| request.state).collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn answer(&mut self, call: &Call) -> Option<(u16, String)> {
        let fields = form(call);
        let asked = match call.action.as_str() {
            "RequestSpotInstances" if self.limited.contains(&fields["LaunchSpecification.InstanceType"].as_str()) => {
                return Some((400, error("MaxSpotInstanceCountExceeded")));
            }
            "RequestSpotInstances" => {
                let id = format!("sir-{:08x}", self.requests.len() + 1);
                let (code, token) = ("pending-evaluation".to_owned(), fields["ClientToken"].clone());
                self.requests.push(Request { id: id.clone(), state: "open", code, instance: None, token });
                if std::mem::take(&mut self.unheard) {
                    return Some((500, error("InternalError")));
                }
                vec![id]
            }
            "DescribeSpotInstanceRequests" => {
                self.decide();
                let by = &fields["Filter.1.Value.1"];
                let hides = |request: &Request| request.state == "cancelled" && self.hidden > 0;
                let named = self.requests.iter().filter(|request| [&request.id, &request.token].contains(&by));
                let shown: Vec<_> = named.filter(|request| !hides(request)).collect();
                self.hidden = self.hidden.saturating_sub(u32::from(shown.is_empty()));
                shown.into_iter().map(|request| request.id.clone()).collect()
            }
            "CancelSpotInstanceRequests" => {
                let id = &fields["SpotInstanceRequestId.1"];
                self.cancel(id);
                vec![id.clone()]
            }
            _ => return None,
        };
        Some((200, self.describe(&call.action, &asked)))
    }

    fn decide(&mut self) {
        for request in self.requests.iter_mut().filter(|request| request.state == "open") {
            request.code.clone_from(&self.code);
            if let Some(instance) = self.fill.take() {
                (request.state, request.instance) = ("active", Some(instance));
                "fulfilled".clone_into(&mut request.code);
            }
        }
    }

    fn cancel(&mut self, id: &str) {
        let open = self.requests.iter_mut().find(|request| request.id == id && request.state == "open");
        let Some(request) = open else { return };
        request.state = "cancelled";
        request.instance = self.fill_on_cancel.take();
        let code = match request.instance {
            Some(_) => "request-canceled-and-instance-running",
            None => "canceled-before-fulfillment",
        };
        code.clone_into(&mut request.code);
    }

    fn describe(&self, action: &str, ids: &[String]) -> String {
        let items = self.requests.iter().filter(|request| ids.contains(&request.id)).map(|request| {
            let Request { id, state, code, instance, .. } = request;
            let instance = instance.as_ref().map(|id| format!("<instanceId>{id}</instanceId>")).unwrap_or_default();
            format!(
                "<item><spotInstanceRequestId>{id}</spotInstanceRequestId><state>{state}</state>\
                 <status><code>{code}</code><message>it is {code}</message></status>{instance}</item>"
            )
        });
        let items: String = items.collect();
        format!("<{action}Response><spotInstanceRequestSet>{items}</spotInstanceRequestSet></{action}Response>")
    }
}

fn error(code: &str) -> String {
    format!("<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>")
}

/// An instance as a spot request brings one, with two volumes: without a tag.
async fn bare_instance(ground: &Ground) -> Result<String> {
    let ec2 = ground.cloud().ec2();
    let images = ec2.describe_images().owners("amazon").send().await?;
    let image = images.images().first().and_then(|image| image.image_id()).context("moto has an image")?;
    let disk = |device: &str| {
        let blank = EbsBlockDevice::builder().volume_size(8).build();
        BlockDeviceMapping::builder().device_name(device).ebs(blank).build()
    };
    let call = ec2.run_instances().image_id(image).min_count(1).max_count(1);
    let launched = call.block_device_mappings(disk("/dev/xvda")).block_device_mappings(disk("/dev/sdf")).send().await?;
    launched.instances().first().and_then(|made| made.instance_id()).map(str::to_owned).context("it has an id")
}

/// Starts a create whose request stays open, and waits until EC2 was asked about it twice.
pub(super) fn held_create(ground: &Ground, more: &[&str]) -> Result<Running> {
    ground.proxy.take_calls();
    let running = ground.start("create", &[more, &["--quick", "--output", "json"]].concat())?;
    let mut asked = 0;
    wait_until("EC2 is asked about the request", LONG, || {
        asked += count(&ground.proxy.take_calls(), DESCRIBE);
        Ok(asked >= 2)
    })?;
    Ok(running)
}
