//! What would happen if the primary died now, told all the time and before it happens.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// What a cluster promises about acknowledged writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Every acknowledged write is on a replica as well: none is lost with the primary.
    Lossless,
    /// The primary writes under a lease: a lost host is failed over, and the last moments may be lost.
    Leased,
    /// Neither: what can be proved is failed over, the rest waits for people.
    Manual,
}

/// What a failover may lose of what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Nothing.
    Nothing,
    /// What no replica had received yet.
    LastMoments,
}

/// One thing that stands in the way, with its fix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Blocker {
    /// What.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// How one kind of death would end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outlook {
    /// Who would win; `None` if nobody would be promoted.
    pub winner: Option<NodeId>,
    /// Who equals the winner in all but what it will have received by then: it may win instead.
    pub or: BTreeSet<NodeId>,
    /// Why the winner, and why not each other.
    pub reasons: Vec<String>,
    /// What could be lost.
    pub loss: Loss,
    /// Milliseconds from the death until clients write again; `None` if it would wait for people.
    pub expected_ms: Option<u64>,
    /// Why nobody would be promoted.
    pub blockers: Vec<Blocker>,
}

/// If the primary died now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// The primary.
    pub primary: NodeId,
    /// What the cluster promises.
    pub guarantee: Guarantee,
    /// Why it does not promise more.
    pub lacking: Vec<Blocker>,
    /// Its server's process dies, and the node beside it lives and reads its files.
    pub crash: Outlook,
    /// Its whole host is gone.
    pub host_loss: Outlook,
}

impl Outlook {
    /// Everybody who may win.
    #[must_use]
    pub fn may_win(&self) -> BTreeSet<&NodeId> {
        self.winner.iter().chain(&self.or).collect()
    }
}

impl Forecast {
    /// Whether people need not be told the new one: who may win, what is promised and what stands in the way are as before.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let same = |one: &Outlook, other: &Outlook| {
            one.may_win() == other.may_win() && one.blockers == other.blockers && one.loss == other.loss
        };
        (&self.primary, self.guarantee, &self.lacking) == (&other.primary, other.guarantee, &other.lacking)
            && same(&self.crash, &other.crash)
            && same(&self.host_loss, &other.host_loss)
    }
}
