//! The server beside this node, as its probes and its process tell.

use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Facts, Process};

use crate::io::ServerReport;
use crate::memory::ServerRun;

/// The server as last seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) report: Option<ServerReport>,
    pub(crate) read_at: Moment,
    /// The run that was seen to exit; a report of another run ends this.
    pub(crate) exited: Option<ServerRun>,
    /// That run closed its binlog before.
    pub(crate) clean: bool,
}

impl Server {
    pub(crate) fn facts(&self) -> Option<&Facts> {
        self.report.as_ref().and_then(|report| report.facts.as_ref())
    }

    pub(crate) fn run(&self) -> Option<ServerRun> {
        self.report.as_ref().and_then(|report| report.run).filter(|run| Some(*run) != self.exited)
    }

    pub(crate) fn process(&self) -> Process {
        match (self.run(), self.exited) {
            (Some(run), _) => Process::Running { pid: run.pid },
            (None, Some(_)) => Process::Exited { clean: self.clean },
            (None, None) => Process::Unknown,
        }
    }
}
