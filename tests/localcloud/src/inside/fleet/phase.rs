//! The states of an instance, and what may be asked of one in each.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>

/// A state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inside) enum Phase {
    /// Its box's init does not run yet.
    Pending,
    /// It does.
    Running,
    /// Its box is going down.
    Stopping,
    /// It is down, and its disk is kept.
    Stopped,
    /// Its box is going down for good.
    ShuttingDown,
    /// It is gone with its disk.
    Terminated,
}

impl Phase {
    /// As EC2 names it.
    pub(in crate::inside) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    /// As EC2 numbers it.
    pub(in crate::inside) fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    /// Whether EC2 takes this action for an instance in this state. moto takes each in any.
    pub(in crate::inside) fn takes(self, action: &str) -> bool {
        match action {
            "StartInstances" => matches!(self, Self::Pending | Self::Running | Self::Stopped),
            "StopInstances" => !matches!(self, Self::Pending | Self::ShuttingDown | Self::Terminated),
            "RebootInstances" => self == Self::Running,
            "AttachVolume" => matches!(self, Self::Running | Self::Stopped),
            "CreateImage" => matches!(self, Self::Running | Self::Stopped | Self::Stopping),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_on_its_way_down_cannot_be_started_and_one_that_is_gone_takes_nothing_but_its_end() {
        for phase in [Phase::Stopping, Phase::ShuttingDown, Phase::Terminated] {
            assert!(!phase.takes("StartInstances"), "{}", phase.name());
            assert!(phase.takes("TerminateInstances"), "{}", phase.name());
        }
        assert!(!Phase::Terminated.takes("StopInstances"));
        assert!(!Phase::Pending.takes("StopInstances"));
        assert!(Phase::Stopped.takes("StopInstances"));
        assert!(!Phase::Stopped.takes("RebootInstances"));
    }
}
