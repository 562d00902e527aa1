//! An attempt to replace the primary, as it begins, and what each of its ends leads to.

use std::time::Duration;

use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::coordinator::{Coordinator, Role};
use crate::elect::Doubts;
use crate::failover::{Attempt, Progress};
use crate::leading::{Incident, Leading};
use crate::sentence::sentence;

/// A winner that did not open is passed over for so long.
const EXCLUDED_FOR: Duration = Duration::from_secs(30);

impl Coordinator {
    pub(crate) fn begin_failover(&mut self, record: &Record, now: Moment) -> bool {
        let (began, without_tail) = *self.incident.get_or_insert((now, false));
        let ballot = self.next_ballot();
        let mut attempt = Attempt::new(ballot, self.diagnosis.clone(), record.primary.clone(), began, now);
        attempt.without_tail = without_tail;
        attempt.incident = Some(self.open_case());
        attempt.vouch(self.word().cloned());
        attempt.admit(self.admitted());
        self.excluded.retain(|_, at| now.since(*at) < EXCLUDED_FOR);
        attempt.doubts =
            Doubts { failed: self.excluded.keys().cloned().collect(), broken: self.broken(), chosen: self.chosen() };
        if matches!(self.diagnosis, Diagnosis::PrimaryIsolated { .. } | Diagnosis::DiskFull { .. }) {
            // It may hold everything, but nobody could write to it.
            attempt.doubts.failed.insert(record.primary.clone());
        }
        let stopped = self.stopped_raw(record, now);
        let reasons = std::iter::once(sentence(&self.diagnosis)).chain(stopped).collect();
        attempt.tell_stage(None, reasons, &mut self.outbox, now);
        self.role = Role::Failing(Box::new(attempt));
        true
    }

    pub(crate) fn fail_over(&mut self, mut attempt: Box<Attempt>, now: Moment) -> bool {
        match attempt.step(&self.settings, &self.view, &mut self.outbox, now) {
            Progress::Pending if self.is_refuted(&attempt, now) => {
                self.incident = Some((attempt.began, attempt.without_tail));
                self.finish(&attempt, now)
            }
            Progress::Pending => {
                self.holds = attempt.holds();
                self.role = Role::Failing(attempt);
                false
            }
            Progress::Decided { record, goal, followers } => {
                (self.incident, self.case) = (None, None);
                self.holds.clear();
                self.tell_decided(attempt.ballot().clone(), &record);
                let mut leading = Leading::new(attempt.ballot().clone(), *record, Some(goal), now);
                leading.followers = followers;
                leading.incident = Some(Incident { began: attempt.began, old: attempt.old().clone() });
                self.role = Role::Leading(Box::new(leading));
                true
            }
            Progress::Again { without_tail, failed } => {
                self.excluded.extend(failed.map(|node| (node, now)));
                self.incident = Some((attempt.began, without_tail));
                let outbid = self.view.highest_ballot().is_some_and(|highest| highest > attempt.ballot());
                if outbid {
                    return self.back_off(now);
                }
                self.finish(&attempt, now)
            }
        }
    }

    /// Whether voters refuse the silence that an attempt rests on, and the primary is heard here as well.
    fn is_refuted(&self, attempt: &Attempt, now: Moment) -> bool {
        self.rests_no_more_on(attempt)
            && self.view.node(attempt.old(), self.settings.policy.silence, now).is_some()
            && attempt.is_contradicted(&self.settings, &self.view)
    }

    /// Whether the diagnosis is another one by now.
    fn rests_no_more_on(&self, attempt: &Attempt) -> bool {
        std::mem::discriminant(&self.diagnosis) != std::mem::discriminant(attempt.diagnosis())
    }

    /// Begins the next attempt. What the last one rested on may have passed: a primary that is back greets its voters, who
    /// would refuse its silence as evidence for ever; what remains is that they are bound by a promise.
    fn finish(&mut self, attempt: &Attempt, now: Moment) -> bool {
        if self.rests_no_more_on(attempt) {
            self.diagnosis = Diagnosis::AttemptUnfinished { ballot: attempt.ballot().clone() };
        }
        self.record().cloned().is_some_and(|record| self.begin_failover(&record, now))
    }
}
