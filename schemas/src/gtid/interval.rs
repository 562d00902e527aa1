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
            // None once nothing can follow, as after the largest number there is.
            let mut next = Some(first);
            let from = other.0.range(..=first).next_back().map_or(first, |(start, _)| *start);
            for (start, end) in other.0.range(from..=last) {
                if let Some(next) = next.filter(|next| next < start) {
                    rest.add(next, start - 1);
                }
                next = next.and_then(|next| Some(next.max(end.checked_add(1)?)));
            }
            if let Some(next) = next {
                rest.add(next, last);
            }
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
        self.iter().map(|(first, last)| (last - first).saturating_add(1)).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn of(intervals: impl IntoIterator<Item = (u64, u64)>) -> Intervals {
        let mut all = Intervals::new();
        for (first, last) in intervals {
            all.add(first, last);
        }
        all
    }

    #[test]
    fn the_ends_of_the_numbers_are_like_any_other() {
        let all = of([(0, u64::MAX)]);
        assert!(all.subtract(&all).is_empty());
        assert_eq!(all.subtract(&of([(1, u64::MAX)])), of([(0, 0)]));
        assert_eq!(all.subtract(&of([(0, u64::MAX - 1)])), of([(u64::MAX, u64::MAX)]));
        assert_eq!(all.count(), u64::MAX);
    }

    #[test]
    fn neighbours_are_merged_and_gaps_are_kept() {
        assert_eq!(of([(5, 6), (1, 2), (3, 4)]), of([(1, 6)]));
        assert_eq!(of([(3, 3), (1, 1)]).iter().collect::<Vec<_>>(), [(1, 1), (3, 3)]);
    }

    #[test]
    fn a_hundred_thousand_intervals_are_subtracted_at_once() {
        let odd = of((0..100_000).map(|at| (2 * at + 1, 2 * at + 1)));
        let begun = Instant::now();
        assert!(odd.subtract(&odd).is_empty());
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
