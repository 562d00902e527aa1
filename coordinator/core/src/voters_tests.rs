//! What the care for who votes tells, and how often it asks.

use std::time::Duration;

use tasuki_schemas::id::{Boot, BootId, Nonce};

use super::*;
use crate::fixtures::{NOW, ballot, me, node, observation, record, settings};
use crate::outbox::Output;

/// Of three servers, the last told the sequences in turn, of a ledger.
fn view(settings: &Settings, incarnation: u64, sequences: &[u64]) -> View {
    let mut view = View::new(me(), NOW);
    view.sent_nonce(Nonce(1));
    for (number, sequence) in (1..).zip(sequences) {
        for name in settings.nodes() {
            let mut seen = observation(name, *name == node(0), !settings.servers.contains_key(name));
            if *name == node(2) {
                seen.ledger.incarnation = Incarnation(incarnation);
                seen.ledger.sequence = *sequence;
            }
            assert!(view.observed(seen, (Boot { start: 1, random: BootId(1) }, number), NOW));
        }
    }
    view
}

fn told(outbox: &mut Outbox) -> Vec<String> {
    let sentence = |output| {
        let Output::Tell(body) = output else { return None };
        if let EventBody::Voters { node, sentence } = *body { Some(format!("{node} {sentence}")) } else { None }
    };
    outbox.take().into_iter().filter_map(sentence).collect()
}

#[test]
fn where_no_majority_votes_it_is_told_once_whose_ledger_has_no_vote() {
    let settings = settings(3);
    let accepted = Accepted { ballot: ballot(1), record: record(&settings, 1) };
    let (view, mut seats, mut outbox) = (view(&settings, 77, &[1]), Seats::default(), Outbox::default());
    // The others have not been heard for long.
    let later = NOW + Duration::from_secs(60);
    assert!(!seats.waits());
    seats.unable(&settings, &view, &accepted, &mut outbox, later);
    let sentences = told(&mut outbox);
    assert!(sentences.iter().any(|told| told.starts_with("db2 has no vote, and no majority")), "{sentences:?}");
    assert!(seats.waits(), "nothing but their return ends this");
    seats.unable(&settings, &view, &accepted, &mut outbox, later);
    assert_eq!(told(&mut outbox), Vec::<String>::new());
}

#[test]
fn a_node_whose_ledger_went_back_is_asked_for_a_new_one_seldom_and_until_it_has_one() {
    let settings = settings(3);
    let record = record(&settings, 1);
    let (mut seats, mut outbox) = (Seats::default(), Outbox::default());
    let asked = |seats: &mut Seats, outbox: &mut Outbox, view: &View, after| {
        seats.look(&settings, view, (&ballot(1), &record), outbox, NOW + after);
        let begin = |output: &Output| matches!(output, Output::Send { to, request: Request::BeginAnew { .. } } if *to == node(2));
        outbox.take().iter().filter(|output| begin(output)).count()
    };
    let back = view(&settings, 1, &[7, 6]);
    let pause = settings.policy.repeat * 10;
    assert_eq!(asked(&mut seats, &mut outbox, &back, Duration::ZERO), 1);
    assert_eq!(asked(&mut seats, &mut outbox, &back, pause - Duration::from_millis(1)), 0);
    assert_eq!(asked(&mut seats, &mut outbox, &back, pause), 1);
    assert_eq!(asked(&mut seats, &mut outbox, &view(&settings, 2, &[1]), pause * 2), 0);
}
