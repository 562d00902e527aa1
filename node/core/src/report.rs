//! The whole observation: a later one replaces an earlier one.

use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Observation, Process, ServerView};

use crate::leaving::Leaving;
use crate::node::Node;

impl Node {
    /// The node's report now.
    #[must_use]
    pub fn observation(&self, now: Moment) -> Observation {
        Observation {
            node: self.settings.me.clone(),
            heard: self.heard.clone(),
            ledger: self.memory.view(self.durable),
            server: self.settings.has_server().then(|| self.server_view(now)),
            answers: self.answers.clone(),
        }
    }

    fn server_view(&self, now: Moment) -> ServerView {
        let report = self.server.report.as_ref();
        let process = self.server.process();
        let connection = match (&process, report) {
            (Process::Exited { .. }, _) | (_, None) => Connection::Closed,
            (Process::Running { .. } | Process::Unknown, Some(report)) => report.connection.clone(),
        };
        ServerView {
            process,
            connection,
            identity: report.and_then(|report| report.identity.clone()),
            facts: report.and_then(|report| report.facts.clone()),
            facts_age_ms: u64::try_from(now.since(self.server.read_at).as_millis()).unwrap_or(u64::MAX),
            cut: self.settings.cut,
            fenced: self.memory.failover.is_some()
                && self.record().is_some_and(|record| record.subjects().contains(&self.settings.me)),
            serving: self.serving,
            lease: self.lease_view(now),
            refused: self.refused.clone(),
            strangers: self.strangers.told(now),
            reclone: self.recloning_view(now),
            leaving: self.leaving.as_ref().map(Leaving::view),
        }
    }
}
