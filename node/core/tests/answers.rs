//! One answer to each ballot, however often, late or out of turn it is asked for.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod stage;

use std::collections::BTreeSet;

use stage::{RUN, Stage, ballot, co, db, holdings, record, set};
use tasuki_node_core::{Effect, Ended, Input, Progress, ServerRun};
use tasuki_schemas::answer::{Look, Refusal};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{CatchUpHow, Kind, Order, Request};
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::{BootId, Nonce};
use tasuki_schemas::record::Mode;

fn accept(counter: u64, primary: &str) -> Request {
    Request::Accept { ballot: ballot(counter), record: Box::new(record(counter, primary, Mode::Armed)) }
}

fn vote(ballot: Ballot) -> Input {
    let from = ballot.coordinator.clone();
    Input::Asked {
        from,
        same_configuration: true,
        request: Request::Prepare { ballot, kind: Kind::Vote, evidence: None },
    }
}

#[test]
fn a_promise_that_was_given_is_neither_given_nor_worked_for_again() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9"))).persisted();
    let given = stage.answers();
    stage.prepare(2, Kind::Failover).persisted();
    assert_eq!((stage.effects(), stage.answers()), (1, given));
    stage.ask(accept(2, "db3")).persisted();
    let accepted = stage.answers();
    stage.prepare(2, Kind::Failover).persisted();
    assert_eq!(stage.answers(), accepted, "a late request");
    assert!(accepted.accepted && accepted.refusal.is_none());
}

#[test]
fn having_obeyed_at_a_ballot_is_no_promise_of_it() {
    let mut stage = Stage::replica(Mode::Armed);
    let (goal, from) = (set("0-1-9"), db("db3"));
    stage.order(2, 1, Order::CatchUp { goal, from, how: CatchUpHow::Replicate, through: None }).persisted();
    stage.end(Ended::Done(holdings("0-1-9")));
    assert_eq!(stage.answers().ballot, Some(ballot(2)));
    stage.prepare(2, Kind::Vote).persisted();
    assert!(stage.promised());
}

#[test]
fn a_restarted_node_answers_again_at_the_ballot_that_it_had_promised() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted();
    let mut restarted = Stage::of("db2", stage.memory.clone());
    restarted.probe(false).prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(restarted.promised());
}

#[test]
fn a_higher_ballot_is_promised_whoever_runs_for_it() {
    let twin = |counter| Ballot { coordinator: co("co2"), boot: BootId(2), ..ballot(counter) };
    let restarted = Ballot { boot: BootId(2), ..ballot(6) };
    for higher in [twin(5), restarted] {
        let mut stage = Stage::replica(Mode::Armed);
        stage.prepare(5, Kind::Vote).persisted();
        stage.hand(vote(higher.clone())).persisted();
        assert_eq!(stage.memory.promised, Some(higher));
    }
}

#[test]
fn a_vote_is_not_asked_to_look_at_anybody() {
    let mut stage = Stage::replica(Mode::Armed);
    let evidence = Some(Diagnosis::PrimaryHostLost { primary: db("db1"), lost_by: BTreeSet::new() });
    stage.ask(Request::Prepare { ballot: ballot(2), kind: Kind::Vote, evidence }).persisted();
    assert!(stage.promised());
    assert_eq!(stage.effects(), 0);
}

#[test]
fn a_record_of_a_lower_ballot_does_not_displace_a_promise_that_is_owed() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 1, Order::Follow { record: Box::new(record(1, "db1", Mode::Armed)) });
    let (follow, _) = stage.effect().unwrap();
    stage.prepare(3, Kind::Failover).ask(accept(2, "db3"));
    stage.hand(Input::Ended(follow, Ended::Cancelled)).end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.promised());
    assert_eq!(stage.answers().ballot, Some(ballot(3)));
}

#[test]
fn a_record_that_is_offered_again_while_its_duty_is_done_waits_for_that_duty() {
    let mut stage = Stage::primary();
    stage.ask(accept(2, "db2")).ask(accept(2, "db2"));
    assert_eq!(stage.effects(), 1);
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.answers().accepted);
    assert_eq!(stage.effects(), 1);
}

#[test]
fn a_record_of_a_higher_ballot_displaces_one_whose_duty_is_being_done() {
    let mut stage = Stage::primary();
    stage.ask(accept(2, "db2")).ask(accept(3, "db3"));
    stage.end(Ended::Done(holdings("0-1-9"))).end(Ended::Done(holdings("0-1-9"))).persisted();
    assert_eq!(stage.memory.accepted.as_ref().unwrap().ballot, ballot(3));
    assert_eq!((stage.answers().ballot, stage.answers().accepted), (Some(ballot(3)), true));
}

#[test]
fn what_only_waits_for_another_node_is_dropped_for_a_higher_promise() {
    let mut stage = Stage::replica(Mode::Armed);
    let (goal, from) = (set("0-1-12"), db("db1"));
    stage.order(2, 1, Order::CatchUp { goal, from, how: CatchUpHow::Tail, through: None }).persisted();
    assert_eq!(stage.effects(), 0, "it asked db1's node for the tail");
    stage.prepare(3, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.promised());
}

/// A coordinator asks everybody to look before it has a ballot: the answer must not be lost over one of a ballot.
#[test]
fn what_a_look_showed_stays_told_beside_promises_and_records() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.ask(Request::Probe { nonce: Nonce(4), primary: db("db1") }).end(Ended::Looked(Look::NoGreeting));
    let told = |stage: &Stage| stage.answers().probe.map(|probe| (probe.nonce, probe.look));
    let looked = Some((Nonce(4), Look::NoGreeting));
    assert_eq!(told(&stage), looked);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9"))).persisted();
    assert_eq!((stage.promised(), told(&stage)), (true, looked));
    stage.ask(accept(3, "db3")).end(Ended::Done(holdings("0-1-9"))).persisted();
    assert_eq!((stage.answers().accepted, told(&stage)), (true, looked));
    assert_eq!((stage.answers().ballot, stage.promised()), (Some(ballot(3)), false), "a promise is of one ballot");
    stage.prepare(2, Kind::Failover);
    assert_eq!((stage.answers().refusal, told(&stage)), (None, looked), "a late request changes nothing");
    stage.ask(Request::Prepare { ballot: Ballot { boot: BootId(9), ..ballot(3) }, kind: Kind::Vote, evidence: None });
    assert!(matches!(stage.answers().refusal, Some(Refusal::Promised { .. })));
    assert_eq!(told(&stage), looked);
}

/// A server that was started anew while it was promoted: what was known of the former run is not this one's.
#[test]
fn a_promotion_that_ran_on_another_process_knows_nothing_of_it_but_that_it_was_opened() {
    let mut stage = Stage::replica(Mode::Armed);
    let decided = record(2, "db2", Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9")));
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(decided.clone()) }).persisted();
    stage.order(2, 1, Order::Promote { record: Box::new(decided), goal: set("0-1-9") });
    let (id, effect) = stage.effect().unwrap();
    assert!(matches!(effect, Effect::Promote { .. }));
    let run = ServerRun { pid: RUN.pid + 1, ..RUN };
    stage.hand(Input::Progressed(id, Progress::Opened { run, holdings: holdings("0-1-9") }));
    assert_eq!(stage.memory.opened, Some(run));
    let server = stage.observation().server.unwrap();
    assert_eq!(server.process, tasuki_schemas::observation::Process::Running { pid: run.pid });
    assert_eq!(server.facts, None, "the former run's facts are not this one's");
    assert_eq!(stage.effects(), 2, "and nobody closes it for them");
}
