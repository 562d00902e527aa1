//! Which ledgers cannot be trusted, by what was heard of them: one that went back was restored from a copy, and one that
//! two runs of a node hold at a time was copied. What it promised may be unknown to it.

use std::collections::BTreeMap;

use tasuki_schemas::id::{Incarnation, NodeId};
use tasuki_schemas::observation::LedgerView;

/// What was heard of ledgers.
#[derive(Clone, Debug)]
pub(crate) struct Ledgers {
    /// The highest sequence that each node told, and of which ledger.
    highest: BTreeMap<NodeId, (Incarnation, u64)>,
    doubts: BTreeMap<NodeId, (Incarnation, String)>,
}

impl Ledgers {
    /// Nothing heard yet.
    pub(crate) const fn new() -> Self {
        Self { highest: BTreeMap::new(), doubts: BTreeMap::new() }
    }

    /// Takes note of a report that is newer than every earlier one of its node.
    pub(crate) fn heard(&mut self, node: &NodeId, ledger: &LedgerView) {
        let (incarnation, sequence) = (ledger.incarnation, ledger.sequence);
        match self.highest.get(node) {
            Some((known, highest)) if *known == incarnation && sequence < *highest => {
                let reason = format!("its ledger went back from {highest} to {sequence}: it was restored from a copy");
                self.doubt(node, incarnation, reason);
            }
            Some(_) | None => drop(self.highest.insert(node.clone(), (incarnation, sequence))),
        }
    }

    /// Two runs of one node live at the same time, with one ledger.
    pub(crate) fn met_twin(&mut self, node: &NodeId, incarnation: Incarnation) {
        self.doubt(node, incarnation, "two nodes run under its key: its host was copied".to_owned());
    }

    fn doubt(&mut self, node: &NodeId, incarnation: Incarnation, reason: String) {
        if self.doubt_of(node, incarnation).is_none() {
            self.doubts.insert(node.clone(), (incarnation, reason));
        }
    }

    /// Why this ledger of a node has no vote.
    pub(crate) fn doubt_of(&self, node: &NodeId, incarnation: Incarnation) -> Option<&str> {
        self.doubts.get(node).filter(|(doubted, _)| *doubted == incarnation).map(|(_, reason)| reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn heard(ledgers: &mut Ledgers, name: &str, incarnation: u64, sequence: u64) -> bool {
        let (promised, failover, accepted, anew) = (None, None, None, None);
        let incarnation = Incarnation(incarnation);
        ledgers.heard(&node(name), &LedgerView { incarnation, sequence, promised, failover, accepted, anew });
        ledgers.doubt_of(&node(name), incarnation).is_some()
    }

    #[test]
    fn a_ledger_that_goes_back_is_doubted_until_it_begins_anew() {
        let mut ledgers = Ledgers::new();
        assert!(!heard(&mut ledgers, "db1", 1, 7) && !heard(&mut ledgers, "db1", 1, 7));
        assert!(heard(&mut ledgers, "db1", 1, 6));
        assert!(heard(&mut ledgers, "db1", 1, 9), "what it wrote since does not bring back what it forgot");
        assert!(!heard(&mut ledgers, "db1", 2, 1), "another ledger may count anew");
    }

    #[test]
    fn two_runs_at_a_time_are_doubted_until_each_has_its_own_ledger() {
        let mut ledgers = Ledgers::new();
        assert!(!heard(&mut ledgers, "db1", 1, 7));
        ledgers.met_twin(&node("db1"), Incarnation(1));
        assert!(heard(&mut ledgers, "db1", 1, 8));
        assert!(!heard(&mut ledgers, "db1", 3, 9));
    }
}
