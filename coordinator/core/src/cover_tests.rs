//! Whom a fence from outside would help to prove mute.

use tasuki_schemas::answer::{Duty, Promise};
use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::IncidentId;

use super::*;
use crate::fixtures::{NOW, node, promises, record, settings};
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
    Evidence { promises, fences, policy: &settings.policy, now: NOW }.worth_fencing(record, |_| silent)
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
