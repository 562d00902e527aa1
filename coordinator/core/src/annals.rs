//! How a cluster's history goes on: in which order own incidents and those of other coordinators are handed out, and when
//! missing ones are fetched first. It reads nothing and waits for nothing: the shell fetches, and wakes it.
//!
//! Redis is the arbiter between a leader and the one before it, who may not know yet that it was deposed. Under a new
//! ballot a leader first fences: from then on Redis takes nothing of lower ballots. Then it fetches what was taken. An own
//! incident is offered to Redis, and is history once that has taken it, or nobody answers. So whatever one coordinator
//! hands out, all do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::event::{Event, EventBody, EventId};
use tasuki_schemas::moment::Moment;

use crate::chain::{Chain, Heard};

/// A missing incident is waited for so long; then history goes on without it.
const MISSING: Duration = Duration::from_secs(2);
/// Under a new ballot a leader waits so long for what was told under those before; then it begins.
const TAKING_UP: Duration = Duration::from_millis(400);
/// So long a Redis has to take an own incident; then it is history without that.
const TAKEN_WITHIN: Duration = Duration::from_millis(250);
/// As long as something is missing it is asked for again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// Incidents that wait at most.
const WAITING: usize = 4096;

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Do {
    /// Hand an incident out, and keep it; an own one is also told to the others.
    Out {
        /// The incident.
        event: Arc<Event>,
        /// Whether this coordinator tells it.
        own: bool,
    },
    /// Fetch what is kept elsewhere after this one.
    Fetch(Option<EventId>),
    /// Have nothing of lower ballots than this one kept any more. A fetch follows.
    Fence(Ballot),
    /// Have an own incident kept; what comes of it is told.
    Offer(Arc<Event>),
}

/// Why something is fetched.
#[derive(Clone, Copy, Debug)]
struct Fetching {
    until: Moment,
    again_at: Moment,
    /// Everybody who could answer has done so, once at least.
    answered: bool,
}

/// The history of a cluster as one coordinator sees it go on.
#[derive(Debug)]
pub struct Annals {
    chain: Chain,
    /// Incidents of others that wait for earlier ones; true for those that were fetched.
    waiting: BTreeMap<EventId, (Event, bool)>,
    /// Own incidents that wait for what the last leader told.
    own: VecDeque<(Ballot, Event)>,
    /// The own incident that is offered, until then.
    offered: Option<(Arc<Event>, Moment)>,
    fetching: Option<Fetching>,
    /// The own ballot that is being taken up, and the one that was: what leaders before it told was fetched.
    taking_up: Option<Ballot>,
    taken_up: Option<Ballot>,
    /// The latest own diagnosis that was not told as a leader's.
    unsaid: Option<Event>,
}

impl Annals {
    /// History as it was kept.
    #[must_use]
    pub const fn new(chain: Chain) -> Self {
        Self {
            chain,
            waiting: BTreeMap::new(),
            own: VecDeque::new(),
            offered: None,
            fetching: None,
            taking_up: None,
            taken_up: None,
            unsaid: None,
        }
    }

    /// The latest of it.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Takes an incident that this coordinator saw without a ballot of its own: it is none of history, unless it comes to
    /// lead before anybody else said so.
    pub fn saw(&mut self, event: Event) {
        if matches!(event.body, EventBody::Diagnosis { .. }) {
            self.unsaid = Some(event);
        }
    }

    /// Takes an incident that this coordinator tells under its ballot.
    pub fn tell(&mut self, ballot: Ballot, event: Event, now: Moment) -> Vec<Do> {
        if self.own.len() < WAITING {
            self.own.push_back((ballot, event));
        }
        self.settle(now)
    }

    /// Takes an incident of another coordinator.
    pub fn hear(&mut self, event: Event, now: Moment) -> Vec<Do> {
        self.wait(event, false);
        self.settle(now)
    }

    /// Takes what was fetched; `all` once everybody who could answer has, to every fetch. What was asked for before a fence
    /// says nothing about what was told since: were its answer the last one, a new leader could begin before the last
    /// incident of the one before it.
    pub fn fetched(&mut self, events: Vec<Event>, all: bool, now: Moment) -> Vec<Do> {
        for event in events {
            self.wait(event, true);
        }
        if let Some(fetching) = &mut self.fetching {
            fetching.answered |= all;
        }
        self.settle(now)
    }

    /// What was offered is kept, or was refused: then this coordinator is deposed, and nobody hands that out.
    pub fn answered(&mut self, id: &EventId, kept: bool, now: Moment) -> Vec<Do> {
        let mut todo = Vec::new();
        if let Some((event, _)) = self.offered.take_if(|(offered, _)| offered.id.as_ref() == Some(id))
            && kept
        {
            self.own_out(event, &mut todo);
        }
        todo.extend(self.settle(now));
        todo
    }

    /// Looks again.
    pub fn woke(&mut self, now: Moment) -> Vec<Do> {
        self.settle(now)
    }

    /// When to look again.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        let fetching = self.fetching.map(|fetching| fetching.until.min(fetching.again_at));
        fetching.into_iter().chain(self.offered.as_ref().map(|(_, until)| *until)).min()
    }

    fn wait(&mut self, event: Event, fetched: bool) {
        if let Some(id) = event.id.clone()
            && self.chain.head().is_none_or(|head| *head < id)
            && self.offered.as_ref().is_none_or(|(offered, _)| offered.id.as_ref() != Some(&id))
            && (self.waiting.len() < WAITING || fetched)
        {
            let kept = self.waiting.entry(id).or_insert((event, fetched));
            kept.1 |= fetched;
        }
    }

    fn settle(&mut self, now: Moment) -> Vec<Do> {
        let mut todo = Vec::new();
        while self.others(now, &mut todo) || self.mine(now, &mut todo) {}
        if self.waiting.is_empty() && self.own.is_empty() {
            self.fetching = None;
        }
        if let Some(fetching) = &mut self.fetching
            && now >= fetching.again_at
        {
            fetching.again_at = now + AGAIN;
            todo.push(Do::Fetch(self.chain.head().cloned()));
        }
        todo
    }

    /// Hands out the next of another coordinator; false if there is none, or something before it is missing.
    fn others(&mut self, now: Moment, todo: &mut Vec<Do>) -> bool {
        let Some((id, (event, fetched))) = self.waiting.pop_first() else { return false };
        // Of what was fetched, whatever lies before the first is kept nowhere.
        let first = fetched && self.chain.head().is_none();
        let given_up = first || self.fetching.is_some_and(|it| it.until <= now || it.answered && fetched);
        let heard = if given_up { self.chain.hear_after_all(event) } else { self.chain.hear(event) };
        match heard {
            Heard::Next(event) => {
                todo.push(Do::Out { event, own: false });
                true
            }
            Heard::Old => true,
            Heard::Gap(event) => {
                self.waiting.insert(id, (*event, fetched));
                self.fetch(now);
                false
            }
        }
    }

    /// Goes on with own ones; false if there is none, or one is offered, or what leaders before told is not known yet.
    fn mine(&mut self, now: Moment, todo: &mut Vec<Do>) -> bool {
        if let Some((event, _)) = self.offered.take_if(|(_, until)| *until <= now) {
            self.own_out(event, todo);
        }
        if self.offered.is_some() {
            return false;
        }
        let Some((ballot, _)) = self.own.front() else { return false };
        if self.taken_up.as_ref() != Some(ballot) {
            let ballot = ballot.clone();
            if self.taking_up.as_ref() != Some(&ballot) {
                self.taking_up = Some(ballot.clone());
                self.fetching = Some(Fetching { until: now + TAKING_UP, again_at: now, answered: false });
                todo.push(Do::Fence(ballot));
                return false;
            }
            let waits = self.fetching.is_some_and(|it| now < it.until && (!it.answered || !self.waiting.is_empty()));
            if waits {
                return false;
            }
            self.taken_up = Some(ballot);
        }
        let Some((ballot, event)) = self.own.pop_front() else { return false };
        let says_it = matches!(event.body, EventBody::Diagnosis { .. });
        let unsaid = self.unsaid.take().filter(|unsaid| !says_it && !self.is_said(unsaid));
        let event = match unsaid {
            Some(unsaid) => {
                self.own.push_front((ballot.clone(), event));
                unsaid
            }
            None => event,
        };
        if let Some(event) = self.chain.place(&ballot, event).map(Arc::new) {
            todo.push(Do::Offer(Arc::clone(&event)));
            self.offered = Some((event, now + TAKEN_WITHIN));
        }
        true
    }

    /// An own incident is history, unless another leader's came before.
    fn own_out(&mut self, event: Arc<Event>, todo: &mut Vec<Do>) {
        if let Heard::Next(event) = self.chain.hear_after_all(Arc::unwrap_or_clone(event)) {
            todo.push(Do::Out { event, own: true });
        }
    }

    /// Whether history's last diagnosis is this one.
    fn is_said(&self, unsaid: &Event) -> bool {
        let last = self.chain.last(|event| matches!(event.body, EventBody::Diagnosis { .. }));
        last.is_some_and(|last| last.body == unsaid.body)
    }

    fn fetch(&mut self, now: Moment) {
        self.fetching.get_or_insert(Fetching { until: now + MISSING, again_at: now, answered: false });
    }
}

#[cfg(test)]
#[path = "annals_tests.rs"]
mod tests;
