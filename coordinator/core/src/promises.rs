//! The promises given to one ballot: all that a proof is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_schemas::answer::{Duty, Promise};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Kind;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::{Incarnation, NodeId};
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Accepted, Record, Voters};

/// The promises given to one ballot.
#[derive(Clone, Debug)]
pub struct Promises {
    ballot: Ballot,
    /// Each with the moment when it was first heard.
    by: BTreeMap<NodeId, (Promise, Moment)>,
    /// Whose ledgers have no vote. What their servers hold counts all the same.
    doubted: BTreeSet<NodeId>,
    /// An operator's word: this node votes in place of its lost ledger, if nobody else can decide so.
    admitted: Option<(NodeId, Incarnation)>,
}

impl Promises {
    /// None yet.
    #[must_use]
    pub const fn new(ballot: Ballot) -> Self {
        Self { ballot, by: BTreeMap::new(), doubted: BTreeSet::new(), admitted: None }
    }

    /// The ballot that they were given to.
    #[must_use]
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// Keeps a promise; false if it was there already.
    pub fn keep(&mut self, node: &NodeId, promise: &Promise, now: Moment) -> bool {
        if self.get(node) == Some(promise) {
            return false;
        }
        self.by.insert(node.clone(), (promise.clone(), now));
        true
    }

    /// An operator's word for a node with a new ledger.
    pub fn admit(&mut self, word: Option<(NodeId, Incarnation)>) {
        self.admitted = word;
    }

    /// A record that is proposed on that word names the new ledger. Where there is a majority without it, the word is not
    /// needed, and changes nothing.
    pub(crate) fn admit_into(&self, record: &mut Record) {
        let Some((node, incarnation)) = &self.admitted else { return };
        let known = record.voters.get(node).is_some_and(|named| named != incarnation);
        if known && !record.has_quorum(|node, incarnation| self.promised_with(node, incarnation)) {
            record.voters.insert(node.clone(), *incarnation);
            record.voters_before = None;
        }
    }

    /// From now on this node's ledger has no vote.
    pub fn doubt(&mut self, node: &NodeId) {
        self.doubted.insert(node.clone());
    }

    /// A node's promise.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Promise> {
        self.by.get(node).map(|(promise, _)| promise)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Promise)> {
        self.by.iter().map(|(node, (promise, _))| (node, promise))
    }

    /// The highest accepted record among the promises, if a majority of *its* voters promised (of both its councils, while
    /// a change of them is not known to be decided): the base of whatever is proposed next. Decided or not makes no
    /// difference (Rystsov, `CASPaxos`, 2018). Why that holds while voters change is shown in [`crate::voters`].
    #[must_use]
    pub fn base(&self) -> Option<&Accepted> {
        let highest = self
            .by
            .values()
            .filter_map(|(promise, _)| promise.accepted.as_ref())
            .max_by(|a, b| a.ballot.cmp(&b.ballot))?;
        highest.record.has_quorum(|node, incarnation| self.votes(node, incarnation)).then_some(highest)
    }

    /// Whether a node has this ledger's vote: it promised with it, or an operator says that its new one stands for it.
    fn votes(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        let word = self.admitted.as_ref().filter(|(admitted, _)| admitted == node);
        self.promised_with(node, incarnation) || word.is_some_and(|(_, anew)| self.promised_with(node, *anew))
    }

    fn promised_with(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        !self.doubted.contains(node) && self.get(node).is_some_and(|promise| promise.incarnation == incarnation)
    }

    /// When no lease that a majority granted before can last any longer; `None` while no majority of the record's voters
    /// promised. Whoever promised a failover grants no more, every lease had a majority, and two majorities meet: so the
    /// last grants of *this* majority were the last of any.
    #[must_use]
    pub fn leases_end(&self, record: &Record) -> Option<Moment> {
        let end = |node: &NodeId, incarnation| {
            let (promise, at) = self.by.get(node).filter(|_| self.votes(node, incarnation))?;
            let length = LeaseTerms::wait_for(Duration::from_millis(promise.lease_rest_ms));
            (promise.kind == Kind::Failover).then(|| *at + length)
        };
        let of_majority = |voters: &Voters| {
            let mut ends: Vec<Moment> =
                voters.iter().filter_map(|(node, incarnation)| end(node, *incarnation)).collect();
            ends.sort();
            ends.get(voters.len() / 2).copied()
        };
        // Of two councils both must have been waited for.
        let ends: Option<Vec<Moment>> = record.councils().map(of_majority).collect();
        ends?.into_iter().max()
    }

    /// What dead servers surely have in their binlogs, though their relay files were not read. Where a proof accepts a loss
    /// it need not be lost with them: their nodes deliver it.
    pub(crate) fn kept_by_the_dead(&self) -> impl Iterator<Item = (&NodeId, &GtidSet)> {
        self.iter().filter(|(_, promise)| promise.duty == Duty::ProcessExited && shown(promise).is_none()).filter_map(
            |(node, promise)| {
                let holdings = promise.holdings.as_ref().filter(|_| promise.kind == Kind::Failover)?;
                Some((node, &holdings.executed))
            },
        )
    }

    /// What a node held after its duty was done; `None` if its promise shows nothing.
    #[must_use]
    pub fn holding(&self, node: &NodeId) -> Option<&GtidSet> {
        self.get(node).and_then(shown)
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

#[cfg(test)]
#[path = "promises_tests.rs"]
mod tests;
