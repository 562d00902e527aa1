//! What a token of role `public` sees of an event and of a snapshot: states and times. Texts, names of servers and of
//! coordinators, addresses and GTIDs have no field here, so that nothing of them can be forgotten to be left out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnosis::DiagnosisKind;
use super::{Event, EventBody, PublicId, Snapshot, StageName};
use crate::forecast::{Forecast, Guarantee, Loss, Outlook};
use crate::id::ClusterName;
use crate::observation::{Connection, Observation, Process};

/// An event as the public sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublicEvent {
    /// The cluster.
    pub cluster: ClusterName,
    /// Counts the events of the telling coordinator's run.
    pub number: u64,
    /// Milliseconds since 1970 by the teller's wall clock.
    pub at_ms: u64,
    /// The incident's place in history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PublicId>,
    /// What happened.
    #[serde(flatten)]
    pub body: PublicBody,
}

/// What happened, as far as the public sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PublicBody {
    /// The diagnosis changed.
    Diagnosis {
        /// What it is now.
        diagnosis: DiagnosisKind,
    },
    /// A failover entered a stage.
    Stage {
        /// The stage.
        stage: StageName,
        /// Milliseconds since the failover began.
        after_ms: f64,
    },
    /// Nothing is done for now.
    Hold,
    /// In mode `observe`: something would have been done.
    WouldHave {
        /// About what.
        diagnosis: DiagnosisKind,
    },
    /// A server was repaired.
    Repair,
    /// What would happen if the primary died now has changed.
    Forecast {
        /// It.
        forecast: PublicForecast,
    },
    /// Failovers were paused, or go on.
    Pause {
        /// For how many milliseconds; `None` if there is no pause any more.
        for_ms: Option<u64>,
    },
    /// A fence from outside was begun, or ended.
    Fence,
    /// An operator answers for a failover.
    Override,
    /// A switchover ended.
    Switchover,
    /// The voters changed.
    Voters,
    /// Somebody said something.
    Note,
    /// An operator asked for something.
    Act,
    /// A record was decided.
    Decided {
        /// Whether its primary is open to clients.
        opened: bool,
    },
    /// Another coordinator leads.
    Leader {
        /// Whether anybody does.
        led: bool,
    },
    /// A server's state changed.
    Health {
        /// It.
        server: PublicServer,
    },
}

/// If the primary died now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicForecast {
    /// What the cluster promises.
    pub guarantee: Guarantee,
    /// Its process dies.
    pub crash: PublicOutlook,
    /// Its host is lost.
    pub host_loss: PublicOutlook,
}

/// How one kind of death would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicOutlook {
    /// What could be lost.
    pub loss: Loss,
    /// Milliseconds until clients write again; `None` if it would wait for people.
    pub expected_ms: Option<u64>,
}

/// A server, or a witness, without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicServer {
    /// What it is there for.
    pub part: Part,
    /// How it is.
    pub condition: Condition,
}

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It serves writes.
    Primary,
    /// It follows, or should.
    Replica,
    /// It votes alone.
    Witness,
}

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It answers.
    Up,
    /// It runs, and does not answer.
    Unanswering,
    /// It does not run.
    Down,
}

/// A cluster as the public sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublicSnapshot {
    /// The cluster.
    pub cluster: ClusterName,
    /// The number of the last event that is contained in it.
    pub number: u64,
    /// The last incident that is contained in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PublicId>,
    /// Whether anybody leads.
    pub led: bool,
    /// Whether the primary is open to clients, as far as the record says.
    pub opened: bool,
    /// What is wrong.
    pub diagnosis: DiagnosisKind,
    /// Whether something keeps it from being mended.
    pub held: bool,
    /// The failover under way, if any.
    pub stage: Option<StageName>,
    /// Its servers and witnesses, in no meaningful order.
    pub servers: Vec<PublicServer>,
    /// If the primary died now.
    pub forecast: Option<PublicForecast>,
}

impl Event {
    /// What the public sees of it; `None` if nothing is left.
    #[must_use]
    pub fn public(&self) -> Option<PublicEvent> {
        let body = self.body.public()?;
        let id = self.id.as_ref().map(PublicId::from);
        Some(PublicEvent { cluster: self.cluster.clone(), number: self.number, at_ms: self.at_ms, id, body })
    }
}

impl EventBody {
    fn public(&self) -> Option<PublicBody> {
        Some(match self {
            Self::Diagnosis { diagnosis, .. } => PublicBody::Diagnosis { diagnosis: diagnosis.kind() },
            Self::Stage { stage, after_ms, .. } => PublicBody::Stage { stage: *stage, after_ms: *after_ms },
            Self::Hold { .. } => PublicBody::Hold,
            Self::WouldHave { diagnosis, .. } => PublicBody::WouldHave { diagnosis: diagnosis.kind() },
            Self::Repair { .. } => PublicBody::Repair,
            Self::Forecast { forecast, .. } => PublicBody::Forecast { forecast: forecast.public() },
            Self::Pause { pause, .. } => PublicBody::Pause { for_ms: pause.as_ref().map(|pause| pause.for_ms) },
            Self::Fence { .. } => PublicBody::Fence,
            Self::Override { .. } => PublicBody::Override,
            Self::Switchover { .. } => PublicBody::Switchover,
            Self::Voters { .. } => PublicBody::Voters,
            Self::Note { .. } => PublicBody::Note,
            Self::Act { .. } => PublicBody::Act,
            Self::Decided { record, .. } => PublicBody::Decided { opened: record.opened },
            Self::Leader { leader } => PublicBody::Leader { led: leader.is_some() },
            Self::Health { observation } => PublicBody::Health { server: observation.public() },
            Self::Position { .. } => return None,
        })
    }
}

impl Snapshot {
    /// What the public sees of it.
    #[must_use]
    pub fn public(&self) -> PublicSnapshot {
        PublicSnapshot {
            cluster: self.cluster.clone(),
            number: self.number,
            id: self.id.as_ref().map(PublicId::from),
            led: self.leader.is_some(),
            opened: self.record.as_ref().is_some_and(|record| record.opened),
            diagnosis: self.diagnosis.kind(),
            held: !self.holds.is_empty(),
            stage: self.stage,
            servers: self.nodes.values().map(Observation::public).collect(),
            forecast: self.forecast.as_ref().map(Forecast::public),
        }
    }
}

impl Forecast {
    const fn public(&self) -> PublicForecast {
        PublicForecast { guarantee: self.guarantee, crash: self.crash.public(), host_loss: self.host_loss.public() }
    }
}

impl Outlook {
    const fn public(&self) -> PublicOutlook {
        PublicOutlook { loss: self.loss, expected_ms: self.expected_ms }
    }
}

impl Observation {
    fn public(&self) -> PublicServer {
        let Some(server) = &self.server else {
            return PublicServer { part: Part::Witness, condition: Condition::Up };
        };
        let condition = match (&server.process, &server.connection) {
            (Process::Exited { .. }, _) => Condition::Down,
            (Process::Running { .. } | Process::Unknown, Connection::Answering) => Condition::Up,
            (Process::Running { .. } | Process::Unknown, _) => Condition::Unanswering,
        };
        PublicServer { part: if server.serving { Part::Primary } else { Part::Replica }, condition }
    }
}
