//! What is under way when something newer comes: nothing older acts after a newer answer.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod stage;

use stage::{RUN, Stage, ballot, db, holdings, record, remembered, set};
use tasuki_node_core::{Effect, Ended, Input, Memory, Output};
use tasuki_schemas::answer::{Duty, Refusal};
use tasuki_schemas::command::{Kind, Order, Request};
use tasuki_schemas::id::Incarnation;
use tasuki_schemas::record::Mode;

fn accept(counter: u64, primary: &str) -> Request {
    Request::Accept { ballot: ballot(counter), record: Box::new(record(counter, primary, Mode::Armed)) }
}

#[test]
fn a_duty_of_a_lower_ballot_has_ended_before_a_higher_promise() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted();
    let (first, _) = stage.effect().unwrap();
    stage.prepare(3, Kind::Failover).persisted();
    assert_eq!(stage.effects(), 1, "two stops side by side could undo each other's followers");
    stage.hand(Input::Ended(first, Ended::Done(holdings("0-1-8"))));
    assert!(!stage.promised(), "what a lower ballot read is no answer to this one");
    let (second, effect) = stage.effect().unwrap();
    assert!(second != first && matches!(effect, Effect::StopReceiving { .. }));
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert_eq!(stage.answers().promise.unwrap().holdings, Some(holdings("0-1-9")));
}

#[test]
fn a_record_is_accepted_only_after_the_duty_of_its_own_promise() {
    let mut stage = Stage::primary();
    stage.prepare(2, Kind::Failover).persisted();
    let (fence, _) = stage.effect().unwrap();
    stage.ask(accept(2, "db2")).persisted();
    assert!(!stage.answers().accepted, "the fence is still being made");
    stage.hand(Input::Ended(fence, Ended::Failed("the server is hung".to_owned())));
    assert!(!stage.answers().accepted, "the duty is owed as long as it was not done");
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.answers().accepted);
}

#[test]
fn a_duty_that_was_done_is_not_done_again_for_the_record() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9")));
    stage.ask(accept(2, "db3")).persisted();
    assert!(stage.answers().accepted);
    assert_eq!(stage.effects(), 1);
}

/// An Accept at a higher ballot would take the duty for done.
#[test]
fn an_order_brings_no_record_of_another_reign_to_a_node_that_did_not_do_the_duty() {
    let leave = || Order::LeaveGroup { record: Box::new(record(2, "db3", Mode::Armed)) };
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(2, 1, leave()).persisted();
    assert_eq!((stage.effects(), stage.memory.accepted.as_ref().unwrap().ballot.counter), (0, 1));
    stage.ask(accept(2, "db3"));
    assert!(matches!(stage.effect(), Some((_, Effect::StopReceiving { .. }))));
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.answers().accepted);
    stage.order(2, 1, leave()).persisted();
    assert!(matches!(stage.effect(), Some((_, Effect::LeaveGroup))));
}

#[test]
fn nothing_is_answered_before_the_server_was_looked_at_once() {
    let mut stage = Stage::of("db1", Memory { opened: Some(RUN), whole: true, ..remembered(Mode::Armed) });
    stage.prepare(2, Kind::Failover).persisted();
    assert_eq!(stage.effects(), 0, "a server that was never looked at is not known to be gone");
    assert!(!stage.promised());
    stage.probe(true);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert_eq!(stage.answers().promise.unwrap().duty, Duty::Fenced);
}

#[test]
fn at_birth_a_node_that_just_started_still_adopts_its_writable_primary() {
    let mut stage = Stage::of("db1", Memory::new(Incarnation(1)));
    stage.ask(accept(1, "db1"));
    stage.probe(true).persisted();
    assert!(stage.node.serving());
    assert_eq!(stage.effects(), 0);
}

#[test]
fn a_late_request_of_a_lower_ballot_does_not_wipe_out_newer_answers() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(6, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9")));
    stage.order(5, 1, Order::Follow { record: Box::new(record(1, "db1", Mode::Armed)) });
    assert!(stage.promised(), "the promise is still told");
    assert_eq!(stage.effects(), 1, "and the late order is not obeyed");
}

#[test]
fn a_fence_that_was_verified_is_not_made_again_for_facts_that_are_older() {
    let mut stage = Stage::primary();
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9")));
    assert_eq!(stage.effects(), 1);
    stage.probe(false);
    assert_eq!(stage.effects(), 1);
}

#[test]
fn an_old_primary_that_missed_its_failover_is_closed_before_it_follows() {
    let mut stage = Stage::primary();
    let follow = || Order::Follow { record: Box::new(record(2, "db2", Mode::Armed)) };
    stage.order(2, 1, follow()).ask(accept(2, "db2"));
    assert_eq!(stage.effects(), 1);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))), "{:?}", stage.effect());
    stage.end(Ended::Done(holdings("0-1-9"))).persisted().probe(false);
    assert!(!stage.node.serving());
    stage.order(2, 1, follow()).persisted();
    assert!(matches!(stage.effect(), Some((_, Effect::Follow { .. }))));
}

#[test]
fn only_a_replica_of_the_records_primary_joins_its_group() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 1, Order::JoinGroup { record: Box::new(record(1, "db1", Mode::Armed)) });
    let source = "10.0.0.1:3306".parse().unwrap();
    assert_eq!(stage.effect().map(|(_, effect)| effect), Some(Effect::JoinGroup { source }));
}

#[test]
fn an_order_carries_the_record_that_was_accepted_at_its_ballot() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Vote).persisted();
    stage.ask(accept(2, "db1")).end_all().persisted();
    stage.order(2, 1, Order::Promote { record: Box::new(record(2, "db2", Mode::Armed)), goal: set("") });
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })), "{:?}", stage.answers());
    assert!(!stage.outputs.iter().any(|output| matches!(output, Output::Execute(_, Effect::Promote { .. }))));
    assert_eq!(stage.memory.accepted.as_ref().unwrap().record.primary, db("db1"));
}
