//! A node's answers to one coordinator: part of its observation, so each side has exactly one way in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::Ballot;
use crate::command::{Kind, OrderName};
use crate::gtid::GtidSet;
use crate::id::{Incarnation, Nonce};
use crate::observation::Received;
use crate::record::Accepted;

/// Everything answered to a coordinator at the highest ballot heard from it. Repeating a request repeats the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answers {
    /// The ballot that these answers belong to; `None` before the coordinator sent any.
    pub ballot: Option<Ballot>,
    /// The answer to the last Probe.
    pub probe: Option<ProbeAnswer>,
    /// The answer to Prepare.
    pub promise: Option<Promise>,
    /// True once the Accept of this ballot is durable.
    pub accepted: bool,
    /// The outcome of each order given at this ballot.
    pub outcomes: BTreeMap<OrderName, Reported>,
    /// Why the last request was refused, if it was.
    pub refusal: Option<Refusal>,
}

impl Answers {
    /// Answers to nothing yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { ballot: None, probe: None, promise: None, accepted: false, outcomes: BTreeMap::new(), refusal: None }
    }
}

/// A voter's own evidence about the primary, asked for before a verdict from silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeAnswer {
    /// Echo of the Probe.
    pub nonce: Nonce,
    /// The voter's own look.
    pub look: Look,
}

/// A direct look at a server from outside. An accepted connection without a greeting is no sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// It greeted within 100 ms.
    Greeted,
    /// It did not.
    NoGreeting,
}

/// A voter's promise: nothing of a lower ballot will be obeyed, and every effect of lower ballots has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Promise {
    /// What was promised.
    pub kind: Kind,
    /// Which ledger promised.
    pub incarnation: Incarnation,
    /// The ledger's sequence after the promise.
    pub sequence: u64,
    /// The record that this voter accepted before.
    pub accepted: Option<Accepted>,
    /// What the kind demanded of the server, done and verified.
    pub duty: Duty,
    /// What the server holds, read after its duty was done.
    pub holdings: Option<Holdings>,
    /// Milliseconds that are left, when this is answered, of the last lease granted. A voter that restarted counts as if
    /// it had granted when it started. With a failover promise it grants no more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lease_rest_ms: u64,
}

/// Left out where it is zero: readers of an earlier version do not know it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a promise made the node do first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Duty {
    /// A vote, or a witness: nothing to do.
    Nothing,
    /// The receiver is stopped and verified: this server acknowledges nothing.
    ReceiverStopped,
    /// The server was named primary and is cut off from its clients.
    Fenced,
    /// The server's process is gone and is kept from opening again.
    ProcessExited,
    /// The duty could not be done in time: the promise does not count as evidence.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// What a server holds, at the moment of a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holdings {
    /// Transactions executed, i.e. in its own binlog.
    pub executed: GtidSet,
    /// Executed and received; for a server that is gone, read from its files to their end.
    pub received: Received,
}

/// The outcome of the newest act of one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reported {
    /// The number of the order; a Barrier has its Promote's.
    pub number: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    /// Being carried out; the words tell how far.
    Running {
        /// The step under way.
        step: String,
        /// What the server had received itself is still being applied: no patience with the order itself runs yet.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        backlog: bool,
    },
    /// Done and verified. The sets are read after it, where the order changes them.
    Done {
        /// What the server holds now.
        holdings: Option<Holdings>,
        /// Milliseconds from admission to the end.
        took_ms: u64,
        /// Where something was kept, as a folder on the node's host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
    },
    /// Not done.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// Why a node did not obey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Refusal {
    /// A higher ballot was promised.
    #[error("promised {promised}")]
    Promised {
        /// The ballot promised.
        promised: Ballot,
    },
    /// A failover promise is not finished: only a failover at a higher ballot, or accepting its record, ends it.
    #[error("bound by the failover promise {promised}")]
    Unfinished {
        /// The failover promise.
        promised: Ballot,
    },
    /// The primary greets this node: its silence is not confirmed.
    #[error("the primary greets this node")]
    Contradicted,
    /// The sender's cluster file differs from this node's.
    #[error("the cluster files differ")]
    OtherConfiguration,
    /// The order does not fit the record it carries, or this node.
    #[error("{reason}")]
    Unlawful {
        /// What does not fit.
        reason: String,
    },
    /// The record is in mode `observe`: nothing is changed.
    #[error("the cluster is only observed")]
    Observed,
    /// The ledger cannot be trusted.
    #[error("the ledger cannot vote: {reason}")]
    NoLedger {
        /// Why, and the fix.
        reason: String,
    },
}
