//! Who is calling: the identity behind the credentials (STS GetCallerIdentity).

use aws_config::SdkConfig;
use fleetkey_common::names::PersonName;

use super::{CallError, failed};
use crate::refusal::Refusal;

/// The caller, as AWS knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The whole ARN: `arn:aws:iam::123456789012:user/path/alice`.
    pub(crate) arn: String,
    /// The account id, 12 digits.
    pub(crate) account: String,
}

/// Asks AWS who the caller is.
pub(crate) async fn identify(config: &SdkConfig) -> Result<Caller, CallError> {
    const ACTION: &str = "sts GetCallerIdentity";
    let answer = aws_sdk_sts::Client::new(config).get_caller_identity().send().await.map_err(failed(ACTION))?;
    let (Some(arn), Some(account)) = (answer.arn, answer.account) else {
        return Err(CallError::answer(ACTION, "the answer has no ARN or no account"));
    };
    let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    if !digits || arn.splitn(6, ':').count() != 6 || arn.contains(char::is_control) {
        return Err(CallError::answer(ACTION, format!("{arn:?} of account {account:?} is no identity")));
    }
    Ok(Caller { arn, account })
}

impl Caller {
    /// The partition that the ARN is in: `aws`, `aws-cn`, `aws-us-gov`.
    pub(crate) fn partition(&self) -> &str {
        self.arn.split(':').nth(1).unwrap_or("aws")
    }

    /// The IAM user who calls, under the user's bare name.
    ///
    /// # Errors
    /// When the caller is no IAM user. The name of a role's session is whatever the session was started with, so it
    /// is never taken for a person's.
    pub(crate) fn person(&self) -> Result<PersonName, Refusal> {
        let resource = self.arn.splitn(6, ':').nth(5).unwrap_or_default();
        let user = resource.strip_prefix("user/").and_then(|path| path.rsplit('/').next());
        if let Some(name) = user {
            return name.parse().map_err(|error| {
                Refusal::usage(format!("the caller {} cannot be a person: {error}", self.arn))
                    .hint("give --person NAME")
            });
        }
        let refusal = Refusal::usage(format!("the caller {} is not an IAM user, so whose key is it?", self.arn));
        Err(match resource.strip_prefix("assumed-role/").and_then(|rest| rest.split('/').nth(1)) {
            Some(session) => {
                refusal.hint(format!("give --person NAME, such as --person {session} if that is the person"))
            }
            None => refusal.hint("give --person NAME"),
        }
        .hint("or say who you are, for all commands: FLEETKEY_ME=NAME, or me in the configuration"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(arn: &str) -> Result<PersonName, Refusal> {
        Caller { arn: arn.to_owned(), account: "123456789012".to_owned() }.person()
    }

    #[test]
    fn an_iam_user_is_a_person_under_the_bare_name_whatever_its_path() {
        for arn in
            ["arn:aws:iam::123456789012:user/a+b=c,d.e@f-g_H", "arn:aws-cn:iam::123456789012:user/x/y/a+b=c,d.e@f-g_H"]
        {
            assert_eq!(person(arn).unwrap().as_str(), "a+b=c,d.e@f-g_H");
        }
    }

    #[test]
    fn a_role_session_a_federated_user_and_the_root_are_never_silently_a_person() {
        for (arn, hint) in [
            (
                "arn:aws:sts::123456789012:assumed-role/admin/alice",
                "give --person NAME, such as --person alice if that is the person",
            ),
            ("arn:aws:sts::123456789012:federated-user/alice", "give --person NAME"),
            ("arn:aws:iam::123456789012:root", "give --person NAME"),
        ] {
            let error = anyhow::Error::from(person(arn).unwrap_err());
            assert_eq!(error.to_string(), format!("the caller {arn} is not an IAM user, so whose key is it?"));
            assert_eq!(crate::refusal::hints(&error)[0], hint);
        }
    }
}
