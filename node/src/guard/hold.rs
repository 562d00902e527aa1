//! A hold on one run of a process: what it kills can be no later process with the same number.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tasuki_node_core::ServerRun;
use tasuki_schemas::moment::Moment;

use crate::process::is_running;

/// A process, and when it is to end.
pub(super) struct Hold {
    pub(super) run: ServerRun,
    pub(super) until: Option<Moment>,
    pidfd: OwnedFd,
}

impl Hold {
    /// Takes hold; `None` if that run is over.
    pub(super) fn take(run: ServerRun, until: Option<Moment>) -> Option<Self> {
        let pid = i32::try_from(run.pid).ok().and_then(Pid::from_raw)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // The descriptor is held before the start time is looked at: from now on the number is this run's.
        is_running(run.pid, run.started).then_some(Self { run, until, pidfd })
    }

    /// Whether there is anything left to end.
    pub(super) fn is_over(&self) -> bool {
        !is_running(self.run.pid, self.run.started)
    }

    /// SIGKILL: no other signal keeps a server from answering.
    pub(super) fn kill(&self) -> bool {
        pidfd_send_signal(&self.pidfd, Signal::KILL).is_ok()
    }
}
