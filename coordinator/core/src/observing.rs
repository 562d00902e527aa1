//! What would be done, from ambient reports alone: the forecast of mode `observe`.

use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::elect::{Contender, Election, elect};
use crate::settings::Settings;
use crate::view::View;

/// The election as it would go now if the record's primary died. Positions may be a second old.
#[must_use]
pub fn forecast(settings: &Settings, view: &View, record: &Record, now: Moment) -> Election {
    let answering: Vec<&NodeId> = settings
        .servers
        .keys()
        .filter(|node| **node != record.primary && view.facts(node, settings.policy.silence, now).is_some())
        .collect();
    let goal = answering
        .iter()
        .filter_map(|node| view.position(node).and_then(|(position, _)| position.received.known()))
        .try_fold(GtidSet::empty(settings.flavour), |goal, set| goal.union(set))
        .unwrap_or_else(|_| GtidSet::empty(settings.flavour));
    let contenders: Vec<Contender<'_>> = answering
        .iter()
        .filter_map(|node| {
            let server = settings.servers.get(*node)?;
            let position = view.position(node).map(|(position, _)| position);
            Some(Contender {
                node,
                promotion: server.promotion,
                order: server.order,
                incumbent: false,
                excluded: false,
                received: position.and_then(|position| position.received.known()),
                executed: position.map(|position| &position.executed),
                barred: None,
            })
        })
        .collect();
    elect(&contenders, &goal)
}
