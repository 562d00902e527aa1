//! No promotion without proof. A proof is a value that only evidence can make, and only from answers to one ballot.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Accepted, Record, WriteGroup};

use crate::promises::Promises;
use crate::sentence::names;

/// Shows both that nobody can be acknowledged by any subject any more, and that nothing acknowledged is missing from
/// the union of what was shown: of every group that counts, its primary answered this ballot, or n − k of its members;
/// of one without required acknowledgements, its primary. A leased one that does not answer is muted by the end of its
/// lease, which proves nothing about what it holds: that is lost to the cluster, and said.
#[derive(Clone, Debug)]
pub struct QuorumProof {
    base: Accepted,
    witnesses: BTreeSet<NodeId>,
    /// Primaries whose lease has ended, and who show nothing.
    expired: BTreeSet<NodeId>,
}

/// What shows that a group's primary is mute.
enum Cover {
    /// These members showed what they hold.
    Shown(BTreeSet<NodeId>),
    /// Its lease has ended.
    Expired,
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
    /// Its lease must have ended before anybody else may acknowledge.
    #[error("{primary} may acknowledge writes for as long as its lease lasts; its end is awaited")]
    Leased {
        /// The server.
        primary: NodeId,
        /// How long that takes.
        rest: Duration,
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
    pub fn from(promises: &Promises, now: Moment) -> Result<Self, NoProof> {
        let base = promises.base().ok_or(NoProof::NoMajority)?;
        let (mut witnesses, mut expired) = (BTreeSet::new(), BTreeSet::new());
        for group in &base.record.groups {
            match covered(promises, &base.record, group, now)? {
                Cover::Shown(by) => witnesses.extend(by),
                Cover::Expired => {
                    expired.insert(group.primary.clone());
                }
            }
        }
        Ok(Self { base: base.clone(), witnesses, expired })
    }

    /// Primaries that are mute by the end of their lease alone: what only they hold is not known.
    #[must_use]
    pub const fn expired(&self) -> &BTreeSet<NodeId> {
        &self.expired
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

    /// Whether it would still hold without any of these nodes' answers: each of two may be spared, and both not. What a
    /// lease's end proves is silence and nothing about sets, so that beside it everything that anybody shows may have been
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

fn covered(promises: &Promises, record: &Record, group: &WriteGroup, now: Moment) -> Result<Cover, NoProof> {
    if group.acks == 0 {
        // Nobody else need have what it acknowledged, and nobody else's word ends its acknowledging: closed by its node,
        // or gone with its binlog read to the end, it proves both itself.
        let primary = group.primary.clone();
        let ends = promises.leases_end(record).filter(|_| group.leased);
        return match (promises.holding(&primary), ends) {
            (Some(_), _) => Ok(Cover::Shown(BTreeSet::from([primary]))),
            (None, Some(ends)) if ends <= now => Ok(Cover::Expired),
            (None, Some(ends)) => Err(NoProof::Leased { primary, rest: ends.since(now) }),
            (None, None) => Err(NoProof::Alone { primary }),
        };
    }
    let by: BTreeSet<NodeId> =
        group.members.iter().filter(|member| promises.holding(member).is_some()).cloned().collect();
    let needed = group.needed_promises();
    // The primary's own set, read after it was closed or was gone, has whatever it acknowledged: after a power failure
    // the replicas may have relay files that nobody read, and show nothing.
    if by.len() < needed && !by.contains(&group.primary) {
        let (group_names, shown) = (names(&group.members), by.len());
        return Err(NoProof::TooFew { group: group_names, acks: group.acks, needed, shown, by: names(&by) });
    }
    Ok(Cover::Shown(by))
}

#[cfg(test)]
mod tests {
    use tasuki_schemas::answer::{Duty, Holdings, Promise};
    use tasuki_schemas::ballot::{Ballot, Epoch};
    use tasuki_schemas::command::Kind;
    use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
    use tasuki_schemas::id::{BootId, Incarnation};
    use tasuki_schemas::observation::Received;
    use tasuki_schemas::record::{Mode, Reign};

    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000);

    fn prove(promises: &Promises) -> Result<QuorumProof, NoProof> {
        QuorumProof::from(promises, NOW)
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
            pause: None,
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
        assert!(!proof.holds_without(&only(0)));
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
        assert!(matches!(prove(&promises(&record, &by)), Err(NoProof::Alone { .. })));
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
                assert!(matches!(QuorumProof::from(&given, NOW), Err(NoProof::NoMajority)));
            }
        }
        let after = |ms: u64| NOW + Duration::from_millis(ms);
        assert!(matches!(QuorumProof::from(&given, after(900)), Err(NoProof::Leased { .. })));
        let proof = QuorumProof::from(&given, after(930)).unwrap();
        assert_eq!(proof.expired(), &BTreeSet::from([node(0)]));
        given.keep(&node(0), &promise(0, &record, Duty::Fenced, known("0-1-1")), after(10));
        assert!(QuorumProof::from(&given, after(10)).unwrap().expired().is_empty());
    }
}
