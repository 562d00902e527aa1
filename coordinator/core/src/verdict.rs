//! From a diagnosis to a verdict: at once where the evidence is certain, after fresh opinions where it is silence, and
//! after a pause where it may only be a probe that is a moment old, or where the operators asked for one.

use std::time::Duration;

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::diagnose::{NOBODY_LISTENS, is_ready, lesser, of_primary};
use crate::lag::Lags;
use crate::opinions::Opinions;
use crate::outbox::Outbox;
use crate::settings::{PlannedStop, Settings};
use crate::view::View;

/// Whether a failover is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Certain,
    /// Perhaps: voters are being asked to look themselves.
    Asking,
    /// No.
    No,
}

/// A closed primary is believed after so long: a promotion and its probe overtake each other.
const CLOSED_FOR: Duration = Duration::from_millis(600);

#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    /// Since when a diagnosis holds that is believed after a while.
    since: Option<Moment>,
    /// Since when all replicas say that they lost a primary whose node is heard.
    lost_since: Option<Moment>,
    opinions: Opinions,
    lags: Lags,
    news: Option<(Epoch, NodeId)>,
    hold: Option<String>,
}

impl Verdicts {
    pub(crate) const fn is_asking(&self) -> bool {
        self.opinions.are_asked_for()
    }

    /// Whether replicas say that they lost the primary, which is believed once it has lasted.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.lost_since.is_some()
    }

    /// When the next replica counts as lagging, if nothing more is heard.
    pub(crate) fn next_lag(&self, patience: Duration, now: Moment) -> Option<Moment> {
        self.lags.next(patience, now)
    }

    /// True once for each primary of each epoch: a decision that is only told is told once.
    pub(crate) fn is_news(&mut self, record: &Record) -> bool {
        let key = Some((record.epoch.clone(), record.primary.clone()));
        let news = self.news != key;
        self.news = key;
        news
    }

    /// Why nothing is done although nobody can write, if so.
    pub(crate) fn take_hold(&mut self) -> Option<String> {
        self.hold.take()
    }

    /// The diagnosis with what only time and fresh opinions show.
    pub(crate) fn refine(
        &mut self,
        settings: &Settings,
        view: &View,
        record: Option<&Record>,
        diagnosis: Diagnosis,
        now: Moment,
    ) -> Diagnosis {
        let Some(record) = record else { return diagnosis };
        let lagging = self.lags.look(settings, view, record, now);
        let diagnosis = self.lasting(settings, view, record, diagnosis, now);
        match (diagnosis, self.opinions.greeted()) {
            (Diagnosis::PrimaryHostLost { primary, .. }, Some(greeted)) if !greeted.is_empty() => {
                Diagnosis::PrimaryUnseen { primary, still_heard_by: greeted.clone() }
            }
            (Diagnosis::PrimaryRefusing { primary, code: NOBODY_LISTENS, .. }, Some(greeted)) if greeted.is_empty() => {
                Diagnosis::PrimaryStopped { primary }
            }
            (Diagnosis::ReplicationOnlyPartition { primary, lost_by }, Some(greeted)) if greeted.is_empty() => {
                Diagnosis::PrimaryIsolated { primary, lost_by }
            }
            (well @ (Diagnosis::Healthy | Diagnosis::GroupTooSmall { .. }), _) => {
                lagging.map_or(well, |(node, behind)| Diagnosis::ReplicaLagging { node, behind })
            }
            (other, _) => other,
        }
    }

    /// A primary that pauses, or comes back, and its replicas' word of it overtake each other: that all of them lost it is
    /// believed once it lasts.
    fn lasting(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        diagnosis: Diagnosis,
        now: Moment,
    ) -> Diagnosis {
        if !matches!(diagnosis, Diagnosis::ReplicationOnlyPartition { .. }) {
            self.lost_since = None;
            return diagnosis;
        }
        let since = *self.lost_since.get_or_insert(now);
        let lasts = now.since(since) >= settings.policy.silence / 2;
        if lasts { diagnosis } else { lesser(settings, view, record, now) }
    }

    pub(crate) fn verdict(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        diagnosis: &Diagnosis,
        outbox: &mut Outbox,
        now: Moment,
    ) -> Verdict {
        self.forget_others(diagnosis);
        match diagnosis {
            Diagnosis::PrimaryCrashed { .. } | Diagnosis::PrimaryHung { .. } => Verdict::Certain,
            Diagnosis::PrimaryClosed { .. } => self.after(CLOSED_FOR, now),
            Diagnosis::Unsupported { node, reason } => {
                self.hold = Self::unsupported(settings, view, record, node, reason, now);
                Verdict::No
            }
            Diagnosis::PrimaryStopped { primary } => self.stopped(settings, view, record, primary, now),
            Diagnosis::DiskFull { node, writes_fail: true, .. } => self.full(settings, view, record, node, now),
            Diagnosis::PrimaryHostLost { .. } | Diagnosis::PrimaryIsolated { .. } => {
                self.opinions.ask(settings, view, record, outbox, now);
                if self.opinions.confirm_silence(now) { Verdict::Certain } else { Verdict::Asking }
            }
            Diagnosis::PrimaryUnseen { .. }
            | Diagnosis::ReplicationOnlyPartition { .. }
            | Diagnosis::PrimaryRefusing { code: NOBODY_LISTENS, .. } => {
                self.opinions.ask(settings, view, record, outbox, now);
                Verdict::Asking
            }
            Diagnosis::Unborn
            | Diagnosis::CoordinatorBlind { .. }
            | Diagnosis::Healthy
            | Diagnosis::PrimaryOverloaded { .. }
            | Diagnosis::PrimaryRefusing { .. }
            | Diagnosis::SidecarLost { .. }
            | Diagnosis::AttemptUnfinished { .. }
            | Diagnosis::Switchover { .. }
            | Diagnosis::TwoPrimaries { .. }
            | Diagnosis::DiskFull { writes_fail: false, .. }
            | Diagnosis::Degraded { .. }
            | Diagnosis::GroupTooSmall { .. }
            | Diagnosis::ReplicaBroken { .. }
            | Diagnosis::ReplicaLagging { .. }
            | Diagnosis::ReplicaStray { .. }
            | Diagnosis::ErrantTransactions { .. } => Verdict::No,
        }
    }

    /// What was remembered for another diagnosis is of no use for this one.
    fn forget_others(&mut self, diagnosis: &Diagnosis) {
        let waits = matches!(
            diagnosis,
            Diagnosis::PrimaryClosed { .. }
                | Diagnosis::PrimaryStopped { .. }
                | Diagnosis::DiskFull { writes_fail: true, .. }
        );
        if !waits {
            self.since = None;
        }
        let silent = matches!(
            diagnosis,
            Diagnosis::PrimaryHostLost { .. }
                | Diagnosis::PrimaryUnseen { .. }
                | Diagnosis::PrimaryIsolated { .. }
                | Diagnosis::ReplicationOnlyPartition { .. }
                | Diagnosis::PrimaryRefusing { code: NOBODY_LISTENS, .. }
                | Diagnosis::PrimaryStopped { .. }
        );
        if !silent {
            self.opinions.forget();
        }
        if matches!(diagnosis, Diagnosis::Healthy) {
            self.news = None;
        }
        self.hold = None;
    }

    /// What is observed is not acted on, but people must hear that nobody can write.
    fn unsupported(
        settings: &Settings,
        view: &View,
        record: &Record,
        node: &NodeId,
        reason: &str,
        now: Moment,
    ) -> Option<String> {
        let down = matches!(
            of_primary(settings, view, record, now)?,
            Diagnosis::PrimaryCrashed { .. }
                | Diagnosis::PrimaryStopped { .. }
                | Diagnosis::PrimaryClosed { .. }
                | Diagnosis::PrimaryHung { .. }
                | Diagnosis::PrimaryHostLost { .. }
        );
        let primary = &record.primary;
        down.then(|| {
            let told = format!(
                "{primary} does not serve, and nothing is done about it, since {node} is only observed: {reason}"
            );
            if primary == node {
                format!("{told}; when that is settled, start it, or the coordinators anew")
            } else {
                told
            }
        })
    }

    fn after(&mut self, patience: Duration, now: Moment) -> Verdict {
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= patience { Verdict::Certain } else { Verdict::No }
    }

    /// Somebody stopped the primary: hand over, or wait for it as the operators wish. One that only closed its port may
    /// still be writing its pages back: it has the time of a hang for that.
    fn stopped(&mut self, settings: &Settings, view: &View, record: &Record, primary: &NodeId, now: Moment) -> Verdict {
        let exited = view.server(primary, settings.policy.silence, now).is_some_and(|it| it.process.has_exited());
        let patience = match settings.policy.planned_stop {
            PlannedStop::HandOver if exited => Duration::ZERO,
            PlannedStop::HandOver => settings.policy.hang,
            PlannedStop::Wait(patience) => patience,
        };
        if self.after(patience, now) == Verdict::No {
            if let PlannedStop::Wait(patience) = settings.policy.planned_stop {
                self.hold = Some(format!(
                    "{primary} was stopped; it has {} s to come back before it is failed over (`planned_stop`); nobody can write until then",
                    patience.as_secs()
                ));
            }
            return Verdict::No;
        }
        self.if_ready(
            settings,
            view,
            record,
            format!("{primary} was stopped"),
            "start it again, or bring a replica back",
            now,
        )
    }

    /// A full disk may be emptied by whatever filled it; past the limit of a hang it counts as one.
    fn full(&mut self, settings: &Settings, view: &View, record: &Record, primary: &NodeId, now: Moment) -> Verdict {
        if self.after(settings.policy.hang, now) == Verdict::No {
            return Verdict::No;
        }
        self.if_ready(
            settings,
            view,
            record,
            format!("the disk of {primary} is full"),
            "free space on one of them",
            now,
        )
    }

    /// Without anybody to take over, a failover would only take away what is left.
    fn if_ready(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        what: String,
        fix: &str,
        now: Moment,
    ) -> Verdict {
        if is_ready(settings, view, record, now) {
            return Verdict::Certain;
        }
        self.hold = Some(format!("{what}, and no other server can take over; {fix}"));
        Verdict::No
    }
}
