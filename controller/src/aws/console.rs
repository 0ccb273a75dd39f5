//! What a box has printed on its console.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::CallError;

/// The code by which EC2 says that a type cannot tell what its console shows now.
const UNSUPPORTED: &str = "UnsupportedOperation";

/// Which of the two texts that EC2 keeps.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// What was printed up to now; types with the Nitro hypervisor alone have it.
    Now,
    /// What was printed up to some minutes after the box was last launched, stopped or rebooted.
    Posted,
}

/// The last 64 KB of the console, as bytes. Empty where there is nothing yet, or where the type has no such text.
pub(crate) async fn output(client: &Client, id: &str, when: When) -> Result<Vec<u8>, CallError> {
    let action = || format!("ec2 GetConsoleOutput {id}");
    let call = client.get_console_output().instance_id(id);
    // Some imitations of EC2 refuse a false value, which is the default.
    let call = if when == When::Now { call.latest(true) } else { call };
    match call.send().await {
        Ok(answer) => {
            let text: Vec<u8> =
                answer.output.unwrap_or_default().bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            STANDARD.decode(text).map_err(|_| CallError::answer(action(), "the console output is not base64"))
        }
        Err(error) if when == When::Now && error.code() == Some(UNSUPPORTED) => Ok(Vec::new()),
        Err(error) => Err(CallError::new(action(), &error)),
    }
}
