//! What a dead server's files hold where no node shows it: read by the coordinator's shell through ssh, after the server was
//! ended that way and while it is kept from starting. It is evidence of its own kind, and nobody's promise.

use std::collections::BTreeMap;
use std::time::Duration;

use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;

use crate::view::View;

/// What the shell found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Every whole transaction of the binlog, read to its end.
    pub executed: GtidSet,
    /// For how long its host had been up then.
    pub up: Duration,
}

/// Why the shell found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The host does not answer any more.
    Unreached(String),
    /// It answers, and its files cannot be read, kept or trusted; with the file and the fix.
    Unreadable(String),
}

/// What came of a reading.
pub type Reading = Result<Files, Unread>;

/// One reading that was asked for.
#[derive(Clone, Debug)]
struct Asked {
    since: Moment,
    limit: Duration,
    have: GtidSet,
    found: Option<Found>,
}

#[derive(Clone, Debug)]
enum Found {
    /// `whole`: nothing that the server acknowledged can be missing.
    Set {
        set: GtidSet,
        whole: bool,
    },
    Unreached,
    Unreadable(String),
}

/// A result may be on its way for so long after its limit.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// Two machines' clocks may differ by so much in their rates, and a report is that old when it arrives.
const DRIFT: u32 = 100;
const OLD: Duration = Duration::from_secs(1);

/// The readings of one attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readings(BTreeMap<NodeId, Asked>);

impl Readings {
    /// Notes that a server's files are read from now on; false if they were before.
    pub(crate) fn ask(&mut self, node: &NodeId, have: GtidSet, limit: Duration, now: Moment) -> bool {
        if self.0.contains_key(node) {
            return false;
        }
        self.0.insert(node.clone(), Asked { since: now, limit, have, found: None });
        true
    }

    /// Takes what came of a reading that was asked for, and says it for people.
    pub(crate) fn hear(&mut self, view: &View, node: &NodeId, reading: Reading, now: Moment) -> Option<String> {
        let asked = self.0.get_mut(node).filter(|asked| asked.found.is_none())?;
        let (found, sentence) = match reading {
            Ok(Files { executed, up }) => {
                let whole = keeps_all(view, node, up, now);
                let alone = executed.subtract(&asked.have).map_or_else(|mixed| mixed.to_string(), |it| it.to_string());
                let alone = if alone.is_empty() { "nothing that others lack".to_owned() } else { alone };
                let doubt = if whole {
                    ""
                } else {
                    "; its host was started again since its last report, or was never heard, and sync_binlog was not 1: \
                     what it held in memory is not in there"
                };
                let sentence = format!("{node}'s binlog was read through ssh to its end: it has {alone}{doubt}");
                (Found::Set { set: executed, whole }, sentence)
            }
            Err(Unread::Unreached(reason)) => {
                (Found::Unreached, format!("{node}'s binlog was not read, its host was lost meanwhile: {reason}"))
            }
            Err(Unread::Unreadable(reason)) => {
                let sentence = format!("{node}'s binlog cannot be read through ssh: {reason}");
                (Found::Unreadable(reason), sentence)
            }
        };
        asked.found = Some(found);
        Some(sentence)
    }

    /// Whether a reading has yet to tell what came of it.
    pub(crate) fn is_awaited(&self, node: &NodeId, now: Moment) -> bool {
        self.0
            .get(node)
            .is_some_and(|asked| asked.found.is_none() && now.since(asked.since) <= asked.limit + ON_ITS_WAY)
    }

    /// The same of any.
    pub(crate) fn are_awaited(&self, now: Moment) -> bool {
        self.0.keys().any(|node| self.is_awaited(node, now))
    }

    /// What was read.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&NodeId, &GtidSet)> {
        self.0.iter().filter_map(|(node, asked)| match &asked.found {
            Some(Found::Set { set, .. }) => Some((node, set)),
            Some(Found::Unreached | Found::Unreadable(_)) | None => None,
        })
    }

    /// Whether a server's files were read, and have all that it acknowledged.
    pub(crate) fn is_whole(&self, node: &NodeId) -> bool {
        let found = self.0.get(node).and_then(|asked| asked.found.as_ref());
        matches!(found, Some(Found::Set { whole: true, .. }))
    }

    /// Why files whose host answers cannot be read: their disk can be reached, so that people decide about them.
    pub(crate) fn unreadable(&self, node: &NodeId) -> Option<&str> {
        match &self.0.get(node)?.found {
            Some(Found::Unreadable(reason)) => Some(reason),
            Some(Found::Set { .. } | Found::Unreached) | None => None,
        }
    }
}

/// Whether all that a server wrote is still there: its host has been up for longer than it was unheard, or each commit went
/// to the disk before it was acknowledged.
fn keeps_all(view: &View, node: &NodeId, up: Duration, now: Moment) -> bool {
    let Some(server) = view.server(node, Duration::MAX, now) else { return false };
    let synced = |facts: &tasuki_schemas::observation::Facts| {
        facts.failing_gates.iter().all(|gate| gate.setting != "sync_binlog")
    };
    let unheard = view.silence_of(node, now);
    server.facts.as_ref().is_some_and(synced) || up > unheard + unheard / DRIFT + OLD
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
