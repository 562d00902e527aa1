//! Coordinators that follow each other, over carriers that lose, double and reorder, hand out one history.

use proptest::prelude::*;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::{BootId, NodeId};

use super::*;

fn at(ms: u64) -> Moment {
    Moment::default() + Duration::from_millis(ms)
}

fn ballot(counter: u64, coordinator: u64) -> Ballot {
    Ballot { counter, coordinator: format!("co{coordinator}").parse().unwrap(), boot: BootId(coordinator) }
}

fn event(body: EventBody) -> Event {
    let (cluster, coordinator) = ("main".parse().unwrap(), "co1".parse().unwrap());
    Event { cluster, coordinator, number: 0, at_ms: 0, id: None, after: None, body }
}

fn hold() -> Event {
    event(EventBody::Hold { reasons: Vec::new() })
}

fn crashed() -> Event {
    let primary: NodeId = "db1".parse().unwrap();
    event(EventBody::Diagnosis { diagnosis: Diagnosis::PrimaryCrashed { primary }, sentence: String::new() })
}

fn annals() -> Annals {
    Annals::new(Chain::new(1000))
}

fn out(todo: &[Do]) -> Vec<Arc<Event>> {
    let event = |one: &Do| match one {
        Do::Out { event, .. } => Some(Arc::clone(event)),
        Do::Fetch(_) | Do::Fence(_) | Do::Offer(_) => None,
    };
    todo.iter().filter_map(event).collect()
}

/// What is handed out when everything that is offered is kept.
fn kept(annals: &mut Annals, todo: Vec<Do>, now: Moment) -> Vec<Arc<Event>> {
    let (mut handed, mut todo) = (Vec::new(), VecDeque::from(todo));
    while let Some(one) = todo.pop_front() {
        handed.extend(out(std::slice::from_ref(&one)));
        if let Do::Offer(event) = one {
            todo.extend(annals.answered(event.id.as_ref().unwrap(), true, now));
        }
    }
    handed
}

fn copy(event: &Arc<Event>) -> Event {
    (**event).clone()
}

/// What the first leader tells: each under its place.
fn told(count: usize) -> Vec<Event> {
    let mut leader = annals();
    let mut todo = Vec::new();
    for _ in 0..count {
        leader.tell(ballot(1, 1), hold(), at(0));
    }
    todo.extend(leader.fetched(Vec::new(), true, at(1)));
    kept(&mut leader, todo, at(1)).iter().map(copy).collect()
}

#[test]
fn a_new_leader_fences_and_asks_for_what_the_last_one_told_before_it_begins() {
    let told = told(3);
    let mut next = annals();
    assert_eq!(out(&next.hear(told[0].clone(), at(0))).len(), 1);
    let begins = [Do::Fence(ballot(2, 2)), Do::Fetch(told[0].id.clone())];
    assert_eq!(next.tell(ballot(2, 2), hold(), at(10)), begins);
    assert_eq!(next.fetched(told[1..].to_vec(), false, at(20)).len(), 2);
    let todo = next.fetched(Vec::new(), true, at(21));
    let begun = kept(&mut next, todo, at(21));
    assert_eq!((begun.len(), &begun[0].after), (1, &told[2].id));
    // It goes on without asking again, until its next ballot: another one may have led in between.
    assert!(matches!(next.tell(ballot(2, 2), hold(), at(30))[..], [Do::Offer(_)]));
    assert_eq!(next.next_wake(), Some(at(280)));
    assert_eq!(next.tell(ballot(4, 2), hold(), at(40)), []);
    assert!(matches!(next.woke(at(280))[..], [Do::Out { own: true, .. }, Do::Fence(_), Do::Fetch(_)]));
}

#[test]
fn what_redis_refuses_nobody_hands_out() {
    let mut leader = annals();
    leader.tell(ballot(1, 1), hold(), at(0));
    let [Do::Offer(event)] = &leader.fetched(Vec::new(), true, at(1))[..] else { panic!("nothing is offered") };
    let id = event.id.clone().unwrap();
    assert_eq!(leader.answered(&id, false, at(2)), []);
    assert_eq!((leader.chain().head(), leader.next_wake()), (None, None));
    // What is offered may come back before the answer does, and is told to the others all the same.
    let [Do::Offer(event)] = &leader.tell(ballot(1, 1), hold(), at(3))[..] else { panic!("nothing is offered") };
    let id = event.id.clone().unwrap();
    assert_eq!(leader.fetched(vec![copy(event)], true, at(4)), []);
    assert!(matches!(leader.answered(&id, true, at(5))[..], [Do::Out { own: true, .. }]));
}

#[test]
fn nobody_is_waited_for_without_end() {
    let told = told(3);
    let mut next = annals();
    next.hear(told[0].clone(), at(0));
    assert_eq!(next.tell(ballot(2, 2), hold(), at(10)).len(), 2);
    assert_eq!(next.woke(at(110)), [Do::Fetch(told[0].id.clone())]);
    assert!(matches!(next.woke(at(410))[..], [Do::Offer(_)]));
    assert_eq!(out(&next.woke(at(660))).len(), 1);
    // The second is nowhere; the third is handed out at last.
    let mut other = annals();
    other.hear(told[0].clone(), at(0));
    assert_eq!(other.hear(told[2].clone(), at(10)), [Do::Fetch(told[0].id.clone())]);
    assert_eq!(out(&other.woke(at(2010))).iter().map(copy).collect::<Vec<_>>(), [told[2].clone()]);
    assert_eq!(other.next_wake(), None);
}

#[test]
fn a_history_whose_beginning_nobody_keeps_is_taken_from_where_it_begins() {
    let told = told(4);
    let mut fresh = annals();
    fresh.hear(told[3].clone(), at(0));
    assert_eq!(out(&fresh.fetched(told[2..].to_vec(), true, at(5))).len(), 2);
}

#[test]
fn a_leader_says_what_it_saw_before_it_led_unless_it_was_said() {
    let mut next = annals();
    next.saw(crashed());
    next.tell(ballot(2, 2), hold(), at(0));
    let todo = next.fetched(Vec::new(), true, at(1));
    let begun = kept(&mut next, todo, at(1));
    assert_eq!(begun.iter().map(|it| it.body.name()).collect::<Vec<_>>(), ["diagnosis", "hold"]);
    next.saw(crashed());
    let todo = next.tell(ballot(2, 2), hold(), at(2));
    assert_eq!(kept(&mut next, todo, at(2)).len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    /// Somebody leads, and tells so many.
    Lead(usize, usize),
    /// Somebody goes on under its last ballot, and does not know that it was deposed.
    GoOn(usize),
    /// What was told arrives at somebody: the one so far back, again or for the first time.
    Arrive(usize, prop::sample::Index),
    /// Somebody does so many of the things that it has to do.
    Work(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..3_usize, 1..4_usize).prop_map(|(who, count)| Step::Lead(who, count)),
        2 => (0..3_usize).prop_map(Step::GoOn),
        4 => (0..3_usize, any::<prop::sample::Index>()).prop_map(|(who, which)| Step::Arrive(who, which)),
        6 => (0..3_usize, 1..4_usize).prop_map(|(who, count)| Step::Work(who, count)),
    ];
    prop::collection::vec(step, 1..80)
}

/// A coordinator, what it has to do, and what it handed out.
struct One {
    annals: Annals,
    todo: VecDeque<Do>,
    handed: Vec<EventId>,
    ballot: Option<Ballot>,
}

/// What leaders tell is kept here; below the fence nothing is taken any more.
#[derive(Default)]
struct Redis {
    kept: Vec<Event>,
    fence: Option<Ballot>,
}

impl One {
    fn tell(&mut self) {
        let Some(ballot) = self.ballot.clone() else { return };
        self.todo.extend(self.annals.tell(ballot, hold(), at(0)));
    }

    fn work(&mut self, redis: &mut Redis) {
        let more = match self.todo.pop_front() {
            Some(Do::Out { event, .. }) => {
                self.handed.push(event.id.clone().unwrap());
                Vec::new()
            }
            Some(Do::Fetch(since)) => {
                let kept = redis.kept.iter().filter(|event| event.id > since).cloned().collect();
                let all = !self.todo.iter().any(|one| matches!(one, Do::Fetch(_)));
                self.annals.fetched(kept, all, at(0))
            }
            Some(Do::Fence(ballot)) => {
                redis.fence = redis.fence.take().max(Some(ballot));
                Vec::new()
            }
            Some(Do::Offer(event)) => {
                let id = event.id.clone().unwrap();
                let last = redis.kept.last().and_then(|last| last.id.clone());
                let taken = Some(&id) > last.as_ref() && Some(&id.ballot) >= redis.fence.as_ref();
                if taken {
                    redis.kept.push(copy(&event));
                }
                self.annals.answered(&id, taken, at(0))
            }
            None => Vec::new(),
        };
        self.todo.extend(more);
    }
}

proptest! {
    /// Three coordinators and a Redis. Whatever arrives late, twice or never, whoever leads and whoever believes to lead,
    /// each hands out the same incidents in the same order, none of them twice, and in the end all of them.
    #[test]
    fn everybody_hands_out_the_same(steps in steps()) {
        let one = || One { annals: annals(), todo: VecDeque::new(), handed: Vec::new(), ballot: None };
        let (mut all, mut redis, mut counter) = ([one(), one(), one()], Redis::default(), 0);
        for step in steps {
            match step {
                Step::Lead(who, count) => {
                    counter += 1;
                    all[who].ballot = Some(ballot(counter, who as u64));
                    (0..count).for_each(|_| all[who].tell());
                }
                Step::GoOn(who) => all[who].tell(),
                Step::Arrive(who, which) if !redis.kept.is_empty() => {
                    let todo = all[who].annals.hear(which.get(&redis.kept).clone(), at(0));
                    all[who].todo.extend(todo);
                }
                Step::Arrive(..) => {}
                Step::Work(who, count) => (0..count).for_each(|_| all[who].work(&mut redis)),
            }
        }
        for who in [0, 1, 2, 0, 1, 2] {
            while !all[who].todo.is_empty() {
                all[who].work(&mut redis);
            }
            let todo = all[who].annals.fetched(redis.kept.clone(), true, at(0));
            all[who].todo.extend(todo);
            while !all[who].todo.is_empty() {
                all[who].work(&mut redis);
            }
        }
        let everything: Vec<EventId> = redis.kept.iter().filter_map(|event| event.id.clone()).collect();
        for one in &all {
            prop_assert_eq!(&one.handed, &everything);
        }
    }
}
