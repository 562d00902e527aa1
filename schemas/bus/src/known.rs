//! The texts that need no verification any more: they were verified, or are this program's own.
//!
//! Every message comes over each carrier, and verifying it once is enough.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

/// The latest of those texts. Only their hashes are kept, under a key of this process; one of 2^64 alike would drop a
/// message, as a lossy carrier does.
#[derive(Default)]
pub(crate) struct Known {
    hasher: RandomState,
    known: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Known {
    const KEPT: usize = 256;

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.known.contains(&self.hasher.hash_one(text))
    }

    pub(crate) fn keep(&mut self, text: &str) {
        let hash = self.hasher.hash_one(text);
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > Self::KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
