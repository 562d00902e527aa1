//! The re-clone of this node's server, as far as the core has to know of it: a server that is being exchanged obeys no order
//! and shows nothing, and one that is needed is left as it is.

use tasuki_schemas::answer::Duty;
use tasuki_schemas::command::RecloneStep;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::reclone::Recloning;
use tasuki_schemas::record::Record;

use crate::io::{Effect, Output};
use crate::node::Node;

impl Node {
    /// Whether the server is being stopped, or not yet back.
    pub(crate) fn is_exchanging(&self) -> bool {
        self.recloning.as_ref().is_some_and(|(told, _)| told.stage.is_exchanging())
    }

    /// What a failover promise tells of such a server. The vote is given; what the server holds shows nothing: it is in no
    /// write group, and comes back closed and without a source.
    pub(crate) fn exchanging_duty() -> Duty {
        Duty::Failed { reason: "its data directory is being exchanged".to_owned() }
    }

    /// How far the re-clone is, for the report.
    pub(crate) fn recloning_view(&self, now: Moment) -> Option<Recloning> {
        let (told, at) = self.recloning.as_ref()?;
        let age = u64::try_from(now.since(*at).as_millis()).unwrap_or(u64::MAX);
        Some(Recloning { donor: told.donor.clone(), stage: told.stage.aged(age) })
    }

    /// Why this server must not be re-cloned under this record.
    pub(crate) fn unclonable(&self, record: &Record, step: &RecloneStep) -> Option<String> {
        let me = &self.settings.me;
        let member = record.groups.iter().any(|group| group.members.contains(me));
        let alive = self.server.facts().is_some_and(|facts| facts.writable);
        let reason = match step {
            _ if record.primary == *me => "the primary is never re-cloned",
            _ if !record.opened => "the reign that the record names is not opened",
            RecloneStep::Check { donor } | RecloneStep::Copy { donor }
                if donor == me || !self.settings.servers.contains_key(donor) =>
            {
                "the donor is no other server of this cluster file"
            }
            RecloneStep::Copy { .. } | RecloneStep::Exchange { .. } if member => {
                "it is in a write group that counts: a proof may need what it holds"
            }
            RecloneStep::Copy { .. } | RecloneStep::Exchange { .. } if alive => "it is open to writes",
            RecloneStep::Check { .. } | RecloneStep::Copy { .. } | RecloneStep::Exchange { .. } => return None,
        };
        Some(reason.to_owned())
    }

    /// The effect of a step.
    pub(crate) fn reclone_effect(&self, record: &Record, step: RecloneStep) -> Result<Effect, String> {
        let reign = record.reigns.iter().find(|reign| reign.epoch == record.epoch);
        let primary = reign.map(|reign| reign.origin.clone()).ok_or("the record does not tell who reigns")?;
        let address = match &step {
            RecloneStep::Check { donor } | RecloneStep::Copy { donor } => self.address(donor),
            RecloneStep::Exchange { .. } => self.address(&record.primary),
        };
        Ok(Effect::Reclone { step, address, primary })
    }

    /// The server is to serve: whatever was copied is of no use any more.
    pub(crate) fn abandon_reclone(&mut self) {
        if self.recloning.as_ref().is_some_and(|(told, _)| told.stage.is_under_way()) {
            self.outputs.push(Output::AbandonReclone);
        }
    }
}
