//! What a failover rests on where no quorum of a write group shows everything: a fence, what may be lost behind it, and
//! the word of an operator.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gtid::Ranges;
use crate::id::{IncidentId, NodeId};

/// How it is known that a server acknowledges nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FenceHow {
    /// The node beside it saw its process end, and keeps it from opening again.
    ProcessExited,
    /// The node beside it cut it off from its clients and verified that.
    SelfFenced,
    /// Its lease has ended, and nobody grants another one.
    LeaseExpired,
    /// A coordinator killed its process through ssh, and saw it gone.
    SshKilled,
    /// A hook of the cluster file shut it down, and that was read back.
    ShutDown,
    /// An operator says so.
    Operator,
}

/// Who accepts that something may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// The cluster file's `max_loss`.
    Policy,
    /// An operator.
    Operator,
}

/// What may be lost with a server: what it alone holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// Who accepts it.
    pub accepted_by: Acceptance,
    /// Who shows nothing either, of those that a write was acknowledged with: they may have it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unseen: BTreeSet<NodeId>,
    /// What the server held at its last report and nobody shows; `None` if it was never heard.
    pub transactions: Option<Ranges>,
    /// How many milliseconds before the decision that report came: what was written since is not known.
    pub unheard_ms: Option<u64>,
}

/// A failover that an operator answers for. It counts for one incident at one coordinator, and ends with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// Which incident.
    pub incident: IncidentId,
    /// The server that the operator has made unable to serve.
    pub fenced: Option<NodeId>,
    /// What only the replaced server has may be lost.
    pub accept_loss: bool,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What stands for a former primary that does not show what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grounds {
    /// The server.
    pub fenced: NodeId,
    /// How it is known to be mute.
    pub how: FenceHow,
    /// What may be lost with it.
    pub missing: Missing,
    /// The operator's word, if anything rests on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<Override>,
}
