//! Everything that travels in an envelope.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{Delivery, Fetch, Heartbeat, Request};
use crate::errand::{Errand, ErrandEnd};
use crate::event::Event;
use crate::id::{Nonce, ProgramId};
use crate::lease::{Grant, Renew};
use crate::observation::{Observation, Position};

/// The body of an envelope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// A node's report.
    Observation(Box<Observation>),
    /// A node's position.
    Position(Box<Position>),
    /// A coordinator's sign of life.
    Heartbeat(Heartbeat),
    /// A coordinator's request to one node.
    Request(Request),
    /// A node asks another for transactions.
    Fetch(Fetch),
    /// A node delivers transactions to another.
    Delivery(Delivery),
    /// The primary's node asks a voter for a lease.
    Renew(Renew),
    /// A voter grants it.
    Grant(Grant),
    /// For viewers.
    Event(Box<Event>),
    /// A coordinator brings an operator's wish to the one that leads.
    Errand(Box<Errand>),
    /// The leader tells what came of one.
    ErrandEnd(Box<ErrandEnd>),
    /// To oneself, to know that a subscription lives.
    Echo {
        /// Fresh.
        nonce: Nonce,
    },
}

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A server's node or a witness.
    Node,
    /// A coordinator.
    Coordinator,
}

impl Message {
    /// Whether a program of this role and name may say this. A node's key never signs a request; nobody speaks for
    /// somebody else.
    #[must_use]
    pub fn lawful_from(&self, role: Role, sender: &ProgramId) -> bool {
        match self {
            Self::Observation(observation) => role == Role::Node && ProgramId::from(&observation.node) == *sender,
            Self::Position(position) => role == Role::Node && ProgramId::from(&position.node) == *sender,
            Self::Fetch(_) | Self::Renew(_) | Self::Grant(_) => role == Role::Node,
            // Of a dead server's binlog its node delivers, or the leader that reads it through ssh.
            Self::Delivery(_) => true,
            Self::Heartbeat(heartbeat) => {
                role == Role::Coordinator && ProgramId::from(&heartbeat.coordinator) == *sender
            }
            // What is history already, any coordinator may tell again.
            Self::Event(event) => {
                role == Role::Coordinator && (event.id.is_some() || ProgramId::from(&event.coordinator) == *sender)
            }
            Self::Request(_) | Self::Errand(_) | Self::ErrandEnd(_) => role == Role::Coordinator,
            Self::Echo { .. } => true,
        }
    }
}
