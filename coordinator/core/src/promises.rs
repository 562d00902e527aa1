//! The promises given to one ballot: all that a proof is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use tasuki_schemas::answer::{Duty, Promise};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Kind;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Accepted, Record};

/// The promises given to one ballot.
#[derive(Clone, Debug)]
pub struct Promises {
    ballot: Ballot,
    /// Each with the moment when it was first heard.
    by: BTreeMap<NodeId, (Promise, Moment)>,
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
    pub fn keep(&mut self, node: &NodeId, promise: &Promise, now: Moment) -> bool {
        if self.get(node) == Some(promise) {
            return false;
        }
        self.by.insert(node.clone(), (promise.clone(), now));
        true
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

    /// The highest accepted record among the promises, if a majority of *its* voters promised: the base of whatever is
    /// proposed next. Decided or not makes no difference (Rystsov, `CASPaxos`, 2018).
    #[must_use]
    pub fn base(&self) -> Option<&Accepted> {
        let highest = self
            .by
            .values()
            .filter_map(|(promise, _)| promise.accepted.as_ref())
            .max_by(|a, b| a.ballot.cmp(&b.ballot))?;
        (self.voters_of(&highest.record) >= highest.record.majority()).then_some(highest)
    }

    /// How many voters of a record promised, each with the ledger that the record names.
    fn voters_of(&self, record: &Record) -> usize {
        record
            .voters
            .iter()
            .filter(|(node, incarnation)| self.get(node).is_some_and(|promise| promise.incarnation == **incarnation))
            .count()
    }

    /// When no lease that a majority granted before can last any longer; `None` while no majority of the record's voters
    /// promised. Whoever promised a failover grants no more, every lease had a majority, and two majorities meet: so the
    /// last grants of *this* majority were the last of any.
    #[must_use]
    pub fn leases_end(&self, record: &Record) -> Option<Moment> {
        let mut ends: Vec<Moment> = record
            .voters
            .iter()
            .filter_map(|(node, incarnation)| {
                let (promise, at) = self.by.get(node)?;
                let counts = promise.incarnation == *incarnation && promise.kind == Kind::Failover;
                counts.then(|| *at + LeaseTerms::wait_for(Duration::from_millis(promise.lease_rest_ms)))
            })
            .collect();
        ends.sort();
        ends.get(record.majority() - 1).copied()
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
