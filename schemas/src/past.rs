//! What a record remembers besides its reign: failovers of late, a pause, and a switchover to come.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::{Ballot, Epoch};
use crate::grounds::Grounds;
use crate::id::NodeId;

/// How many failovers a record remembers.
pub const REMEMBERED: usize = 8;

/// What a primary was replaced for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its process ended.
    Crashed,
    /// Somebody stopped it.
    Stopped,
    /// It was found closed, and could not be opened again.
    Closed,
    /// It answered no write.
    Hung,
    /// Its host was silent to everybody.
    HostLost,
    /// Nobody reached it, though it ran.
    Isolated,
    /// Its disk was full.
    DiskFull,
    /// An operator asked for it.
    Switchover,
    /// Somebody else's attempt was finished: why it was begun is not known.
    Unfinished,
    /// Anything else.
    Other,
}

/// A failover of late. While its record is not opened, it is the one under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Past {
    /// The reign that began with it.
    pub epoch: Epoch,
    /// The server that was replaced.
    pub old: NodeId,
    /// Why.
    pub cause: Cause,
    /// What it rested on beyond what servers showed, and what may be lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grounds: Vec<Grounds>,
}

/// An operator asked that no failover begins for a while.
///
/// It ends after a duration that every coordinator counts on its own monotonic clock, from when it first saw this
/// pause: wall clocks of two machines are never compared. A coordinator that was started meanwhile counts from its
/// start, so a change of leader may prolong a pause, each time by its own length at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// Who asked for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
    /// The ballot at which it was decided: tells two pauses apart.
    pub set_at: Ballot,
}

/// An operator asked for a switchover at a stated time.
///
/// It begins when the wall clock of whoever leads then says so: that clock decides when, and nothing else rests on it. It
/// belongs to the reign under which it was asked for, and is forgotten with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// Who is to take over; `None`: whoever would win a failover then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeId>,
    /// When, in UTC, as `2026-12-24T03:00:00Z`.
    pub at: String,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The ballot at which it was decided: tells two of them apart.
    pub set_at: Ballot,
}
