//! A server under re-clone: it promises nothing of what it holds, obeys nothing while it is exchanged, and is left alone when
//! it is needed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

mod stage;

use stage::{Stage, ballot, db, holdings, record, set};
use tasuki_node_core::{Effect, Ended, Input, Output};
use tasuki_schemas::answer::{Duty, Outcome, Refusal};
use tasuki_schemas::command::{Kind, Order, OrderName, RecloneStep, Request};
use tasuki_schemas::reclone::{RecloneStage, Recloning};
use tasuki_schemas::record::{Mode, Record};

/// The record of epoch 1 without db2 in the group.
fn without() -> Box<Record> {
    let mut record = record(1, "db1", Mode::Armed);
    record.groups[0].members.remove(&db("db2"));
    Box::new(record)
}

fn reclone(record: Box<Record>, step: RecloneStep) -> Order {
    Order::Reclone { record, step }
}

fn copy() -> RecloneStep {
    RecloneStep::Copy { donor: db("db3") }
}

fn is_at(stage: &mut Stage, at: RecloneStage) {
    stage.hand(Input::Recloning(Recloning { donor: db("db3"), stage: at }));
}

fn exchanging() -> RecloneStage {
    RecloneStage::Exchanging { step: "the server is being stopped".to_owned() }
}

fn refused(record: Box<Record>, step: RecloneStep) -> Option<String> {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(2, 1, reclone(record, step)).persisted();
    match stage.answers().refusal {
        None => None,
        Some(Refusal::Unlawful { reason }) => Some(reason),
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_member_of_a_group_is_looked_at_and_never_copied_over() {
    let full = || Box::new(record(1, "db1", Mode::Armed));
    assert_eq!(refused(full(), RecloneStep::Check { donor: db("db3") }), None);
    for step in [copy(), RecloneStep::Exchange { known: set("0-1-9") }] {
        assert!(refused(full(), step.clone()).unwrap().contains("write group"));
        assert_eq!(refused(without(), step), None);
    }
    let mut older = without();
    older.groups.insert(0, full().groups[0].clone());
    assert!(refused(older, copy()).unwrap().contains("write group"), "older groups count as well");
}

#[test]
fn neither_the_primary_nor_a_strange_donor_nor_an_unopened_reign_will_do() {
    let mine = Box::new(record(1, "db2", Mode::Armed));
    assert!(refused(mine, copy()).unwrap().contains("the primary is never re-cloned"));
    for donor in ["db2", "db9"] {
        assert!(refused(without(), RecloneStep::Copy { donor: db(donor) }).unwrap().contains("donor"));
    }
    let mut unopened = without();
    unopened.opened = false;
    assert!(refused(unopened, copy()).unwrap().contains("not opened"));
}

#[test]
fn what_was_begun_is_told_and_no_later_ballot_ends_it() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(2, 1, reclone(without(), copy())).persisted();
    let (_, effect) = stage.effect().unwrap();
    let address = "10.0.0.3:3306".parse().unwrap();
    assert!(matches!(effect, Effect::Reclone { address: at, .. } if at == address));
    is_at(&mut stage, RecloneStage::Copying { bytes: 0, expected: 9 });
    stage.end(Ended::Kept("about 9 MB".to_owned()));
    let outcome = stage.answers().outcomes.get(&OrderName::Reclone).unwrap().outcome.clone();
    assert!(matches!(outcome, Outcome::Done { place: Some(place), .. } if place == "about 9 MB"));
    stage.prepare(3, Kind::Failover).persisted();
    assert!(matches!(stage.effect(), Some((_, Effect::StopReceiving { .. }))), "its server still does its duty");
    assert!(!stage.outputs.iter().any(|output| matches!(output, Output::Cancel(_) | Output::AbandonReclone)));
    assert!(stage.observation().server.unwrap().reclone.unwrap().stage.is_under_way());
}

#[test]
fn a_server_that_is_exchanged_gives_its_vote_at_once_and_shows_nothing() {
    let mut stage = Stage::replica(Mode::Armed);
    is_at(&mut stage, exchanging());
    stage.prepare(2, Kind::Failover).persisted();
    assert_eq!(stage.effects(), 0, "nothing is done to a server that is taken away");
    let promise = stage.answers().promise.unwrap();
    assert!(matches!(promise.duty, Duty::Failed { .. }) && promise.holdings.is_none());
    let named = Box::new(record(2, "db3", Mode::Armed));
    stage.ask(Request::Accept { ballot: ballot(2), record: named.clone() }).persisted();
    assert!(stage.answers().accepted);
    stage.order(2, 1, Order::Follow { record: named.clone() }).persisted();
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { reason }) if reason.contains("exchanged")));
    is_at(&mut stage, RecloneStage::Done { aside: "/data.before".to_owned(), ago_ms: 0 });
    stage.order(2, 2, Order::Follow { record: named }).persisted();
    assert!(matches!(stage.effect(), Some((_, Effect::Follow { .. }))));
}

#[test]
fn a_server_that_is_to_serve_is_copied_no_more() {
    let mut stage = Stage::replica(Mode::Armed);
    is_at(&mut stage, RecloneStage::Copied);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9")));
    let promote = Order::Promote { record: Box::new(record(2, "db2", Mode::Armed)), goal: set("0-1-9") };
    stage.order(2, 1, promote).persisted();
    assert!(stage.outputs.iter().any(|output| matches!(output, Output::AbandonReclone)));
    assert!(matches!(stage.effect(), Some((_, Effect::Promote { .. }))));
}

#[test]
fn an_end_gets_older_in_the_reports() {
    let mut stage = Stage::replica(Mode::Armed);
    is_at(&mut stage, RecloneStage::Failed { reason: "cut".to_owned(), ago_ms: 1000 });
    stage.wait(500);
    let told = stage.observation().server.unwrap().reclone.unwrap().stage;
    assert!(matches!(told, RecloneStage::Failed { ago_ms, .. } if (1400..=1600).contains(&ago_ms)), "{told:?}");
}
