//! The key pairs of a region, for the two registries that want them: the bucket's, and EC2's own.
//!
//! Both ask at the same moment of a look, and one call answers both. Nothing is kept beyond that: an answer that has come
//! in is for those who were waiting for it, and never for whoever asks next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::Client;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::ec2::{KeyPair, key_pairs};
use super::{Registry, RegistryError};
use crate::names::PersonName;

/// Whose pairs are asked for; `None`: everybody's.
type Asked = Option<BTreeSet<PersonName>>;
type Answer = Result<Arc<[KeyPair]>, RegistryError>;
type Call = BoxFuture<'static, Answer>;

/// Asks for key pairs; a clone joins in the calls of the others.
#[derive(Clone)]
pub(super) struct KeyPairs {
    client: Client,
    under_way: Arc<Mutex<BTreeMap<Asked, WeakShared<Call>>>>,
}

impl fmt::Debug for KeyPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPairs").field("client", &self.client).finish_non_exhaustive()
    }
}

impl KeyPairs {
    /// Asks by this client.
    pub(super) fn new(client: Client) -> Self {
        Self { client, under_way: Arc::default() }
    }

    /// The key pairs of the region, or those named as `people`. A failure is told as one of the registry `asking`.
    pub(super) async fn of(&self, asking: Registry, people: Option<&BTreeSet<PersonName>>) -> Answer {
        let answer = self.call(people.cloned()).await;
        answer.map_err(|error| RegistryError { registry: asking, ..error })
    }

    /// The call that is under way for the same question, or a new one.
    fn call(&self, asked: Asked) -> Shared<Call> {
        // Whoever panicked while holding it left a map of calls, which is as good as before.
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // One that nobody waits for any more is gone; one that is done is for those who still hold it.
        under_way.retain(|_, call| call.upgrade().is_some_and(|call| call.peek().is_none()));
        if let Some(call) = under_way.get(&asked).and_then(WeakShared::upgrade) {
            return call;
        }
        let (client, people) = (self.client.clone(), asked.clone());
        let call = async move { key_pairs(&client, Registry::Ec2, people.as_ref()).await.map(Arc::from) };
        let call = call.boxed().shared();
        under_way.extend(call.downgrade().map(|call| (asked, call)));
        call
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_types::body::SdkBody;
    use futures_util::future::join;

    use super::*;

    /// An EC2 without key pairs that answers with this status, and counts.
    #[derive(Debug, Clone)]
    struct Counting(u16, Arc<AtomicUsize>);

    impl HttpConnector for Counting {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            self.1.fetch_add(1, Ordering::Relaxed);
            let status = self.0;
            HttpConnectorFuture::new(async move {
                tokio::task::yield_now().await;
                let body = "<DescribeKeyPairsResponse><keySet/></DescribeKeyPairsResponse>";
                Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
            })
        }
    }

    fn pairs(status: u16) -> (KeyPairs, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let connector = SharedHttpConnector::new(Counting(status, Arc::clone(&calls)));
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-west-2"))
            .credentials_provider(Credentials::new("a", "b", None, None, "test"))
            .retry_config(aws_sdk_ec2::config::retry::RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()));
        (KeyPairs::new(Client::from_conf(config.build())), calls)
    }

    #[tokio::test]
    async fn who_asks_at_once_gets_one_answer_and_who_asks_later_a_new_one() {
        let (pairs, calls) = pairs(200);
        let both = join(pairs.of(Registry::S3, None), pairs.of(Registry::Ec2, None)).await;
        assert!(both.0.is_ok() && both.1.is_ok());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        // The first answer is still held, and is not given again.
        pairs.of(Registry::S3, None).await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        let alice = BTreeSet::from(["alice".parse().unwrap()]);
        let _ = join(pairs.of(Registry::S3, Some(&alice)), pairs.of(Registry::Ec2, None)).await;
        assert_eq!(calls.load(Ordering::Relaxed), 4, "two questions are two calls");
    }

    #[tokio::test]
    async fn each_registry_tells_of_a_failure_as_its_own_and_the_next_question_is_asked_anew() {
        let (pairs, calls) = pairs(500);
        let (s3, ec2) = join(pairs.of(Registry::S3, None), pairs.of(Registry::Ec2, None)).await;
        assert_eq!((s3.unwrap_err().registry, ec2.unwrap_err().registry), (Registry::S3, Registry::Ec2));
        assert!(pairs.of(Registry::Ec2, None).await.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_question_that_was_given_up_holds_nothing_up() {
        let (pairs, calls) = pairs(200);
        drop(pairs.call(None));
        assert!(pairs.of(Registry::Ec2, None).await.is_ok());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
