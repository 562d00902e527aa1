//! Everything that is dropped is counted by reason, for viewers and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tasuki_schemas::envelope::Rejected;

/// Why something was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Larger than an envelope may be.
    Oversized,
    /// Not the form of an envelope.
    Malformed,
    /// Signed by somebody whom the cluster file does not name.
    UnknownSender,
    /// The signature is not the sender's.
    Forged,
    /// Meant for another cluster.
    Foreign,
    /// Meant for another program.
    Misdirected,
    /// Meant for another run of this program.
    Outlived,
    /// The sender may not say this.
    NotTheirs,
    /// Of another version of the vocabulary.
    Version,
    /// Of an earlier run of the sender, or far behind what its present run has said.
    Stale,
    /// A program with a key that the cluster file does not name tried the mesh.
    UnknownKey,
    /// A cluster's key answered at another program's mesh address.
    WrongPeer,
    /// Ours: a carrier's queue was full, and this was the oldest.
    QueueFull,
    /// Ours: it waited for its carrier until it was of no use.
    Expired,
    /// Ours: Redis refused to publish it, e.g. for lack of a right.
    Refused,
    /// Arrived, but the program was too slow to take it.
    Overflow,
}

impl Reason {
    /// The reason's name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::UnknownSender => "unknown_sender",
            Self::Forged => "forged",
            Self::Foreign => "foreign",
            Self::Misdirected => "misdirected",
            Self::Outlived => "outlived",
            Self::NotTheirs => "not_theirs",
            Self::Version => "version",
            Self::Stale => "stale",
            Self::UnknownKey => "unknown_key",
            Self::WrongPeer => "wrong_peer",
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Overflow => "overflow",
        }
    }
}

impl From<&Rejected> for Reason {
    fn from(rejected: &Rejected) -> Self {
        match rejected {
            Rejected::Oversized(_) => Self::Oversized,
            Rejected::Malformed(_) => Self::Malformed,
            Rejected::Unknown(_) => Self::UnknownSender,
            Rejected::Forged(_) => Self::Forged,
            Rejected::Foreign(_) => Self::Foreign,
            Rejected::Misdirected(_) => Self::Misdirected,
            Rejected::Outlived(_) => Self::Outlived,
            Rejected::NotTheirs(_) => Self::NotTheirs,
            Rejected::Version(_) => Self::Version,
        }
    }
}

/// What a bus has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages sealed and handed to the carriers.
    pub published: u64,
    /// Messages handed to the program, each once.
    pub delivered: u64,
    /// Second and later copies: the other carriers', replays of what the present run of a sender has said, and what this
    /// program said on a channel that it reads.
    pub duplicates: u64,
    /// How often a carrier came (back) to life.
    pub resumed: u64,
    /// What was dropped.
    pub dropped: BTreeMap<Reason, u64>,
}

/// The counters of one bus, shared by its tasks.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counters>);

impl Tally {
    pub(crate) fn add(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut lock(&self.0));
    }

    pub(crate) fn dropped(&self, reason: Reason) {
        self.add(|counters| *counters.dropped.entry(reason).or_default() += 1);
    }

    pub(crate) fn snapshot(&self) -> Counters {
        lock(&self.0).clone()
    }
}

/// Locks for a moment. A poisoned lock guards plain values here, which stay usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
