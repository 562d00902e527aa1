//! When a coordinator must be woken. A cluster in which nothing is wrong and nothing is under way changes by what is heard,
//! or by one of the moments gathered here; in every other one each moment counts, and it is looked at all the time.

use std::time::Duration;

use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::moment::Moment;

use crate::coordinator::{Coordinator, Role};

/// While a vote, a failover or a round of looks is under way.
const BUSY: Duration = Duration::from_millis(10);
/// While something is wrong.
const UNEASY: Duration = Duration::from_millis(50);
/// The least between two wakes.
const LEAST: Duration = Duration::from_millis(1);

impl Coordinator {
    /// When to hand in [`Input::Woke`](crate::Input::Woke): later than the last `now`. Every patience ends by then that ends
    /// without anything being heard.
    #[must_use]
    pub fn next_wake(&self, now: Moment) -> Moment {
        let busy = match &self.role {
            Role::Failing(_) | Role::Proposing(..) => true,
            Role::Leading(leading) => leading.stage().is_some(),
            Role::Following => false,
        };
        if busy || self.is_draining() || self.verdicts.is_asking() {
            return now + BUSY;
        }
        self.rests_until.map_or(now + UNEASY, |end| end.min(self.beat_at).max(now + LEAST))
    }

    /// Until when nothing but the heartbeat is due after a look at `now`, unless something is heard.
    pub(crate) fn rest(&self, now: Moment) -> Option<Moment> {
        let policy = &self.settings.policy;
        let ends = [
            self.view.next_silence(policy.silence, now),
            self.view.next_unled(policy.leader_patience, now),
            self.verdicts.next_lag(policy.lag, now),
            self.calm.ends(policy.stable_window),
            self.pauses.ends(),
        ];
        let ahead = ends.into_iter().flatten().filter(|end| *end > now);
        self.is_calm(now).then(|| ahead.min()).flatten()
    }

    /// Whether only what [`Coordinator::rest`] gathers can change anything.
    fn is_calm(&self, now: Moment) -> bool {
        let policy = &self.settings.policy;
        let well = matches!(self.diagnosis, Diagnosis::Healthy | Diagnosis::GroupTooSmall { .. });
        let heard = self.record().is_some_and(|record| self.view.node(&record.primary, policy.silence, now).is_some());
        let led = match &self.role {
            Role::Leading(leading) => leading.is_calm(),
            Role::Following => self.view.is_led(policy.leader_patience, now),
            Role::Proposing(..) | Role::Failing(_) => false,
        };
        well && heard && led && !self.verdicts.is_waiting() && !self.has_wish()
    }
}
