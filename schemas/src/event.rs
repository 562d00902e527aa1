//! What viewers see. The cores make these values; nothing is phrased anew on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ballot::{Ballot, Epoch};
use crate::forecast::Forecast;
use crate::grounds::{FenceHow, Override};
use crate::gtid::GtidSet;
use crate::id::{ClusterName, CoordinatorId, IncidentId, NodeId};
use crate::observation::{Observation, Position};
use crate::past::Pause;
use crate::record::Record;

/// The one thing that is wrong with a cluster, with the evidence it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "diagnosis", rename_all = "snake_case")]
pub enum Diagnosis {
    /// No record: the cluster was not born yet.
    Unborn,
    /// Too few voters are heard: this coordinator cannot tell.
    CoordinatorBlind {
        /// Nodes heard.
        heard: BTreeSet<NodeId>,
    },
    /// All is well.
    Healthy,
    /// The node beside the primary saw its process exit: certain.
    PrimaryCrashed {
        /// The primary.
        primary: NodeId,
    },
    /// The node beside the primary saw its process exit after it closed its binlog: somebody stopped it.
    PrimaryStopped {
        /// The primary.
        primary: NodeId,
    },
    /// The primary runs, but is closed to writes although the record names it: it restarted.
    PrimaryClosed {
        /// The primary.
        primary: NodeId,
    },
    /// The primary's process lives, but a write does not end.
    PrimaryHung {
        /// The primary.
        primary: NodeId,
        /// Milliseconds for which it has not written.
        for_ms: u64,
    },
    /// Nobody hears the primary's host: neither its node, nor does any replica receive from it.
    PrimaryHostLost {
        /// The primary.
        primary: NodeId,
        /// Replicas that lost it.
        lost_by: BTreeSet<NodeId>,
    },
    /// The primary's host is silent to coordinators, but replicas still receive from it: no failover.
    PrimaryUnseen {
        /// The primary.
        primary: NodeId,
        /// Who still receives from it.
        still_heard_by: BTreeSet<NodeId>,
    },
    /// The primary's own node says that all is well, but no replica receives from it and no voter that looked was greeted:
    /// nobody reaches it.
    PrimaryIsolated {
        /// The primary.
        primary: NodeId,
        /// Replicas that lost it.
        lost_by: BTreeSet<NodeId>,
    },
    /// The primary answers, or writes, but slowly: no failover, which would move the load and not end it.
    PrimaryOverloaded {
        /// The primary.
        primary: NodeId,
        /// Milliseconds that an answer or a write takes, or has taken so far.
        for_ms: u64,
    },
    /// The primary is alive but refuses its node (connections exhausted, credentials): no failover.
    PrimaryRefusing {
        /// The primary.
        primary: NodeId,
        /// The server's error number, 0 if none was given.
        #[serde(default, skip_serializing_if = "is_zero")]
        code: u16,
        /// The server's words.
        text: String,
    },
    /// Replicas lost the primary, which is healthy to its own node: no failover.
    ReplicationOnlyPartition {
        /// The primary.
        primary: NodeId,
        /// Who lost it.
        lost_by: BTreeSet<NodeId>,
    },
    /// The primary's sidecar is silent, but the replicas receive: no failover.
    SidecarLost {
        /// The primary.
        primary: NodeId,
    },
    /// A promise above the accepted record: an attempt was begun and not ended.
    AttemptUnfinished {
        /// The ballot of the attempt.
        ballot: Ballot,
    },
    /// Nothing is wrong: an operator asked the primary to hand over.
    Switchover {
        /// The primary.
        primary: NodeId,
        /// Who takes over.
        to: NodeId,
    },
    /// A server that is not the primary takes writes.
    TwoPrimaries {
        /// The servers that are writable.
        writable: BTreeSet<NodeId>,
    },
    /// The write group cannot lose one more member.
    GroupTooSmall {
        /// Its members.
        members: BTreeSet<NodeId>,
        /// Its required acknowledgements.
        acks: u32,
    },
    /// Too few replicas acknowledge: writes are acknowledged with fewer copies than wanted.
    Degraded {
        /// The primary.
        primary: NodeId,
        /// Acknowledgements required now.
        acks: u32,
        /// Acknowledgements wanted.
        wanted: u32,
    },
    /// A server's disk takes no more writes: it is not promoted.
    DiskFull {
        /// The server.
        node: NodeId,
        /// True if it is the primary, and writes fail: nobody can write.
        #[serde(default, skip_serializing_if = "is_false")]
        writes_fail: bool,
        /// What was found.
        text: String,
    },
    /// A replica holds much less than the primary had a while ago.
    ReplicaLagging {
        /// The replica.
        node: NodeId,
        /// Transactions that it has not applied.
        behind: u64,
    },
    /// A replica's receiver or applier stopped with an error.
    ReplicaBroken {
        /// The replica.
        node: NodeId,
        /// The server's words.
        error: String,
    },
    /// Tasuki observes this set-up but must not act on it.
    Unsupported {
        /// The server.
        node: NodeId,
        /// Why, and the fix.
        reason: String,
    },
    /// A replica does not follow the primary.
    ReplicaStray {
        /// The replica.
        node: NodeId,
        /// What it does instead.
        reason: String,
    },
    /// A replica holds transactions that the primary does not: quarantined.
    ErrantTransactions {
        /// The replica.
        node: NodeId,
        /// What it holds in excess.
        extras: String,
    },
}

const fn is_zero(code: &u16) -> bool {
    *code == 0
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Where a failover stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// In a switchover: what is being written ends, and the primary closes.
    Draining,
    /// Promises are asked for; the proof is not made yet.
    Recruiting,
    /// The candidate receives what it lacks.
    CatchingUp,
    /// The record is being decided, then the candidate opens and the others follow.
    Promoting,
    /// Clients write; the barrier row is being acknowledged.
    Opened,
    /// The record says so: the failover is over.
    Finished,
    /// The attempt ended without another primary: the old one was named again.
    Undone,
}

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventBody {
    /// The diagnosis changed.
    Diagnosis {
        /// What it is now.
        diagnosis: Diagnosis,
        /// The sentence for operators.
        sentence: String,
    },
    /// A failover entered a stage.
    Stage {
        /// Its ballot.
        ballot: Ballot,
        /// The stage.
        stage: StageName,
        /// The server that is being replaced.
        old: NodeId,
        /// The candidate, once elected.
        candidate: Option<NodeId>,
        /// Milliseconds since the failover began at this coordinator.
        after_ms: f64,
        /// Why, e.g. why each other server lost the election.
        reasons: Vec<String>,
    },
    /// Nothing is done, and this is why.
    Hold {
        /// Reasons, each with its fix where there is one.
        reasons: Vec<String>,
    },
    /// In mode `observe`: what would have been done.
    WouldHave {
        /// The diagnosis.
        diagnosis: Diagnosis,
        /// The decision.
        sentence: String,
    },
    /// A server came (back) under management, joined the group, or was quarantined.
    Repair {
        /// The server.
        node: NodeId,
        /// What was done, or found.
        sentence: String,
    },
    /// What would happen if the primary died now has changed.
    Forecast {
        /// It.
        forecast: Box<Forecast>,
        /// The same in one sentence.
        sentence: String,
    },
    /// Failovers were paused, or go on.
    Pause {
        /// The pause; `None` if there is none any more.
        pause: Option<Pause>,
        /// The sentence for operators.
        sentence: String,
    },
    /// A fence from outside was begun, or ended: `sentence` says with what.
    Fence {
        /// The attempt that it is for: of another one's fences nothing is believed.
        ballot: Ballot,
        /// The server.
        node: NodeId,
        /// How it is fenced.
        how: FenceHow,
        /// The sentence for operators.
        sentence: String,
    },
    /// An operator answers for a failover that nothing else proves.
    Override {
        /// What was said, and by whom.
        word: Override,
        /// The sentence for operators.
        sentence: String,
    },
    /// A switchover ended: done, refused or undone.
    Switchover {
        /// Who was to take over; `None` if nobody could be chosen.
        to: Option<NodeId>,
        /// The sentence for operators.
        sentence: String,
    },
    /// A node's ledger lost its vote, or got one; or a change of the voters waits, and for what.
    Voters {
        /// The node.
        node: NodeId,
        /// The sentence for operators.
        sentence: String,
    },
    /// A record was decided.
    Decided {
        /// Its ballot.
        ballot: Ballot,
        /// The record.
        record: Box<Record>,
    },
    /// Another coordinator leads.
    Leader {
        /// Who; `None` if nobody.
        leader: Option<CoordinatorId>,
    },
    /// A node's report changed. Telemetry.
    Health {
        /// The report.
        // Shared, since it is kept as well.
        #[serde(serialize_with = "shared", deserialize_with = "to_share")]
        #[schemars(with = "Observation")]
        observation: Arc<Observation>,
    },
    /// A node's position. Telemetry.
    Position {
        /// The position.
        position: Position,
    },
}

fn shared<S: Serializer>(observation: &Arc<Observation>, serializer: S) -> Result<S::Ok, S::Error> {
    observation.as_ref().serialize(serializer)
}

fn to_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Observation>, D::Error> {
    Observation::deserialize(deserializer).map(Arc::new)
}

impl EventBody {
    /// The name of the event at viewers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Diagnosis { .. } => "diagnosis",
            Self::Stage { .. } => "stage",
            Self::Hold { .. } => "hold",
            Self::WouldHave { .. } => "would_have",
            Self::Repair { .. } => "repair",
            Self::Forecast { .. } => "forecast",
            Self::Pause { .. } => "pause",
            Self::Fence { .. } => "fence",
            Self::Override { .. } => "override",
            Self::Switchover { .. } => "switchover",
            Self::Voters { .. } => "voters",
            Self::Decided { .. } => "decided",
            Self::Leader { .. } => "leader",
            Self::Health { .. } => "health",
            Self::Position { .. } => "position",
        }
    }
}

/// An event as viewers get it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The cluster.
    pub cluster: ClusterName,
    /// Which coordinator tells.
    pub coordinator: CoordinatorId,
    /// Counts the events of this coordinator's run.
    pub number: u64,
    /// Milliseconds since 1970 by the teller's wall clock: for people, never compared.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// Everything a viewer needs to draw a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// The cluster.
    pub cluster: ClusterName,
    /// Which coordinator tells.
    pub coordinator: CoordinatorId,
    /// The number of the last event that is contained in it.
    pub number: u64,
    /// Who leads.
    pub leader: Option<CoordinatorId>,
    /// The highest record known.
    pub record: Option<Record>,
    /// The reign's epoch, if there is a record.
    pub epoch: Option<Epoch>,
    /// What is wrong.
    pub diagnosis: Diagnosis,
    /// The same in one sentence.
    pub sentence: String,
    /// Why nothing is done, if so.
    pub holds: Vec<String>,
    /// The failover that is called for: an operator's override names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The latest report of each node.
    pub nodes: BTreeMap<NodeId, Observation>,
    /// The latest position of each server.
    pub positions: BTreeMap<NodeId, Position>,
    /// Transactions that quarantined servers hold in excess.
    pub quarantine: BTreeMap<NodeId, String>,
    /// The failover under way, if any.
    pub stage: Option<StageName>,
    /// Goal of the failover under way.
    pub goal: Option<GtidSet>,
    /// If the primary died now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
}
