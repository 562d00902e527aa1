//! The one way in: whatever a carrier brings is verified, deduplicated and handed to the program.

use std::sync::{Arc, Mutex};

use tasuki_schemas::envelope::{Opened, Opener};
use tasuki_schemas::id::ProgramId;
use tasuki_schemas::message::Message;
use tokio::sync::mpsc;

use crate::counters::{Reason, Tally, lock};
use crate::known::Known;
use crate::window::{Verdict, Window, Windows};

/// What a bus hands to its program.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrived {
    /// A message, verified, and for the first time.
    Message(Opened),
    /// A carrier came (back) to life: what was said in the meantime may be lost, ask everybody for a fresh report.
    Resumed,
}

pub(crate) struct Inbox {
    opener: Opener,
    me: ProgramId,
    windows: Arc<Windows>,
    known: Arc<Mutex<Known>>,
    program: mpsc::Sender<Arrived>,
    pub(crate) tally: Arc<Tally>,
}

impl Inbox {
    pub(crate) fn new(
        opener: Opener,
        me: ProgramId,
        (windows, known): (Arc<Windows>, Arc<Mutex<Known>>),
        program: mpsc::Sender<Arrived>,
        tally: Arc<Tally>,
    ) -> Self {
        Self { opener, me, windows, known, program, tally }
    }

    /// Takes what a carrier brought; `peer` is who proved to be at the other end, if anybody did.
    pub(crate) fn take(&self, peer: Option<&ProgramId>, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return self.tally.dropped(Reason::Malformed) };
        if lock(&self.known).contains(text) {
            self.tally.add(|counters| counters.duplicates += 1);
            return;
        }
        let opened = match self.opener.open_from(peer, text) {
            Ok(opened) => opened,
            Err(rejected) => {
                tracing::debug!(%rejected, "a message was dropped");
                return self.tally.dropped(Reason::from(&rejected));
            }
        };
        lock(&self.known).keep(text);
        let echo = matches!(opened.message, Message::Echo { .. });
        if opened.sender != self.me && !echo {
            self.deliver(opened);
        }
    }

    /// What a kept text holds, if it is genuine. When it was sealed does not matter here.
    pub(crate) fn examine(&self, text: &str) -> Option<Opened> {
        match self.opener.open(text) {
            Ok(opened) => Some(opened),
            Err(rejected) => {
                self.tally.dropped(Reason::from(&rejected));
                None
            }
        }
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
