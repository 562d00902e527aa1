//! Makes every managed server match the record: follow, join the write group, or stay out in quarantine.

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Facts, Thread};
use tasuki_schemas::record::{Mode, Record};

use crate::archive::{Archive, Extras};
use crate::diagnose::{broken, stray};
use crate::settings::{Promotion, Settings};
use crate::view::View;

/// A server must be seen astray for so long before it is touched: facts are read at intervals.
const DEBOUNCE: Duration = Duration::from_millis(700);
/// A server has caught up if it holds what the primary held so long ago.
const MARK: Duration = Duration::from_millis(500);
/// A replica that stopped with an error is set to follow for so long; the same error is not tried again soon: each try may
/// cost relay files.
const TRY_FOR: Duration = Duration::from_secs(3);
/// Then people repair it, or the error goes away.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// How long a comparison of two positions is good for.
const GOOD_FOR: Duration = Duration::from_secs(4);
/// Whether a replica has caught up is news for so long where writing is about to wait for it.
const FRESH: Duration = Duration::from_secs(1);

/// What is remembered about one server between looks.
#[derive(Clone, Debug, Default)]
pub struct Care {
    astray_since: Option<Moment>,
    holds_all_at: Option<Moment>,
    /// What the primary had a moment ago: a replica that is always a little behind still holds this soon.
    mark: Option<(GtidSet, Moment)>,
    within_at: Option<Moment>,
    extras: Option<Extras>,
    archive: Archive,
    /// The policy re-clones it once they are archived.
    recloning: bool,
    /// It is left as it is, since a copy is to take the place of its data.
    spared: bool,
    /// Extras seen once. Only when the next comparison shows the same are they believed.
    suspected: Option<(String, Moment)>,
    told: Option<String>,
    /// The error with which replication stopped, and when it was first tried to go on.
    tried: Option<(String, Moment)>,
}

/// What a server needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    Well,
    /// Nothing yet.
    Wait,
    /// A fresh position of this server or of the primary, whichever is older: read in turn, each is compared with the
    /// other's earlier one.
    AskPosition(NodeId),
    /// To follow the primary.
    Follow,
    /// A place in the write group.
    Widen,
    /// Its semi-sync side switched on.
    Join,
    /// People, who must know this.
    Tell(String),
}

impl Care {
    /// Looks at one server that is not the primary. `record` is decided and opened.
    pub fn look(&mut self, settings: &Settings, view: &View, record: &Record, node: &NodeId, now: Moment) -> Finding {
        if record.mode == Mode::Observe {
            return Finding::Well;
        }
        self.recloning = settings.policy.recloning;
        let answering = view
            .server(node, settings.policy.silence, now)
            .is_some_and(|server| server.connection == Connection::Answering);
        let Some(facts) = view.facts(node, settings.policy.silence, now).filter(|_| answering) else {
            let archive = std::mem::take(&mut self.archive);
            *self = Self { told: self.told.take(), archive, ..Self::default() };
            return Finding::Wait;
        };
        if facts.writable {
            return Finding::Wait;
        }
        let astray = stray(settings, view, record, node, now);
        self.compare(view, record, node, astray.is_none(), now);
        if self.spared {
            return self.quarantine(record).map_or(Finding::Wait, |sentence| self.tell(sentence));
        }
        match astray {
            Some(reason) => match self.in_vain(settings, view, record, node, now) {
                Some(error) => {
                    self.tell(format!("left as it is, since it stops again: {error}; repair or re-clone it"))
                }
                None => self.look_at_stray(view, record, node, &reason, now),
            },
            None => self.look_at_follower(settings, view, record, node, facts, now),
        }
    }

    /// Whether the server is left as it is, until it is seen otherwise.
    pub(crate) const fn spare(&mut self, spared: bool) {
        self.spared = spared;
    }

    /// What the server holds that the primary does not.
    #[must_use]
    pub const fn extras(&self) -> Option<&Extras> {
        self.extras.as_ref()
    }

    /// How far they are archived.
    pub const fn archive(&mut self) -> &mut Archive {
        &mut self.archive
    }

    /// All that it held when that was archived; `Ok(None)` if it holds nothing in excess.
    pub(crate) fn kept(&self) -> Result<Option<&GtidSet>, String> {
        match &self.extras {
            None => Ok(None),
            Some(extras) if self.archive.folder(extras).is_some() => Ok(Some(&extras.holds)),
            Some(extras) => Err(self.archive.sentence(extras, self.recloning)),
        }
    }

    /// Whether it held a moment ago what the primary had another moment before.
    pub(crate) fn has_caught_up(&self, now: Moment) -> bool {
        self.holds_all_at.is_some_and(|at| now.since(at) < FRESH)
    }

    /// The folder where all of them are archived.
    #[must_use]
    pub fn archived(&self) -> Option<&str> {
        self.archive.folder(self.extras.as_ref()?)
    }

    /// Compares positions. The set that was read first must be within the other, never the other way round.
    fn compare(&mut self, view: &View, record: &Record, node: &NodeId, follows: bool, now: Moment) {
        let Some(((own, own_at), (primary, primary_at))) = view.position(node).zip(view.position(&record.primary))
        else {
            return;
        };
        // A restarted server may hold more in relay files that nobody read since. They are kept when it follows again, and
        // whatever was acknowledged is on the primary: its proof showed it.
        let set = own.received.known().unwrap_or(&own.executed);
        if self.mark.as_ref().is_none_or(|(_, at)| now.since(*at) > MARK) {
            self.mark = Some((primary.executed.clone(), primary_at));
        }
        if let Some((mark, at)) = &self.mark
            && *at < own_at
            && set.contains(mark) == Ok(true)
        {
            self.holds_all_at = Some(now);
            self.mark = None;
        }
        if own_at < primary_at && self.astray_since.is_none_or(|since| since < own_at) {
            match primary.executed.contains(set) {
                Ok(true) => {
                    self.within_at = Some(now);
                    (self.extras, self.suspected) = (None, None);
                }
                // A replica that follows has what the primary wrote and does not show yet: on MySQL a commit that still
                // waits for its acknowledgement. One that does not follow may be just whom that commit waits for.
                Ok(false) if is_of_primary(record, set, &primary.executed) && (follows || waits(view, record, now)) => {
                    self.within_at = (!follows).then_some(now);
                    (self.extras, self.suspected) = (None, None);
                }
                Ok(false) => {
                    self.within_at = None;
                    let text = set.subtract(&primary.executed).map(|extras| extras.to_string()).unwrap_or_default();
                    match &self.suspected {
                        Some((suspected, at)) if *suspected == text && *at < own_at => {
                            let (holds, beyond) = (set.clone(), primary.executed.clone());
                            self.extras = Some(Extras { text, holds, beyond });
                        }
                        Some((suspected, _)) if *suspected == text => {}
                        Some(_) | None => self.suspected = Some((text, primary_at)),
                    }
                }
                Err(_) => self.within_at = None,
            }
        }
    }

    /// The error with which replication stops again and again.
    fn in_vain(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        node: &NodeId,
        now: Moment,
    ) -> Option<String> {
        let error = broken(settings, view, record, node, now)?;
        match &self.tried {
            Some((tried, at)) if *tried == error && now.since(*at) < TRY_AGAIN => {
                (now.since(*at) > TRY_FOR).then_some(error)
            }
            Some(_) | None => {
                self.tried = Some((error, now));
                None
            }
        }
    }

    fn look_at_stray(&mut self, view: &View, record: &Record, node: &NodeId, reason: &str, now: Moment) -> Finding {
        let since = *self.astray_since.get_or_insert_with(|| {
            self.within_at = None;
            now
        });
        self.holds_all_at = None;
        if now.since(since) < DEBOUNCE {
            return Finding::Wait;
        }
        if let Some(sentence) = self.quarantine(record) {
            return self.tell(sentence);
        }
        if self.within_at.is_some_and(|at| now.since(at) < GOOD_FOR) {
            return self.tell_or(format!("set to follow {}, since {reason}", record.primary), Finding::Follow);
        }
        ask_older(view, record, node)
    }

    fn look_at_follower(
        &mut self,
        settings: &Settings,
        view: &View,
        record: &Record,
        node: &NodeId,
        facts: &Facts,
        now: Moment,
    ) -> Finding {
        self.astray_since = None;
        let Some(group) = record.group() else { return Finding::Well };
        let joined = facts.semi_sync.replica_enabled || record.wanted == 0;
        let member = group.members.contains(node);
        if member && joined {
            if let Some(sentence) = self.quarantine(record) {
                return self.tell(sentence);
            }
            let awaited = group.acks < record.wanted && !self.has_caught_up(now);
            return if awaited { ask_older(view, record, node) } else { Finding::Well };
        }
        // Where acknowledgements are required, writing may wait for this one's.
        if member && group.acks > 0 {
            return Finding::Join;
        }
        if let Some(sentence) = self.quarantine(record) {
            return self.tell(sentence);
        }
        let never = settings.servers.get(node).is_none_or(|server| server.promotion == Promotion::Never);
        if never || record.wanted == 0 {
            return Finding::Well;
        }
        let Some(replication) = &facts.replication else { return Finding::Wait };
        if replication.filtered {
            return self.tell("kept out of the write group: it filters or delays replication".to_owned());
        }
        if let Some(disk) = &facts.disk {
            return self.tell(format!("kept out of the write group: {disk}"));
        }
        if let Some(gate) = facts.failing_gates.first() {
            return self
                .tell(format!("kept out of the write group: {} is {}; set {}", gate.setting, gate.found, gate.fix));
        }
        let recent = |at: Option<Moment>| at.is_some_and(|at| now.since(at) < GOOD_FOR);
        let flowing = replication.receiver == Thread::Running && replication.applier == Thread::Running;
        if flowing && recent(self.holds_all_at) && recent(self.within_at) {
            let (does, finding) = if member {
                ("acknowledges what it receives", Finding::Join)
            } else {
                ("joins the write group", Finding::Widen)
            };
            return self.tell_or(format!("caught up with {}; it {does}", record.primary), finding);
        }
        ask_older(view, record, node)
    }

    /// What people must know of a server that holds more than the primary.
    fn quarantine(&self, record: &Record) -> Option<String> {
        let extras = self.extras.as_ref()?;
        let kept = self.archive.sentence(extras, self.recloning);
        Some(format!("quarantined: it holds transactions that {} does not: {}; {kept}", record.primary, extras.text))
    }

    fn tell(&mut self, sentence: String) -> Finding {
        self.tell_or(sentence, Finding::Wait)
    }

    /// Tells a sentence once, before the finding itself.
    fn tell_or(&mut self, sentence: String, finding: Finding) -> Finding {
        if self.told.as_ref() == Some(&sentence) {
            return finding;
        }
        self.told = Some(sentence.clone());
        Finding::Tell(sentence)
    }
}

/// Whether all that `set` has beyond `shown` was written by the primary itself.
fn is_of_primary(record: &Record, set: &GtidSet, shown: &GtidSet) -> bool {
    let Some(reign) = record.reigns.iter().find(|reign| reign.epoch == record.epoch) else { return false };
    let own = set.only(&BTreeSet::from([reign.origin.clone()]));
    shown.union(&own).and_then(|known| known.contains(set)) == Ok(true)
}

/// Whether commits of a MySQL primary wait for acknowledgements; MariaDB shows them at once. How many is not known: servers
/// count one for each group of commits. If it lost what a replica has of it, it refuses that replica by itself.
fn waits(view: &View, record: &Record, now: Moment) -> bool {
    let Some(server) = view.server(&record.primary, GOOD_FOR, now) else { return false };
    let mysql = server.identity.as_ref().is_some_and(|identity| identity.flavour == Flavour::Mysql);
    mysql && server.facts.as_ref().is_some_and(|facts| facts.semi_sync.waiting > 0)
}

/// Whose position is older: it is asked for next.
fn ask_older(view: &View, record: &Record, node: &NodeId) -> Finding {
    let own = view.position(node).map(|(_, at)| at);
    let primary = view.position(&record.primary).map(|(_, at)| at);
    Finding::AskPosition(if primary <= own { record.primary.clone() } else { node.clone() })
}
