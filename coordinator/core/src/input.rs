//! What is handed to a core.

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Heartbeat;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::observation::{Observation, Position};

use crate::fence::{Fenced, Means};
use crate::reading::Reading;
use crate::view::Stamp;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed.
    Woke,
    /// A node reported. The stamp orders its sender's messages.
    Observed(Box<Observation>, Stamp),
    /// A node told its position.
    Positioned(Box<Position>, Stamp),
    /// Another coordinator lives.
    Beaten(Heartbeat),
    /// A carrier was interrupted: everybody is asked for a fresh report.
    Resumed,
    /// The time of the planned switchover has come.
    PlanDue {
        /// Which.
        set_at: Ballot,
        /// It is too late for it.
        late: bool,
    },
    /// A fence has ended.
    Fenced {
        /// The attempt that asked for it.
        ballot: Ballot,
        /// The server.
        node: NodeId,
        /// How.
        how: Means,
        /// What came of it.
        outcome: Fenced,
    },
    /// The reading of a dead server's files has ended.
    Read {
        /// The attempt that asked for it.
        ballot: Ballot,
        /// The server.
        node: NodeId,
        /// What came of it.
        reading: Reading,
    },
}
