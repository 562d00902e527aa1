//! Chains that lose, double and reorder what they hear still hand out the same.

use std::collections::VecDeque;

use proptest::prelude::*;
use tasuki_schemas::event::EventBody;

use super::*;

fn ballot(counter: u64, boot: u64) -> Ballot {
    Ballot { counter, coordinator: format!("co{boot}").parse().unwrap(), boot: BootId(boot) }
}

fn event() -> Event {
    let (cluster, coordinator) = ("main".parse().unwrap(), "co1".parse().unwrap());
    let body = EventBody::Hold { reasons: Vec::new() };
    Event { cluster, coordinator, number: 0, at_ms: 0, id: None, after: None, body }
}

fn tell(chain: &mut Chain, ballot: &Ballot) -> Option<Event> {
    let placed = chain.place(ballot, event())?;
    assert!(matches!(chain.hear(placed.clone()), Heard::Next(_)));
    Some(placed)
}

/// What one leader after the other tells that knows of all before: `length` incidents under each ballot.
fn told(reigns: &[(u64, u64)], length: u64) -> Vec<Event> {
    let mut chain = Chain::new(usize::MAX);
    let reign = |&(counter, boot): &(u64, u64)| {
        let ballot = ballot(counter, boot);
        (0..length).map(|_| tell(&mut chain, &ballot).unwrap()).collect::<Vec<_>>()
    };
    reigns.iter().flat_map(reign).collect()
}

fn ids(events: &[Arc<Event>]) -> Vec<String> {
    events.iter().map(|event| event.id.as_ref().unwrap().to_string()).collect()
}

fn since(event: &Event) -> PublicId {
    event.id.as_ref().unwrap().into()
}

fn heard(events: &[Event], limit: usize) -> Chain {
    let mut chain = Chain::new(limit);
    for event in events {
        assert!(matches!(chain.hear(event.clone()), Heard::Next(_)));
    }
    chain
}

#[test]
fn a_leader_numbers_what_it_tells_and_names_what_came_before() {
    let told = told(&[(1, 1), (3, 2)], 2);
    let after: Vec<String> =
        told.iter().map(|it| it.after.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)).collect();
    let one = "1.co1.0000000000000001";
    assert_eq!(after, ["-", &format!("{one}-1"), &format!("{one}-2"), "3.co2.0000000000000002-1"]);
}

#[test]
fn whoever_was_deposed_tells_nothing_any_more() {
    let mut chain = heard(&told(&[(5, 1), (6, 2)], 2), 100);
    assert_eq!(chain.place(&ballot(5, 1), event()), None);
    let mut late = told(&[(5, 1)], 3);
    assert_eq!(chain.hear(late.remove(2)), Heard::Old);
}

#[test]
fn what_is_missing_is_asked_for_before_the_next() {
    let told = told(&[(1, 1)], 3);
    let mut chain = heard(&told[..1], 100);
    assert!(matches!(chain.hear(told[2].clone()), Heard::Gap(_)));
    assert!(matches!(chain.hear(told[1].clone()), Heard::Next(_)));
    assert!(matches!(chain.hear(told[2].clone()), Heard::Next(_)));
    // A leader that knows less tells on all the same.
    let mut other = heard(&told[..1], 100);
    let next = tell(&mut other, &ballot(2, 2)).unwrap();
    assert!(matches!(chain.hear(next), Heard::Next(_)));
    // Of a history that nobody has any more the rest is taken.
    let mut fresh = Chain::new(100);
    assert!(matches!(fresh.hear(told[2].clone()), Heard::Gap(_)));
    assert!(matches!(fresh.hear_after_all(told[2].clone()), Heard::Next(_)));
}

#[test]
fn a_viewer_gets_what_it_missed_wherever_it_comes_from() {
    let told = told(&[(1, 1), (3, 2)], 3);
    let chain = heard(&told, 100);
    for at in 0..told.len() {
        let Missed::These(missed) = chain.since(&since(&told[at])) else { panic!("{at}") };
        assert_eq!(missed.iter().map(|it| (**it).clone()).collect::<Vec<_>>(), told[at + 1..]);
    }
    // One more of the first leader was seen by this viewer alone.
    let lost = PublicId { number: 4, ..since(&told[2]) };
    assert_eq!(chain.since(&lost), Missed::These(chain.latest(3)));
    // So were some of a leader whom nobody else ever heard.
    let lost = PublicId { counter: 2, boot: BootId(9), number: 2 };
    assert_eq!(chain.since(&lost), Missed::These(chain.latest(3)));
    // The viewer comes from a coordinator that knows more.
    for (counter, boot, number) in [(3, 2, 4), (4, 1, 1)] {
        assert_eq!(chain.since(&PublicId { counter, boot: BootId(boot), number }), Missed::Ahead);
    }
    assert_eq!(Chain::new(9).since(&since(&told[0])), Missed::Ahead);
    let short = heard(&told, 2);
    assert_eq!(short.since(&since(&told[0])), Missed::More);
    assert_eq!(short.since(&since(&told[4])), Missed::These(short.latest(1)));
}

proptest! {
    /// However messages are lost, doubled and reordered: with the missing ones fetched from where all are kept, what is
    /// handed out is everything, once, in order; and whoever comes back at any moment misses nothing and gets nothing twice.
    #[test]
    fn nothing_is_missing_or_double(
        reigns in 1_u64..5,
        length in 1_u64..6,
        arrivals in prop::collection::vec(any::<prop::sample::Index>(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let reigns: Vec<(u64, u64)> = (0..reigns).map(|it| (2 * it + 1, it % 2 + 1)).collect();
        let kept = told(&reigns, length);
        let mut chain = Chain::new(1000);
        let (mut out, mut viewer) = (Vec::new(), VecDeque::new());
        for (step, arrival) in arrivals.iter().enumerate() {
            let event = arrival.get(&kept).clone();
            match chain.hear(event.clone()) {
                Heard::Next(event) => out.push(event),
                Heard::Old => {}
                Heard::Gap(event) => {
                    for missing in kept.iter().filter(|it| it.id <= event.id) {
                        if let Heard::Next(event) = chain.hear(missing.clone()) {
                            out.push(event);
                        }
                    }
                    prop_assert_eq!(chain.head(), event.id.as_ref());
                }
            }
            if cuts.iter().any(|cut| cut.index(arrivals.len()) == step) || step + 1 == arrivals.len() {
                let missed = match viewer.back() {
                    None => Missed::These(chain.latest(1000)),
                    Some(last) => chain.since(&since(last)),
                };
                let Missed::These(missed) = missed else { panic!("{missed:?}") };
                viewer.extend(missed.iter().map(|it| (**it).clone()));
            }
        }
        prop_assert_eq!(ids(&out), ids(&kept[..out.len()].iter().cloned().map(Arc::new).collect::<Vec<_>>()));
        prop_assert_eq!(viewer.into_iter().map(Arc::new).collect::<Vec<_>>(), out);
    }
}
