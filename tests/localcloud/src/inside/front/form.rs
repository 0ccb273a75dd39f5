//! The parameters of a call in AWS's query protocol: a form, in which lists are numbered.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html>

/// A call's parameters, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `a=b&c=d`.
    pub(super) fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(a, b)| (decode(a), decode(b))).collect(),
        )
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The values of `name.1`, `name.2` and so on.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let numbered = |key: &str| key.strip_prefix(name)?.strip_prefix('.')?.parse::<u32>().ok();
        self.0.iter().filter(|(key, _)| numbered(key).is_some()).map(|(_, value)| value.clone()).collect()
    }

    /// Whether any parameter's name begins so.
    pub(super) fn has_any(&self, prefix: &str) -> bool {
        self.0.iter().any(|(key, _)| key.starts_with(prefix))
    }

    /// Adds a parameter.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Makes a filter let all of these values pass, and returns those that it did; `None` when there is no such filter.
    pub(super) fn widen_filter(&mut self, name: &str, all: &[&str]) -> Option<Vec<String>> {
        let is_name = |key: &str| key.starts_with("Filter.") && key.ends_with(".Name");
        let (found, _) = self.0.iter().find(|(key, value)| is_name(key) && value == name)?;
        let list = format!("{}Value", found.trim_end_matches("Name"));
        let values = self.list(&list);
        self.0.retain(|(key, _)| !key.starts_with(&format!("{list}.")));
        for (number, value) in (1..).zip(all) {
            self.push(&format!("{list}.{number}"), value);
        }
        Some(values)
    }

    /// The body of a request.
    pub(super) fn encode(&self) -> Vec<u8> {
        let pairs: Vec<String> =
            self.0.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        pairs.join("&").into_bytes()
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match (byte, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(code)) => {
                decoded.push(code);
                at += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_and_written_alike() {
        let body = b"Action=RunInstances&UserData=I2Nsb3Vk%2Ba%3D%3D&Name=a%20b&Empty=";
        let form = Form::parse(body);
        assert_eq!(form.get("UserData"), Some("I2Nsb3Vk+a=="));
        assert_eq!(form.get("Name"), Some("a b"));
        assert_eq!(form.encode(), body);
    }

    #[test]
    fn a_filter_is_widened_and_the_others_stay() {
        let body = b"Filter.1.Name=instance-state-name&Filter.1.Value.1=pending&Filter.1.Value.2=running&\
            Filter.2.Name=tag%3AName&Filter.2.Value.1=x&InstanceId.1=i-1&InstanceId.2=i-2";
        let mut form = Form::parse(body);
        let values = form.widen_filter("instance-state-name", &["stopped"]);
        assert_eq!(values, Some(vec!["pending".to_owned(), "running".to_owned()]));
        assert_eq!(form.widen_filter("state", &["x"]), None);
        let wide = "Filter.1.Name=instance-state-name&Filter.2.Name=tag%3AName&Filter.2.Value.1=x&InstanceId.1=i-1&\
            InstanceId.2=i-2&Filter.1.Value.1=stopped";
        assert_eq!(form.encode(), wide.as_bytes());
        assert_eq!(form.list("InstanceId"), ["i-1", "i-2"]);
    }
}
