//! Failovers that follow each other by the same cause: after a few people decide. Never a blind clock that blocks a second
//! real failure: another server, or another cause, is failed over at once.

use std::time::Duration;

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::grounds::Grounds;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::past::{Cause, Past, REMEMBERED};
use tasuki_schemas::record::{Mode, Record};

use crate::settings::{Policy, Settings};
use crate::view::View;

/// What a diagnosis replaces a primary for.
#[must_use]
pub const fn cause(diagnosis: &Diagnosis) -> Cause {
    match diagnosis {
        Diagnosis::PrimaryCrashed { .. } => Cause::Crashed,
        Diagnosis::PrimaryStopped { .. } => Cause::Stopped,
        Diagnosis::PrimaryClosed { .. } => Cause::Closed,
        Diagnosis::PrimaryIsolated { .. } => Cause::Isolated,
        Diagnosis::DiskFull { .. } => Cause::DiskFull,
        Diagnosis::PrimaryHung { .. } => Cause::Hung,
        Diagnosis::PrimaryHostLost { .. } | Diagnosis::PrimaryUnseen { .. } => Cause::HostLost,
        Diagnosis::AttemptUnfinished { .. } => Cause::Unfinished,
        Diagnosis::Switchover { .. } => Cause::Switchover,
        Diagnosis::Unborn
        | Diagnosis::CoordinatorBlind { .. }
        | Diagnosis::Healthy
        | Diagnosis::PrimaryRefusing { .. }
        | Diagnosis::ReplicationOnlyPartition { .. }
        | Diagnosis::SidecarLost { .. }
        | Diagnosis::TwoPrimaries { .. }
        | Diagnosis::Degraded { .. }
        | Diagnosis::GroupTooSmall { .. }
        | Diagnosis::Unsupported { .. }
        | Diagnosis::PrimaryOverloaded { .. }
        | Diagnosis::ReplicaStray { .. }
        | Diagnosis::ReplicaBroken { .. }
        | Diagnosis::ReplicaLagging { .. }
        | Diagnosis::ErrantTransactions { .. } => Cause::Other,
    }
}

/// The cause in words that follow a server's name.
const fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::Crashed => "crashed",
        Cause::Stopped => "was stopped",
        Cause::Closed => "was found closed",
        Cause::Isolated => "was reached by nobody",
        Cause::DiskFull => "had no space left",
        Cause::Hung => "hung",
        Cause::HostLost => "lost its host",
        Cause::Switchover => "handed over",
        Cause::Unfinished => "was replaced in an attempt that somebody else began",
        Cause::Other => "failed",
    }
}

/// What the record that names `winner` at `epoch` remembers. A failover that goes on with another candidate is one and the
/// same; one that ends where it began is none.
#[must_use]
pub fn remembered(base: &Record, epoch: &Epoch, winner: &NodeId, cause: Cause, grounds: &[Grounds]) -> Vec<Past> {
    let mut recent = base.recent.clone();
    let under_way = recent.pop_if(|past| !base.opened && past.epoch == base.epoch);
    let (old, cause, earlier) = under_way
        .map_or_else(|| (base.primary.clone(), cause, Vec::new()), |past| (past.old, past.cause, past.grounds));
    if old != *winner {
        let grounds = earlier.into_iter().chain(grounds.iter().cloned()).collect();
        recent.push(Past { epoch: epoch.clone(), old, cause, grounds });
    }
    recent.drain(..recent.len().saturating_sub(REMEMBERED));
    recent
}

/// Why the primary of an opened record is not failed over once more, if it flaps.
#[must_use]
pub fn hold(policy: &Policy, record: &Record, cause: Cause) -> Option<String> {
    let same = record.recent.iter().filter(|past| past.old == record.primary && past.cause == cause).count();
    (same >= usize::try_from(policy.flap_limit).unwrap_or(usize::MAX)).then(|| {
        format!(
            "{} {} and was failed over {same} times without a stable while ({} s) in between: another failover would \
             change nothing; find the reason, then run `tasuki-coordinator resume`",
            record.primary,
            words(cause),
            policy.stable_window.as_secs()
        )
    })
}

/// For how long the primary of one reign has served, as its leader sees it.
#[derive(Clone, Debug, Default)]
pub struct Calm {
    since: Option<(Epoch, Moment)>,
}

impl Calm {
    /// When it will have served for so long.
    #[must_use]
    pub fn ends(&self, window: Duration) -> Option<Moment> {
        self.since.as_ref().map(|(_, since)| *since + window)
    }

    /// Looks at an opened record; true once earlier failovers can be forgotten.
    pub fn look(&mut self, settings: &Settings, view: &View, record: &Record, now: Moment) -> bool {
        let serves = view.facts(&record.primary, settings.policy.silence, now).is_some_and(|facts| facts.writable);
        if !serves || record.recent.is_empty() || record.mode == Mode::Observe {
            self.since = None;
            return false;
        }
        match &self.since {
            Some((epoch, since)) if *epoch == record.epoch => now.since(*since) >= settings.policy.stable_window,
            Some(_) | None => {
                self.since = Some((record.epoch.clone(), now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tasuki_schemas::ballot::Ballot;
    use tasuki_schemas::id::BootId;

    use super::*;

    fn epoch(counter: u64) -> Epoch {
        Epoch(Ballot { counter, coordinator: "co1".parse().unwrap(), boot: BootId(1) })
    }

    fn record(primary: &str, counter: u64, opened: bool, recent: Vec<Past>) -> Record {
        Record {
            epoch: epoch(counter),
            primary: primary.parse().unwrap(),
            opened,
            groups: Vec::new(),
            reigns: Vec::new(),
            voters: BTreeMap::new(),
            mode: Mode::Armed,
            wanted: 1,
            recent,
            voters_before: None,
            pause: None,
            planned: None,
        }
    }

    fn past(counter: u64, old: &str, cause: Cause) -> Past {
        Past { epoch: epoch(counter), old: old.parse().unwrap(), cause, grounds: Vec::new() }
    }

    #[test]
    fn another_candidate_of_the_same_failover_is_no_second_failover() {
        let base = record("db2", 2, false, vec![past(2, "db1", Cause::Crashed)]);
        let recent = remembered(&base, &epoch(3), &"db3".parse().unwrap(), Cause::Unfinished, &[]);
        assert_eq!(recent, [past(3, "db1", Cause::Crashed)]);
        let undone = remembered(&base, &epoch(3), &"db1".parse().unwrap(), Cause::Unfinished, &[]);
        assert_eq!(undone, []);
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let old = (1..=8).map(|counter| past(counter, "db1", Cause::Hung)).collect();
        let base = record("db2", 8, true, old);
        let recent = remembered(&base, &epoch(9), &"db1".parse().unwrap(), Cause::Crashed, &[]);
        assert_eq!(
            (recent.len(), recent.first(), recent.last()),
            (REMEMBERED, Some(&past(2, "db1", Cause::Hung)), Some(&past(9, "db2", Cause::Crashed)))
        );
    }

    #[test]
    fn only_the_same_server_by_the_same_cause_is_held() {
        let recent = vec![past(2, "db1", Cause::Crashed), past(3, "db2", Cause::Hung), past(4, "db1", Cause::Crashed)];
        let policy = Policy::default();
        assert!(hold(&policy, &record("db1", 5, true, recent.clone()), Cause::Crashed).is_some());
        assert_eq!(hold(&policy, &record("db1", 5, true, recent.clone()), Cause::HostLost), None);
        assert_eq!(hold(&policy, &record("db2", 5, true, recent), Cause::Crashed), None);
    }
}
