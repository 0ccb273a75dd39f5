//! The command line: global flags here, a verb a file.
//!
//! A verb reads its flags, asks the world, has pure code plan, shows the plan, and has it carried out. It decides
//! nothing about keys itself.

use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::config::PROFILE_VARIABLE;
use crate::log;
use crate::printer::{Output, Printer, Verbosity};
use crate::refusal::{Refusal, exit_code};
use crate::settings::{PlaceFlags, Settings};

mod agent;
mod asking;
mod cleanup;
pub(crate) mod completions;
mod config;
mod converge;
mod create;
mod delete_image;
mod doctor;
mod dry_run;
mod image;
mod init;
mod list;
mod list_images;
mod list_volumes;
mod man;
mod missing;
mod on_box;
mod proxy;
mod reach;
mod reboot;
mod recreate;
mod refresh_ingress;
mod register_key;
mod reset_security;
mod revoke_key;
mod role;
mod route;
mod rsync;
mod show;
mod ssh;
mod ssh_config;
mod ssh_from;
mod start;
mod stop;
mod terminate;
mod update_instance_profile;

/// Keeps SSH access to EC2 instances in step with IAM.
///
/// Exit codes: 0 done, 1 failed, 2 the command line asks for nothing that can be done.
#[derive(Debug, Parser)]
#[command(name = "fleetkey", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    printing: PrintingFlags,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Agent(agent::Agent),
    Cleanup(cleanup::Cleanup),
    Completions(completions::Completions),
    Config(config::ConfigVerb),
    Create(create::Create),
    DeleteImage(delete_image::DeleteImage),
    Doctor(doctor::Doctor),
    Image(image::TakeImage),
    Init(init::Init),
    List(list::List),
    ListImages(list_images::ListImages),
    /// The options of a role: the same as `role options`
    ListOptions(role::Options),
    /// The roles there are: the same as `role list`
    ListRoles(role::List),
    ListVolumes(list_volumes::ListVolumes),
    Man(man::Man),
    Proxy(proxy::Proxy),
    Reboot(reboot::Reboot),
    Recreate(recreate::Recreate),
    RefreshIngress(refresh_ingress::RefreshIngress),
    RegisterKey(register_key::RegisterKey),
    ResetSecurity(reset_security::ResetSecurity),
    RevokeKey(revoke_key::RevokeKey),
    Role(role::RoleVerb),
    Rsync(rsync::Rsync),
    Show(show::Show),
    Ssh(ssh::Ssh),
    SshConfig(ssh_config::SshConfig),
    Start(start::Start),
    Stop(stop::Stop),
    Terminate(terminate::Terminate),
    UpdateInstanceProfile(update_instance_profile::UpdateInstanceProfile),
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is printed")]
struct PrintingFlags {
    /// Only warnings and errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// More on stderr
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    verbose: bool,
    /// Form of the data on stdout [default: that of the configuration, else table]
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    output: Option<Output>,
}

impl PrintingFlags {
    /// What prints; `otherwise` is the form of the data where no flag says so.
    fn printer(&self, otherwise: Option<Output>) -> Printer {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        Printer::new(verbosity, self.output.or(otherwise).unwrap_or_default())
    }
}

/// Runs the command line of this process. Wrong usage ends in clap, with exit code 2.
pub(crate) async fn run() -> ExitCode {
    let cli = Cli::parse();
    let printer = cli.printing.printer(None);
    log::hear(printer);
    match Box::pin(dispatch(cli, printer)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            exit_code(&error)
        }
    }
}

async fn dispatch(cli: Cli, printer: Printer) -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).ok();
    let verb = match cli.verb {
        // What needs no configuration must not fail by one with faults.
        Verb::Completions(verb) => return verb.run(),
        Verb::Man(verb) => return verb.run(),
        // It is there to say what is wrong with the configuration.
        Verb::Config(verb) => return verb.run(&cli.place, cli.printing.output, env, printer),
        verb => verb,
    };
    let configured = config::load()?.choose(cli.place.profile.as_deref(), env(PROFILE_VARIABLE))?;
    let settings = Settings::new(&cli.place, env, &configured).map_err(Refusal::usage)?;
    let printer = cli.printing.printer(settings.output);
    match verb {
        Verb::Agent(verb) => verb.run(&settings, printer).await,
        Verb::Cleanup(verb) => verb.run(&settings, printer).await,
        Verb::Completions(_) | Verb::Config(_) | Verb::Man(_) => Ok(()),
        Verb::Create(verb) => verb.run(&settings, printer).await,
        Verb::DeleteImage(verb) => verb.run(&settings, printer).await,
        Verb::Doctor(verb) => verb.run(&settings, printer).await,
        Verb::Image(verb) => verb.run(&settings, printer).await,
        Verb::Init(verb) => Box::pin(verb.run(&settings, printer)).await,
        Verb::List(verb) => verb.run(&settings, printer).await,
        Verb::ListImages(verb) => verb.run(&settings, printer).await,
        Verb::ListOptions(verb) => verb.run(printer),
        Verb::ListRoles(verb) => verb.run(printer),
        Verb::Proxy(verb) => verb.run(&settings, printer).await,
        Verb::ListVolumes(verb) => verb.run(&settings, printer).await,
        Verb::Reboot(verb) => verb.run(&settings, printer).await,
        Verb::Recreate(verb) => verb.run(&settings, printer).await,
        Verb::RefreshIngress(verb) => verb.run(&settings, printer).await,
        Verb::RegisterKey(verb) => verb.run(&settings, printer).await,
        Verb::ResetSecurity(verb) => verb.run(&settings, printer).await,
        Verb::RevokeKey(verb) => verb.run(&settings, printer).await,
        Verb::Role(verb) => verb.run(&settings, printer),
        Verb::Rsync(verb) => verb.run(&settings, printer).await,
        Verb::Show(verb) => verb.run(&settings, printer).await,
        Verb::Ssh(verb) => verb.run(&settings, printer).await,
        Verb::SshConfig(verb) => verb.run(&settings, printer).await,
        Verb::Start(verb) => verb.run(&settings, printer).await,
        Verb::Stop(verb) => verb.run(&settings, printer).await,
        Verb::Terminate(verb) => verb.run(&settings, printer).await,
        Verb::UpdateInstanceProfile(verb) => verb.run(&settings, printer).await,
    }
}

#[cfg(test)]
mod tests;
