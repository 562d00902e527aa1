//! What an operator asks of a coordinator that does not lead, brought to the one that does, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::Epoch;
use crate::grounds::Override;
use crate::id::{NodeId, Nonce};

/// The primary is to hand over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Switchover {
    /// Who is to take over; `None`: whoever would win a failover.
    pub to: Option<NodeId>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A server is to be brought home on a copy of another's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reclone {
    /// The server.
    pub node: NodeId,
    /// Only say whether it could be done.
    pub dry_run: bool,
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What only the leader can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum Wanted {
    /// The primary hands over.
    Switchover(Switchover),
    /// A server is copied anew.
    Reclone(Reclone),
    /// A failover that is held goes on by an operator's word.
    Override(Override),
    /// Only say whether such a word would count.
    TryOverride(Override),
}

/// A wish on its way to the leader. It is brought again until its end comes back, and done once: a leader that forgot it, by
/// a restart, sees by the epoch whether it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Errand {
    /// Which.
    pub id: Nonce,
    /// The reign under which it was asked.
    pub under: Option<Epoch>,
    /// What is wished.
    #[serde(flatten)]
    pub wanted: Wanted,
}

/// What came of an errand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrandEnd {
    /// Which.
    pub id: Nonce,
    /// Whether the wish was granted.
    pub granted: bool,
    /// What was done, or why not, in lines for people.
    pub lines: Vec<String>,
}
