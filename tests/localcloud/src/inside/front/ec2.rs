//! What EC2's actions mean for boxes, and what is true of boxes in its answers.
//!
//! | moto | here |
//! | --- | --- |
//! | an instance is `running` or `stopped` at once | when its box is; `pending`, `stopping`, `shutting-down` before |
//! | takes any action in any state | refuses what EC2 refuses |
//! | forgets `ClientToken` | the same token gives the same instances |
//! | an instance without a subnet has an address from nowhere | it gets the default subnet of its zone |
//! | an image is there at once, and is of nothing | when the box's disk is copied |
//! | the console is always the same | it is the box's |
//! | a volume is a record, and hangs on as many boxes as one likes | it is a disk of one box |

use std::io;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_tests::http::Message;
use fleetkey_tests::proxy::forward;

use super::form::Form;
use super::{Front, with_body, xml};
use crate::inside::fleet::Phase;

/// All states of an instance.
const STATES: [&str; 6] = ["pending", "running", "shutting-down", "terminated", "stopping", "stopped"];

/// How much of a console EC2 keeps, in bytes.
const CONSOLE: usize = 64 * 1024;

/// A launch with a client token.
pub(super) struct Launch {
    /// What was asked, without what differs each time.
    parameters: Vec<u8>,
    answer: Message,
}

impl Front {
    pub(super) async fn ec2(&self, action: &str, request: Message) -> io::Result<Message> {
        let form = Form::parse(&request.body);
        match action {
            "DescribeInstances" | "DescribeInstanceStatus" => self.describe_instances(action, request, form).await,
            "DescribeImages" => self.describe_images(request, form).await,
            "GetConsoleOutput" => self.console_output(request, &form).await,
            "RunInstances" => self.run_instances(request, form).await,
            "StartInstances" | "StopInstances" | "RebootInstances" | "TerminateInstances" => {
                self.change_state(action, request, &form).await
            }
            "CreateImage" => self.create_image(request, &form).await,
            "AttachVolume" | "DetachVolume" => self.change_volume(action, request, &form).await,
            "DeregisterImage" => {
                let answer = forward(request, self.moto).await?;
                if let (Some(200), Some(id)) = (answer.status(), form.get("ImageId")) {
                    self.fleet.images().forget(id);
                }
                Ok(answer)
            }
            _ if action.starts_with("Describe") || action.starts_with("Get") => forward(request, self.moto).await,
            // Tags, profiles, user-data: what boxes see of themselves.
            _ => {
                let _changing = self.changing.lock().await;
                let answer = forward(request, self.moto).await?;
                self.fleet.reconcile().await;
                Ok(answer)
            }
        }
    }

    /// The state of an instance in an item of moto's, and the item with the true one.
    fn with_phase(&self, item: &str, element: &str) -> (String, String) {
        let phase = xml::text(item, "instanceId").and_then(|id| self.fleet.phase(id));
        let state = xml::text(item, element).unwrap_or_default();
        match phase {
            Some(phase) => (phase.name().to_owned(), xml::with_text(item, element, &state_xml(phase))),
            None => (xml::text(state, "name").unwrap_or_default().to_owned(), item.to_owned()),
        }
    }

    async fn describe_instances(&self, action: &str, mut request: Message, mut form: Form) -> io::Result<Message> {
        let mut wanted = None;
        if !self.enforces.load(Ordering::Relaxed) {
            // moto would choose by its own states.
            wanted = form.widen_filter("instance-state-name", &STATES);
            if wanted.is_some() {
                request = with_body(request, form.encode());
            }
        }
        if action == "DescribeInstanceStatus" && form.get("IncludeAllInstances") != Some("true") {
            wanted.get_or_insert_with(|| vec!["running".to_owned()]);
        }
        let answer = forward(request, self.moto).await?;
        let keep = |item: &str| {
            let (state, item) = self.with_phase(item, "instanceState");
            wanted.as_ref().is_none_or(|wanted| wanted.contains(&state)).then_some(item)
        };
        Ok(rewritten(answer, |body| {
            if action == "DescribeInstanceStatus" {
                return xml::with_items(body, "instanceStatusSet", keep);
            }
            xml::with_items(body, "reservationSet", |reservation| {
                let kept = xml::with_items(reservation, "instancesSet", keep);
                kept.contains("<instanceId>").then_some(kept)
            })
        }))
    }

    async fn describe_images(&self, mut request: Message, mut form: Form) -> io::Result<Message> {
        let mut wanted = None;
        if !self.enforces.load(Ordering::Relaxed) {
            wanted = form.widen_filter("state", &["available"]);
            if wanted.is_some() {
                request = with_body(request, form.encode());
            }
        }
        let answer = forward(request, self.moto).await?;
        Ok(rewritten(answer, |body| {
            xml::with_items(body, "imagesSet", |item| {
                let known = xml::text(item, "imageId").and_then(|id| self.fleet.images().state(id));
                let state = known.or_else(|| xml::text(item, "imageState")).unwrap_or_default();
                let passes = wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| wanted == state));
                passes.then(|| xml::with_text(item, "imageState", state))
            })
        }))
    }

    async fn console_output(&self, request: Message, form: &Form) -> io::Result<Message> {
        let answer = forward(request, self.moto).await?;
        let console = self.fleet.console(form.get("InstanceId").unwrap_or_default());
        let console = console.as_bytes();
        let end = &console[console.len().saturating_sub(CONSOLE)..];
        Ok(rewritten(answer, |body| xml::with_text(body, "output", &STANDARD.encode(end))))
    }

    async fn run_instances(&self, mut request: Message, mut form: Form) -> io::Result<Message> {
        let image = form.get("ImageId").map(str::to_owned);
        if let Some(image) = image.filter(|_| form.get("DryRun") != Some("true")) {
            match self.fleet.images().state(&image) {
                Some("available") => {}
                Some(state) => {
                    return Ok(refusal("InvalidAMIID.Unavailable", &format!("The image '{image}' is {state}")));
                }
                None => {
                    return Ok(refusal("InvalidAMIID.NotFound", &format!("The image id '[{image}]' does not exist")));
                }
            }
        }
        let parameters = form.encode();
        let token = form.get("ClientToken").map(str::to_owned);
        let mut launches = self.changing.lock().await;
        if let Some(launch) = token.as_ref().and_then(|token| launches.get(token)) {
            if launch.parameters != parameters {
                let what = "The client token was used before, with other parameters";
                return Ok(refusal("IdempotentParameterMismatch", what));
            }
            return Ok(self.with_states(launch.answer.clone()));
        }
        if !self.enforces.load(Ordering::Relaxed) && self.name_subnet(&mut form) {
            request = with_body(request, form.encode());
        }
        let answer = forward(request, self.moto).await?;
        self.fleet.reconcile().await;
        if let (Some(token), Some(200)) = (token, answer.status()) {
            launches.insert(token, Launch { parameters, answer: answer.clone() });
        }
        Ok(self.with_states(answer))
    }

    /// Names the default subnet of the zone, as EC2 does by itself; false when there is nothing to add.
    fn name_subnet(&self, form: &mut Form) -> bool {
        if form.has_any("SubnetId") || form.has_any("NetworkInterface.") || form.has_any("LaunchTemplate.") {
            return false;
        }
        let Some(subnet) = self.fleet.default_subnet(form.get("Placement.AvailabilityZone")) else { return false };
        form.push("SubnetId", &subnet);
        true
    }

    fn with_states(&self, answer: Message) -> Message {
        let change = |item: &str| Some(self.with_phase(item, "instanceState").1);
        rewritten(answer, |body| xml::with_items(body, "instancesSet", change))
    }

    async fn change_state(&self, action: &str, request: Message, form: &Form) -> io::Result<Message> {
        let _changing = self.changing.lock().await;
        let ids = form.list("InstanceId");
        let before: Vec<_> = ids.iter().map(|id| self.fleet.phase(id)).collect();
        for (id, phase) in ids.iter().zip(&before) {
            if let Some(phase) = phase.filter(|phase| !phase.takes(action)) {
                return Ok(incorrect_state(id, phase, action));
            }
        }
        let answer = forward(request, self.moto).await?;
        if answer.status() != Some(200) || form.get("DryRun") == Some("true") {
            return Ok(answer);
        }
        if action == "RebootInstances" {
            for id in &ids {
                self.fleet.reboot(id);
            }
            return Ok(answer);
        }
        self.fleet.reconcile().await;
        let change = |item: &str| {
            let (_, item) = self.with_phase(item, "currentState");
            let id = xml::text(&item, "instanceId").unwrap_or_default();
            let known = ids.iter().zip(&before).find(|(known, _)| known.as_str() == id);
            Some(match known.and_then(|(_, phase)| *phase) {
                Some(phase) => xml::with_text(&item, "previousState", &state_xml(phase)),
                None => item,
            })
        };
        Ok(rewritten(answer, |body| xml::with_items(body, "instancesSet", change)))
    }

    async fn change_volume(&self, action: &str, request: Message, form: &Form) -> io::Result<Message> {
        let _changing = self.changing.lock().await;
        let (volume, instance) = (form.get("VolumeId").unwrap_or_default(), form.get("InstanceId").unwrap_or_default());
        if action == "AttachVolume" {
            if let Some(phase) = self.fleet.phase(instance).filter(|phase| !phase.takes(action)) {
                let what = format!("Instance '{instance}' is not 'running' but {}", phase.name());
                return Ok(refusal("IncorrectState", &what));
            }
            // moto has a volume that its box still lets go of for available, and attaches one twice.
            if let Some(holder) = self.fleet.holder(volume) {
                return Ok(refusal("VolumeInUse", &format!("{volume} is already attached to {holder}")));
            }
        }
        let instances: Vec<_> = self.fleet.holder(volume).into_iter().chain([instance.to_owned()]).collect();
        let answer = forward(request, self.moto).await?;
        if answer.status() == Some(200) && form.get("DryRun") != Some("true") {
            for instance in instances {
                self.fleet.plug(&instance);
            }
        }
        Ok(answer)
    }

    async fn create_image(&self, request: Message, form: &Form) -> io::Result<Message> {
        let _changing = self.changing.lock().await;
        let instance = form.get("InstanceId").unwrap_or_default();
        if let Some(phase) = self.fleet.phase(instance).filter(|phase| !phase.takes("CreateImage")) {
            return Ok(incorrect_state(instance, phase, "CreateImage"));
        }
        let answer = forward(request, self.moto).await?;
        let body = String::from_utf8_lossy(&answer.body);
        if let (Some(200), Some(image)) = (answer.status(), xml::text(&body, "imageId")) {
            self.fleet.image(instance, image, form.get("NoReboot") != Some("true"));
        }
        Ok(answer)
    }
}

/// The same answer with its body changed; an error stays as it is.
fn rewritten(answer: Message, change: impl FnOnce(&str) -> String) -> Message {
    if answer.status() != Some(200) {
        return answer;
    }
    let body = change(&String::from_utf8_lossy(&answer.body));
    with_body(answer, body)
}

fn state_xml(phase: Phase) -> String {
    format!("<code>{}</code><name>{}</name>", phase.code(), phase.name())
}

fn incorrect_state(id: &str, phase: Phase, action: &str) -> Message {
    let what = format!("The instance '{id}' is {} and takes no {action} in that state", phase.name());
    refusal("IncorrectInstanceState", &what)
}

/// An error as EC2 words it.
fn refusal(code: &str, message: &str) -> Message {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
         <Message>{message}</Message></Error></Errors><RequestID>{:032x}</RequestID></Response>",
        fastrand::u128(..)
    );
    Message::response("400 Bad Request", "text/xml", body)
}
