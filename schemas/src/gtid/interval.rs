//! Canonical sets of positive numbers: sorted, disjoint, never adjacent intervals.

use std::collections::BTreeMap;

/// The largest number of a MySQL transaction, 2^63 − 2 (MySQL manual, GTID format).
pub const LARGEST: u64 = (1 << 63) - 2;

/// Numbers, as intervals with both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// No number.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// True if it has no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The intervals in order, both ends included.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// Adds `first..=last`; an interval that runs backwards adds nothing.
    pub fn add(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        let touching: Vec<(u64, u64)> = self
            .0
            .range(..=last.saturating_add(1))
            .rev()
            .take_while(|(_, end)| end.saturating_add(1) >= first)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touching {
            self.0.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.0.insert(first, last);
    }

    /// Numbers in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        for (first, last) in other.iter() {
            union.add(first, last);
        }
        union
    }

    /// Numbers of `self` that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut rest = Self::new();
        for (first, last) in self.iter() {
            let mut next = first;
            for (start, end) in other.iter().skip_while(|(_, end)| *end < first).take_while(|(start, _)| *start <= last)
            {
                if next < start {
                    rest.add(next, start - 1);
                }
                next = next.max(end.saturating_add(1));
            }
            rest.add(next, last);
        }
        rest
    }

    /// Numbers in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.subtract(&self.subtract(other))
    }

    /// Whether every number of `other` is in `self`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(first, last)| self.0.range(..=first).next_back().is_some_and(|(_, end)| *end >= last))
    }

    /// How many numbers.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.iter().map(|(first, last)| last - first + 1).fold(0, u64::saturating_add)
    }
}
