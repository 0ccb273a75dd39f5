//! The world of a command about boxes: region, namespace and clients. Opened once, then only used.
//!
//! It asks AWS nothing that the command does not need: who calls is asked only where `__me__` stands for the caller.

use anyhow::Context as _;
use aws_config::SdkConfig;
use fleetkey_common::aws::for_operator;
use fleetkey_common::aws_names::Namespace;
use fleetkey_common::names::PersonName;
use tokio::sync::OnceCell;

use crate::aws::caller::{self, Caller};
use crate::printer::Printer;
use crate::refusal::Refusal;
use crate::settings::Settings;

/// What a verb about boxes works with.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// EC2 in the region.
    pub(crate) ec2: aws_sdk_ec2::Client,
    /// What further clients are made of.
    pub(crate) config: SdkConfig,
    /// The region that the command is about.
    pub(crate) region: String,
    /// The availability zones asked for, in the order in which they are tried; none leaves it to EC2.
    pub(crate) zones: Vec<String>,
    /// The namespace of the boxes.
    pub(crate) namespace: Namespace,
    me: Option<PersonName>,
    caller: OnceCell<Caller>,
}

impl Fleet {
    /// Finds out region and namespace. Changes nothing.
    pub(crate) async fn open(settings: &Settings, printer: Printer) -> anyhow::Result<Self> {
        let config = for_operator(settings.region.as_deref(), settings.aws_profile.as_deref()).await;
        let region = config.region().map(ToString::to_string).ok_or_else(Self::no_region)?;
        let mut fleet = Self {
            ec2: aws_sdk_ec2::Client::new(&config),
            config,
            region,
            zones: settings.zones(),
            namespace: Namespace::root(),
            me: settings.me.clone(),
            caller: OnceCell::new(),
        };
        fleet.namespace = match settings.namespace.parse() {
            Ok(namespace) => namespace,
            // `__me__` is no component of a namespace, so a namespace that holds it ends up here.
            Err(_) if settings.namespace.contains("__me__") => {
                let me = fleet.me().await.context(
                    Refusal::usage(format!("the namespace {} needs your IAM user name", settings.namespace))
                        .hint("give --namespace /NAME/, or set FLEETKEY_ME"),
                )?;
                Namespace::of(&settings.namespace, &me).map_err(Refusal::usage)?
            }
            Err(error) => return Err(Refusal::usage(error).into()),
        };
        printer.detail(&format!("namespace {} in {}", fleet.namespace, fleet.region));
        Ok(fleet)
    }

    /// Why a command cannot go on without a region.
    pub(crate) fn no_region() -> Refusal {
        Refusal::usage("no AWS region is known")
            .hint("give --region or --zone, or set AWS_REGION, FLEETKEY_ZONE or the region of the AWS profile")
    }

    /// Who calls; asked once.
    pub(crate) async fn caller(&self) -> anyhow::Result<&Caller> {
        self.caller.get_or_try_init(async || caller::identify(&self.config).await).await.map_err(|error| {
            anyhow::Error::from(error).context(
                Refusal::new("AWS does not say who is calling")
                    .hint("check the credentials (AWS_PROFILE, aws configure, aws sso login) and the network"),
            )
        })
    }

    /// The IAM user that `__me__` stands for.
    pub(crate) async fn me(&self) -> anyhow::Result<PersonName> {
        match &self.me {
            Some(me) => Ok(me.clone()),
            None => self.caller().await?.person().map_err(|error| {
                // The flags that name somebody are not the same for all commands; these do for all.
                anyhow::Error::from(error).context(
                    Refusal::usage("it is not known who __me__ is")
                        .hint("say so by FLEETKEY_ME, or me of the configuration, such as export FLEETKEY_ME=alice")
                        .hint("or name those who are to log in: create --keypairs, FLEETKEY_KEYPAIRS"),
                )
            }),
        }
    }

    /// IAM.
    pub(crate) fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config)
    }

    /// Systems Manager in the region, for the public parameters that name images.
    pub(crate) fn ssm(&self) -> aws_sdk_ssm::Client {
        aws_sdk_ssm::Client::new(&self.config)
    }
}
