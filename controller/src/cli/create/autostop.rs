//! The flags of `create` and `recreate` for boxes that power themselves off.

use clap::Args;

use crate::role::{Asked, AutostopAction, Span};

/// When the box powers itself off.
#[derive(Debug, Args)]
#[command(next_help_heading = "Idle boxes")]
pub(super) struct AutostopFlags {
    /// Have it power itself off after that long without a session and with little load, such as 2h [default: that of the
    /// role, else never]
    #[arg(long, value_name = "DURATION")]
    autostop: Option<Span>,
    /// What EC2 does with it then: stop or terminate [default: that of the role, else stop]
    #[arg(long, value_name = "ACTION")]
    autostop_action: Option<AutostopAction>,
    /// Leave it on, whatever the role says
    #[arg(long, conflicts_with_all = ["autostop", "autostop_action"])]
    no_autostop: bool,
}

impl AutostopFlags {
    /// What they ask for.
    pub(super) fn asked(&self) -> Asked {
        Asked { never: self.no_autostop, after: self.autostop, action: self.autostop_action }
    }
}
