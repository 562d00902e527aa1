//! Whom a fence from outside would help to prove mute.

use std::time::Duration;

use tasuki_schemas::answer::{Duty, Promise};
use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::IncidentId;

use super::*;
use crate::fence::Means;
use crate::fixtures::{NOW, ballot, node, promises, record, set, settings, view};
use crate::outbox::Outbox;
use crate::propose::{Purpose, changed};
use crate::reading::{Files, Unread};
use crate::settings::{MaxLoss, Settings};

/// A primary without acknowledgements, of which the cluster file says that its last moments may be lost.
fn unreplicated() -> (Settings, Record) {
    let mut settings = settings(3);
    settings.policy.max_loss = Some(MaxLoss::UnreceivedTail);
    let record = record(&settings, 0);
    (settings, record)
}

fn replicas() -> BTreeSet<NodeId> {
    BTreeSet::from([node(1), node(2)])
}

fn worth_fencing(settings: &Settings, record: &Record, promises: &Promises, silent: bool) -> BTreeSet<NodeId> {
    let fences = Fences::new(promises.ballot().clone());
    worth_fencing_with(settings, record, promises, silent, &fences)
}

fn worth_fencing_with(
    settings: &Settings,
    record: &Record,
    promises: &Promises,
    silent: bool,
    fences: &Fences,
) -> BTreeSet<NodeId> {
    Evidence { promises, fences, policy: &settings.policy, now: NOW }
        .worth_fencing(record, |_| silent, false)
        .into_keys()
        .collect()
}

#[test]
fn only_a_silent_primary_whose_loss_is_accepted_is_worth_fencing() {
    let (mut settings, record) = unreplicated();
    let promises = promises(&settings, &record, &replicas());
    assert_eq!(worth_fencing(&settings, &record, &promises, true), BTreeSet::from([node(0)]));
    assert!(worth_fencing(&settings, &record, &promises, false).is_empty(), "its node answers, and will fence it");
    settings.policy.max_loss = Some(MaxLoss::Nothing);
    assert!(worth_fencing(&settings, &record, &promises, true).is_empty(), "it would prove nothing");
}

#[test]
fn one_that_shows_what_it_holds_is_not_fenced_from_outside() {
    let (settings, record) = unreplicated();
    let all = settings.servers.keys().cloned().collect();
    let promises = promises(&settings, &record, &all);
    assert!(worth_fencing(&settings, &record, &promises, true).is_empty());
}

/// The cluster file speaks of lost hosts. Where the node answers, the disk can be reached, and people decide.
#[test]
fn where_the_node_answers_only_an_operator_accepts_the_loss() {
    let (settings, record) = unreplicated();
    let mut promises = promises(&settings, &record, &replicas());
    let failed = Duty::Failed { reason: "it cannot be killed".to_owned() };
    let promise = promises.get(&node(1)).map(|by| Promise { duty: failed, holdings: None, ..by.clone() }).unwrap();
    promises.keep(&node(0), &promise, NOW);
    assert!(worth_fencing(&settings, &record, &promises, false).is_empty());
    let mut fences = Fences::new(promises.ballot().clone());
    fences.vouch(Some(Override {
        incident: IncidentId(1),
        fenced: None,
        accept_loss: true,
        by: "anna".to_owned(),
        reason: "its disk is gone".to_owned(),
    }));
    let worth = worth_fencing_with(&settings, &record, &promises, false, &fences);
    assert_eq!(worth, BTreeSet::from([node(0)]));
}

/// What was acknowledged with replicas before the last of them were lost is not among what a lease lets be lost: one of them
/// may have it in files that nobody reads yet.
#[test]
fn what_replicas_acknowledged_must_be_shown_although_writing_went_on_without_them() {
    let mut settings = settings(3);
    settings.policy.max_loss = Some(MaxLoss::UnreceivedTail);
    let alone = changed(true, &record(&settings, 1), &Purpose::Acks(0), &ballot(2));
    let kept: Vec<u32> = alone.groups.iter().map(|group| group.acks).collect();
    assert_eq!(kept, [1, 0]);
    let narrow = changed(true, &alone, &Purpose::Narrow(node(1)), &ballot(3));
    let proven = |record: &Record, nodes: &[usize]| {
        let showing = nodes.iter().map(|number| node(*number)).collect();
        let promises = promises(&settings, record, &showing);
        Evidence { promises: &promises, fences: &Fences::new(ballot(9)), policy: &settings.policy, now: NOW }
            .cover(record, &record.groups[0])
            .is_ok()
    };
    for record in [&alone, &narrow] {
        assert!(!proven(record, &[2]) && proven(record, &[1, 2]) && proven(record, &[0]));
    }
    assert_eq!(changed(true, &narrow, &Purpose::Acks(1), &ballot(4)).groups.len(), 1, "a raise is covered");
}

/// A group whose primary is read shows itself what it acknowledged; a reading that may lack something, or none, needs somebody
/// who accepts that, and where the files are there people alone do.
#[test]
fn what_ssh_reads_stands_for_the_primary_and_what_it_cannot_read_is_not_given_up_by_the_file() {
    let (mut settings, record) = unreplicated();
    settings.policy.fences = [(Means::Ssh, Duration::from_secs(4))].into();
    let promises = promises(&settings, &record, &replicas());
    let covered = |settings: &Settings, up: Option<u64>, reading: Option<Unread>| {
        let (mut fences, mut outbox) = (Fences::new(ballot(9)), Outbox::default());
        fences.ask(&settings.policy, &node(0), (true, None), &mut outbox, NOW);
        fences.hear(&ballot(9), &node(0), Means::Ssh, Ok(()), &mut outbox);
        fences.read(&settings.policy, &node(0), (&set(), None), &mut outbox, NOW);
        let files = up.map(|up| Ok(Files { executed: set(), up: Duration::from_secs(up) }));
        if let Some(reading) = reading.map(Err).or(files) {
            let up = view(settings, &settings.servers.keys().cloned().collect());
            fences.hear_reading(&up, (&ballot(9), &node(0), reading), &mut outbox, NOW);
        }
        let evidence = Evidence { promises: &promises, fences: &fences, policy: &settings.policy, now: NOW };
        evidence.cover(&record, &record.groups[0]).map(|cover| match cover {
            Cover::Fenced(fence, kept) => (fence.how(), kept.loss_accepted_by()),
            Cover::Quorum(_) => unreachable!("it acknowledged alone"),
        })
    };
    let by_file = Ok((FenceHow::SshKilled, Some(Acceptance::Policy)));
    assert_eq!(covered(&settings, None, None), by_file, "nothing was read yet");
    assert_eq!(covered(&settings, Some(100), None), Ok((FenceHow::SshKilled, None)));
    assert_eq!(covered(&settings, None, Some(Unread::Unreached("it is silent".to_owned()))), by_file);
    let damaged = covered(&settings, None, Some(Unread::Unreadable("damaged at 4".to_owned())));
    assert!(matches!(damaged, Err(NoProof::Unreadable { .. })), "{damaged:?}");
    settings.policy.max_loss = Some(MaxLoss::Nothing);
    assert_eq!(covered(&settings, Some(100), None), Ok((FenceHow::SshKilled, None)));
    assert!(matches!(covered(&settings, None, None), Err(NoProof::Unaccepted { .. })));
}

/// Where ssh shows what the primary holds, nobody need accept its loss; others are heard out first where they may show it.
#[test]
fn a_primary_that_can_be_read_is_worth_fencing_although_no_loss_is_accepted() {
    let (mut settings, _) = unreplicated();
    settings.witnesses.push("w2".parse().unwrap());
    settings.policy.max_loss = Some(MaxLoss::Nothing);
    settings.policy.fences = [(Means::Ssh, Duration::from_secs(4))].into();
    let (alone, acknowledged) = (record(&settings, 0), record(&settings, 1));
    let fences = Fences::new(ballot(9));
    let worth = |record: &Record, nodes: &[usize], awaited| {
        let showing = nodes.iter().map(|number| node(*number)).chain(settings.witnesses.clone()).collect();
        let promises = promises(&settings, record, &showing);
        let evidence = Evidence { promises: &promises, fences: &fences, policy: &settings.policy, now: NOW };
        evidence.worth_fencing(record, |_| true, awaited)
    };
    let only_read = BTreeMap::from([(node(0), false)]);
    assert_eq!(worth(&alone, &[1, 2], true), only_read);
    assert_eq!(worth(&alone, &[], true), BTreeMap::new(), "no majority promised: it would be ended for nothing");
    assert_eq!(worth(&acknowledged, &[1], true), BTreeMap::new(), "the other may show it");
    assert_eq!(worth(&acknowledged, &[1], false), only_read);
    assert_eq!(worth(&acknowledged, &[1, 2], false), BTreeMap::new(), "its replicas show it");
}
