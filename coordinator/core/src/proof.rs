//! No promotion without proof. A proof is a value that only evidence can make, and only from answers to one ballot.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::answer::{Duty, Promise};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Kind;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::record::{Accepted, Record, WriteGroup};

use crate::sentence::names;

/// The promises given to one ballot.
#[derive(Clone, Debug)]
pub struct Promises {
    ballot: Ballot,
    by: BTreeMap<NodeId, Promise>,
}

impl Promises {
    /// None yet.
    #[must_use]
    pub const fn new(ballot: Ballot) -> Self {
        Self { ballot, by: BTreeMap::new() }
    }

    /// The ballot that they were given to.
    #[must_use]
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// Keeps a promise; false if it was there already.
    pub fn keep(&mut self, node: &NodeId, promise: &Promise) -> bool {
        if self.by.get(node) == Some(promise) {
            return false;
        }
        self.by.insert(node.clone(), promise.clone());
        true
    }

    /// A node's promise.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Promise> {
        self.by.get(node)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Promise)> {
        self.by.iter()
    }

    /// The highest accepted record among the promises, if a majority of *its* voters promised: the base of whatever is
    /// proposed next. Decided or not makes no difference (Rystsov, `CASPaxos`, 2018).
    #[must_use]
    pub fn base(&self) -> Option<&Accepted> {
        let highest =
            self.by.values().filter_map(|promise| promise.accepted.as_ref()).max_by(|a, b| a.ballot.cmp(&b.ballot))?;
        (self.voters_of(&highest.record) >= highest.record.majority()).then_some(highest)
    }

    /// How many voters of a record promised, each with the ledger that the record names.
    fn voters_of(&self, record: &Record) -> usize {
        record
            .voters
            .iter()
            .filter(|(node, incarnation)| {
                self.by.get(*node).is_some_and(|promise| promise.incarnation == **incarnation)
            })
            .count()
    }

    /// What a node held after its duty was done; `None` if its promise shows nothing.
    #[must_use]
    pub fn holding(&self, node: &NodeId) -> Option<&GtidSet> {
        self.by.get(node).and_then(shown)
    }
}

/// The received set that a promise shows: read after the receiver, or the service as primary, had ended.
fn shown(promise: &Promise) -> Option<&GtidSet> {
    if promise.kind != Kind::Failover {
        return None;
    }
    match &promise.duty {
        Duty::ReceiverStopped | Duty::Fenced | Duty::ProcessExited => {
            promise.holdings.as_ref().and_then(|holdings| holdings.received.known())
        }
        Duty::Nothing | Duty::Failed { .. } => None,
    }
}

/// Shows both that nobody can be acknowledged by any subject any more, and that nothing acknowledged is missing from
/// the union of what was shown: of every group that counts, n − k members answered this ballot.
#[derive(Clone, Debug)]
pub struct QuorumProof {
    base: Accepted,
    witnesses: BTreeSet<NodeId>,
}

/// Why there is no proof (yet).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// No majority of the record's voters promised.
    #[error("no majority of the record's voters promised")]
    NoMajority,
    /// The record has a group without required acknowledgements: that needs a lease, or a fence and a rescue.
    #[error(
        "the write group {group} acknowledges without replicas (k = 0): no quorum can prove its writes complete; switch semi-sync on"
    )]
    Asynchronous {
        /// Its members.
        group: String,
    },
    /// Too few members of a group showed what they hold.
    #[error(
        "of the write group {group} with {acks} acknowledgements, {needed} must show what they hold; {shown} did ({by})"
    )]
    TooFew {
        /// Its members.
        group: String,
        /// k
        acks: u32,
        /// n − k
        needed: usize,
        /// How many did.
        shown: usize,
        /// Who did.
        by: String,
    },
}

impl QuorumProof {
    /// Makes the proof, if the promises hold it.
    ///
    /// # Errors
    /// [`NoProof`] says what is missing.
    pub fn from(promises: &Promises) -> Result<Self, NoProof> {
        let base = promises.base().ok_or(NoProof::NoMajority)?;
        let mut witnesses = BTreeSet::new();
        for group in &base.record.groups {
            witnesses.extend(covered(promises, group)?);
        }
        Ok(Self { base: base.clone(), witnesses })
    }

    /// The accepted record that the attempt starts from.
    #[must_use]
    pub const fn base(&self) -> &Record {
        &self.base.record
    }

    /// The servers whose sets it rests on.
    #[must_use]
    pub const fn witnesses(&self) -> &BTreeSet<NodeId> {
        &self.witnesses
    }

    /// Whether it would still hold without `node`'s answer.
    #[must_use]
    pub fn holds_without(&self, node: &NodeId) -> bool {
        self.base.record.groups.iter().all(|group| {
            let counted = group.members.iter().filter(|member| *member != node && self.witnesses.contains(*member));
            counted.count() >= group.needed_promises()
        })
    }
}

fn covered(promises: &Promises, group: &WriteGroup) -> Result<BTreeSet<NodeId>, NoProof> {
    if group.acks == 0 {
        return Err(NoProof::Asynchronous { group: names(&group.members) });
    }
    let by: BTreeSet<NodeId> =
        group.members.iter().filter(|member| promises.holding(member).is_some()).cloned().collect();
    let needed = group.needed_promises();
    if by.len() < needed {
        let (group_names, shown) = (names(&group.members), by.len());
        return Err(NoProof::TooFew { group: group_names, acks: group.acks, needed, shown, by: names(&by) });
    }
    Ok(by)
}
