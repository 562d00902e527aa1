//! Who can acknowledge: a member that is cut off, and a server that leaves the group by itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod stage;

use std::collections::BTreeSet;

use stage::{Stage, ballot, db, holdings, record};
use tasuki_node_core::{Effect, Ended, Input};
use tasuki_schemas::answer::{Outcome, Refusal};
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::command::{Order, OrderName};
use tasuki_schemas::record::Mode;

fn cut(primary: &str, names: &[&str]) -> Order {
    let refused: BTreeSet<_> = names.iter().map(|name| db(name)).collect();
    let removed = refused.first().cloned();
    Order::CutAcker { record: Box::new(record(1, primary, Mode::Armed)), refused, removed }
}

fn leave() -> Order {
    Order::LeaveGroup { record: Box::new(record(1, "db1", Mode::Armed)) }
}

fn follow() -> Order {
    Order::Follow { record: Box::new(record(1, "db1", Mode::Armed)) }
}

fn outcome(stage: &Stage, name: OrderName) -> Outcome {
    stage.answers().outcomes[&name].outcome.clone()
}

#[test]
fn the_primary_refuses_a_member_by_its_address_and_tells_what_it_holds_then() {
    let mut stage = Stage::primary();
    stage.order(1, 1, cut("db1", &["db3"])).persisted();
    let refused = BTreeSet::from(["10.0.0.3:3306".parse().unwrap()]);
    let wanted = Effect::CutAcker { refused, barrier: Some(Epoch(ballot(1))) };
    assert_eq!(stage.effect().map(|(_, effect)| effect), Some(wanted));
    stage.end(Ended::Done(holdings("0-1-9")));
    assert!(matches!(outcome(&stage, OrderName::CutAcker), Outcome::Done { holdings: Some(_), .. }));
}

#[test]
fn only_the_primary_cuts_and_never_itself() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 1, cut("db1", &["db3"]));
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
    let mut stage = Stage::primary();
    stage.order(1, 1, cut("db1", &["db1"]));
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
    assert_eq!(stage.effects(), 0);
}

#[test]
fn whom_the_kernel_keeps_away_is_reported_by_name() {
    let mut stage = Stage::primary();
    stage.hand(Input::Refused(["10.0.0.3", "10.0.0.9"].map(|ip| ip.parse().unwrap()).into()));
    let refused = stage.node.observation(stage.moment()).server.unwrap().refused;
    assert_eq!(refused, BTreeSet::from([db("db3")]));
}

#[test]
fn a_late_order_does_not_make_a_server_acknowledge_that_was_told_to_stop_since() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 2, leave()).persisted();
    assert_eq!(stage.effect().map(|(_, effect)| effect), Some(Effect::LeaveGroup));
    stage.end(Ended::Done(holdings("0-1-9")));
    stage.order(1, 1, follow()).persisted();
    assert_eq!(stage.effects(), 1, "it was given before");
    stage.order(1, 3, follow()).persisted();
    assert_eq!(stage.effects(), 2, "and this one after");
}

#[test]
fn a_server_that_is_gone_acknowledges_nothing() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 1, leave()).persisted().end(Ended::Gone(holdings("")));
    assert!(matches!(outcome(&stage, OrderName::LeaveGroup), Outcome::Done { .. }));
}
