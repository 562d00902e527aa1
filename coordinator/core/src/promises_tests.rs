//! Whose promise is a vote, whose shows what its server holds, and when leases end.

use tasuki_schemas::answer::Holdings;
use tasuki_schemas::observation::Received;

use super::*;
use crate::fixtures::{NOW, ballot, node, record, set, settings};

const LOST: Incarnation = Incarnation(77);

/// The promise of a replica that stopped receiving.
fn promise(record: &Record) -> Promise {
    Promise {
        kind: Kind::Failover,
        incarnation: Incarnation(1),
        sequence: 1,
        accepted: Some(Accepted { ballot: ballot(1), record: record.clone() }),
        duty: Duty::ReceiverStopped,
        holdings: Some(Holdings { executed: set(), received: Received::Known { set: set() } }),
        lease_rest_ms: 0,
    }
}

/// Three servers and no witness: two of the three decide.
fn three() -> Record {
    let mut settings = settings(3);
    settings.witnesses.clear();
    record(&settings, 1)
}

fn kept(by: impl IntoIterator<Item = (NodeId, Promise)>) -> Promises {
    let mut promises = Promises::new(ballot(2));
    for (node, promise) in by {
        assert!(promises.keep(&node, &promise, NOW));
    }
    promises
}

#[test]
fn a_doubted_ledger_has_no_vote_and_its_server_still_shows_what_it_holds() {
    let mut promises = kept([1, 2].map(|number| (node(number), promise(&three()))));
    assert!(promises.base().is_some());
    promises.doubt(&node(2));
    assert!(promises.base().is_none());
    assert_eq!(promises.holding(&node(2)), Some(&set()));
}

#[test]
fn an_operators_word_gives_a_new_ledger_the_vote_of_its_own_node_alone() {
    let anew = Promise { incarnation: LOST, ..promise(&three()) };
    let mut promises = kept([(node(1), promise(&three())), (node(2), anew)]);
    assert!(promises.base().is_none());
    promises.admit(Some((node(1), LOST)));
    assert!(promises.base().is_none(), "the word is for another node");
    promises.admit(Some((node(2), LOST)));
    assert!(promises.base().is_some());
}

#[test]
fn an_operators_word_changes_the_voters_only_where_nobody_else_decides_and_makes_nobody_a_voter() {
    let anew = Promise { incarnation: LOST, ..promise(&three()) };
    let admitted = |by: Vec<(NodeId, Promise)>, word: NodeId| {
        let (mut promises, mut record) = (kept(by), three());
        promises.admit(Some((word, LOST)));
        promises.admit_into(&mut record);
        record.voters
    };
    let with_one = || vec![(node(1), promise(&three())), (node(2), anew.clone())];
    let with_two = || [with_one(), vec![(node(0), promise(&three()))]].concat();
    let mut changed = three().voters;
    changed.insert(node(2), LOST);
    assert_eq!(admitted(with_one(), node(2)), changed);
    assert_eq!(admitted(with_two(), node(2)), three().voters, "there is a majority without it");
    assert_eq!(admitted(with_one(), node(9)), three().voters, "no voter");
}

/// Of five voters three decide. Two that granted long ago and one that did lately are a majority, whose last grant counts.
#[test]
fn a_lease_ends_when_the_last_grant_of_a_majority_has_ended() {
    let mut settings = settings(5);
    settings.witnesses.clear();
    let record = record(&settings, 1);
    let by = [100, 200, 300, 400].into_iter().enumerate();
    let promises = kept(by.map(|(number, rest)| (node(number), Promise { lease_rest_ms: rest, ..promise(&record) })));
    let end = NOW + LeaseTerms::wait_for(Duration::from_millis(300));
    assert_eq!(promises.leases_end(&record), Some(end));
}

/// A vote goes on granting: it ends no lease.
#[test]
fn no_lease_ends_by_votes() {
    let vote = Promise { kind: Kind::Vote, ..promise(&three()) };
    let mut promises = kept([(node(1), promise(&three())), (node(2), vote)]);
    assert_eq!(promises.leases_end(&three()), None);
    promises.keep(&node(2), &promise(&three()), NOW);
    assert!(promises.leases_end(&three()).is_some());
}

#[test]
fn of_the_dead_whose_relay_files_were_not_read_the_binlog_is_kept() {
    let unread = || Some(Holdings { executed: set(), received: Received::Unknown { reason: "unread".to_owned() } });
    let dead = || Promise { duty: Duty::ProcessExited, holdings: unread(), ..promise(&three()) };
    let read = Promise { duty: Duty::ProcessExited, ..promise(&three()) };
    let alive = Promise { holdings: unread(), ..promise(&three()) };
    let vote = Promise { kind: Kind::Vote, ..dead() };
    let promises = kept([(node(0), dead()), (node(1), read), (node(2), alive), (node(3), vote)]);
    let by: Vec<_> = promises.kept_by_the_dead().collect();
    assert_eq!(by, [(&node(0), &set())]);
}
