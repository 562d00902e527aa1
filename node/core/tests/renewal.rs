//! How a lease is asked for and lasts, and what its guard is told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

mod stage;

use std::time::Duration;

use stage::lease::{alone, asked, fences, grant, leased, memory, obey, rest_ms, terms, told_guard};
use stage::{RUN, Stage, ballot, db, holdings, remembered};
use tasuki_node_core::{Ended, Guarding, Input, Memory, Output, ServerRun};
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::command::{Kind, Request};
use tasuki_schemas::id::Incarnation;
use tasuki_schemas::lease::{Grant, LeaseTerms};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Mode;

fn times_told(stage: &Stage) -> usize {
    stage.outputs.iter().filter(|output| matches!(output, Output::Guard(_))).count()
}

/// Wakes it every millisecond, each time after a look.
fn wake_until_it_fences(stage: &mut Stage, mut look: impl FnMut(&Stage)) {
    for _ in 0..5000 {
        if !fences(stage) {
            look(stage);
            stage.hand(Input::Woke);
        }
    }
    assert!(fences(stage), "it never did");
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
    wake_until_it_fences(&mut stage, |stage| {
        let lease = stage.observation().server.unwrap().lease.unwrap();
        assert!(lease.guarded && lease.rest_ms > closing, "{lease:?}");
        left.push(lease.rest_ms);
    });
    assert_eq!(left.last(), Some(&(closing + 1)));
    assert!(!stage.observation().server.unwrap().lease.unwrap().guarded);
}

#[test]
fn a_guard_is_told_nothing_before_it_was_heard_and_nothing_twice() {
    let mut unheard = Stage::leased("db1", memory(true), terms());
    unheard.probe(true).wait(300);
    assert_eq!(times_told(&unheard), 0);
    let mut stage = leased();
    let told = times_told(&stage);
    obey(&mut stage);
    stage.wait(150);
    assert_eq!(times_told(&stage), told, "it does what it was told");
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
    for _ in 0..20 {
        if number(&stage) < first + 4 {
            stage.sleep();
            grant(&mut stage, "db2", 2);
        }
    }
    let took = stage.moment().since(began);
    assert!(took < Duration::from_millis(800) && number(&stage) == first + 4, "{took:?}");
}

#[test]
fn a_closed_server_is_not_woken_for_renewals() {
    let mut stage = leased();
    wake_until_it_fences(&mut stage, |_| ());
    // Reports and renewals are due at different moments from here on.
    stage.wait(50).end(Ended::Done(holdings("0-1-9"))).probe(false);
    let naps: Vec<Duration> = (0..6).map(|_| stage.sleep()).collect();
    assert!(naps.iter().all(|slept| *slept > Duration::from_millis(1)), "{naps:?}");
}
