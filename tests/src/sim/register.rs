//! The register as it really is: which ledgers hold which record durably. Every record that a coordinator takes for decided
//! must be, and its voters must have changed one at a time, by those before and by those after.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_node_core::Memory;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::id::{Incarnation, NodeId};
use tasuki_schemas::record::{Record, Voters};

use super::lives::name;
use super::server::Host;
use super::world::World;

/// What ledgers held, lost ones included, and what was told to be decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    held: BTreeMap<(NodeId, Incarnation), Ballot>,
    decided: BTreeMap<Ballot, Record>,
}

impl Register {
    /// A ledger is on its disk.
    pub(crate) fn durable(&mut self, node: &NodeId, memory: &Memory) {
        if let Some(accepted) = &memory.accepted {
            let held = self.held.entry((node.clone(), memory.incarnation)).or_insert_with(|| accepted.ballot.clone());
            if *held < accepted.ballot {
                *held = accepted.ballot.clone();
            }
        }
    }

    /// A coordinator takes a record for decided. What is wrong with that?
    pub(crate) fn decided(&mut self, ballot: &Ballot, record: &Record) -> Option<String> {
        let before = self.decided.range(..ballot).next_back().map(|(_, before)| before.voters.clone());
        let other = self.decided.insert(ballot.clone(), record.clone()).is_some_and(|other| other != *record);
        if other {
            return Some(format!("two records were decided at {ballot}"));
        }
        if !self.agree(&record.voters, ballot) {
            return Some(format!("a record counts as decided at {ballot} and no majority of its voters holds it"));
        }
        let before = before.filter(|before| *before != record.voters)?;
        let both: BTreeSet<&NodeId> = before.keys().chain(record.voters.keys()).collect();
        let changed: Vec<&NodeId> =
            both.into_iter().filter(|node| before.get(*node) != record.voters.get(*node)).collect();
        if changed.len() > 1 {
            return Some(format!("{changed:?} became or ceased to be voters in one record, at {ballot}"));
        }
        let agree = self.agree(&before, ballot);
        (!agree)
            .then(|| format!("the voters were changed at {ballot} ({changed:?}) without a majority of those before"))
    }

    fn agree(&self, voters: &Voters, ballot: &Ballot) -> bool {
        let holds = |(node, incarnation): &(&NodeId, &Incarnation)| {
            self.held.get(&((*node).clone(), **incarnation)).is_some_and(|held| held >= ballot)
        };
        voters.iter().filter(holds).count() > voters.len() / 2
    }
}

impl World {
    /// Whether every node of the cluster file votes, with the ledger that it has, and nobody else does.
    pub(crate) fn is_seated(&self) -> bool {
        let accepted = self.hosts.iter().filter_map(|host| host.ledger.accepted.as_ref());
        let Some(newest) = accepted.max_by(|one, other| one.ballot.cmp(&other.ballot)) else { return false };
        let configured = |host: &Host| *host < self.history.servers() || self.witnessed.contains(host);
        let wanted: Voters = (0..self.hosts.len())
            .filter(configured)
            .map(|host| (name(host), self.hosts[host].ledger.incarnation))
            .collect();
        newest.record.voters == wanted && newest.record.voters_before.is_none()
    }
}
