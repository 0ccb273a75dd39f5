//! The flags that say by which way a box is reached, of all commands that reach one.

use clap::Args;

use crate::reach_settings::{jump, via};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::ssh::AddressKind;
use crate::ssh::route::{Jump, Route, Via, Way};

/// By which way, and to which address.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How to get there")]
pub(super) struct RouteFlags {
    /// Which address of the box to use [default: FLEETKEY_ADDRESS, that of the configuration, else the private one at the end of a way over other
    /// machines, else the public one if it has one]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(super) address: Option<AddressKind>,
    /// Go over these machines, as with ssh -J: HOST, USER@HOST or HOST:PORT, several with commas between them; for
    /// their host keys, your own known_hosts counts [default: FLEETKEY_JUMP, that of the configuration]
    #[arg(long, value_name = "HOST", conflicts_with = "via")]
    pub(super) jump: Option<Jump>,
    /// Go this way [default: FLEETKEY_VIA, that of the configuration, else as ssh's own configuration says]
    #[arg(long, value_enum, value_name = "WAY")]
    pub(super) via: Option<Via>,
}

impl RouteFlags {
    /// What flags and settings come to. A way by flag puts aside any other way.
    pub(super) fn route(&self, settings: &Settings) -> Result<Route, Refusal> {
        let way = match (&self.jump, self.via) {
            (Some(jump), _) => Way::Jump(jump.clone()),
            (None, Some(via)) => Way::Via(via),
            (None, None) => match (jump(settings)?, via(settings)?) {
                (Some(_), Some(_)) => {
                    return Err(Refusal::usage("your settings name both machines to go over and another way")
                        .hint("unset one of FLEETKEY_JUMP and FLEETKEY_VIA, or give --jump or --via"));
                }
                (Some(jump), None) => Way::Jump(jump),
                (None, Some(via)) => Way::Via(via),
                (None, None) => Way::Unsaid,
            },
        };
        let tunnel = matches!(way, Way::Via(Via::Eice | Via::Ssm));
        if tunnel && self.address == Some(AddressKind::Public) {
            return Err(Refusal::usage("this way leads into the box's network, not to its public address")
                .hint("leave --address out"));
        }
        let address = self.address.or(settings.address);
        Ok(Route { address: address.filter(|_| !tunnel), way, aws_profile: settings.aws_profile.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Chosen;
    use crate::settings::PlaceFlags;

    fn route(flags: &RouteFlags, env: &[(&str, &str)]) -> Result<Route, String> {
        let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let settings = Settings::new(&PlaceFlags::default(), find, &Chosen::default()).unwrap();
        flags.route(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_way_by_flag_puts_aside_those_of_the_settings() {
        let jump = |host: &str| Way::Jump(host.parse().unwrap());
        let none = RouteFlags::default();
        assert_eq!(route(&none, &[]).unwrap(), Route::default());
        assert_eq!(route(&none, &[("FLEETKEY_JUMP", "bastion")]).unwrap().way, jump("bastion"));
        let env = [("FLEETKEY_JUMP", "bastion"), ("FLEETKEY_ADDRESS", "public")];
        let direct = RouteFlags { via: Some(Via::Direct), ..none.clone() };
        let wanted = Route { address: Some(AddressKind::Public), way: Way::Via(Via::Direct), aws_profile: None };
        assert_eq!(route(&direct, &env).unwrap(), wanted);
        let other = RouteFlags { jump: Some("other".parse().unwrap()), ..none.clone() };
        assert_eq!(route(&other, &[("FLEETKEY_VIA", "ssm"), ("FLEETKEY_JUMP", "b")]).unwrap().way, jump("other"));
        // What they came to can be asked for by flags alone.
        assert_eq!(route(&none, &env).unwrap().words(), ["--address", "public", "--jump", "bastion"]);
        assert_eq!(route(&direct, &env).unwrap().words(), ["--address", "public", "--via", "direct"]);
        assert_eq!(route(&none, &[]).unwrap().words(), Vec::<String>::new());
        let both = route(&none, &[("FLEETKEY_VIA", "ssm"), ("FLEETKEY_JUMP", "b")]).unwrap_err();
        assert_eq!(both, "your settings name both machines to go over and another way");
    }

    #[test]
    fn a_tunnel_leads_to_no_public_address() {
        let ssm = RouteFlags { via: Some(Via::Ssm), ..RouteFlags::default() };
        let found = route(&ssm, &[("FLEETKEY_ADDRESS", "public")]).unwrap();
        assert_eq!(found, Route { way: Way::Via(Via::Ssm), ..Route::default() });
        let public = RouteFlags { address: Some(AddressKind::Public), ..ssm };
        assert!(route(&public, &[]).unwrap_err().contains("not to its public address"));
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_told_by_its_name() {
        let told = |name: &str, value: &str| route(&RouteFlags::default(), &[(name, value)]).unwrap_err();
        assert_eq!(told("FLEETKEY_VIA", "vpn"), "FLEETKEY_VIA \"vpn\": give direct, eice or ssm");
        let jump = "FLEETKEY_JUMP \"-x\": give [USER@]HOST[:PORT], and several with commas between them";
        assert_eq!(told("FLEETKEY_JUMP", "-x"), jump);
    }
}
