//! The one way in: whatever a carrier brings is verified, deduplicated and handed to the program.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};

use tasuki_schemas::envelope::{Opened, Opener};
use tasuki_schemas::id::{Boot, ProgramId};
use tasuki_schemas::message::Message;
use tokio::sync::mpsc;

use crate::counters::{Reason, Tally, lock};
use crate::window::{Verdict, Window};

/// What a bus hands to its program.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrived {
    /// A message, verified, and for the first time.
    Message(Opened),
    /// A carrier came (back) to life: what was said in the meantime may be lost, ask everybody for a fresh report.
    Resumed,
}

/// The texts verified last: every message comes over each carrier, and verifying it once is enough. Only their hashes are
/// kept, under a key of this process; one of 2^64 alike would drop a message, as a lossy carrier does.
#[derive(Default)]
struct Verified {
    hasher: RandomState,
    known: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Verified {
    const KEPT: usize = 256;

    fn contains(&self, text: &str) -> bool {
        self.known.contains(&self.hasher.hash_one(text))
    }

    fn keep(&mut self, text: &str) {
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

pub(crate) struct Inbox {
    opener: Opener,
    me: ProgramId,
    boot: Boot,
    windows: Mutex<BTreeMap<ProgramId, Window>>,
    verified: Mutex<Verified>,
    program: mpsc::Sender<Arrived>,
    pub(crate) tally: Arc<Tally>,
}

impl Inbox {
    pub(crate) fn new(
        opener: Opener,
        me: ProgramId,
        boot: Boot,
        program: mpsc::Sender<Arrived>,
        tally: Arc<Tally>,
    ) -> Self {
        let verified = Mutex::new(Verified::default());
        Self { opener, me, boot, windows: Mutex::new(BTreeMap::new()), verified, program, tally }
    }

    /// Takes what a carrier brought. Returns the sequence of an echo of this very run.
    pub(crate) fn take(&self, bytes: &[u8]) -> Option<u64> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.tally.dropped(Reason::Malformed);
            return None;
        };
        if lock(&self.verified).contains(text) {
            self.tally.add(|counters| counters.duplicates += 1);
            return None;
        }
        let opened = match self.opener.open(text) {
            Ok(opened) => opened,
            Err(rejected) => {
                tracing::debug!(%rejected, "a message was dropped");
                self.tally.dropped(Reason::from(&rejected));
                return None;
            }
        };
        let echo = matches!(opened.message, Message::Echo { .. });
        if opened.sender == self.me {
            // An echo comes back once through each Redis, and each return counts.
            return (echo && opened.boot == self.boot).then_some(opened.sequence);
        }
        lock(&self.verified).keep(text);
        if !echo {
            self.deliver(opened);
        }
        None
    }

    /// Tells the program that a carrier came to life.
    pub(crate) fn resumed(&self) {
        self.tally.add(|counters| counters.resumed += 1);
        self.hand_over(Arrived::Resumed);
    }

    fn deliver(&self, opened: Opened) {
        let verdict = lock(&self.windows)
            .entry(opened.sender.clone())
            .or_insert_with(|| Window::new(opened.boot))
            .admit(opened.boot, opened.sequence);
        match verdict {
            Verdict::Fresh => {
                if self.hand_over(Arrived::Message(opened)) {
                    self.tally.add(|counters| counters.delivered += 1);
                }
            }
            Verdict::Duplicate => self.tally.add(|counters| counters.duplicates += 1),
            Verdict::Stale => self.tally.dropped(Reason::Stale),
        }
    }

    /// Never waits: a program that is slow must not make the carriers slow.
    fn hand_over(&self, arrived: Arrived) -> bool {
        let taken = self.program.try_send(arrived).is_ok();
        if !taken {
            self.tally.dropped(Reason::Overflow);
        }
        taken
    }
}
