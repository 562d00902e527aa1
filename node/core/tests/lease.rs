//! A primary without acknowledgements serves under a lease: granted by voters, ended by its guard.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

mod stage;

use std::time::Duration;

use stage::lease::{alone, asked, fences, grant, leased, memory, obey, promise, promotes, rest_ms, terms, told_guard};
use stage::{RUN, Stage, ballot, db, holdings, set};
use tasuki_node_core::{Ended, Guarding, Input, Memory, Output, ServerRun};
use tasuki_schemas::answer::Outcome;
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::command::{Kind, Order, OrderName};
use tasuki_schemas::id::Incarnation;
use tasuki_schemas::lease::{Grant, Renew};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;

#[test]
fn a_majority_prolongs_the_lease_from_the_question_on_and_the_guard_is_told() {
    let mut stage = leased();
    let before = told_guard(&stage).unwrap().unwrap().until.unwrap();
    stage.wait(300);
    grant(&mut stage, "db2", 2);
    let after = told_guard(&stage).unwrap().unwrap().until.unwrap();
    assert!(after > before && after <= stage.moment() + terms().usable());
    assert!(stage.observation().server.unwrap().lease.unwrap().rest_ms > 1000);
}

#[test]
fn a_grant_of_another_ledger_or_to_another_question_does_not_count() {
    let mut stage = leased();
    let before = told_guard(&stage);
    stage.wait(300);
    grant(&mut stage, "db2", 9);
    let grant = Grant { epoch: Epoch(ballot(1)), number: 99, incarnation: Incarnation(3) };
    stage.hand(Input::Granted { from: db("db3"), grant });
    assert_eq!(told_guard(&stage), before);
}

#[test]
fn a_server_whose_lease_is_not_renewed_is_closed_before_the_guard_must_kill_it() {
    let mut stage = leased();
    stage.wait(1000);
    assert!(!fences(&stage) && stage.node.serving());
    stage.wait(500);
    assert!(fences(&stage) && !stage.node.serving());
    assert!(told_guard(&stage).unwrap().is_some(), "it is still open");
    stage.end(Ended::Done(holdings("0-1-9")));
    assert_eq!(told_guard(&stage), Some(None), "a closed server needs no guard");
}

#[test]
fn a_restarted_node_goes_on_with_what_the_guard_holds() {
    let mut stage = Stage::leased("db1", memory(true), terms());
    let until = Some(Moment::from_nanos(0) + Duration::from_millis(900));
    stage.hand(Input::Guarded(Some(Guarding { run: RUN, until })));
    assert_eq!(told_guard(&stage), None, "the server was not looked at yet");
    stage.probe(true);
    assert!(!fences(&stage) && stage.node.serving());
    stage.wait(600);
    assert!(fences(&stage), "nobody renewed it");
}

#[test]
fn a_server_that_does_not_answer_stays_guarded_whatever_became_of_the_ledger() {
    let mut stage = Stage::leased("db1", Memory::new(Incarnation(7)), terms());
    let until = Some(Moment::from_nanos(0) + Duration::from_millis(900));
    stage.hand(Input::Guarded(Some(Guarding { run: RUN, until })));
    stage.silent();
    assert_eq!(told_guard(&stage), None);
    stage.probe(false);
    assert_eq!(told_guard(&stage), Some(None), "closed: there is nothing to guard");
}

#[test]
fn without_a_guard_an_open_server_is_closed() {
    let mut stage = Stage::leased("db1", memory(true), terms());
    stage.probe(true);
    assert!(!fences(&stage), "its guard was not heard of yet");
    stage.hand(Input::Guarded(None));
    assert!(fences(&stage));
}

#[test]
fn a_voter_grants_only_to_the_primary_of_its_record_with_a_guard_and_without_a_failover_promise() {
    let grants = |stage: &Stage| {
        let granted =
            |output: &Output| matches!(output, Output::Send(_, message) if matches!(**message, Message::Grant(_)));
        stage.outputs.iter().filter(|output| granted(output)).count()
    };
    let renew = |epoch: u64, guarded| Renew { epoch: Epoch(ballot(epoch)), number: 1, guarded };
    let mut stage = Stage::leased("db2", memory(false), terms());
    stage.probe(false);
    for (from, renew) in [("db3", renew(1, true)), ("db1", renew(2, true)), ("db1", renew(1, false))] {
        stage.hand(Input::Renewed { from: db(from), renew });
    }
    assert_eq!(grants(&stage), 0);
    stage.hand(Input::Renewed { from: db("db1"), renew: renew(1, true) });
    assert_eq!(grants(&stage), 1);
    stage.wait(2500);
    stage.hand(Input::Renewed { from: db("db1"), renew: renew(1, true) });
    stage.wait(500);
    stage.prepare(2, Kind::Failover).persisted();
    stage.hand(Input::Renewed { from: db("db1"), renew: renew(1, true) });
    assert_eq!(grants(&stage), 2, "whoever promised a failover grants no more");
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    let rest = stage.answers().promise.unwrap().lease_rest_ms;
    assert!((1400..=1500).contains(&rest), "{rest}");
}

#[test]
fn a_restarted_voter_counts_as_if_it_had_granted_when_it_started() {
    let mut stage = Stage::leased("db2", memory(false), terms());
    stage.probe(false).prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.answers().promise.unwrap().lease_rest_ms > 1900);
}

#[test]
fn nothing_opens_without_acknowledgements_before_a_lease_is_held_and_guarded() {
    let mut named = alone();
    (named.epoch, named.primary, named.opened) = (Epoch(ballot(3)), db("db1"), false);
    let mut stage = Stage::leased("db1", memory(false), terms());
    stage.hand(Input::Guarded(None)).probe(false);
    promise(&mut stage, 3);
    let promote = Order::Promote { record: Box::new(named), goal: set("0-1-9") };
    stage.order(3, 1, promote).persisted();
    assert!(!promotes(&stage));
    obey(&mut stage);
    assert_eq!(asked(&stage).unwrap().epoch, Epoch(ballot(3)));
    assert!(!promotes(&stage));
    grant(&mut stage, "db2", 2);
    assert!(!promotes(&stage), "the guard does not know its moment yet");
    obey(&mut stage);
    assert!(promotes(&stage));
}

#[test]
fn a_promotion_that_gets_no_lease_fails_and_says_why() {
    let mut named = alone();
    (named.epoch, named.opened) = (Epoch(ballot(3)), false);
    let mut stage = Stage::leased("db1", memory(false), terms());
    stage.hand(Input::Guarded(None)).probe(false);
    promise(&mut stage, 3);
    stage.order(3, 1, Order::Promote { record: Box::new(named), goal: set("0-1-9") }).persisted();
    stage.wait(3500);
    let outcome = stage.answers().outcomes[&OrderName::Promote].outcome.clone();
    assert!(matches!(outcome, Outcome::Failed { reason } if reason.contains("no lease")));
    assert!(!promotes(&stage));
}

#[test]
fn where_there_are_no_terms_a_promotion_that_needs_a_lease_fails_at_once() {
    let mut named = alone();
    named.epoch = Epoch(ballot(3));
    let mut stage = Stage::of("db1", memory(false));
    promise(stage.probe(false), 3);
    stage.order(3, 1, Order::Promote { record: Box::new(named), goal: set("0-1-9") }).persisted();
    let outcome = stage.answers().outcomes.get(&OrderName::Promote).unwrap().outcome.clone();
    assert!(matches!(outcome, Outcome::Failed { reason } if reason.contains("lease")));
}

#[test]
fn what_the_guard_holds_of_another_run_is_no_lease_of_this_one() {
    let mut stage = Stage::leased("db1", memory(true), terms());
    let (run, until) = (ServerRun { pid: 6, ..RUN }, Some(Moment::from_nanos(0) + Duration::from_millis(900)));
    stage.hand(Input::Guarded(Some(Guarding { run, until }))).probe(true);
    assert_eq!(rest_ms(&stage), 0);
}

#[test]
fn a_lease_that_the_guard_was_not_told_of_ends_when_the_guard_acts() {
    let mut stage = Stage::leased("db1", memory(true), terms());
    let until = Moment::from_nanos(0) + Duration::from_millis(50);
    stage.hand(Input::Guarded(Some(Guarding { run: RUN, until: Some(until) }))).probe(true);
    grant(&mut stage, "db2", 2);
    assert!(fences(&stage), "fifty milliseconds are too few to go on with");
    let guarded = |stage: &Stage| stage.observation().server.unwrap().lease.unwrap().guarded;
    while stage.moment() < until {
        stage.hand(Input::Woke);
    }
    assert!(!guarded(&stage));
}
