//! What a node owes before it answers, and what it never does.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod stage;

use std::collections::{BTreeMap, BTreeSet};

use stage::{RUN, Stage, ballot, co, db, holdings, record, remembered, set};
use tasuki_node_core::{Effect, Ended, Input, Memory, Output, Progress, ServerRun};
use tasuki_schemas::answer::{Duty, Look, Outcome, Refusal};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Fetch, Heartbeat, Kind, Order, OrderName, Request};
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::{BootId, Incarnation, Nonce};
use tasuki_schemas::observation::Process;
use tasuki_schemas::record::Mode;

#[test]
fn a_vote_is_published_only_when_it_is_durable() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Vote);
    assert!(!stage.promised());
    assert_eq!(stage.memory.promised, Some(ballot(2)));
    stage.persisted();
    assert!(stage.promised());
    assert_eq!(stage.effects(), 0, "a vote has no side effect");
}

#[test]
fn a_failover_promise_waits_for_its_duty_and_for_the_disk() {
    for duty_first in [true, false] {
        let mut stage = Stage::replica(Mode::Armed);
        stage.prepare(2, Kind::Failover);
        let source = Some("10.0.0.1:3306".parse().unwrap());
        assert_eq!(stage.effect().map(|(_, effect)| effect), Some(Effect::StopReceiving { source, drain: true }));
        if duty_first {
            stage.end(Ended::Done(holdings("0-1-9")));
            assert!(!stage.promised());
            stage.persisted();
        } else {
            stage.persisted();
            assert!(!stage.promised());
            stage.end(Ended::Done(holdings("0-1-9")));
        }
        let promise = stage.answers().promise.unwrap();
        assert_eq!(promise.duty, Duty::ReceiverStopped);
        assert_eq!(promise.holdings, Some(holdings("0-1-9")));
        assert_eq!(promise.accepted.unwrap().ballot, ballot(1));
    }
}

#[test]
fn a_lower_ballot_is_refused_also_after_a_restart() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(5, Kind::Vote).persisted();
    stage.prepare(4, Kind::Vote).persisted();
    assert_eq!(stage.memory.promised, Some(ballot(5)));
    let mut restarted = Stage::of("db2", stage.memory.clone());
    restarted.probe(false).prepare(4, Kind::Vote);
    assert_eq!(restarted.answers().refusal, Some(Refusal::Promised { promised: ballot(5) }));
    restarted.ask(Request::Accept { ballot: ballot(4), record: Box::new(record(4, "db3", Mode::Armed)) });
    assert!(!restarted.answers().accepted);
}

#[test]
fn a_ballot_of_another_boot_is_another_ballot_and_refused() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(5, Kind::Vote).persisted();
    let twin = Ballot { boot: BootId(2), ..ballot(5) };
    stage.ask(Request::Prepare { ballot: twin, kind: Kind::Vote, evidence: None });
    assert_eq!(stage.answers().refusal, Some(Refusal::Promised { promised: ballot(5) }));
}

#[test]
fn a_ballot_carries_one_record() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Vote).persisted();
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(1, "db1", Mode::Armed)) }).persisted();
    assert!(stage.answers().accepted);
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(2, "db3", Mode::Armed)) });
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
    assert_eq!(stage.memory.accepted.as_ref().unwrap().record.primary, db("db1"));
}

#[test]
fn an_acceptance_is_told_once_it_is_on_the_disk_however_often_it_is_asked_for() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Vote).persisted();
    for _ in 0..2 {
        stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(1, "db1", Mode::Armed)) });
        assert!(!stage.answers().accepted);
    }
    assert!(stage.persisted().answers().accepted);
}

#[test]
fn an_order_waits_until_the_record_that_it_carries_is_on_the_disk() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Vote).persisted();
    let follow = Order::Follow { record: Box::new(record(1, "db1", Mode::Armed)) };
    stage.order(2, 1, follow);
    assert_eq!((stage.effects(), stage.memory.accepted.as_ref().map(|kept| &kept.ballot)), (0, Some(&ballot(2))));
    assert_eq!(stage.persisted().effects(), 1);
}

#[test]
fn an_effect_of_a_lower_ballot_is_gone_before_a_promise() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(1, 1, Order::Follow { record: Box::new(record(1, "db1", Mode::Armed)) });
    let (follow, _) = stage.effect().unwrap();
    stage.prepare(2, Kind::Failover).persisted();
    assert!(stage.outputs.contains(&Output::Cancel(follow)));
    assert_eq!(stage.effects(), 1, "the duty waits until the old effect is gone");
    stage.hand(Input::Ended(follow, Ended::Cancelled));
    assert!(matches!(stage.effect(), Some((_, Effect::StopReceiving { .. }))));
    assert!(!stage.promised());
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.promised());
}

#[test]
fn an_unfinished_failover_promise_refuses_votes_until_a_record_ends_it() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9")));
    stage.prepare(3, Kind::Vote);
    assert_eq!(stage.answers().refusal, Some(Refusal::Unfinished { promised: ballot(2) }));
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(2, "db3", Mode::Armed)) }).persisted();
    assert_eq!(stage.observation().ledger.failover, None);
    stage.prepare(3, Kind::Vote).persisted();
    assert!(stage.promised());
}

#[test]
fn the_primary_fences_itself_before_it_promises_a_failover() {
    let mut stage = Stage::primary();
    assert!(stage.node.serving());
    stage.prepare(2, Kind::Failover);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    assert!(stage.outputs.contains(&Output::Serving { on: false, armed: true }), "clients are sent away at once");
    stage.persisted().end(Ended::Done(holdings("0-1-9")));
    assert_eq!(stage.answers().promise.unwrap().duty, Duty::Fenced);
}

#[test]
fn a_server_that_no_record_names_has_to_answer_before_its_node_promises() {
    // The ledger is new: the hung server may be a primary, or a replica that receives.
    let mut stage = Stage::of("db2", Memory::new(Incarnation(9)));
    stage.silent().prepare(5, Kind::Failover);
    assert_eq!(stage.effect(), None);
    stage.probe(true);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))), "{:?}", stage.effect());
    let mut stage = Stage::replica(Mode::Armed);
    stage.silent().prepare(5, Kind::Failover);
    assert!(matches!(stage.effect(), Some((_, Effect::StopReceiving { .. }))), "its record says that it is a replica");
}

#[test]
fn a_primary_that_had_to_be_killed_is_read_from_its_files() {
    let mut stage = Stage::primary();
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Gone(holdings("0-1-11")));
    let promise = stage.answers().promise.unwrap();
    assert_eq!((promise.duty, promise.holdings), (Duty::ProcessExited, Some(holdings("0-1-11"))));
}

#[test]
fn a_primary_that_was_only_observed_is_told_when_tasuki_may_act() {
    let mut stage = Stage::of("db1", Memory { opened: Some(RUN), whole: true, ..remembered(Mode::Observe) });
    stage.probe(true);
    assert!(stage.outputs.contains(&Output::Serving { on: true, armed: false }));
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(1, "db1", Mode::Armed)) }).persisted();
    assert!(stage.outputs.contains(&Output::Serving { on: true, armed: true }), "{:?}", stage.outputs);
}

#[test]
fn a_node_that_starts_beside_its_primary_does_not_send_clients_away_first() {
    let mut stage = Stage::of("db1", Memory { opened: Some(RUN), whole: true, ..remembered(Mode::Armed) });
    stage.hand(Input::Woke);
    stage.probe(true);
    let words: Vec<_> = stage.outputs.iter().filter(|output| matches!(output, Output::Serving { .. })).collect();
    assert_eq!(words, [&Output::Serving { on: true, armed: true }]);
}

#[test]
fn an_exit_is_published_at_once_and_ends_serving() {
    let mut stage = Stage::primary();
    stage.outputs.clear();
    stage.hand(Input::Exited(RUN));
    assert!(stage.outputs.contains(&Output::Serving { on: false, armed: true }));
    let published = stage
        .outputs
        .iter()
        .any(|output| matches!(output, Output::Publish(it) if it.server.as_ref().unwrap().process == (Process::Exited { clean: false })));
    assert!(published);
    stage.prepare(2, Kind::Failover);
    assert!(matches!(stage.effect(), Some((_, Effect::ReadFiles { was_primary: true }))));
}

#[test]
fn a_writable_server_that_the_record_does_not_name_is_closed_at_once() {
    let mut stage = Stage::replica(Mode::Armed);
    assert_eq!(stage.effects(), 0);
    stage.probe(true);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    assert!(!stage.node.serving());
}

#[test]
fn the_named_primary_in_another_run_is_closed_and_does_not_serve() {
    let other = ServerRun { pid: 6, started: 50 };
    let mut stage = Stage::of("db1", Memory { opened: Some(other), ..remembered(Mode::Armed) });
    stage.probe(true);
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    assert!(!stage.node.serving());
}

#[test]
fn a_restarted_node_takes_up_serving_where_its_server_went_on() {
    let mut restarted = Stage::of("db1", Stage::primary().memory);
    restarted.probe(true);
    assert!(restarted.node.serving());
    assert_eq!(restarted.effects(), 0);
}

#[test]
fn at_birth_the_writable_primary_is_adopted_as_it_is() {
    let mut stage = Stage::of("db1", Memory::new(Incarnation(1)));
    stage.probe(true);
    assert!(!stage.node.serving());
    stage.prepare(1, Kind::Vote).persisted();
    stage.ask(Request::Accept { ballot: ballot(1), record: Box::new(record(1, "db1", Mode::Armed)) }).persisted();
    assert!(stage.node.serving());
    assert_eq!(stage.effects(), 0, "adoption changes nothing");
}

#[test]
fn at_birth_nothing_is_adopted_but_the_named_primary_that_is_writable() {
    for (name, writable) in [("db1", false), ("db2", true)] {
        let mut stage = Stage::of(name, Memory::new(Incarnation(1)));
        stage.probe(writable).prepare(1, Kind::Vote).persisted();
        stage.ask(Request::Accept { ballot: ballot(1), record: Box::new(record(1, "db1", Mode::Armed)) }).persisted();
        assert!(stage.answers().accepted);
        assert_eq!((stage.memory.opened, stage.memory.whole), (None, false), "{name}");
    }
}

#[test]
fn accepting_a_new_epoch_first_does_what_a_failover_promise_would_have_demanded() {
    let mut stage = Stage::primary();
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record(2, "db2", Mode::Armed)) });
    assert!(matches!(stage.effect(), Some((_, Effect::Fence { .. }))));
    assert_eq!(stage.memory.accepted.as_ref().unwrap().ballot, ballot(1), "nothing is kept before the duty is done");
    stage.end(Ended::Done(holdings("0-1-9"))).persisted();
    assert!(stage.answers().accepted);
    assert!(!stage.node.serving());
    assert!(stage.answers().promise.is_none(), "having accepted does not count as a promise");
}

#[test]
fn an_observed_server_is_never_touched() {
    let mut stage = Stage::replica(Mode::Observe);
    stage.probe(true).prepare(2, Kind::Failover);
    assert_eq!(stage.answers().refusal, Some(Refusal::Observed));
    stage.order(2, 1, Order::Follow { record: Box::new(record(1, "db1", Mode::Observe)) });
    assert_eq!(stage.answers().refusal, Some(Refusal::Observed));
    stage.prepare(3, Kind::Vote).persisted();
    assert!(stage.promised());
    assert_eq!(stage.effects(), 0);
}

#[test]
fn silence_is_looked_at_with_own_eyes_first() {
    let evidence = || Some(Diagnosis::PrimaryHostLost { primary: db("db1"), lost_by: BTreeSet::new() });
    for (look, refused) in [(Look::Greeted, true), (Look::NoGreeting, false)] {
        let mut stage = Stage::replica(Mode::Armed);
        stage.ask(Request::Prepare { ballot: ballot(2), kind: Kind::Failover, evidence: evidence() });
        assert!(matches!(stage.effect(), Some((_, Effect::Look { .. }))));
        assert_eq!(stage.memory.promised, Some(ballot(1)), "nothing is promised before the look");
        stage.end(Ended::Looked(look));
        assert_eq!(stage.answers().refusal == Some(Refusal::Contradicted), refused);
        assert_eq!(stage.memory.promised == Some(ballot(1)), refused);
    }
}

#[test]
fn another_configuration_gets_no_promise() {
    let mut stage = Stage::replica(Mode::Armed);
    let request = Request::Prepare { ballot: ballot(2), kind: Kind::Vote, evidence: None };
    stage.hand(Input::Asked { from: co("co1"), same_configuration: false, request }).persisted();
    assert_eq!(stage.answers().refusal, Some(Refusal::OtherConfiguration));
}

#[test]
fn a_witness_promises_without_a_server() {
    let mut stage = Stage::of("w1", remembered(Mode::Armed));
    stage.prepare(2, Kind::Failover).persisted();
    assert_eq!(stage.answers().promise.unwrap().duty, Duty::Nothing);
    stage.order(2, 1, Order::Follow { record: Box::new(record(2, "db2", Mode::Armed)) });
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
}

#[test]
fn the_same_number_repeats_the_outcome_and_a_higher_one_acts_anew() {
    let mut stage = Stage::replica(Mode::Armed);
    let follow = || Order::Follow { record: Box::new(record(1, "db1", Mode::Armed)) };
    stage.order(1, 1, follow()).end(Ended::Failed("refused".to_owned()));
    assert_eq!(stage.effects(), 1);
    stage.order(1, 1, follow());
    assert_eq!(stage.effects(), 1);
    stage.order(1, 2, follow());
    assert_eq!(stage.effects(), 2);
    stage.end(Ended::Done(holdings("0-1-9")));
    assert!(matches!(stage.answers().outcomes.get(&OrderName::Follow).unwrap().outcome, Outcome::Done { .. }));
}

#[test]
fn a_promotion_opens_first_and_then_writes_its_barrier() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.prepare(2, Kind::Failover).persisted().end(Ended::Done(holdings("0-1-9")));
    let decided = record(2, "db2", Mode::Armed);
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(decided.clone()) }).persisted();
    stage.order(2, 1, Order::Promote { record: Box::new(decided), goal: set("0-1-9") });
    let (id, effect) = stage.effect().unwrap();
    assert!(matches!(effect, Effect::Promote { acks: 1, .. }));
    assert!(!stage.node.serving());
    stage.hand(Input::Progressed(id, Progress::Opened { run: RUN, holdings: holdings("0-1-9") }));
    assert!(stage.node.serving());
    let outcomes: BTreeMap<OrderName, Outcome> =
        stage.answers().outcomes.into_iter().map(|(name, reported)| (name, reported.outcome)).collect();
    assert!(matches!(outcomes.get(&OrderName::Promote), Some(Outcome::Done { .. })));
    assert!(matches!(outcomes.get(&OrderName::Barrier), Some(Outcome::Running { .. })));
    stage.end(Ended::Done(holdings("0-1-9,0-2-10")));
    assert!(matches!(stage.answers().outcomes.get(&OrderName::Barrier).unwrap().outcome, Outcome::Done { .. }));
}

#[test]
fn nobody_is_promoted_by_a_record_that_names_another() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.order(2, 1, Order::Promote { record: Box::new(record(2, "db3", Mode::Armed)), goal: set("") });
    assert!(matches!(stage.answers().refusal, Some(Refusal::Unlawful { .. })));
    assert_eq!(stage.effects(), 0);
}

#[test]
fn a_tail_is_delivered_only_at_the_promised_ballot_and_from_a_dead_server() {
    let mut stage = Stage::primary();
    let fetch = |counter| {
        let fetch = Fetch { ballot: ballot(counter), have: set(""), want: None, piece: 0, packed: false };
        Input::Fetched { from: db("db2"), fetch }
    };
    let delivers = |stage: &Stage| stage.outputs.iter().any(|output| matches!(output, Output::Deliver { .. }));
    stage.hand(fetch(1));
    assert!(!delivers(&stage), "its server lives");
    stage.hand(Input::Exited(RUN)).hand(fetch(9));
    assert!(!delivers(&stage), "another ballot");
    stage.hand(fetch(1));
    assert!(delivers(&stage));
}

#[test]
fn a_heartbeats_nonce_is_echoed() {
    let mut stage = Stage::replica(Mode::Armed);
    stage.hand(Input::Beaten(Heartbeat { coordinator: co("co2"), nonce: Nonce(9), leading: None, seat: None }));
    assert_eq!(stage.observation().heard.get(&co("co2")), Some(&Nonce(9)));
}
