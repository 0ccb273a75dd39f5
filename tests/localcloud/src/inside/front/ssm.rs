//! The public parameter of SSM that names Debian's image, which moto neither has nor lets anybody put.

use std::io;

use fleetkey_tests::http::Message;
use fleetkey_tests::proxy::forward;
use serde_json::{Value, json};

use super::Front;

impl Front {
    pub(super) async fn ssm(&self, action: &str, request: Message) -> io::Result<Message> {
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let is_ours = |name: &Value| name.as_str() == Some(self.image.parameter);
        let names = asked["Names"].as_array().filter(|names| !names.is_empty());
        let found = match action {
            "GetParameter" if is_ours(&asked["Name"]) => json!({ "Parameter": self.parameter() }),
            "GetParameters" if names.is_some_and(|names| names.iter().all(is_ours)) => {
                json!({ "Parameters": [self.parameter()], "InvalidParameters": [] })
            }
            _ => return forward(request, self.moto).await,
        };
        Ok(Message::response("200 OK", "application/x-amz-json-1.1", found.to_string()))
    }

    fn parameter(&self) -> Value {
        json!({
            "Name": self.image.parameter, "Type": "String", "Value": self.image.id, "Version": 1,
            "ARN": format!("arn:aws:ssm:us-west-2::parameter{}", self.image.parameter),
            "LastModifiedDate": 1_793_491_200, "DataType": "aws:ec2:image",
        })
    }
}
