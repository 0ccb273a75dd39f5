//! What single values mean: from a string to the type that the settings hold.
//!
//! Each function takes one text and either returns its value or says, in words that end a message, what is wrong with
//! it and what to write. Nothing is looked up: a path need not exist, a bucket need not be ours.

use std::net::Ipv6Addr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use fleetkey_common::did_you_mean::did_you_mean;

use super::settings::{AutostopAction, DeleteQueue, Mode};

/// What is wrong with a value, for people.
pub(super) type Fault = String;

/// The modes by name.
pub(super) const MODES: &[(&str, Mode)] =
    &[("shared", Mode::Shared), ("exclusive", Mode::Exclusive), ("system", Mode::System)];

/// When the queue is deleted, by name.
pub(super) const DELETE_QUEUE: &[(&str, DeleteQueue)] =
    &[("poweroff", DeleteQueue::Poweroff), ("exit", DeleteQueue::Exit), ("never", DeleteQueue::Never)];

/// What becomes of a box that powers off, by name.
pub(super) const AUTOSTOP_ACTIONS: &[(&str, AutostopAction)] =
    &[("stop", AutostopAction::Stop), ("terminate", AutostopAction::Terminate)];

/// The largest load that can be set: no box has so many programs at work at once.
const MOST_LOAD: f64 = 10_000.0;

/// One word of a few.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    let hint = did_you_mean(text, &names);
    Err(format!("{text:?} is not one of {}{hint}", quoted.join(", ")))
}

/// The name of a value of such a list.
pub(super) fn name_of<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

/// A time span such as `60s`, within bounds.
pub(super) fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, Fault> {
    let value = humantime::parse_duration(text).map_err(|_| {
        format!("{text:?} is not a time span; write a number and a unit, such as \"60s\", \"5m\", \"72h\"")
    })?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let [least, most] = [least, most].map(humantime::format_duration);
    Err(format!("{text:?} is out of range; give {least} to {most}"))
}

/// A share such as `50%`, as 0.0 to 1.0.
pub(super) fn percent(text: &str) -> Result<f64, Fault> {
    let number =
        text.strip_suffix('%').map(str::trim_end).filter(|n| n.bytes().all(|b| b == b'.' || b.is_ascii_digit()));
    match number.and_then(|number| number.parse::<f64>().ok()) {
        Some(number) if number <= 100.0 => Ok(number / 100.0),
        Some(_) => Err(format!("{text:?} is more than all; give \"0%\" to \"100%\"")),
        None => Err(format!("{text:?} is not a percentage; write it as \"50%\"")),
    }
}

/// A load as in `/proc/loadavg`: how many programs are at work or wait for a disk, on average.
pub(super) fn load(text: &str) -> Result<f64, Fault> {
    let digits = text.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    match text.parse::<f64>().ok().filter(|_| digits) {
        Some(load) if load <= MOST_LOAD => Ok(load),
        Some(_) => Err(format!("{text:?} is out of range; give 0 to {MOST_LOAD}")),
        None => Err(format!("{text:?} is not a load; write it as uptime prints it, such as \"0.5\"")),
    }
}

/// An absolute path, the same however it is reached.
pub(super) fn path(text: &str) -> Result<PathBuf, Fault> {
    let path = Path::new(text);
    if text.chars().any(char::is_control) {
        return Err(format!("the path {text:?} has a control character in it"));
    }
    if !path.is_absolute() {
        return Err(format!("the path {text:?} is relative; write it in full, from /"));
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(format!("the path {text:?} has .. in it; write where it leads"));
    }
    if path == Path::new("/") {
        return Err("the path \"/\" is the root of the whole system; name something below it".to_owned());
    }
    Ok(path.components().collect())
}

/// An HTTP or HTTPS URL of a service: scheme, host, perhaps port and path. A final slash is dropped.
pub(super) fn url(text: &str) -> Result<String, Fault> {
    // First, and without the text: it would print the password.
    if text.contains('@') {
        return Err("the URL has an @ in it; write it without user name and password".to_owned());
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err(format!("{text:?} is no http or https URL; write it like \"https://aws.example.net\""));
    };
    let wrong =
        |what: &str| Err(format!("the URL {text:?} has {what}; write it like \"https://aws.example.net:8443\""));
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("a blank, a control character or a letter outside ASCII");
    }
    if text.contains(['?', '#']) {
        return wrong("a query or fragment");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (host_is_good, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']').unwrap_or_default();
        (host.parse::<Ipv6Addr>().is_ok(), port.strip_prefix(':').or((!port.is_empty()).then_some("")))
    } else {
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        (!host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)), port)
    };
    if !host_is_good {
        return wrong("no valid host");
    }
    if port.is_some_and(|port| port.starts_with('+') || port.parse::<u16>().unwrap_or(0) == 0) {
        return wrong("no valid port");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The least and the most characters of a text, and which ones.
fn made_of(text: &str, least: usize, most: usize, allowed: impl Fn(u8) -> bool) -> bool {
    (least..=most).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A region, by form: `us-west-2`, `us-gov-west-1`.
pub(super) fn region(text: &str) -> Result<String, Fault> {
    let zone = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let is_region = |text: &str| {
        let parts: Vec<_> = text.split('-').collect();
        parts.len() >= 3
            && made_of(text, 1, 32, |b| is_lower_or_digit(b) || b == b'-')
            && parts.iter().all(|part| !part.is_empty())
            && parts.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    };
    if is_region(text) {
        Ok(text.to_owned())
    } else if is_region(zone) {
        Err(format!("{text:?} is an availability zone; its region is {zone:?}"))
    } else {
        Err(format!("{text:?} is not a region; write it like \"us-west-2\""))
    }
}

/// A bucket name.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub(super) fn bucket(text: &str) -> Result<String, Fault> {
    if let Some(rest) = text.strip_prefix("s3://") {
        let name = rest.split('/').next().unwrap_or_default();
        return Err(format!("{text:?} is an address; write the bucket's name alone, {name:?}"));
    }
    let ends = |end: Option<u8>| end.is_some_and(is_lower_or_digit);
    let good = made_of(text, 3, 63, |b| is_lower_or_digit(b) || b == b'-' || b == b'.')
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && !text.contains("..");
    if good {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no bucket name: 3 to 63 lower-case letters, digits, - and ., with no - or . at the ends"))
}

/// An AWS account id.
pub(super) fn account_id(text: &str) -> Result<String, Fault> {
    if made_of(text, 12, 12, |b| b.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not an AWS account id; write its 12 digits without dashes"))
}

/// An instance id, or what stands for one on a host that is not in EC2. It becomes part of queue names (80 characters
/// of `A-Z a-z 0-9 _ -` in all) and object keys.
pub(super) fn instance_id(text: &str) -> Result<String, Fault> {
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let good = match text.strip_prefix("i-") {
        Some(hex) => [8, 17].contains(&hex.len()) && is_hex(hex),
        None => made_of(text, 1, 40, |b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
    };
    if good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no instance id: i- and 8 or 17 hex digits, or, outside EC2, 1 to 40 letters, digits, - and _"
    ))
}

/// An SNS topic: its name, or its ARN.
/// <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>
pub(super) fn topic(text: &str) -> Result<String, Fault> {
    if text.rsplit_once('.').is_some_and(|(_, kind)| kind == "fifo") {
        return Err(format!("{text:?} is a FIFO topic; hints go by a standard topic"));
    }
    let is_name = |name: &str| made_of(name, 1, 256, |b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let good = match *text.split(':').collect::<Vec<_>>() {
        [name] => is_name(name),
        ["arn", partition, "sns", in_region, account, name] => {
            partition.starts_with("aws") && region(in_region).is_ok() && account_id(account).is_ok() && is_name(name)
        }
        _ => false,
    };
    if good {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no SNS topic: a name of letters, digits, - and _, or \"arn:aws:sns:REGION:ACCOUNT:NAME\""))
}

/// A CloudWatch namespace.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#Namespace>
pub(super) fn namespace(text: &str) -> Result<String, Fault> {
    if text.starts_with("AWS/") {
        return Err(format!("{text:?} begins with AWS/, which is for AWS itself"));
    }
    if made_of(text, 1, 255, |b| b.is_ascii_alphanumeric() || b".-_/#:".contains(&b)) && !text.starts_with(':') {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no CloudWatch namespace: 1 to 255 letters, digits and .-_/#: not beginning with a colon"))
}
