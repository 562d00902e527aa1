//! A server that is about to be stopped: it hands over first, or is closed.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod stage;

use std::time::Duration;

use stage::{RUN, Stage, ballot, holdings, record, set};
use tasuki_node_core::{Effect, Ended, Input, Memory, Output, ServerReport, ServerRun};
use tasuki_schemas::answer::Refusal;
use tasuki_schemas::command::{Kind, Order, Request};
use tasuki_schemas::id::Incarnation;
use tasuki_schemas::observation::{Connection, Leaving};
use tasuki_schemas::record::Mode;

const LEAVE: Input = Input::Leave { within: Duration::from_secs(1) };

fn told(stage: &Stage) -> Option<Result<String, String>> {
    let told = |output: &Output| if let Output::MayStop(told) = output { Some(told.clone()) } else { None };
    stage.outputs.iter().find_map(told)
}

fn shown(stage: &Stage) -> Option<Leaving> {
    stage.node.observation(stage.moment()).server.unwrap().leaving
}

#[test]
fn whoever_is_no_primary_may_be_stopped_at_once() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.hand(LEAVE);
    assert_eq!((told(&stage), shown(&stage)), (Some(Ok("db1 is the primary".to_owned())), Some(Leaving::Stops)));
    let mut observed = Stage::replica(Mode::Observe);
    assert!(told(observed.hand(LEAVE)).unwrap().is_ok());
}

#[test]
fn a_primary_may_be_stopped_once_another_one_serves() {
    let mut stage = Stage::primary();
    stage.hand(LEAVE).wait(500);
    assert_eq!((told(&stage), shown(&stage)), (None, Some(Leaving::HandsOver)));
    let mut named = record(2, "db2", Mode::Armed);
    named.opened = false;
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(named) });
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert_eq!(told(&stage), None, "the other one is named, and does not serve yet");
    stage.ask(Request::Accept { ballot: ballot(3), record: Box::new(record(2, "db2", Mode::Armed)) }).persisted();
    assert_eq!((told(&stage), shown(&stage)), (Some(Ok("db2 is the primary".to_owned())), Some(Leaving::Stops)));
}

#[test]
fn without_a_record_nobody_knows_whether_it_may_be_stopped() {
    let mut stage = Stage::of("db1", Memory::new(Incarnation(1)));
    stage.probe(true).hand(LEAVE);
    assert!(told(&stage).unwrap().is_err());
}

#[test]
fn a_replica_that_may_be_stopped_is_not_promoted() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.hand(LEAVE).prepare(2, Kind::Failover).persisted();
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(2, "db2", Mode::Armed)) }).persisted();
    let promote = Order::Promote { record: Box::new(record(2, "db2", Mode::Armed)), goal: set("0-1-9") };
    stage.order(2, 1, promote).persisted();
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
}

#[test]
fn when_nobody_takes_over_it_is_closed_and_not_opened_before_it_was_stopped() {
    let mut stage = Stage::primary();
    stage.hand(LEAVE);
    stage.ask(Request::CannotLeave { reason: "db2 lags".to_owned(), lasts: false }).wait(980);
    assert_eq!(stage.effects(), 0, "another one may still take over");
    stage.wait(100);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    assert_eq!((told(&stage), shown(&stage)), (None, Some(Leaving::Stops)));
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(told(&stage).unwrap().unwrap().contains("db2 lags"));
    let promote = Order::Promote { record: Box::new(record(2, "db1", Mode::Armed)), goal: set("0-1-9") };
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(2, "db1", Mode::Armed)) });
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    stage.order(2, 1, promote.clone()).persisted();
    let refused = |stage: &Stage| matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. }));
    assert!(refused(&stage), "somebody is about to stop it");
    stage.wait(60_000).order(2, 2, promote).persisted();
    assert_eq!(shown(&stage), None, "nobody stopped it");
    assert!(matches!(stage.effect(), Some((_, Effect::Promote { .. }))));
}

#[test]
fn it_closes_at_once_where_nobody_is_to_take_over() {
    let mut stage = Stage::primary();
    stage.hand(LEAVE);
    stage.ask(Request::CannotLeave { reason: "paused by ann".to_owned(), lasts: true });
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
}

#[test]
fn a_server_that_is_not_closed_in_time_is_said_to_answer_clients_still() {
    let mut stage = Stage::primary();
    stage.hand(LEAVE).wait(1100);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    stage.wait(5100);
    assert!(told(&stage).unwrap().is_err());
}

#[test]
fn whoever_wants_to_stop_it_no_longer_changes_nothing() {
    let mut stage = Stage::primary();
    stage.hand(LEAVE).hand(Input::Stay).wait(3000);
    assert_eq!((stage.effects(), told(&stage), shown(&stage)), (0, None, None));
    stage.ask(Request::CannotLeave { reason: "late".to_owned(), lasts: true }).wait(1000);
    assert_eq!(stage.effects(), 0);
}

#[test]
fn one_that_had_to_be_ended_was_stopped_all_the_same_until_it_runs_again() {
    let mut stage = Stage::primary();
    stage.hand(LEAVE).wait(1100);
    stage.hand(Input::Exited(RUN)).end(Ended::Gone(holdings("0-1-9"))).persisted();
    assert!(told(&stage).unwrap().is_ok());
    assert_eq!(shown(&stage), Some(Leaving::Stops));
    let again = ServerReport {
        run: Some(ServerRun { pid: 8, started: 200 }),
        connection: Connection::Answering,
        identity: None,
        facts: None,
        readers: None,
    };
    stage.hand(Input::Probed(Box::new(again)));
    assert_eq!(shown(&stage), None);
}

#[test]
fn a_drain_that_does_not_get_on_leaves_clients_that_are_cut_off_first() {
    let mut stage = Stage::primary();
    stage.hand(LEAVE);
    stage.order(1, 1, Order::Drain { record: Box::new(record(1, "db1", Mode::Armed)), within_ms: 1000 }).persisted();
    assert!(matches!(stage.effect(), Some((_, Effect::Drain { .. }))));
    stage.probe(false).wait(1200);
    assert_eq!(told(&stage), None, "it is closed to writes, and commits may wait in it");
    stage.end(Ended::Failed("what is being written did not end".to_owned())).persisted();
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    assert_eq!(told(&stage), None);
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(told(&stage).unwrap().is_ok());
}
