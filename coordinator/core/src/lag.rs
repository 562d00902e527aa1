//! How far replicas lag: by what the primary held a while ago, never by a server's own `Seconds_Behind`, and without
//! comparing two machines' clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::settings::Settings;
use crate::view::View;

/// What the primary held at a moment; a replica that does not hold that long afterwards lags.
#[derive(Clone, Debug)]
struct Mark {
    set: GtidSet,
    at: Moment,
    /// When the position arrived that was compared last.
    compared: Option<Moment>,
}

/// One mark for each replica. Marks are of one reign: what an old primary held alone is never caught up with.
#[derive(Debug, Default)]
pub(crate) struct Lags {
    reign: Option<Epoch>,
    marks: BTreeMap<NodeId, Mark>,
}

impl Lags {
    /// When the next replica counts as lagging, if nothing more is heard.
    pub(crate) fn next(&self, patience: Duration, now: Moment) -> Option<Moment> {
        self.marks.values().map(|mark| mark.at + patience + Duration::from_nanos(1)).filter(|end| *end > now).min()
    }

    /// The first replica that has not applied what the primary held for longer than the policy allows, with the number
    /// of transactions that it lacks now.
    pub(crate) fn look(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        now: Moment,
    ) -> Option<(NodeId, u64)> {
        if self.reign.as_ref() != Some(&record.epoch) {
            self.reign = Some(record.epoch.clone());
            self.marks.clear();
        }
        let (primary, _) = view.position(&record.primary)?;
        let mut lagging = None;
        for node in settings.servers.keys().filter(|node| **node != record.primary) {
            let replicates = view
                .facts(node, settings.policy.silence, now)
                .and_then(|facts| facts.replication.as_ref())
                .is_some_and(|own| !own.filtered);
            let Some((own, arrived)) = view.position(node).filter(|_| replicates) else {
                self.marks.remove(node);
                continue;
            };
            let fresh = || Mark { set: primary.executed.clone(), at: now, compared: None };
            let mark = self.marks.entry(node.clone()).or_insert_with(fresh);
            if mark.compared != Some(arrived) {
                mark.compared = Some(arrived);
                if own.executed.contains(&mark.set) == Ok(true) {
                    *mark = Mark { compared: mark.compared, ..fresh() };
                }
            }
            if now.since(mark.at) > settings.policy.lag && lagging.is_none() {
                let behind = primary.executed.subtract(&own.executed).map_or(0, |ranges| ranges.count());
                lagging = Some((node.clone(), behind));
            }
        }
        lagging
    }
}
