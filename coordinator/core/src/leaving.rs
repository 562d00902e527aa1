//! A primary that is about to be stopped, with its host or for an upgrade: its node asks for a switchover, and is told why
//! there can be none. What is asked for is tried again as long as the node asks.

use std::time::Duration;

use tasuki_schemas::command::Request;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::Leaving;
use tasuki_schemas::record::{Mode, Record};

use crate::coordinator::Coordinator;
use crate::outbox::Topic;
use crate::settings::PlannedStop;
use crate::switchover::Switchover;

/// What could not be done is not tried again before this.
const AGAIN: Duration = Duration::from_millis(500);

impl Coordinator {
    fn leaves(&self, primary: &NodeId, now: Moment) -> bool {
        let server = self.view.server(primary, self.settings.policy.silence, now);
        server.is_some_and(|server| server.leaving == Some(Leaving::HandsOver))
    }

    /// The switchover that the primary's node asks for.
    pub(crate) fn leaving(&self, record: &Record, now: Moment) -> Option<Switchover> {
        let rests = self.declined.as_ref().is_some_and(|(at, _)| now.since(*at) < AGAIN);
        (!rests && self.leaves(&record.primary, now)).then(|| Switchover {
            to: None,
            dry_run: false,
            by: record.primary.to_string(),
            reason: "its server is about to be stopped".to_owned(),
        })
    }

    /// What a stop that nobody announced may have done. MySQL answers OK on SIGTERM to commits that still wait for an
    /// acknowledgement (measured: trace S6), which no manager can undo.
    pub(crate) fn stopped_raw(&self, record: &Record, now: Moment) -> Option<String> {
        let primary = &record.primary;
        let waits = record.group().is_some_and(|group| group.acks > 0) && self.settings.flavour == Flavour::Mysql;
        let server = self.view.server(primary, self.settings.policy.silence, now)?;
        let raw = matches!(self.diagnosis, Diagnosis::PrimaryStopped { .. }) && server.leaving != Some(Leaving::Stops);
        (raw && waits).then(|| {
            format!(
                "may have lost: {primary} was stopped without `tasuki-node hand-over`, and MySQL answers OK then to commits \
                 that no replica has acknowledged; let its unit's ExecStop run that"
            )
        })
    }

    /// Why nobody wants the primary to hand over before it is stopped.
    pub(crate) fn unwanted(&self) -> Option<String> {
        match self.settings.policy.planned_stop {
            PlannedStop::HandOver => None,
            PlannedStop::Wait(patience) => Some(format!(
                "the cluster file says `planned_stop`: it has {} s to come back before it is failed over",
                patience.as_secs()
            )),
        }
    }

    /// Tells a primary that is about to be stopped why it cannot hand over. True if that is news.
    pub(crate) fn decline(&mut self, record: &Record, reason: &str, now: Moment) -> bool {
        if !self.leaves(&record.primary, now) {
            return true;
        }
        let news = self.declined.as_ref().is_none_or(|(_, told)| told != reason);
        self.declined = Some((now, reason.to_owned()));
        let lasts = self.unwanted().is_some() || self.pauses.hold(now).is_some() || record.mode == Mode::Observe;
        let request = Request::CannotLeave { reason: reason.to_owned(), lasts };
        self.outbox.ask(&record.primary, Topic::CannotLeave, request, self.settings.policy.repeat, now);
        news
    }
}
