//! What moves an attempt, and when it is given up.

use tasuki_schemas::answer::{Answers, Holdings};
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
        let record = record(&trial.settings, 1);
        let promises = promises(&trial.settings, &record, &trial.settings.nodes().cloned().collect());
        for (name, promise) in promises.iter() {
            let mut promise = promise.clone();
            if *name == node(0) {
                promise.holdings = Some(holdings("0-1-110"));
            }
            trial.answers(name).promise = Some(promise);
        }
        assert_eq!(trial.step(500), Progress::Pending);
        assert_eq!(trial.attempt.stage(), StageName::CatchingUp);
        trial
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
    let stage = |output| match output {
        Output::Tell(body) => match *body {
            EventBody::Stage { stage, after_ms, .. } => Some((stage, after_ms)),
            _ => None,
        },
        Output::Send { .. } | Output::Beat(_) | Output::Fence { .. } => None,
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
