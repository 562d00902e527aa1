//! Whose data is copied: a healthy replica rather than the primary, whose writers would feel it.

use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Thread};
use tasuki_schemas::record::Record;

use crate::coordinator::Coordinator;
use crate::diagnose::stray;
use crate::leading::Leading;
use crate::pause::Answer;

impl Coordinator {
    /// The donor for a server, or why each other server is none.
    pub(crate) fn donor(&self, leading: &Leading, node: &NodeId, now: Moment) -> Answer<NodeId> {
        let mut reasons = Vec::new();
        let mut fit: Vec<(bool, bool, usize, &NodeId)> = Vec::new();
        for (other, server) in self.settings.servers.iter().filter(|(other, _)| *other != node) {
            match self.unable(leading, node, other, now) {
                Some(reason) => reasons.push(format!("{other} {reason}")),
                None => {
                    let primary = *other == leading.record().primary;
                    fit.push((primary, self.settings.are_apart(node, other), server.order, other));
                }
            }
        }
        fit.sort();
        let best = fit.first().map(|(.., other)| (*other).clone());
        best.ok_or_else(|| format!("nobody can be copied: {}", reasons.join("; ")))
    }

    /// Why a server is no donor.
    fn unable(&self, leading: &Leading, node: &NodeId, other: &NodeId, now: Moment) -> Option<String> {
        let (settings, view, record) = (&self.settings, &self.view, leading.record());
        let silence = settings.policy.silence;
        let server = view.server(other, silence, now).filter(|server| server.connection == Connection::Answering);
        let Some((server, facts)) = server.and_then(|server| Some((server, server.facts.as_ref()?))) else {
            return Some("does not answer".to_owned());
        };
        let own = view.server(node, silence, now).and_then(|server| server.identity.as_ref());
        if settings.flavour == Flavour::Mysql
            && own.map(|own| &own.version) != server.identity.as_ref().map(|identity| &identity.version)
        {
            return Some("runs another version, between which MySQL does not clone".to_owned());
        }
        if let Some(disk) = &facts.disk {
            return Some(format!("cannot write: {disk}"));
        }
        if *other == record.primary {
            return None;
        }
        if let Some(reason) = stray(settings, view, record, other, now) {
            return Some(format!("is no healthy replica: {reason}"));
        }
        let runs = |own: &tasuki_schemas::observation::Replication| {
            (own.receiver, own.applier) == (Thread::Running, Thread::Running) && !own.filtered
        };
        if !facts.replication.as_ref().is_some_and(runs) {
            return Some("does not replicate everything".to_owned());
        }
        if leading.kept(other) != Ok(None) {
            return Some("holds more than the primary".to_owned());
        }
        lags(self, record, other).then(|| "has not applied what the primary began with".to_owned())
    }
}

/// Events of a former primary that are still to be applied would be skipped by that very server on the copy: they bear its
/// own number.
fn lags(coordinator: &Coordinator, record: &Record, other: &NodeId) -> bool {
    let before = record.reigns.iter().find(|reign| reign.epoch == record.epoch).map(|reign| &reign.set_before);
    let held = coordinator.view.position(other).map(|(position, _)| &position.executed);
    before.zip(held).is_none_or(|(before, held)| held.contains(before) != Ok(true))
}
