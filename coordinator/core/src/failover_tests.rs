//! What moves an attempt, and when it is given up.

use std::collections::BTreeMap;

use tasuki_schemas::answer::{Answers, Holdings, Refusal, Reported};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{Boot, BootId, Nonce};
use tasuki_schemas::observation::{Observation, Received};

use super::*;
use crate::fixtures::{NOW, ballot, me, node, observation, promises, record, set, settings};
use crate::outbox::Output;

/// An attempt to replace db0, which died with a tail that nobody else has.
struct Trial {
    settings: Settings,
    view: View,
    seen: BTreeMap<NodeId, Observation>,
    stamp: u64,
    attempt: Attempt,
    outbox: Outbox,
}

impl Trial {
    fn new() -> Self {
        let settings = settings(3);
        let diagnosis = Diagnosis::PrimaryCrashed { primary: node(0) };
        let began = NOW + Duration::from_millis(500);
        let attempt = Attempt::new(ballot(2), diagnosis, node(0), NOW, began);
        let mut view = View::new(me(), NOW);
        view.sent_nonce(Nonce(1));
        let seen = |name: &NodeId| (name.clone(), observation(name, false, !settings.servers.contains_key(name)));
        let seen = settings.nodes().map(seen).collect();
        Self { view, seen, stamp: 0, attempt, outbox: Outbox::default(), settings }
    }

    /// All have promised; the dead server's binlog has a tail.
    fn recruited() -> Self {
        let mut trial = Self::new();
        trial.promise(&[("db0", "0-1-110"), ("db1", "0-1-100"), ("db2", "0-1-100"), ("w1", "")]);
        assert_eq!(trial.step(500), Progress::Pending);
        assert_eq!(trial.attempt.stage(), StageName::CatchingUp);
        trial
    }

    /// These have promised, and hold so much.
    fn promise(&mut self, by: &[(&str, &str)]) {
        let record = record(&self.settings, 1);
        let promises = promises(&self.settings, &record, &self.settings.nodes().cloned().collect());
        for (name, held) in by {
            let name: NodeId = name.parse().unwrap();
            let mut promise = promises.get(&name).unwrap().clone();
            promise.holdings = promise.holdings.map(|_| holdings(held));
            self.answers(&name).promise = Some(promise);
        }
    }

    fn answers(&mut self, name: &NodeId) -> &mut Answers {
        let seen = self.seen.get_mut(name).unwrap();
        seen.answers.entry(me()).or_insert_with(|| Answers { ballot: Some(ballot(2)), ..Answers::none() })
    }

    fn step(&mut self, after_ms: u64) -> Progress {
        self.step_at(NOW + Duration::from_millis(after_ms))
    }

    fn step_at(&mut self, now: Moment) -> Progress {
        self.stamp += 1;
        for seen in self.seen.values() {
            assert!(self.view.observed(seen.clone(), (Boot { start: 1, random: BootId(1) }, self.stamp), now));
        }
        self.attempt.step(&self.settings, &self.view, &mut self.outbox, now)
    }
}

fn holdings(text: &str) -> Holdings {
    let set = GtidSet::parse(Flavour::Mariadb, text).unwrap();
    Holdings { executed: set.clone(), received: Received::Known { set } }
}

#[test]
fn an_attempt_shows_what_its_winner_must_hold_and_when_each_stage_began() {
    let trial = Trial::recruited();
    assert!(trial.attempt.goal().is_some_and(|goal| *goal != set()), "the tail belongs to it");
    let mut outbox = trial.outbox;
    let stage = |output| {
        let Output::Tell(body) = output else { return None };
        if let EventBody::Stage { stage, after_ms, .. } = *body { Some((stage, after_ms)) } else { None }
    };
    let stages: Vec<_> = outbox.take().into_iter().filter_map(stage).collect();
    assert_eq!(stages, [(StageName::CatchingUp, 500.0)]);
}

#[test]
fn the_tail_of_a_dead_server_is_left_after_one_and_a_half_times_its_patience() {
    let mut trial = Trial::recruited();
    let limit = NOW + Duration::from_millis(500) + trial.settings.policy.tail_patience * 3 / 2;
    assert_eq!(trial.step_at(limit), Progress::Pending);
    let again = Progress::Again { without_tail: true, failed: None };
    assert_eq!(trial.step_at(limit + Duration::from_nanos(1)), again);
}

/// Its own relay log would have to be applied without the tail as well, so that the patience with the tail does not run.
#[test]
fn a_candidate_that_applies_what_it_had_received_itself_has_as_long_for_the_tail_as_any_other() {
    let mut trial = Trial::recruited();
    let limit = trial.settings.policy.tail_patience * 3 / 2;
    let mut now = NOW + Duration::from_millis(500);
    let tells = |trial: &mut Trial, piece: u32, backlog| {
        let outcome = Outcome::Running { step: format!("{piece} pieces"), backlog };
        trial.answers(&node(1)).outcomes.insert(OrderName::CatchUp, Reported { number: 1, outcome });
    };
    for piece in 0..4 {
        now = now + limit;
        tells(&mut trial, piece, true);
        assert_eq!(trial.step_at(now), Progress::Pending, "{piece}");
    }
    tells(&mut trial, 4, false);
    assert_eq!(trial.step_at(now + limit), Progress::Pending);
    let again = Progress::Again { without_tail: true, failed: None };
    assert_eq!(trial.step_at(now + limit + Duration::from_nanos(1)), again);
}

#[test]
fn who_promised_another_a_higher_ballot_ends_the_attempt_and_a_lower_one_does_not() {
    for (promised, ended) in [(1, false), (2, false), (3, true)] {
        let mut trial = Trial::new();
        trial.answers(&node(1)).refusal = Some(Refusal::Promised { promised: ballot(promised) });
        assert_eq!(trial.step(500) != Progress::Pending, ended, "{promised}");
    }
}

#[test]
fn the_reasons_for_holding_are_told_once_and_shown_for_as_long_as_it_lasts() {
    let mut trial = Trial::new();
    assert_eq!(trial.attempt.holds(), Vec::<String>::new());
    for name in trial.settings.nodes().cloned().collect::<Vec<_>>() {
        trial.answers(&name).refusal = Some(Refusal::OtherConfiguration);
    }
    let holds = |trial: &mut Trial| {
        let told = trial.outbox.take().into_iter();
        told.filter(|output| matches!(output, Output::Tell(body) if matches!(**body, EventBody::Hold { .. }))).count()
    };
    assert_eq!((trial.step(500), holds(&mut trial)), (Progress::Pending, 1));
    assert_eq!((trial.step(510), holds(&mut trial)), (Progress::Pending, 0));
    let shown = trial.attempt.holds();
    assert!(shown.len() == 1 && shown.iter().all(|reason| reason.contains("majority")), "{shown:?}");
}

/// A late answer may change who wins: one that is heard is waited for, for a short while. One that is half silent is not.
#[test]
fn a_proof_waits_only_for_those_who_were_heard_lately() {
    for (short_by, stage) in [(1, StageName::Recruiting), (0, StageName::Promoting)] {
        let mut trial = Trial::new();
        trial.promise(&[("db0", "0-1-100"), ("db1", "0-1-100"), ("w1", "")]);
        let late = trial.seen.remove(&node(2)).unwrap();
        assert!(trial.view.observed(late, (Boot { start: 1, random: BootId(1) }, 1), NOW));
        let half = trial.settings.policy.silence / 2;
        assert_eq!(trial.step_at(NOW + (half - Duration::from_nanos(short_by))), Progress::Pending);
        assert_eq!(trial.attempt.stage(), stage);
    }
}

/// A coordinator that stood still reads its mail before it leaves anybody out.
#[test]
fn whoever_stood_still_waits_for_everybody_anew() {
    let mut trial = Trial::new();
    trial.promise(&[("db0", "0-1-100"), ("db1", "0-1-100")]);
    trial.seen.remove(&node(2));
    assert_eq!(trial.step(510), Progress::Pending);
    trial.promise(&[("w1", "")]);
    let late = trial.settings.policy.silence / 4;
    let woke = NOW + Duration::from_millis(510) + late + Duration::from_nanos(1);
    let patience = trial.settings.policy.tail_patience;
    for (at, stage) in [(woke, StageName::Recruiting), (woke + patience, StageName::Promoting)] {
        assert_eq!(trial.step_at(at), Progress::Pending);
        assert_eq!(trial.attempt.stage(), stage);
    }
}

/// A node obeys no number twice and none that is lower than the last.
#[test]
fn whoever_fetches_from_a_second_donor_is_asked_by_a_higher_number() {
    let mut trial = Trial::new();
    trial.settings.servers.get_mut(&node(1)).unwrap().promotion = crate::settings::Promotion::Prefer;
    trial.promise(&[("db0", "0-1-110"), ("db1", "0-1-90"), ("db2", "0-1-100"), ("w1", "")]);
    let asked = |trial: &mut Trial| {
        let order = |output| {
            let Output::Send { to, request: Request::Order { number, order, .. } } = output else { return None };
            if let Order::CatchUp { from, .. } = *order { Some((to, number, from)) } else { None }
        };
        trial.outbox.take().into_iter().filter_map(order).collect::<Vec<_>>()
    };
    trial.step(500);
    assert_eq!(asked(&mut trial), [(node(1), 1, node(2))]);
    let outcome = Outcome::Done { holdings: Some(holdings("0-1-100")), took_ms: 1, place: None };
    trial.answers(&node(1)).outcomes.insert(OrderName::CatchUp, Reported { number: 1, outcome });
    trial.step(510);
    assert_eq!(asked(&mut trial), [(node(1), 2, node(0))]);
}

/// A long tail is waited for while the candidate gets on, and no longer.
#[test]
fn a_candidate_that_gets_on_with_the_tail_is_waited_for() {
    let mut trial = Trial::recruited();
    trial.attempt.forget_that_the_tail_is_optional();
    let patience = trial.settings.policy.stage_patience;
    let mut now = NOW + Duration::from_millis(500);
    for piece in 0..4 {
        now = now + patience;
        let outcome = Outcome::Running { step: format!("{piece} pieces"), backlog: false };
        trial.answers(&node(1)).outcomes.insert(OrderName::CatchUp, Reported { number: 1, outcome });
        assert_eq!(trial.step_at(now), Progress::Pending, "{piece}");
    }
    assert_eq!(trial.step_at(now + patience), Progress::Pending);
    let failed = Some(node(1));
    let later = now + patience + Duration::from_nanos(1);
    assert_eq!(trial.step_at(later), Progress::Again { without_tail: false, failed });
}

#[test]
fn a_tail_that_cannot_be_had_is_tried_again_and_then_told_with_its_place() {
    let reason = "/data/bin.000003 is damaged at 4711: an event's checksum is wrong";
    for (optional, tried, again) in
        [(true, false, true), (true, true, true), (false, false, true), (false, true, false)]
    {
        let mut trial = Trial::recruited();
        if !optional {
            trial.attempt.forget_that_the_tail_is_optional();
        }
        trial.attempt.without_tail = tried;
        let outcome = Outcome::Failed { reason: reason.to_owned() };
        trial.answers(&node(1)).outcomes.insert(OrderName::CatchUp, Reported { number: 1, outcome });
        let expected = if again { Progress::Again { without_tail: true, failed: None } } else { Progress::Pending };
        assert_eq!(trial.step(510), expected, "optional: {optional}, tried: {tried}");
        let told = trial.attempt.holds();
        assert_eq!(told.iter().any(|told| told.contains(reason)), !again, "{told:?}");
    }
}

impl Attempt {
    /// As in a group without acknowledgements.
    fn forget_that_the_tail_is_optional(&mut self) {
        if let Stage::CatchingUp { plan, .. } = &mut self.stage {
            plan.tail_optional = false;
        }
    }
}
