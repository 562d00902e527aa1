//! What viewers see. The cores make these values; nothing is phrased anew on the way.

mod diagnosis;
mod id;
mod public;
mod telemetry;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use diagnosis::{Diagnosis, DiagnosisKind};
pub use id::{EventId, InvalidEventId, PublicId};
pub use public::{
    Condition, Part, PublicBody, PublicEvent, PublicForecast, PublicOutlook, PublicServer, PublicSnapshot,
};
pub use telemetry::{PublicTelemetry, Telemetry};

use crate::ballot::{Ballot, Epoch};
use crate::forecast::Forecast;
use crate::grounds::{FenceHow, Override};
use crate::gtid::GtidSet;
use crate::id::{ClusterName, CoordinatorId, IncidentId, NodeId, Nonce, TokenName};
use crate::observation::{Observation, Position};
use crate::past::Pause;
use crate::record::Record;

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
    /// Somebody who watches says something to everybody who does.
    Note {
        /// Whose token it was.
        by: TokenName,
        /// What, in plain text.
        text: String,
        /// Drawn by the coordinator that took it: it may travel twice, and is one note.
        nonce: Nonce,
    },
    /// An operator asked for something over the feed or the API; what came of it is told by other events.
    Act {
        /// Whose token it was.
        by: TokenName,
        /// Where from, if that is known.
        address: Option<String>,
        /// What was asked for.
        what: String,
        /// Drawn by the coordinator that took it: it may travel twice, and is one act.
        nonce: Nonce,
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
    /// Whether it is telemetry, which is kept nowhere. Everything else is an incident.
    #[must_use]
    pub const fn is_telemetry(&self) -> bool {
        matches!(self, Self::Health { .. } | Self::Position { .. })
    }

    /// What tells apart notes and acts, which people post.
    #[must_use]
    pub const fn posted(&self) -> Option<Nonce> {
        match self {
            Self::Note { nonce, .. } | Self::Act { nonce, .. } => Some(*nonce),
            Self::Diagnosis { .. }
            | Self::Stage { .. }
            | Self::Hold { .. }
            | Self::WouldHave { .. }
            | Self::Repair { .. }
            | Self::Forecast { .. }
            | Self::Pause { .. }
            | Self::Fence { .. }
            | Self::Override { .. }
            | Self::Switchover { .. }
            | Self::Voters { .. }
            | Self::Decided { .. }
            | Self::Leader { .. }
            | Self::Health { .. }
            | Self::Position { .. } => None,
        }
    }

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
            Self::Note { .. } => "note",
            Self::Act { .. } => "act",
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
    /// The incident's place in history, if its teller leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// The incident before it, as its teller knew history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<EventId>,
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
    /// The last incident that is contained in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
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
