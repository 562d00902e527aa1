//! The network between hosts and coordinators: delays, losses, doubles, and cuts in one direction or both.

use std::collections::BTreeSet;

use super::world::MS;

/// A place on the network: hosts first, then coordinators.
pub(crate) type Place = usize;

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to but not including `high`.
    pub(crate) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    pub(crate) const fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub(crate) fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next() % from.len() as u64).unwrap_or(0)]
    }
}

/// The state of the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    /// Nothing travels from the first to the second.
    cut: BTreeSet<(Place, Place)>,
    /// One message in so many is lost; 0 for none.
    pub(crate) lossy: u64,
    /// Redis is there: coordinators hear each other, and every message has a second way.
    pub(crate) redis: bool,
}

impl Net {
    /// Nothing is wrong.
    pub(crate) fn whole() -> Self {
        Self { redis: true, ..Self::default() }
    }

    pub(crate) fn cut(&mut self, from: Place, to: Place) {
        self.cut.insert((from, to));
    }

    pub(crate) fn join(&mut self, from: Place, to: Place) {
        self.cut.remove(&(from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.lossy = 0;
        self.redis = true;
    }

    pub(crate) fn open(&self, from: Place, to: Place) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Both directions, as TCP needs them.
    pub(crate) fn joined(&self, one: Place, other: Place) -> bool {
        self.open(one, other) && self.open(other, one)
    }

    /// When the copies of a message arrive, in microseconds from now.
    pub(crate) fn copies(&self, from: Place, to: Place, dice: &mut Dice) -> Vec<u64> {
        if !self.open(from, to) {
            return Vec::new();
        }
        let ways = if self.redis { 2 } else { 1 };
        let mut copies = Vec::new();
        for _ in 0..ways {
            let lost = self.lossy > 0 && dice.one_in(self.lossy);
            let slow = match dice.between(0, 1000) {
                0 => dice.between(100 * MS, 3000 * MS),
                1..6 => 30 * MS,
                _ => 0,
            };
            if !lost {
                copies.push(dice.between(100, 2 * MS) + slow);
            }
        }
        // The second copy is dropped by its number unless it is the first to come; a real double is rare.
        copies.sort_unstable();
        copies.truncate(if dice.one_in(50) { 2 } else { 1 });
        // Some carrier, or somebody in its place, kept it and brings it again much later.
        if dice.one_in(200) {
            copies.push(dice.between(1000 * MS, 15_000 * MS));
        }
        copies
    }
}
