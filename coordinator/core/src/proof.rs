//! No promotion without proof. A proof is a value that only evidence can make, and only from answers to one ballot.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::grounds::Override;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Accepted, Record};

use crate::cover::{Cover, Evidence};
pub use crate::cover::{DurabilityProof, FenceProof};
use crate::fence::Fences;
pub use crate::missing::NoProof;
use crate::promises::Promises;
use crate::settings::Policy;

/// Shows both that nobody can be acknowledged by any subject any more, and that nothing acknowledged is missing from
/// the union of what was shown, unless that is accepted: of every group that counts, its primary answered this ballot, or
/// n − k of its members; or its primary is fenced. A fence proves silence and nothing about what the server holds: that
/// is lost to the cluster, and said.
#[derive(Clone, Debug)]
pub struct Proof {
    base: Accepted,
    /// The servers whose sets it rests on.
    witnesses: BTreeSet<NodeId>,
    fenced: Vec<(FenceProof, DurabilityProof)>,
    read: BTreeMap<NodeId, GtidSet>,
    word: Option<Override>,
}

impl Proof {
    /// Makes the proof, if the promises and the fences of one ballot hold it.
    ///
    /// # Errors
    /// [`NoProof`] says what is missing.
    pub fn from(promises: &Promises, fences: &Fences, policy: &Policy, now: Moment) -> Result<Self, NoProof> {
        let base = promises.base().ok_or(NoProof::NoMajority)?;
        let evidence = Evidence { promises, fences, policy, now };
        let (mut witnesses, mut fenced) = (BTreeSet::new(), Vec::new());
        for group in &base.record.groups {
            match evidence.cover(&base.record, group)? {
                Cover::Quorum(by) => witnesses.extend(by),
                Cover::Fenced(fence, durability) => {
                    if durability.loss_accepted_by().is_none() {
                        witnesses.insert(fence.node().clone());
                    }
                    fenced.push((fence, durability));
                }
            }
        }
        let read = fences.readings.shown().filter(|(node, _)| promises.holding(node).is_none());
        let read = read.map(|(node, set)| (node.clone(), set.clone())).collect();
        Ok(Self { base: base.clone(), witnesses, fenced, read, word: fences.word().cloned() })
    }

    /// Primaries that are mute and do not show what they hold: what only they have may be lost.
    pub fn lost(&self) -> impl Iterator<Item = (&FenceProof, &DurabilityProof)> {
        self.fenced.iter().filter(|(_, kept)| kept.loss_accepted_by().is_some()).map(|(fence, kept)| (fence, kept))
    }

    /// What dead servers hold whose nodes do not show it: read through ssh.
    #[must_use]
    pub const fn read(&self) -> &BTreeMap<NodeId, GtidSet> {
        &self.read
    }

    /// What an operator answers for, if anything.
    #[must_use]
    pub const fn word(&self) -> Option<&Override> {
        self.word.as_ref()
    }

    /// The accepted record that the attempt starts from.
    #[must_use]
    pub const fn base(&self) -> &Record {
        &self.base.record
    }

    /// Whether it would still hold without any of these nodes' answers: each of two may be spared, and both not. What a
    /// fence proves is silence and nothing about sets, so that beside one everything that anybody shows may have been
    /// acknowledged.
    #[must_use]
    pub fn holds_without(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let counts = |node: &NodeId| self.witnesses.contains(node) && !nodes.contains(node);
        self.base.record.groups.iter().all(|group| {
            let alone = counts(&group.primary);
            if alone || group.acks == 0 {
                return alone;
            }
            group.members.iter().filter(|member| counts(member)).count() >= group.needed_promises()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tasuki_schemas::answer::{Duty, Holdings, Promise};
    use tasuki_schemas::ballot::{Ballot, Epoch};
    use tasuki_schemas::command::Kind;
    use tasuki_schemas::grounds::FenceHow;
    use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
    use tasuki_schemas::id::{BootId, Incarnation};
    use tasuki_schemas::observation::Received;
    use tasuki_schemas::record::{Mode, Reign, WriteGroup};

    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000);

    fn prove(promises: &Promises) -> Result<Proof, NoProof> {
        prove_at(promises, NOW)
    }

    fn prove_at(promises: &Promises, now: Moment) -> Result<Proof, NoProof> {
        Proof::from(promises, &Fences::new(promises.ballot().clone()), &Policy::default(), now)
    }

    fn ballot(counter: u64) -> Ballot {
        Ballot { counter, coordinator: "co1".parse().unwrap(), boot: BootId(1) }
    }

    fn node(number: usize) -> NodeId {
        format!("db{number}").parse().unwrap()
    }

    fn only(number: usize) -> BTreeSet<NodeId> {
        BTreeSet::from([node(number)])
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
            voters_before: None,
            pause: None,
            planned: None,
        }
    }

    fn group(members: &[usize], acks: u32) -> WriteGroup {
        WriteGroup {
            primary: node(members[0]),
            members: members.iter().map(|number| node(*number)).collect(),
            acks,
            leased: false,
        }
    }

    fn promise(number: usize, record: &Record, duty: Duty, received: Received) -> Promise {
        Promise {
            kind: Kind::Failover,
            incarnation: Incarnation(number as u64),
            sequence: 1,
            accepted: Some(Accepted { ballot: ballot(1), record: record.clone() }),
            duty,
            holdings: Some(Holdings { executed: set(""), received }),
            lease_rest_ms: 0,
        }
    }

    fn promises(record: &Record, by: &[(usize, Duty, Received)]) -> Promises {
        let mut promises = Promises::new(ballot(2));
        for (number, duty, received) in by {
            promises.keep(&node(*number), &promise(*number, record, duty.clone(), received.clone()), NOW);
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
                    let proved = prove(&promises(&record, &by)).is_ok();
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
            assert!(matches!(prove(&promises(&record, &by)), Err(NoProof::TooFew { .. })));
        }
    }

    #[test]
    fn a_server_that_is_down_counts_only_with_its_files_read_to_the_end() {
        let record = record(vec![group(&[0, 1, 2], 1)], 3);
        let read = [(0, Duty::ProcessExited, known("0-1-1")), (1, Duty::ReceiverStopped, known("0-1-1"))];
        assert!(prove(&promises(&record, &read)).is_ok());
    }

    #[test]
    fn every_group_since_the_last_opened_one_must_be_covered() {
        let mut record = record(vec![group(&[0, 1, 2], 1), group(&[1, 2], 1)], 3);
        record.opened = false;
        // Trace S2: db2 alone covers the new group, not the old one.
        let by = [(2, Duty::ReceiverStopped, known("0-1-1")), (0, Duty::Nothing, known(""))];
        assert!(matches!(prove(&promises(&record, &by)), Err(NoProof::TooFew { needed: 2, .. })));
    }

    #[test]
    fn each_of_two_dead_servers_may_be_spared_and_both_not() {
        let record = record(vec![group(&[0, 1, 2], 1)], 3);
        let by = [
            (0, Duty::ProcessExited, Received::Unknown { reason: "not whole".to_owned() }),
            (1, Duty::ProcessExited, known("0-1-9")),
            (2, Duty::ReceiverStopped, known("0-1-4")),
        ];
        let proof = prove(&promises(&record, &by)).unwrap();
        assert!(!proof.holds_without(&only(1)) && proof.holds_without(&only(0)));
        let by = [(0, Duty::ProcessExited, known("0-1-9")), by[1].clone(), by[2].clone()];
        let proof = prove(&promises(&record, &by)).unwrap();
        assert!(proof.holds_without(&only(0)) && proof.holds_without(&only(1)));
        assert!(!proof.holds_without(&BTreeSet::from([node(0), node(1)])));
    }

    #[test]
    fn the_primary_itself_is_proof_when_its_replicas_show_nothing() {
        let record = record(vec![group(&[0, 1, 2], 1)], 3);
        let unread = Received::Unknown { reason: "relay files that nobody read".to_owned() };
        let by = [(0, Duty::Fenced, known("0-1-9")), (1, Duty::ReceiverStopped, unread)];
        let proof = prove(&promises(&record, &by)).unwrap();
        assert!(!proof.holds_without(&only(0)) && proof.holds_without(&only(1)));
    }

    #[test]
    fn a_promise_of_another_incarnation_is_no_vote() {
        let record = record(vec![group(&[0, 1, 2], 1)], 3);
        let mut given = promises(&record, &[(1, Duty::ReceiverStopped, known("0-1-1"))]);
        let mut copied = promise(2, &record, Duty::ReceiverStopped, known("0-1-1"));
        copied.incarnation = Incarnation(77);
        given.keep(&node(2), &copied, NOW);
        assert_eq!(prove(&given).unwrap_err(), NoProof::NoMajority);
    }

    #[test]
    fn without_required_acknowledgements_only_the_primary_itself_is_proof() {
        let record = record(vec![group(&[0], 0)], 3);
        let others = [(1, Duty::ReceiverStopped, known("")), (2, Duty::ReceiverStopped, known(""))];
        assert!(matches!(prove(&promises(&record, &others)), Err(NoProof::Alone { .. })));
        for duty in [Duty::ProcessExited, Duty::Fenced] {
            let by = [(0, duty, known("0-1-9")), (1, Duty::ReceiverStopped, known(""))];
            let proof = prove(&promises(&record, &by)).unwrap();
            assert!(!proof.holds_without(&only(0)) && proof.holds_without(&only(1)));
        }
        let unread = Received::Unknown { reason: "its binlog cannot be read".to_owned() };
        let by = [(0, Duty::ProcessExited, unread), (1, Duty::ReceiverStopped, known(""))];
        assert!(matches!(prove(&promises(&record, &by)), Err(NoProof::Unaccepted { .. })));
    }

    /// The majority of promises whose grants ended first decides; a member's silence prolongs nothing.
    #[test]
    fn a_leased_primary_that_shows_nothing_is_mute_when_its_lease_has_ended() {
        let mut alone = group(&[0], 0);
        alone.leased = true;
        let record = record(vec![alone], 3);
        let mut given = Promises::new(ballot(2));
        for (number, rest) in [(1, 400), (2, 900)] {
            let mut promise = promise(number, &record, Duty::ReceiverStopped, known("0-1-1"));
            promise.lease_rest_ms = rest;
            given.keep(&node(number), &promise, NOW);
            if number == 1 {
                assert!(matches!(prove_at(&given, NOW), Err(NoProof::NoMajority)));
            }
        }
        let after = |ms: u64| NOW + Duration::from_millis(ms);
        assert!(matches!(prove_at(&given, after(900)), Err(NoProof::Leased { .. })));
        let proof = prove_at(&given, after(930)).unwrap();
        let lost: Vec<_> = proof.lost().map(|(fence, _)| (fence.node().clone(), fence.how())).collect();
        assert_eq!(lost, [(node(0), FenceHow::LeaseExpired)]);
        given.keep(&node(0), &promise(0, &record, Duty::Fenced, known("0-1-1")), after(10));
        assert_eq!(prove_at(&given, after(10)).unwrap().lost().count(), 0);
    }
}
