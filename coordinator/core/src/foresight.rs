//! The forecast as it is kept: made anew all the time while the primary serves, told when it says something else.

use std::collections::BTreeMap;
use std::time::Duration;

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::event::{Diagnosis, EventBody, StageName};
use tasuki_schemas::forecast::{Blocker, Forecast, Outlook};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Process, Thread};
use tasuki_schemas::past::Cause;
use tasuki_schemas::record::{Mode, Record};

use crate::coordinator::{Coordinator, Role};
use crate::flapping;
use crate::forecast::{Standing, forecast, sentence};
use crate::leading::Leading;

/// Between two forecasts while servers change.
const EVERY: Duration = Duration::from_millis(200);
/// Between two forecasts while only positions do, as all the time.
const SELDOM: Duration = Duration::from_secs(1);

/// What is remembered between forecasts.
#[derive(Debug, Default)]
pub(crate) struct Foresight {
    made_at: Option<Moment>,
    /// What the last one was made of besides positions: how often a server had changed, how many nodes were heard, and
    /// whether failovers were paused.
    basis: (u64, usize, bool),
    /// The last two say the same.
    steady: bool,
    last: Option<Forecast>,
    told: Option<Forecast>,
    measured: Option<(Epoch, Duration)>,
    broken: BTreeMap<NodeId, String>,
}

impl Foresight {
    /// Keeps a forecast, and tells it if it says something else than what was told, twice in a row.
    fn keep(&mut self, fresh: Forecast) -> Option<Forecast> {
        self.steady = self.last.as_ref().is_some_and(|last| last.says_the_same(&fresh));
        let known = self.told.as_ref().is_some_and(|told| told.says_the_same(&fresh));
        self.last = Some(fresh.clone());
        if !self.steady || known {
            return None;
        }
        self.told = Some(fresh.clone());
        Some(fresh)
    }

    /// Remembers how long a failover took, once it has opened.
    pub(crate) fn measure(&mut self, leading: &Leading, now: Moment) {
        let opened = leading.incident.as_ref().filter(|_| leading.stage() == Some(StageName::Opened));
        let (Some(incident), epoch) = (opened, &leading.record().epoch) else { return };
        if self.measured.as_ref().is_none_or(|(of, _)| of != epoch) {
            self.measured = Some((epoch.clone(), now.since(incident.began)));
        }
    }
}

impl Coordinator {
    /// If the primary died now; the last one made while it served.
    #[must_use]
    pub const fn forecast(&self) -> Option<&Forecast> {
        self.foresight.last.as_ref()
    }

    /// Servers whose appliers had failed while the primary still served.
    pub(crate) fn broken(&self) -> BTreeMap<NodeId, String> {
        self.foresight.broken.clone()
    }

    /// Makes the forecast while the primary serves. Once it is dead, what was foretold stays as it was.
    pub(crate) fn foresee(&mut self, record: Option<&Record>, now: Moment) {
        if matches!(self.diagnosis, Diagnosis::CoordinatorBlind { .. } | Diagnosis::Unborn) {
            (self.foresight.last, self.foresight.made_at) = (None, None);
            return;
        }
        let Some(record) = record.filter(|record| self.is_served(record, now)) else { return };
        let heard = self.view.heard(self.settings.policy.silence, now).count();
        let basis = (self.view.changes(), heard, self.pauses.ends().is_some());
        let every = if self.foresight.steady && self.foresight.basis == basis { SELDOM } else { EVERY };
        if self.foresight.made_at.is_some_and(|at| now.since(at) < every) {
            return;
        }
        (self.foresight.made_at, self.foresight.basis) = (Some(now), basis);
        self.foresight.broken = self.failed_appliers(now);
        let fresh = forecast(&self.settings, &self.view, record, &self.standing(record, now), now);
        if let Some(news) = self.foresight.keep(fresh) {
            let sentence = sentence(&news);
            self.outbox.tell(EventBody::Forecast { forecast: Box::new(news), sentence });
        }
    }

    /// How the death that the diagnosis names would end, for a cluster that is only observed.
    pub(crate) fn outlook(&self, record: &Record, now: Moment) -> Outlook {
        let made = forecast(&self.settings, &self.view, record, &self.standing(record, now), now);
        match flapping::cause(&self.diagnosis) {
            Cause::HostLost => made.host_loss,
            Cause::Crashed
            | Cause::Stopped
            | Cause::Closed
            | Cause::Hung
            | Cause::Isolated
            | Cause::DiskFull
            | Cause::Switchover
            | Cause::Unfinished
            | Cause::Other => made.crash,
        }
    }

    fn is_served(&self, record: &Record, now: Moment) -> bool {
        let server = self.view.server(&record.primary, self.settings.policy.silence, now);
        let serves = server.is_some_and(|server| {
            !matches!(server.process, Process::Exited { .. })
                && server.facts.as_ref().is_some_and(|facts| facts.writable)
        });
        serves && record.opened && !matches!(self.role, Role::Failing(_))
    }

    fn failed_appliers(&self, now: Moment) -> BTreeMap<NodeId, String> {
        let error = |node: &NodeId| {
            let facts = self.view.facts(node, self.settings.policy.silence, now)?;
            let own = facts.replication.as_ref()?;
            (own.applier == Thread::Stopped && !own.error.is_empty()).then(|| own.error.clone())
        };
        self.settings.servers.keys().filter_map(|node| Some((node.clone(), error(node)?))).collect()
    }

    fn standing(&self, record: &Record, now: Moment) -> Standing {
        let blocker = |what: String, fix: &str| Blocker { what, fix: fix.to_owned() };
        let mut both = Vec::new();
        if record.mode == Mode::Observe {
            both.push(blocker("the cluster is only observed".to_owned(), "arm it"));
        }
        if let Diagnosis::Unsupported { node, reason } = &self.diagnosis {
            both.push(blocker(format!("{node} is not supported: {reason}"), "take it out of the cluster file"));
        }
        if let Some((reason, _)) = self.pauses.hold(now) {
            both.push(blocker(reason, "`tasuki-coordinator resume` ends it earlier"));
        }
        let with = |cause: Cause| {
            let flaps = flapping::hold(&self.settings.policy, record, cause);
            let flaps = flaps.map(|reason| blocker(reason, "`tasuki-coordinator resume` lets it go on"));
            both.iter().cloned().chain(flaps).collect()
        };
        Standing {
            measured: self.foresight.measured.as_ref().map(|(_, took)| *took),
            broken: self.foresight.broken.clone(),
            after_crash: with(Cause::Crashed),
            after_host_loss: with(Cause::HostLost),
        }
    }
}
