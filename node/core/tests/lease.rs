//! A primary without acknowledgements serves under a lease: granted by voters, ended by its guard.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

mod stage;

use std::time::Duration;

use stage::{RUN, Stage, ballot, db, holdings, record, remembered, set};
use tasuki_node_core::{Effect, Ended, Guarding, Input, Memory, Output, ServerRun};
use tasuki_schemas::answer::Outcome;
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::command::{Kind, Order, OrderName, Request};
use tasuki_schemas::id::Incarnation;
use tasuki_schemas::lease::{Grant, LeaseTerms, Renew};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Mode, Record};

fn terms() -> LeaseTerms {
    LeaseTerms::new(Duration::from_millis(2000), Duration::from_millis(200)).unwrap()
}

/// The first record, with its primary alone.
fn alone() -> Record {
    let mut record = record(1, "db1", Mode::Armed);
    record.wanted = 0;
    for group in &mut record.groups {
        (group.acks, group.leased) = (0, true);
        group.members = [db("db1")].into();
    }
    record
}

fn memory(opened: bool) -> Memory {
    let mut memory = remembered(Mode::Armed);
    memory.accepted.as_mut().unwrap().record = alone();
    memory.incarnation = Incarnation(1);
    (memory.opened, memory.whole) = (opened.then_some(RUN), opened);
    memory
}

fn asked(stage: &Stage) -> Option<Renew> {
    stage.outputs.iter().rev().find_map(|output| {
        let Output::Send(to, message) = output else { return None };
        let Message::Renew(renew) = &**message else { return None };
        (to.as_str() == "db2").then(|| renew.clone())
    })
}

fn told_guard(stage: &Stage) -> Option<Option<Guarding>> {
    stage
        .outputs
        .iter()
        .rev()
        .find_map(|output| if let Output::Guard(guarding) = output { Some(*guarding) } else { None })
}

fn grant(stage: &mut Stage, by: &str, incarnation: u64) {
    let Renew { epoch, number, .. } = asked(stage).unwrap();
    let grant = Grant { epoch, number, incarnation: Incarnation(incarnation) };
    stage.hand(Input::Granted { from: db(by), grant });
}

fn obey(stage: &mut Stage) {
    let told = told_guard(stage).unwrap();
    stage.hand(Input::Guarded(told));
}

/// The primary, leased and open.
fn leased() -> Stage {
    let mut stage = Stage::leased("db1", memory(true), terms());
    let until = Some(Moment::from_nanos(0) + terms().usable());
    stage.hand(Input::Guarded(Some(Guarding { run: RUN, until }))).probe(true);
    grant(&mut stage, "db2", 2);
    obey(&mut stage);
    stage
}

fn fences(stage: &Stage) -> bool {
    matches!(stage.effect(), Some((_, Effect::Fence { .. })))
}

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
    let promote = Order::Promote { record: Box::new(named), goal: set("0-1-9") };
    stage.order(3, 1, promote).persisted();
    assert_eq!(stage.effects(), 0);
    obey(&mut stage);
    assert_eq!(asked(&stage).unwrap().epoch, Epoch(ballot(3)));
    assert_eq!(stage.effects(), 0);
    grant(&mut stage, "db2", 2);
    assert_eq!(stage.effects(), 0, "the guard does not know its moment yet");
    obey(&mut stage);
    assert!(matches!(stage.effect(), Some((_, Effect::Promote { acks: 0, .. }))));
}

#[test]
fn a_promotion_that_gets_no_lease_fails_and_says_why() {
    let mut named = alone();
    (named.epoch, named.opened) = (Epoch(ballot(3)), false);
    let mut stage = Stage::leased("db1", memory(false), terms());
    stage.hand(Input::Guarded(None)).probe(false);
    stage.order(3, 1, Order::Promote { record: Box::new(named), goal: set("0-1-9") }).persisted();
    stage.wait(3500);
    let outcome = stage.answers().outcomes[&OrderName::Promote].outcome.clone();
    assert!(matches!(outcome, Outcome::Failed { reason } if reason.contains("no lease")));
    assert_eq!(stage.effects(), 0);
}

fn rest_ms(stage: &Stage) -> u64 {
    stage.observation().server.unwrap().lease.unwrap().rest_ms
}

fn times_told(stage: &Stage) -> usize {
    stage.outputs.iter().filter(|output| matches!(output, Output::Guard(_))).count()
}

/// Wakes it every millisecond and returns those at which something new was put out.
fn moments(stage: &mut Stage, ms: u64, count: impl Fn(&Stage) -> usize) -> Vec<u64> {
    let mut new = |after: &u64| {
        let before = count(stage);
        stage.hand(Input::Woke);
        (count(stage) > before).then_some(*after)
    };
    (1..=ms).filter_map(|after| new(&after)).collect()
}

#[test]
fn there_is_no_lease_without_terms_or_beside_acknowledgements() {
    let acknowledged = Memory { opened: Some(RUN), whole: true, ..remembered(Mode::Armed) };
    for mut stage in [Stage::of("db1", memory(true)), Stage::leased("db1", acknowledged, terms())] {
        stage.hand(Input::Guarded(None)).probe(true);
        assert_eq!((stage.observation().server.unwrap().lease, asked(&stage), times_told(&stage)), (None, None, 0));
    }
}

#[test]
fn where_there_are_no_terms_a_promotion_that_needs_a_lease_fails_at_once() {
    let mut named = alone();
    named.epoch = Epoch(ballot(3));
    let mut stage = Stage::of("db1", memory(false));
    stage.probe(false).order(3, 1, Order::Promote { record: Box::new(named), goal: set("0-1-9") }).persisted();
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
fn for_a_server_that_was_started_anew_no_lease_is_wanted() {
    let other = Memory { opened: Some(ServerRun { pid: 6, ..RUN }), ..memory(true) };
    let mut stage = Stage::leased("db1", other, terms());
    stage.hand(Input::Guarded(None)).probe(false);
    assert_eq!((asked(&stage), times_told(&stage)), (None, 0));
}

#[test]
fn a_late_answer_to_an_older_question_shortens_nothing() {
    let mut stage = leased();
    let older = asked(&stage).unwrap();
    stage.wait(300);
    grant(&mut stage, "db2", 2);
    let (told, rest) = (told_guard(&stage), rest_ms(&stage));
    let grant = Grant { epoch: older.epoch, number: older.number, incarnation: Incarnation(3) };
    stage.hand(Input::Granted { from: db("db3"), grant });
    assert_eq!((told_guard(&stage), rest_ms(&stage)), (told, rest - 1));
}

#[test]
fn a_grant_for_another_reign_does_not_count() {
    let mut stage = leased();
    stage.wait(300);
    let (told, number) = (told_guard(&stage), asked(&stage).unwrap().number);
    let grant = Grant { epoch: Epoch(ballot(2)), number, incarnation: Incarnation(2) };
    stage.hand(Input::Granted { from: db("db2"), grant });
    assert_eq!(told_guard(&stage), told);
}

#[test]
fn the_eighth_last_question_may_still_be_answered() {
    let terms = LeaseTerms::new(Duration::from_secs(10), Duration::from_millis(200)).unwrap();
    let mut stage = Stage::leased("db1", memory(true), terms);
    let until = Some(Moment::from_nanos(0) + Duration::from_secs(8));
    stage.hand(Input::Guarded(Some(Guarding { run: RUN, until }))).probe(true);
    let first = asked(&stage).unwrap();
    stage.wait(1450);
    assert_eq!(asked(&stage).unwrap().number, first.number + 7);
    let before = rest_ms(&stage);
    let grant = Grant { epoch: first.epoch, number: first.number, incarnation: Incarnation(2) };
    stage.hand(Input::Granted { from: db("db2"), grant });
    assert!(rest_ms(&stage) > before);
}

/// The last fifth of a lease is for closing: whoever asks then opens nothing, and closes what is open.
#[test]
fn a_lease_counts_as_one_until_it_is_time_to_close_and_no_moment_longer() {
    let mut stage = leased();
    let closing = u64::try_from((terms().usable() - terms().closing()).as_millis()).unwrap();
    let mut left = Vec::new();
    while !fences(&stage) {
        let lease = stage.observation().server.unwrap().lease.unwrap();
        assert!(lease.guarded && lease.rest_ms > closing, "{lease:?}");
        left.push(lease.rest_ms);
        stage.hand(Input::Woke);
    }
    assert_eq!(left.last(), Some(&(closing + 1)));
    assert!(!stage.observation().server.unwrap().lease.unwrap().guarded);
}

#[test]
fn a_lease_that_the_guard_was_not_told_of_ends_when_the_guard_acts() {
    let mut stage = Stage::leased("db1", memory(true), terms());
    let until = Moment::from_nanos(0) + Duration::from_millis(50);
    stage.hand(Input::Guarded(Some(Guarding { run: RUN, until: Some(until) }))).probe(true);
    grant(&mut stage, "db2", 2);
    assert_eq!(fences(&stage), true, "fifty milliseconds are too few to go on with");
    let guarded = |stage: &Stage| stage.observation().server.unwrap().lease.unwrap().guarded;
    while stage.moment() < until {
        stage.hand(Input::Woke);
    }
    assert!(!guarded(&stage));
}

#[test]
fn a_guard_is_told_nothing_before_it_was_heard_and_nothing_twice() {
    let mut unheard = Stage::leased("db1", memory(true), terms());
    unheard.probe(true).wait(300);
    assert_eq!(times_told(&unheard), 0);
    let mut stage = leased();
    assert_eq!(moments(&mut stage, 190, times_told), Vec::<u64>::new(), "it does what it was told");
}

#[test]
fn a_guard_that_does_not_answer_is_told_again_after_a_heartbeat_and_news_at_once() {
    let mut stage = leased();
    stage.wait(210);
    grant(&mut stage, "db2", 2);
    assert_eq!(moments(&mut stage, 500, times_told), [200, 400]);
    let before = times_told(&stage);
    grant(&mut stage, "db2", 2);
    assert_eq!(times_told(&stage), before + 1);
}

#[test]
fn a_guard_lets_go_of_a_server_that_waits_for_acknowledgements_again() {
    let mut stage = leased();
    let mut record = alone();
    let group = record.groups.last_mut().unwrap();
    (group.acks, group.leased, group.members) = (1, false, ["db1", "db2"].map(db).into());
    stage.ask(Request::Accept { ballot: ballot(2), record: Box::new(record) }).persisted();
    assert_eq!(told_guard(&stage), Some(None));
    assert!(stage.node.serving() && !fences(&stage));
}

#[test]
fn a_lease_is_renewed_each_heartbeat_though_reports_are_due_at_other_moments() {
    let mut stage = leased();
    let number = |stage: &Stage| usize::try_from(asked(stage).unwrap().number).unwrap();
    assert_eq!(moments(&mut stage, 450, number).windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>(), [200]);
    // A report that is due out of turn moves the next ones.
    stage.wait(50).prepare(1, Kind::Vote);
    let (first, began) = (number(&stage), stage.moment());
    let mut wakes = 0;
    while number(&stage) < first + 4 {
        stage.sleep();
        (wakes, _) = (wakes + 1, grant(&mut stage, "db2", 2));
    }
    let took = stage.moment().since(began);
    assert!(took < Duration::from_millis(800) && wakes < 20, "{took:?}, {wakes} wakes");
}

#[test]
fn a_closed_server_is_not_woken_for_renewals() {
    let mut stage = leased();
    while !fences(&stage) {
        stage.hand(Input::Woke);
    }
    // Reports and renewals are due at different moments from here on.
    stage.wait(50).end(Ended::Done(holdings("0-1-9"))).probe(false);
    let naps: Vec<Duration> = (0..6).map(|_| stage.sleep()).collect();
    assert!(naps.iter().all(|slept| *slept > Duration::from_millis(1)), "{naps:?}");
}
