//! The history of one cluster as a chain: which incident comes next, what is missing, and what a viewer has missed.
//!
//! The coordinator that owns a ballot numbers what it tells under it, and names the incident before as it knew it. So
//! every coordinator sees whether something is missing, and all of them hand out the same incidents in the same order:
//! that of (ballot, number). What a deposed leader tells late is handed out nowhere any more.

use std::collections::VecDeque;
use std::sync::Arc;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::event::{Event, EventId, PublicId};
use tasuki_schemas::id::BootId;

/// The latest incidents of a cluster.
#[derive(Clone, Debug)]
pub struct Chain {
    kept: VecDeque<Arc<Event>>,
    limit: usize,
    /// Whether an incident was ever dropped for want of room.
    trimmed: bool,
}

/// What an incident that was heard is.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The next one: hand it out.
    Next(Arc<Event>),
    /// Handed out before, or told by a leader that was deposed before: nothing is to be done.
    Old,
    /// Something between the last one and this is missing: fetch it first.
    Gap(Box<Event>),
}

/// What a viewer has missed that names the last incident it got.
#[derive(Clone, Debug, PartialEq)]
pub enum Missed {
    /// These, in order.
    These(Vec<Arc<Event>>),
    /// More than is kept here.
    More,
    /// Nothing yet: this coordinator itself knows less than the viewer.
    Ahead,
}

impl Chain {
    /// An empty chain that keeps so many of the latest incidents.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { kept: VecDeque::new(), limit, trimmed: false }
    }

    /// A chain as it was kept; `more` if there were earlier incidents than these.
    #[must_use]
    pub fn of(kept: Vec<Event>, more: bool, limit: usize) -> Self {
        let mut chain = Self { trimmed: more, ..Self::new(limit) };
        for event in kept {
            chain.hear_after_all(event);
        }
        chain
    }

    /// The last incident.
    #[must_use]
    pub fn head(&self) -> Option<&EventId> {
        self.kept.back().and_then(|event| event.id.as_ref())
    }

    /// The last incident that a question finds, the latest first.
    #[must_use]
    pub fn last(&self, mut found: impl FnMut(&Event) -> bool) -> Option<&Arc<Event>> {
        self.kept.iter().rev().find(|event| found(event))
    }

    /// The place of an own incident; `None` if a later ballot was heard: whoever tells it was deposed.
    #[must_use]
    pub fn place(&self, ballot: &Ballot, mut event: Event) -> Option<Event> {
        let number = match self.head() {
            Some(head) if head.ballot > *ballot => return None,
            Some(head) if head.ballot == *ballot => head.number + 1,
            Some(_) | None => 1,
        };
        event.after = self.head().cloned();
        event.id = Some(EventId { ballot: ballot.clone(), number });
        Some(event)
    }

    /// Takes an incident that another coordinator told, or that was kept. One without an id is none of the chain.
    pub fn hear(&mut self, event: Event) -> Heard {
        if self.is_old(&event) {
            Heard::Old
        } else if event.after.as_ref().is_some_and(|before| self.head().is_none_or(|head| head < before)) {
            Heard::Gap(Box::new(event))
        } else {
            Heard::Next(self.take(event))
        }
    }

    /// Takes an incident although what lies before it is missing: nobody has it any more.
    pub fn hear_after_all(&mut self, event: Event) -> Heard {
        if self.is_old(&event) { Heard::Old } else { Heard::Next(self.take(event)) }
    }

    fn is_old(&self, event: &Event) -> bool {
        event.id.as_ref().is_none_or(|id| self.head().is_some_and(|head| id <= head))
    }

    fn take(&mut self, event: Event) -> Arc<Event> {
        let event = Arc::new(event);
        self.kept.push_back(Arc::clone(&event));
        if self.kept.len() > self.limit {
            self.kept.pop_front();
            self.trimmed = true;
        }
        event
    }

    /// What a viewer has missed since an incident.
    #[must_use]
    pub fn since(&self, since: &PublicId) -> Missed {
        let ids = || self.kept.iter().filter_map(|event| event.id.as_ref());
        let ahead = |head: &EventId| match since.same_ballot(head) {
            true => since.number > head.number,
            false => since.counter > head.ballot.counter && !ids().any(|id| since.same_ballot(id)),
        };
        if self.head().is_none_or(ahead) {
            return Missed::Ahead;
        }
        match place(since, ids()) {
            Some(seen) => Missed::These(self.kept.iter().skip(seen).cloned().collect()),
            None if self.trimmed => Missed::More,
            None => Missed::These(self.kept.iter().cloned().collect()),
        }
    }

    /// The latest incidents that one run of a coordinator told after its event of a number: a snapshot does not contain
    /// them.
    #[must_use]
    pub fn told_after(&self, run: BootId, number: u64) -> Vec<Arc<Event>> {
        let own =
            |event: &&Arc<Event>| event.id.as_ref().is_some_and(|id| id.ballot.boot == run) && event.number > number;
        let count = self.kept.iter().rev().take_while(own).count();
        self.latest(count)
    }

    /// The latest incidents, at most so many.
    #[must_use]
    pub fn latest(&self, most: usize) -> Vec<Arc<Event>> {
        self.kept.iter().skip(self.kept.len().saturating_sub(most)).cloned().collect()
    }
}

/// How many of some ordered ids a viewer has seen that names the last one it got; `None` if none of them. Where its
/// ballot is not among them (it saw what a deposed leader told and nobody kept), those of earlier counters.
pub fn place<'a>(since: &PublicId, ids: impl Iterator<Item = &'a EventId>) -> Option<usize> {
    let (mut exact, mut earlier) = (None, None);
    for (at, id) in ids.enumerate() {
        if since.same_ballot(id) {
            if id.number <= since.number {
                exact = Some(at + 1);
            }
        } else if id.ballot.counter < since.counter {
            earlier = Some(at + 1);
        }
    }
    exact.or(earlier)
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
