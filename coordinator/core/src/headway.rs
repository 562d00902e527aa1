//! How far a server is with what it was ordered, by its own words. As long as those change it is waited for: its node has a
//! deadline for the work, and another server would have to begin anew.

use tasuki_schemas::answer::Outcome;
use tasuki_schemas::moment::Moment;

/// What was told last.
#[derive(Clone, Debug)]
pub(crate) struct Headway {
    step: String,
    changed: Moment,
    behind: Option<Moment>,
}

impl Headway {
    pub(crate) const fn new(now: Moment) -> Self {
        Self { step: String::new(), changed: now, behind: None }
    }

    /// Looks at how the order stands.
    pub(crate) fn look(&mut self, stands: Option<&Outcome>, now: Moment) {
        if let Some(Outcome::Running { step, backlog }) = stands {
            if *step != self.step {
                self.step.clone_from(step);
                self.changed = now;
            }
            if *backlog {
                self.behind = Some(now);
            }
        }
    }

    /// When it got on last.
    pub(crate) const fn changed(&self) -> Moment {
        self.changed
    }

    /// When it was last busy with what it had received itself, which it has to apply whatever it is ordered.
    pub(crate) const fn behind(&self) -> Option<Moment> {
        self.behind
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_same_words_again_are_no_headway() {
        let at = |ms: u64| Moment::from_nanos(0) + Duration::from_millis(ms);
        let running = |step: &str, backlog| Outcome::Running { step: step.to_owned(), backlog };
        let mut headway = Headway::new(at(0));
        for (ms, step, backlog, changed, behind) in [
            (10, "90 left", true, 10, Some(10)),
            (20, "90 left", true, 10, Some(20)),
            (30, "80 left", true, 30, Some(30)),
            (40, "the tail", false, 40, Some(30)),
        ] {
            headway.look(Some(&running(step, backlog)), at(ms));
            assert_eq!((headway.changed(), headway.behind()), (at(changed), behind.map(at)), "{ms}");
        }
        headway.look(None, at(50));
        assert_eq!(headway.changed(), at(40));
    }
}
