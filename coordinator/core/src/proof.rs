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
/// the union of what was shown: of every group that counts, n − k members answered this ballot; of one without required
/// acknowledgements, its primary.
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
    /// Writes were acknowledged without replicas (k = 0), and their server does not show all it has.
    #[error(
        "{primary} acknowledged writes without replicas (k = 0): its own node must show that it is fenced or gone, and what its binlog holds"
    )]
    Alone {
        /// The server.
        primary: NodeId,
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
            if group.acks == 0 {
                return group.primary != *node && self.witnesses.contains(&group.primary);
            }
            let counted = group.members.iter().filter(|member| *member != node && self.witnesses.contains(*member));
            counted.count() >= group.needed_promises()
        })
    }
}

fn covered(promises: &Promises, group: &WriteGroup) -> Result<BTreeSet<NodeId>, NoProof> {
    if group.acks == 0 {
        // Nobody else need have what it acknowledged, and nobody else's word ends its acknowledging: closed by its node,
        // or gone with its binlog read to the end, it proves both itself.
        let primary = group.primary.clone();
        return match promises.holding(&primary) {
            Some(_) => Ok(BTreeSet::from([primary])),
            None => Err(NoProof::Alone { primary }),
        };
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

#[cfg(test)]
mod tests {
    use tasuki_schemas::answer::Holdings;
    use tasuki_schemas::ballot::Epoch;
    use tasuki_schemas::gtid::{Flavour, Origin};
    use tasuki_schemas::id::{BootId, Incarnation};
    use tasuki_schemas::observation::Received;
    use tasuki_schemas::record::{Mode, Reign};

    use super::*;

    fn ballot(counter: u64) -> Ballot {
        Ballot { counter, coordinator: "co1".parse().unwrap(), boot: BootId(1) }
    }

    fn node(number: usize) -> NodeId {
        format!("db{number}").parse().unwrap()
    }

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(Flavour::Mariadb, text).unwrap()
    }

    fn record(groups: Vec<WriteGroup>, voters: usize) -> Record {
        let epoch = Epoch(ballot(1));
        Record {
            epoch: epoch.clone(),
            primary: groups.last().unwrap().primary.clone(),
            opened: groups.len() == 1,
            reigns: vec![Reign { epoch, node: node(0), origin: Origin::Mariadb(1), set_before: set("") }],
            groups,
            voters: (0..voters).map(|number| (node(number), Incarnation(number as u64))).collect(),
            mode: Mode::Armed,
            wanted: 1,
            recent: Vec::new(),
            pause: None,
        }
    }

    fn group(members: &[usize], acks: u32) -> WriteGroup {
        WriteGroup { primary: node(members[0]), members: members.iter().map(|number| node(*number)).collect(), acks }
    }

    fn promise(number: usize, record: &Record, duty: Duty, received: Received) -> Promise {
        Promise {
            kind: Kind::Failover,
            incarnation: Incarnation(number as u64),
            sequence: 1,
            accepted: Some(Accepted { ballot: ballot(1), record: record.clone() }),
            duty,
            holdings: Some(Holdings { executed: set(""), received }),
        }
    }

    fn promises(record: &Record, by: &[(usize, Duty, Received)]) -> Promises {
        let mut promises = Promises::new(ballot(2));
        for (number, duty, received) in by {
            promises.keep(&node(*number), &promise(*number, record, duty.clone(), received.clone()));
        }
        promises
    }

    fn known(text: &str) -> Received {
        Received::Known { set: set(text) }
    }

    /// For every size of group and every k: whenever a proof is made, every possible set of k ackers (besides the
    /// primary, who has the write as well) meets the servers that showed their sets, and fewer than k others remain.
    #[test]
    fn every_acknowledged_write_is_shown_and_no_quorum_of_ackers_remains() {
        for n in 2..=5_usize {
            for k in 1..n {
                let members: Vec<usize> = (0..n).collect();
                let record = record(vec![group(&members, u32::try_from(k).unwrap())], n);
                for shown in 0..(1_u32 << n) {
                    let by: Vec<_> = members
                        .iter()
                        .filter(|number| shown & (1 << **number) != 0)
                        .map(|number| (*number, Duty::ReceiverStopped, known("0-1-1")))
                        .collect();
                    let proved = QuorumProof::from(&promises(&record, &by)).is_ok();
                    if !proved {
                        continue;
                    }
                    for ackers in
                        (0..(1_u32 << n)).filter(|ackers| ackers & 1 == 0 && ackers.count_ones() as usize == k)
                    {
                        let holders = ackers | 1;
                        assert_ne!(shown & holders, 0, "n={n} k={k} shown={shown:b} ackers={ackers:b}");
                    }
                    let free = (1..n).filter(|number| shown & (1 << number) == 0).count();
                    assert!(shown & 1 != 0 || free < k, "n={n} k={k} shown={shown:b}: {free} could still acknowledge");
                }
            }
        }
    }

    #[test]
    fn a_vote_an_unknown_set_and_a_failed_duty_show_nothing() {
        let record = record(vec![group(&[0, 1, 2], 1)], 3);
        let unknown = Received::Unknown { reason: "restarted".to_owned() };
        let failed = Duty::Failed { reason: "no answer".to_owned() };
        for bad in
            [(1, Duty::Nothing, known("0-1-1")), (1, Duty::ReceiverStopped, unknown), (1, failed, known("0-1-1"))]
        {
            let by = [bad, (2, Duty::ReceiverStopped, known("0-1-1"))];
            assert!(matches!(QuorumProof::from(&promises(&record, &by)), Err(NoProof::TooFew { .. })));
        }
    }

    #[test]
    fn a_server_that_is_down_counts_only_with_its_files_read_to_the_end() {
        let record = record(vec![group(&[0, 1, 2], 1)], 3);
        let read = [(0, Duty::ProcessExited, known("0-1-1")), (1, Duty::ReceiverStopped, known("0-1-1"))];
        assert!(QuorumProof::from(&promises(&record, &read)).is_ok());
    }

    #[test]
    fn every_group_since_the_last_opened_one_must_be_covered() {
        let mut record = record(vec![group(&[0, 1, 2], 1), group(&[1, 2], 1)], 3);
        record.opened = false;
        // Trace S2: db2 alone covers the new group, not the old one.
        let by = [(2, Duty::ReceiverStopped, known("0-1-1")), (0, Duty::Nothing, known(""))];
        assert!(matches!(QuorumProof::from(&promises(&record, &by)), Err(NoProof::TooFew { needed: 2, .. })));
    }

    #[test]
    fn a_promise_of_another_incarnation_is_no_vote() {
        let record = record(vec![group(&[0, 1, 2], 1)], 3);
        let mut given = promises(&record, &[(1, Duty::ReceiverStopped, known("0-1-1"))]);
        let mut copied = promise(2, &record, Duty::ReceiverStopped, known("0-1-1"));
        copied.incarnation = Incarnation(77);
        given.keep(&node(2), &copied);
        assert_eq!(QuorumProof::from(&given).unwrap_err(), NoProof::NoMajority);
    }

    #[test]
    fn without_required_acknowledgements_only_the_primary_itself_is_proof() {
        let record = record(vec![group(&[0], 0)], 3);
        let others = [(1, Duty::ReceiverStopped, known("")), (2, Duty::ReceiverStopped, known(""))];
        assert!(matches!(QuorumProof::from(&promises(&record, &others)), Err(NoProof::Alone { .. })));
        for duty in [Duty::ProcessExited, Duty::Fenced] {
            let by = [(0, duty, known("0-1-9")), (1, Duty::ReceiverStopped, known(""))];
            let proof = QuorumProof::from(&promises(&record, &by)).unwrap();
            assert!(!proof.holds_without(&node(0)) && proof.holds_without(&node(1)));
        }
        let unread = Received::Unknown { reason: "its binlog cannot be read".to_owned() };
        let by = [(0, Duty::ProcessExited, unread), (1, Duty::ReceiverStopped, known(""))];
        assert!(matches!(QuorumProof::from(&promises(&record, &by)), Err(NoProof::Alone { .. })));
    }
}
