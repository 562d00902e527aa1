//! One order, one act: messages come twice, and what they order must not be done to a server again.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_node_core::Effect;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{OrderName, Request};
use tasuki_schemas::id::{BootId, CoordinatorId};

/// What one run of a node was ordered, and what it began. Another run remembers no outcome, and may begin again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acts {
    life: u64,
    boots: BTreeMap<CoordinatorId, BTreeSet<BootId>>,
    given: BTreeMap<OrderName, BTreeSet<(CoordinatorId, Ballot, u64)>>,
    begun: BTreeMap<OrderName, usize>,
}

impl Acts {
    /// A request arrives.
    pub(crate) fn asked(&mut self, life: u64, from: &CoordinatorId, request: &Request) {
        self.live(life);
        if let Request::Prepare { ballot, .. } | Request::Accept { ballot, .. } | Request::Order { ballot, .. } =
            request
        {
            self.boots.entry(from.clone()).or_default().insert(ballot.boot);
        }
        let Request::Order { ballot, number, order } = request else { return };
        self.given.entry(order.name()).or_default().insert((from.clone(), ballot.clone(), *number));
    }

    /// An effect begins: as many of its kind were ordered.
    pub(crate) fn begins(&mut self, life: u64, effect: &Effect) -> Result<(), String> {
        let Some(name) = ordered_by(effect) else { return Ok(()) };
        self.live(life);
        let begun = self.begun.entry(name).or_default();
        *begun += 1;
        // A node remembers outcomes by the coordinator's name: two of one name take them from each other.
        let shared = self.boots.values().any(|boots| boots.len() > 1);
        if shared || *begun <= self.given.get(&name).map_or(0, BTreeSet::len) {
            return Ok(());
        }
        Err(format!("an order is carried out again: {effect:?}"))
    }

    fn live(&mut self, life: u64) {
        if self.life != life {
            *self = Self { life, ..Self::default() };
        }
    }
}

/// The order that an effect carries out; none for what a node does of itself or for a promise.
const fn ordered_by(effect: &Effect) -> Option<OrderName> {
    match effect {
        Effect::Replicate { .. } | Effect::Apply { .. } => Some(OrderName::CatchUp),
        Effect::Promote { .. } => Some(OrderName::Promote),
        Effect::Follow { .. } => Some(OrderName::Follow),
        Effect::JoinGroup { .. } => Some(OrderName::JoinGroup),
        Effect::SetWaitCount { .. } => Some(OrderName::SetWaitCount),
        Effect::CutAcker { .. } => Some(OrderName::CutAcker),
        Effect::LeaveGroup => Some(OrderName::LeaveGroup),
        Effect::Drain { .. } => Some(OrderName::Drain),
        Effect::Archive { .. } => Some(OrderName::Archive),
        Effect::Reclone { .. } => Some(OrderName::Reclone),
        Effect::Look { .. }
        | Effect::ReadFiles { .. }
        | Effect::Fence { .. }
        | Effect::StopReceiving { .. }
        | Effect::CutStrangers { .. } => None,
    }
}
