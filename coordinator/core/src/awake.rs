//! Whether this coordinator stood still: its host was paused, or had no time for it. What was said meanwhile is not heard yet.

use std::time::Duration;

use tasuki_schemas::moment::Moment;

/// How long a coordinator has looked without a gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awake {
    looked: Moment,
    /// The end of the last gap; absent without one.
    since: Option<Moment>,
}

impl Awake {
    pub(crate) const fn new(now: Moment) -> Self {
        Self { looked: now, since: None }
    }

    /// Of a coordinator that has just begun: what was said before it is not heard yet either.
    pub(crate) const fn begun(now: Moment) -> Self {
        Self { looked: now, since: Some(now) }
    }

    /// A look, due much more often than every `late`; true after a gap.
    pub(crate) fn look(&mut self, late: Duration, now: Moment) -> bool {
        let stood_still = now.since(self.looked) > late;
        if stood_still {
            self.since = Some(now);
        }
        self.looked = now;
        stood_still
    }

    /// The time since the last gap.
    pub(crate) fn lasts(&self, now: Moment) -> Duration {
        self.since.map_or(Duration::MAX, |since| now.since(since))
    }
}
