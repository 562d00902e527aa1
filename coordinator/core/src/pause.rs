//! Pause and maintenance: an operator asks that no failover begins for a while. It is in the record, so that every
//! coordinator knows; observations and forecasts go on, and a failover under way is finished.

use std::time::Duration;

use tasuki_schemas::event::EventBody;
use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::past::{Cause, Pause};
use tasuki_schemas::record::{Mode, Record};

use crate::coordinator::{Coordinator, Role};
use crate::flapping;
use crate::outbox::Outbox;
use crate::propose::Purpose;
use crate::reclone::Reclone;
use crate::switchover::Switchover;

/// The longest pause: one that is forgotten ends by itself.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long a wish has to be decided.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No failover begins for a while.
    Pause {
        /// Who asks.
        owner: String,
        /// Why.
        reason: String,
        /// For how long.
        length: Duration,
    },
    /// Failovers go on, and earlier ones are forgotten.
    Resume,
    /// The same, if a failover is called for and nothing but a pause or earlier ones holds it back.
    Failover {
        /// Only say whether it would begin.
        dry_run: bool,
    },
    /// A failover that is held goes on by the operator's word.
    Override(Override),
    /// The same, but only said whether it would count.
    TryOverride(Override),
    /// A voter whose ledger is lost votes with its new one, though no majority is left to decide that.
    Admit {
        /// The voter.
        node: NodeId,
    },
    /// The primary hands over.
    Switchover(Switchover),
    /// The same at a stated time.
    Plan {
        /// Whom to, by whom, and why.
        switchover: Switchover,
        /// When, in UTC.
        at: String,
    },
    /// What was planned is given up.
    CancelSwitchover,
    /// A server is brought home on a copy of another's data.
    Reclone(Reclone),
}

/// The line for the operator, or everything that stands in the way.
pub type Answer<T = String> = Result<T, String>;

/// What this coordinator knows about pauses.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    wish: Option<(Wish, Moment)>,
    answer: Option<Answer>,
    /// When a round was last begun for an admission.
    admitting: Option<Moment>,
    /// The pause of the record, and when it was first seen here.
    seen: Option<(Pause, Moment)>,
    expired: bool,
}

impl Pauses {
    /// Takes note of the record's pause, and tells once when it has expired.
    fn look(&mut self, record: Option<&Record>, leads: bool, outbox: &mut Outbox, now: Moment) {
        let pause = record.and_then(|record| record.pause.as_ref());
        let known = self.seen.as_ref().map(|(pause, _)| &pause.set_at);
        if pause.map(|pause| &pause.set_at) != known {
            (self.seen, self.expired) = (pause.map(|pause| (pause.clone(), now)), false);
        }
        let Some((pause, since)) = &self.seen else { return };
        if !self.expired && now.since(*since) >= length_of(pause) {
            self.expired = true;
            if leads {
                let sentence = format!("the pause has expired ({}): failovers begin again", by(pause));
                outbox.tell(EventBody::Pause { pause: None, sentence });
            }
        }
    }

    /// The voter that an operator vouches for.
    pub(crate) const fn admission(&self) -> Option<&NodeId> {
        let Some((Wish::Admit { node }, _)) = &self.wish else { return None };
        Some(node)
    }

    /// The switchover that an operator waits for.
    pub(crate) const fn switchover(&self) -> Option<&Switchover> {
        let Some((Wish::Switchover(wish), _)) = &self.wish else { return None };
        Some(wish)
    }

    /// The re-clone that an operator waits for.
    pub(crate) const fn reclone(&self) -> Option<&Reclone> {
        let Some((Wish::Reclone(wish), _)) = &self.wish else { return None };
        Some(wish)
    }

    /// Whether a round for it may begin now, and not again for a while.
    pub(crate) fn begins_admission(&mut self, again: Duration, now: Moment) -> bool {
        let begins = self.admitting.is_none_or(|at| now.since(at) > again);
        if begins {
            self.admitting = Some(now);
        }
        begins
    }

    /// What came of the operator's wish.
    pub(crate) fn answer_with(&mut self, answer: Answer) {
        (self.wish, self.admitting, self.answer) = (None, None, Some(answer));
    }

    /// When the record's pause expires.
    pub(crate) fn ends(&self) -> Option<Moment> {
        let (pause, since) = self.seen.as_ref().filter(|_| !self.expired)?;
        Some(*since + length_of(pause))
    }

    /// Why no failover begins, and for how much longer.
    pub(crate) fn hold(&self, now: Moment) -> Option<(String, Duration)> {
        let (pause, since) = self.seen.as_ref().filter(|_| !self.expired)?;
        Some((format!("failovers are {}", by(pause)), length_of(pause).saturating_sub(now.since(*since))))
    }
}

const fn length_of(pause: &Pause) -> Duration {
    Duration::from_millis(pause.for_ms)
}

fn by(pause: &Pause) -> String {
    format!("paused by {}: {}", pause.owner, pause.reason)
}

/// A duration as people say it, rounded up.
#[must_use]
pub fn spoken(length: Duration) -> String {
    let seconds = length.as_millis().div_ceil(1000);
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

impl Coordinator {
    /// An operator asks for something; [`Coordinator::answer`] tells what came of it.
    pub fn ask(&mut self, wish: Wish, now: Moment) {
        self.rests_until = None;
        (self.pauses.answer, self.pauses.wish) = match wish {
            Wish::Override(word) => (Some(self.overrule(word, now)), None),
            Wish::TryOverride(word) => (Some(self.try_overrule(word, now)), None),
            Wish::Failover { dry_run } => match self.held_by_people(now) {
                Ok(()) if !dry_run => (None, Some((Wish::Resume, now))),
                held => (Some(held.map(|()| "the failover would begin; nothing was changed".to_owned())), None),
            },
            Wish::Pause { .. }
            | Wish::Resume
            | Wish::Admit { .. }
            | Wish::Switchover(_)
            | Wish::Reclone(_)
            | Wish::Plan { .. }
            | Wish::CancelSwitchover => {
                match self.leads_elsewhere(&wish, now).map(Err).or_else(|| self.answer_plan(&wish)) {
                    Some(answer) => (Some(answer), None),
                    None => (None, Some((wish, now))),
                }
            }
        };
    }

    /// Whether a failover is called for that an operator's word alone lets begin; otherwise why it is not so.
    fn held_by_people(&self, now: Moment) -> Answer<()> {
        if matches!(self.role, Role::Failing(_)) {
            return Err("a failover is under way already".to_owned());
        }
        let (cause, told) = (flapping::cause(&self.diagnosis), crate::sentence::sentence(&self.diagnosis));
        if self.known.as_ref().is_some_and(|record| record.mode == Mode::Observe) {
            return Err("the cluster is only observed".to_owned());
        }
        if cause == Cause::Other {
            return Err(format!("no failover is called for: {told} A switchover moves a primary that serves."));
        }
        let flaps = self.known.as_ref().and_then(|record| flapping::hold(&self.settings.policy, record, cause));
        if self.pauses.hold(now).is_some() || flaps.is_some() {
            return Ok(());
        }
        let why = if self.holds.is_empty() { told } else { self.holds.join("; ") };
        Err(format!("neither a pause nor earlier failovers hold it back: {why}"))
    }

    /// What came of the operator's wish, once.
    pub fn answer(&mut self) -> Option<Answer> {
        self.pauses.answer.take()
    }

    pub(crate) fn look_at_pause(&mut self, record: Option<&Record>, now: Moment) {
        let leads = matches!(self.role, Role::Leading(_) | Role::Failing(_));
        self.pauses.look(record, leads, &mut self.outbox, now);
        let late = self.pauses.wish.as_ref().is_some_and(|(_, since)| now.since(*since) > PATIENCE);
        if late {
            self.pauses.wish = None;
            let why =
                if self.holds.is_empty() { crate::sentence::sentence(&self.diagnosis) } else { self.holds.join("; ") };
            self.pauses.answer = Some(Err(format!("not decided in time; the cluster: {why}")));
        }
    }

    /// People wanted a pause, or have to look first: a failover under way is finished, but none begins.
    pub(crate) fn is_held_back(&mut self, record: &Record, now: Moment) -> bool {
        if let Some((reason, rest)) = self.pauses.hold(now) {
            self.hold_for(&reason, &format!("{} left; `tasuki-coordinator resume` ends it earlier", spoken(rest)));
            return true;
        }
        let flaps = flapping::hold(&self.settings.policy, record, flapping::cause(&self.diagnosis));
        flaps.is_some_and(|reason| {
            self.hold(vec![reason]);
            true
        })
    }

    /// What the record is changed for, when nothing is under way: an operator's wish, or a pause that has expired.
    pub(crate) fn due(&mut self, record: &Record) -> Option<Purpose> {
        if !record.opened {
            return None;
        }
        match &self.pauses.wish {
            Some((Wish::Pause { owner, reason, length }, _)) => {
                let (owner, reason, length) = (owner.clone(), reason.clone(), (*length).min(LONGEST));
                Some(Purpose::Pause { owner, reason, length })
            }
            Some((Wish::Resume, _)) => Some(Purpose::Resume { forget: true }),
            Some((Wish::Override(_) | Wish::TryOverride(_) | Wish::Failover { .. }, _)) => None,
            Some((Wish::Admit { .. } | Wish::Switchover(_) | Wish::Reclone(_), _)) => None,
            Some((Wish::Plan { switchover, at }, _)) => {
                Some(Purpose::Plan { switchover: switchover.clone(), at: at.clone() })
            }
            Some((Wish::CancelSwitchover, _)) => {
                Some(Purpose::CancelSwitchover { why: "an operator said so".to_owned(), asked: true })
            }
            None if self.pauses.expired && record.pause.is_some() => Some(Purpose::Resume { forget: false }),
            None => self.overdue(record),
        }
    }

    /// Whether an operator waits for a decision.
    pub(crate) const fn has_wish(&self) -> bool {
        self.pauses.wish.is_some()
    }

    /// A vote round was decided: if it was the operator's wish, that is told.
    pub(crate) fn granted(&mut self, purpose: &Purpose, record: &Record) {
        let sentence = match purpose {
            Purpose::Pause { length, .. } => {
                let Some(pause) = &record.pause else { return };
                format!("failovers are {}; for {}", by(pause), spoken(*length))
            }
            Purpose::Resume { forget: true } => "failovers go on: an operator said so".to_owned(),
            Purpose::Plan { .. } | Purpose::CancelSwitchover { .. } => return self.planned_anew(purpose, record),
            Purpose::Resume { forget: false }
            | Purpose::TakeOver
            | Purpose::Open
            | Purpose::Widen(_)
            | Purpose::Narrow(_)
            | Purpose::Acks(_)
            | Purpose::Lease
            | Purpose::Seat(..)
            | Purpose::Unseat(_)
            | Purpose::Seated
            | Purpose::Settle => return,
        };
        self.holds.clear();
        self.pauses.answer_with(Ok(sentence.clone()));
        self.outbox.tell(EventBody::Pause { pause: record.pause.clone(), sentence });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tasuki_schemas::ballot::{Ballot, Epoch};
    use tasuki_schemas::id::BootId;
    use tasuki_schemas::past::Past;

    use super::*;
    use crate::propose::changed;

    fn ballot(counter: u64) -> Ballot {
        Ballot { counter, coordinator: "co1".parse().unwrap(), boot: BootId(1) }
    }

    fn record() -> Record {
        let old = "db1".parse().unwrap();
        Record {
            epoch: Epoch(ballot(1)),
            primary: "db2".parse().unwrap(),
            opened: true,
            groups: Vec::new(),
            reigns: Vec::new(),
            voters: BTreeMap::new(),
            mode: Mode::Armed,
            wanted: 1,
            recent: vec![Past { epoch: Epoch(ballot(1)), old, cause: Cause::Crashed, grounds: Vec::new() }],
            voters_before: None,
            pause: None,
            planned: None,
        }
    }

    fn paused() -> Record {
        let (owner, reason) = ("ann".to_owned(), "disks".to_owned());
        changed(false, &record(), &Purpose::Pause { owner, reason, length: Duration::from_secs(60) }, &ballot(5))
    }

    #[test]
    fn a_pause_changes_nothing_else_in_the_record_and_carries_its_ballot() {
        let paused = paused();
        assert_eq!(paused.pause.as_ref().map(|pause| (pause.for_ms, &pause.set_at)), Some((60_000, &ballot(5))));
        assert_eq!(Record { pause: None, ..paused }, record());
    }

    #[test]
    fn an_operator_who_resumes_has_flapping_forgotten_an_expiry_has_not() {
        let resumed = changed(false, &paused(), &Purpose::Resume { forget: true }, &ballot(6));
        assert_eq!((resumed.pause, resumed.recent), (None, Vec::new()));
        let expired = changed(false, &paused(), &Purpose::Resume { forget: false }, &ballot(6));
        assert_eq!(expired, record());
    }

    #[test]
    fn a_pause_is_counted_from_when_it_was_seen_and_told_once_when_it_has_expired() {
        let (mut pauses, mut outbox) = (Pauses::default(), Outbox::default());
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let record = paused();
        pauses.look(Some(&record), true, &mut outbox, at(100));
        assert_eq!(pauses.hold(at(110)).map(|(_, rest)| rest), Some(Duration::from_secs(50)));
        for now in [159, 160, 161] {
            pauses.look(Some(&record), true, &mut outbox, at(now));
        }
        assert_eq!((pauses.hold(at(161)), outbox.take().len()), (None, 1));
    }
}
