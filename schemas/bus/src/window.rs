//! Which messages of a sender were already seen.
//!
//! A window and not a high-water mark, since two carriers overtake each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tasuki_schemas::id::{Boot, ProgramId};

/// How far behind the newest sequence a message may arrive.
const WIDTH: u64 = 4096;

/// What a message is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fresh,
    Duplicate,
    Stale,
}

/// What was heard of each sender.
pub(crate) type Windows = Mutex<BTreeMap<ProgramId, Window>>;

/// The sequences seen of a sender's newest run.
pub(crate) struct Window {
    boot: Boot,
    highest: u64,
    seen: BTreeSet<u64>,
}

impl Window {
    pub(crate) const fn new(boot: Boot) -> Self {
        Self { boot, highest: 0, seen: BTreeSet::new() }
    }

    /// The newest run that was heard.
    pub(crate) const fn run(&self) -> Boot {
        self.boot
    }

    /// Judges a message whose signature was verified, and remembers it.
    pub(crate) fn admit(&mut self, boot: Boot, sequence: u64) -> Verdict {
        if boot < self.boot {
            return Verdict::Stale;
        }
        if boot > self.boot {
            *self = Self::new(boot);
        }
        if sequence.saturating_add(WIDTH) <= self.highest {
            return Verdict::Stale;
        }
        if !self.seen.insert(sequence) {
            return Verdict::Duplicate;
        }
        self.highest = self.highest.max(sequence);
        while self.seen.first().is_some_and(|oldest| oldest.saturating_add(WIDTH) <= self.highest) {
            self.seen.pop_first();
        }
        Verdict::Fresh
    }
}

#[cfg(test)]
mod tests {
    use tasuki_schemas::id::BootId;

    use super::*;

    fn boot(start: u64) -> Boot {
        Boot { start, random: BootId(7) }
    }

    #[test]
    fn a_message_is_taken_once_in_any_order() {
        let mut window = Window::new(boot(1));
        let verdicts: Vec<_> = [2, 1, 2, 1, 3].into_iter().map(|sequence| window.admit(boot(1), sequence)).collect();
        use Verdict::{Duplicate, Fresh};
        assert_eq!(verdicts, [Fresh, Fresh, Duplicate, Duplicate, Fresh]);
    }

    #[test]
    fn behind_the_window_nothing_is_taken_and_the_memory_is_bounded() {
        let mut window = Window::new(boot(1));
        for sequence in 1..=3 * WIDTH {
            assert_eq!(window.admit(boot(1), sequence), Verdict::Fresh);
        }
        assert_eq!(window.admit(boot(1), 2 * WIDTH), Verdict::Stale);
        assert_eq!(window.admit(boot(1), 2 * WIDTH + 1), Verdict::Duplicate);
        assert_eq!(window.seen.len() as u64, WIDTH);
    }

    #[test]
    fn an_earlier_run_is_stale_once_a_later_one_spoke() {
        let mut window = Window::new(boot(1));
        assert_eq!(window.admit(boot(1), 5), Verdict::Fresh);
        assert_eq!(window.admit(boot(2), 5), Verdict::Fresh);
        assert_eq!(window.admit(boot(1), 6), Verdict::Stale);
    }
}
