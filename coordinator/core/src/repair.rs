//! Makes every managed server match the record: follow, join the write group, or stay out in quarantine.

use std::time::Duration;

use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Facts, Thread};
use tasuki_schemas::record::{Mode, Record};

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

/// What is remembered about one server between looks.
#[derive(Clone, Debug, Default)]
pub struct Care {
    astray_since: Option<Moment>,
    holds_all_at: Option<Moment>,
    /// What the primary had a moment ago: a replica that is always a little behind still holds this soon.
    mark: Option<(GtidSet, Moment)>,
    within_at: Option<Moment>,
    extras: Option<String>,
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
        let answering = view
            .server(node, settings.policy.silence, now)
            .is_some_and(|server| server.connection == Connection::Answering);
        let Some(facts) = view.facts(node, settings.policy.silence, now).filter(|_| answering) else {
            *self = Self { told: self.told.take(), ..Self::default() };
            return Finding::Wait;
        };
        if facts.writable {
            return Finding::Wait;
        }
        self.compare(view, record, node, now);
        match stray(settings, view, record, node, now) {
            Some(reason) => match self.in_vain(settings, view, record, node, now) {
                Some(error) => {
                    self.tell(format!("left as it is, since it stops again: {error}; repair or re-clone it"))
                }
                None => self.look_at_stray(view, record, node, &reason, now),
            },
            None => self.look_at_follower(settings, view, record, node, facts, now),
        }
    }

    /// What the server holds that the primary does not.
    #[must_use]
    pub fn extras(&self) -> Option<&str> {
        self.extras.as_deref()
    }

    /// Compares positions. The set that was read first must be within the other, never the other way round.
    fn compare(&mut self, view: &View, record: &Record, node: &NodeId, now: Moment) {
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
                Ok(false) => {
                    self.within_at = None;
                    let extras = set.subtract(&primary.executed).map(|extras| extras.to_string()).unwrap_or_default();
                    match &self.suspected {
                        Some((suspected, at)) if *suspected == extras && *at < own_at => self.extras = Some(extras),
                        Some((suspected, _)) if *suspected == extras => {}
                        Some(_) | None => self.suspected = Some((extras, primary_at)),
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
        if let Some(extras) = &self.extras {
            return self.tell(format!(
                "quarantined: it holds transactions that {} does not: {extras}; archive them, then re-clone the server",
                record.primary
            ));
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
        if group.members.contains(node) {
            let joined = facts.semi_sync.replica_enabled || record.wanted == 0;
            return if joined { Finding::Well } else { Finding::Join };
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
            return self
                .tell_or(format!("caught up with {}; it joins the write group", record.primary), Finding::Widen);
        }
        ask_older(view, record, node)
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

/// Whose position is older: it is asked for next.
fn ask_older(view: &View, record: &Record, node: &NodeId) -> Finding {
    let own = view.position(node).map(|(_, at)| at);
    let primary = view.position(&record.primary).map(|(_, at)| at);
    Finding::AskPosition(if primary <= own { record.primary.clone() } else { node.clone() })
}
