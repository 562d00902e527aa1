//! The guard: a process of its own that ends a server when its lease ends, whatever has become of the node.
//!
//! A primary without acknowledgements (k = 0) may serve for as long as its lease lasts, and its clients on the same host
//! use a Unix socket that no kernel rule closes. The node could be stopped, killed or starved just then. So the guard
//! knows nothing but a process and a moment of `CLOCK_BOOTTIME`; the node moves the moment with every renewal.
//!
//! They talk over a Unix socket in the state directory, one line of JSON each way. A node that starts anew finds the
//! guard of its former self there, and goes on with what it holds.

mod hold;
mod keeper;
mod process;

use serde::{Deserialize, Serialize};
use tasuki_node_core::{Guarding, ServerRun};
use tasuki_schemas::moment::Moment;

pub use keeper::keep;
pub use process::{GuardError, run};

/// What a guard is told to hold, and answers that it holds; `null` is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    pid: u32,
    started: u64,
    /// Nanoseconds of `CLOCK_BOOTTIME`; absent while no lease is held.
    until: Option<u64>,
}

impl From<Guarding> for Line {
    fn from(guarding: Guarding) -> Self {
        let ServerRun { pid, started } = guarding.run;
        Self { pid, started, until: guarding.until.map(Moment::nanos) }
    }
}

impl From<Line> for Guarding {
    fn from(line: Line) -> Self {
        let run = ServerRun { pid: line.pid, started: line.started };
        Self { run, until: line.until.map(Moment::from_nanos) }
    }
}
