//! A server that is about to be stopped, with its host or for an upgrade: as primary it hands over first. When nobody takes
//! over it is closed, and may then be stopped: MySQL answers OK on SIGTERM to commits that still wait for an
//! acknowledgement, so nobody may be there to hear it.

use std::time::Duration;

use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation;
use tasuki_schemas::record::Mode;

use crate::io::Output;
use crate::memory::ServerRun;
use crate::node::Node;

/// Closing ends within this, be it by SIGKILL.
const CLOSES: Duration = Duration::from_secs(5);
/// A server that may be stopped is not opened for so long, unless it was stopped and started.
const STOPS: Duration = Duration::from_secs(60);

/// How far its leaving is.
#[derive(Clone, Debug)]
pub(crate) enum Leaving {
    /// Another server may take over.
    Asking { until: Moment, refused: Option<String> },
    /// Nobody does. Once `fenced`, no client is left that could be answered.
    Closing { until: Moment, why: String, fenced: bool },
    /// It may be stopped at any moment.
    Closed { run: Option<ServerRun>, until: Moment },
}

impl Leaving {
    pub(crate) const fn view(&self) -> observation::Leaving {
        match self {
            Self::Asking { .. } => observation::Leaving::HandsOver,
            Self::Closing { .. } | Self::Closed { .. } => observation::Leaving::Stops,
        }
    }
}

impl Node {
    pub(crate) fn leave(&mut self, within: Duration, now: Moment) {
        self.leaving = Some(Leaving::Asking { until: now + within, refused: None });
        self.dirty = true;
    }

    /// Before it was closed nothing has been done that would have to be undone.
    pub(crate) fn stay(&mut self) {
        if matches!(self.leaving, Some(Leaving::Asking { .. })) {
            self.leaving = None;
            self.dirty = true;
        }
    }

    /// Where somebody wants it so, there is nothing to wait for.
    pub(crate) fn cannot_leave(&mut self, reason: String, lasts: bool, now: Moment) {
        if let Some(Leaving::Asking { until, refused }) = &mut self.leaving {
            if lasts {
                *until = now;
            }
            *refused = Some(reason);
        }
    }

    /// A fence ended well.
    pub(crate) const fn fenced_to_leave(&mut self) {
        if let Some(Leaving::Closing { fenced, .. }) = &mut self.leaving {
            *fenced = true;
        }
    }

    /// Whether it may be stopped at any moment, or is being closed for that.
    pub(crate) fn may_be_stopped(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.view() == observation::Leaving::Stops)
    }

    pub(crate) fn tend_leaving(&mut self, now: Moment) {
        let Some(leaving) = self.leaving.take() else { return };
        self.leaving = match leaving {
            Leaving::Asking { until, refused } => self.asks_to_leave(until, refused, now),
            Leaving::Closing { until, why, fenced } => Some(self.closes_to_leave(until, why, fenced, now)),
            Leaving::Closed { run, until } => {
                let another = self.server.run().is_some_and(|now| run != Some(now));
                (!another && now < until).then_some(Leaving::Closed { run, until })
            }
        };
        self.dirty |= self.leaving.is_none();
    }

    fn asks_to_leave(&mut self, until: Moment, refused: Option<String>, now: Moment) -> Option<Leaving> {
        if let Some(told) = self.nothing_to_hand_over() {
            let stops = told.is_ok() && self.is_armed();
            self.outputs.push(Output::MayStop(told));
            return stops.then(|| Leaving::Closed { run: self.server.run(), until: now + STOPS });
        }
        if now < until {
            return Some(Leaving::Asking { until, refused });
        }
        let why = refused.unwrap_or_else(|| "no coordinator that leads was heard".to_owned());
        Some(self.closes_to_leave(now + CLOSES, why, false, now))
    }

    /// Also one that is closed to writes is fenced, as in a drain that does not get on: commits may wait in it, and their
    /// clients for them.
    fn closes_to_leave(&mut self, until: Moment, why: String, fenced: bool, now: Moment) -> Leaving {
        let run = self.server.run();
        let busy = self.act.is_some() || self.closing.is_some() || self.pending.is_some() || self.overtaken.is_some();
        let open = run.is_some() && !fenced;
        if open && !busy {
            if self.memory.opened.take().is_some() {
                self.persist();
            }
            let fence = self.fence(None);
            self.closing = Some(self.execute(fence));
        }
        if open && now < until {
            return Leaving::Closing { until, why, fenced };
        }
        let told = if open {
            Err(format!("nobody took over ({why}), and it could not be closed in time: clients may still be answered"))
        } else {
            Ok(format!(
                "nobody took over: {why}; its clients were cut off, so that none is told OK for what could be lost"
            ))
        };
        self.outputs.push(Output::MayStop(told));
        Leaving::Closed { run, until: now + STOPS }
    }

    fn nothing_to_hand_over(&self) -> Option<Result<String, String>> {
        let Some(record) = self.record() else {
            let why = "this node has no record: if its cluster was born its ledger was lost, and its server may be the primary";
            return Some(Err(why.to_owned()));
        };
        let elsewhere = record.primary != self.settings.me && record.opened && self.act.is_none();
        if record.mode == Mode::Observe {
            Some(Ok("the cluster is only observed: nothing is changed".to_owned()))
        } else if self.server.run().is_none() {
            Some(Ok("its server does not run".to_owned()))
        } else {
            elsewhere.then(|| Ok(format!("{} is the primary", record.primary)))
        }
    }
}
