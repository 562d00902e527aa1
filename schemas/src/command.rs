//! What coordinators ask of nodes.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::Ballot;
use crate::event::Diagnosis;
use crate::gtid::GtidSet;
use crate::id::{CoordinatorId, Incarnation, NodeId, Nonce};
use crate::record::Record;

/// A coordinator's sign of life. Nodes echo its nonce, so that it can tell fresh observations from replayed ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The coordinator.
    pub coordinator: CoordinatorId,
    /// Fresh for this heartbeat.
    pub nonce: Nonce,
    /// The highest ballot it owns, if it leads.
    pub leading: Option<Ballot>,
    /// Where its viewers connect, once it serves any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<Box<Seat>>,
}

/// Where viewers connect to a coordinator, for those who look for the least loaded one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seat {
    /// Its address, e.g. `https://co1.example.org:3000`.
    pub url: String,
    /// Viewers connected now.
    pub viewers: u32,
    /// The program's version.
    pub version: String,
}

/// What a promise is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only the vote: no side effect.
    Vote,
    /// Replicas stop receiving; every server named primary since the last opened record fences itself.
    Failover,
}

/// One request of a coordinator to one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Look at the primary and tell. Changes nothing.
    Probe {
        /// To be echoed.
        nonce: Nonce,
        /// Whom to look at.
        primary: NodeId,
    },
    /// Promise this ballot.
    Prepare {
        /// The ballot.
        ballot: Ballot,
        /// What is asked for.
        kind: Kind,
        /// What the attempt rests on; `None` for a vote.
        evidence: Option<Diagnosis>,
    },
    /// Accept this record at this ballot.
    Accept {
        /// The ballot.
        ballot: Ballot,
        /// Its one value.
        record: Box<Record>,
    },
    /// Carry out an order.
    Order {
        /// The authority: compared with the promise.
        ballot: Ballot,
        /// Which act of this ballot it is: the same number again repeats the outcome and does nothing; a higher number
        /// is a new act, also when an order of that name was carried out (or failed) before.
        number: u64,
        /// What to do.
        order: Box<Order>,
    },
    /// Publish an observation and a position at once.
    Report,
    /// Your ledger cannot be trusted: it was heard to go back, or two nodes hold it. Draw a new incarnation, which votes
    /// once a record names it. Ignored by a ledger of another incarnation.
    BeginAnew {
        /// The ledger that is meant.
        incarnation: Incarnation,
        /// What was seen, for people.
        reason: String,
    },
    /// Your server, which is about to be stopped, cannot hand over.
    CannotLeave {
        /// Why, with the fix.
        reason: String,
        /// Somebody wants it so: waiting changes nothing.
        lasts: bool,
    },
}

/// An act on a server. Idempotent: repeating it repeats its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Receive what is missing for `goal` from another node's server.
    CatchUp {
        /// Everything that must be held (received or executed) afterwards.
        goal: GtidSet,
        /// Who holds it.
        from: NodeId,
        /// How: by replicating from a living server, or by reading a dead server's binlog through its node.
        how: CatchUpHow,
        /// The leader that reads a dead server's binlog where its node is gone as well; `None`: that node does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<CoordinatorId>,
    },
    /// Become the primary of the decided record: apply `goal`, arm semi-sync, open; then the barrier row.
    Promote {
        /// The decided record; it names this node at its epoch.
        record: Box<Record>,
        /// What must be executed before the server opens.
        goal: GtidSet,
    },
    /// Replicate from the decided record's primary.
    Follow {
        /// The decided record.
        record: Box<Record>,
    },
    /// Switch the semi-sync replica side on: the decided record names this node in its group.
    JoinGroup {
        /// The decided record.
        record: Box<Record>,
    },
    /// To the primary: wait for so many acknowledgements from now on. Never fewer than the record says.
    SetWaitCount {
        /// The decided record that justifies it.
        record: Box<Record>,
        /// Acknowledgements; 0: none.
        acks: u32,
    },
    /// To the primary: from now on exactly these servers can acknowledge nothing here, since they do not reach its port.
    CutAcker {
        /// The decided record.
        record: Box<Record>,
        /// Whom to refuse. Those refused before and not named are let in.
        refused: BTreeSet<NodeId>,
        /// The member that is being removed from the group. The outcome then carries the end of the binlog, read when
        /// that member could acknowledge no more.
        removed: Option<NodeId>,
    },
    /// Switch the semi-sync replica side off, and verify that no connection acknowledges.
    LeaveGroup {
        /// The decided record.
        record: Box<Record>,
    },
    /// To the primary, for a switchover: let what is being written end, close to writes, end clients' connections. Nothing
    /// is killed to get there: what does not end in time leaves the server open, as it was.
    Drain {
        /// The decided record; it names this node, and is opened.
        record: Box<Record>,
        /// Milliseconds for which new writes may have to wait.
        within_ms: u64,
    },
    /// Keep, beside the server, the transactions that it holds and the primary does not: the binlog's events as they are,
    /// and as statements for people. Changes nothing on the server.
    Archive {
        /// The decided record.
        record: Box<Record>,
        /// What the server was seen to hold.
        holds: GtidSet,
        /// What the primary was seen to hold after that: what it lacks of `holds` is meant.
        beyond: GtidSet,
    },
    /// Bring a server home whose data cannot go on: a copy of another server's takes its place.
    Reclone {
        /// The decided record; it is opened, and names this node neither as primary nor in a write group.
        record: Box<Record>,
        /// What is to be done now.
        step: RecloneStep,
    },
}

/// A step of a re-clone. Copying goes on by itself, whatever ballot comes next, since it changes nothing on the server; how
/// far it is stands in the node's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum RecloneStep {
    /// Only say whether a copy of this server could be made. Lawful for a member of the write group as well.
    Check {
        /// Whose data is copied.
        donor: NodeId,
    },
    /// Begin to copy into a directory beside the server's own. Done when it has begun.
    Copy {
        /// Whose data is copied.
        donor: NodeId,
    },
    /// The copy is whole: stop the server, let the directories change places, start it again. Done when that has begun.
    Exchange {
        /// What is held elsewhere: by the primary, or in an archive. A server that holds more is not touched.
        known: GtidSet,
    },
}

/// Where a candidate gets what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpHow {
    /// The source is a living replica: replicate from it until the goal is received.
    Replicate,
    /// The source's process is gone: its node reads the binlog's tail and delivers the transactions.
    Tail,
}

/// Orders by name, for outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderName {
    /// [`Order::CatchUp`]
    CatchUp,
    /// [`Order::Promote`]: done when clients can write.
    Promote,
    /// The barrier row after a Promote: done when the group acknowledged it.
    Barrier,
    /// [`Order::Follow`]
    Follow,
    /// [`Order::JoinGroup`]
    JoinGroup,
    /// [`Order::SetWaitCount`]
    SetWaitCount,
    /// [`Order::CutAcker`]
    CutAcker,
    /// [`Order::LeaveGroup`]
    LeaveGroup,
    /// [`Order::Drain`]: its outcome carries what the server holds, read after the last write.
    Drain,
    /// [`Order::Archive`]: its outcome names the folder.
    Archive,
    /// [`Order::Reclone`]: its outcome says what is copied where.
    Reclone,
}

impl Order {
    /// The order's name.
    #[must_use]
    pub const fn name(&self) -> OrderName {
        match self {
            Self::CatchUp { .. } => OrderName::CatchUp,
            Self::Promote { .. } => OrderName::Promote,
            Self::Follow { .. } => OrderName::Follow,
            Self::JoinGroup { .. } => OrderName::JoinGroup,
            Self::SetWaitCount { .. } => OrderName::SetWaitCount,
            Self::CutAcker { .. } => OrderName::CutAcker,
            Self::LeaveGroup { .. } => OrderName::LeaveGroup,
            Self::Drain { .. } => OrderName::Drain,
            Self::Archive { .. } => OrderName::Archive,
            Self::Reclone { .. } => OrderName::Reclone,
        }
    }
}

/// A [`Fetch`] is answered with up to so many pieces.
pub const BATCH: u64 = 8;

/// An asker has so many [`Fetch`]es under way at most: one being read, one carried, one written, and one that waits. Who
/// answers has room for as many, since one that is dropped is only asked again a quarter of a second later.
pub const UNDER_WAY: usize = 4;

/// A candidate in a rescue, to the node beside a dead server or to the leader: send me what I lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fetch {
    /// The attempt it belongs to; the answer echoes it.
    pub ballot: Ballot,
    /// What the asker holds.
    pub have: GtidSet,
    /// All that it wants; `None`: whatever there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want: Option<Box<GtidSet>>,
    /// The first piece that it lacks. It is answered with that one and some that follow.
    #[serde(default, skip_serializing_if = "is_first")]
    pub piece: u64,
    /// The asker can unpack pieces; nodes of the first versions cannot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
}

/// The answer to a [`Fetch`]: a piece of what was asked for, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Echo of the Fetch.
    pub ballot: Ballot,
    /// All of it in one message, as nodes delivered that knew no pieces.
    pub transactions: Vec<Transaction>,
    /// True if `transactions` is everything.
    pub complete: bool,
    /// For people: without a piece, why there is none.
    pub note: String,
    /// A piece of a tail that takes several messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub piece: Option<Box<Piece>>,
}

/// A part of a tail's bytes: a binlog of its own, with a format description for each file that it was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Piece {
    /// Its place, from 0.
    pub number: u64,
    /// Its bytes, base64. An event may go on in the next piece.
    pub content: String,
    /// What is base64 is its bytes compressed by zstd.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
    /// What all pieces are together; only the first tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

/// What the pieces of a tail are together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tail {
    /// How many pieces; at least one.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
    /// CRC-32 of those bytes.
    pub checksum: u32,
    /// How many transactions they hold, each of them whole.
    pub transactions: u64,
    /// Which.
    pub set: GtidSet,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_first(piece: &u64) -> bool {
    *piece == 0
}

/// One whole transaction in binlog events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transaction {
    /// Its GTID, in the flavour's text form.
    pub gtid: String,
    /// The format description event of its file, base64.
    pub format: String,
    /// Its events in order, the GTID event first, each base64 with its header and checksum.
    pub events: Vec<String>,
}
