//! The wall clock of planned switchovers: what an operator states is read here, and what is due is told to the core.

use std::time::Duration;

use tasuki_coordinator_core::Input;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::past::Planned;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// How far ahead a switchover may be planned: what is forgotten ends by itself.
const AHEAD: Duration = Duration::from_secs(31 * 24 * 3600);
/// Later than this after its time it does not begin any more.
const WINDOW: Duration = Duration::from_secs(600);
/// One that waits is tried again so often.
const AGAIN: Duration = Duration::from_secs(1);

/// A time that somebody states, in UTC.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn stated(text: &str, wall_ms: u64) -> Result<String, String> {
    let wrong =
        || format!("{text:?} is no time: write it as 2026-12-24T03:00:00Z, or with the distance to UTC, +01:00");
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?.to_offset(UtcOffset::UTC);
    let ahead = i128::from(millis(at)) - i128::from(wall_ms);
    if ahead <= 0 {
        return Err(format!("{text} has passed on this host's clock"));
    }
    if ahead > i128::try_from(AHEAD.as_millis()).unwrap_or(i128::MAX) {
        return Err(format!("{text} is further ahead than {} days", AHEAD.as_secs() / 86400));
    }
    at.format(&Rfc3339).map_err(|_| wrong())
}

fn millis(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Which planned switchover was last told to be due, and when.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    told: Option<(Ballot, Moment)>,
}

impl Watch {
    /// What the core must hear of the plan now.
    pub(crate) fn due(&mut self, planned: Option<&Planned>, wall_ms: u64, now: Moment) -> Option<Input> {
        let Planned { at, set_at, .. } = planned?;
        let rests = self.told.as_ref().is_some_and(|(told, when)| told == set_at && now.since(*when) < AGAIN);
        // A record that another version decided may hold what cannot be read: it is given up.
        let at = OffsetDateTime::parse(at, &Rfc3339).map_or(0, millis);
        let over = i128::from(wall_ms) - i128::from(at);
        if rests || over < 0 {
            return None;
        }
        self.told = Some((set_at.clone(), now));
        let late = over > i128::try_from(WINDOW.as_millis()).unwrap_or(i128::MAX);
        Some(Input::PlanDue { set_at: set_at.clone(), late })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasuki_schemas::id::BootId;

    /// 2026-11-27T00:00:00Z.
    const MIDNIGHT: u64 = 1_795_737_600_000;

    #[test]
    fn what_is_stated_is_kept_in_utc_and_lies_ahead() {
        assert_eq!(stated("2026-11-27T03:00:00+02:00", MIDNIGHT).unwrap(), "2026-11-27T01:00:00Z");
        for (wrong, why) in [
            ("tonight", "is no time"),
            ("2026-11-27", "is no time"),
            ("2026-11-26T23:59:59Z", "has passed"),
            ("2027-11-27T00:00:00Z", "further ahead than 31 days"),
        ] {
            assert!(stated(wrong, MIDNIGHT).unwrap_err().contains(why), "{wrong}");
        }
    }

    #[test]
    fn a_plan_is_due_from_its_time_on_once_a_second_and_too_late_after_the_window() {
        let set_at = Ballot { counter: 7, coordinator: "co1".parse().unwrap(), boot: BootId(1) };
        let at = "2026-11-27T00:00:00Z".to_owned();
        let planned = Planned { to: None, at, by: "ann".to_owned(), reason: "kernel".to_owned(), set_at };
        let now = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        let mut watch = Watch::default();
        let mut late_at = |wall: u64, ms: u64| match watch.due(Some(&planned), wall, now(ms)) {
            Some(Input::PlanDue { late, .. }) => Some(late),
            other => other.map(|_| true),
        };
        assert_eq!(late_at(MIDNIGHT - 1, 1000), None);
        assert_eq!(late_at(MIDNIGHT, 1001), Some(false));
        assert_eq!(late_at(MIDNIGHT + 999, 2000), None);
        assert_eq!(late_at(MIDNIGHT + 1000, 2001), Some(false));
        assert_eq!(late_at(MIDNIGHT + 600_001, 9000), Some(true));
        assert!(watch.due(None, MIDNIGHT, now(99_000)).is_none());
    }
}
