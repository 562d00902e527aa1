//! Re-cloning: a server whose data cannot go on is brought home on a copy of another's. An operator asks for it, or the
//! policy does for a server that holds more than the primary, once that is archived. The server leaves the write group first;
//! what is copied and exchanged is its node's work, told in its reports, so that whoever leads next goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_schemas::answer::Outcome;
use tasuki_schemas::command::{Order, OrderName, RecloneStep};
pub use tasuki_schemas::errand::Reclone;
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::reclone::RecloneStage;
use tasuki_schemas::record::{Mode, Record};

use crate::coordinator::Coordinator;
use crate::group;
use crate::leading::Leading;
use crate::pause::Answer;
use crate::repair::Care;
use crate::sentence::{names, sentence};
use crate::settings::Settings;
use crate::view::View;

/// What the policy began, or was refused, it does not begin again before this.
const AGAIN: Duration = Duration::from_secs(600);
/// A server that is ahead again so soon after a re-clone is left to people.
const STABLE: Duration = Duration::from_secs(3600);
/// What the policy asks for is begun within this.
const BEGINS: Duration = Duration::from_secs(60);
/// An exchange that was refused is asked for again after this.
const REFUSED: Duration = Duration::from_secs(5);
/// An end that came longer ago than this is no news.
const NEWS_MS: u64 = 60_000;

/// A re-clone that was asked for and has not begun.
#[derive(Clone, Debug)]
struct Asked {
    wish: Reclone,
    donor: NodeId,
    by_policy: bool,
    since: Moment,
    /// Its node said that it can be done.
    checked: bool,
}

/// What this coordinator knows of re-clones, besides what nodes report.
#[derive(Debug, Default)]
pub(crate) struct Reclones {
    asked: Option<Asked>,
    /// When the policy last began one here.
    tried: BTreeMap<NodeId, Moment>,
    /// When an exchange was last refused.
    refused: Option<Moment>,
    told: BTreeMap<NodeId, String>,
    /// Who was said to be ahead again too soon.
    again: BTreeSet<NodeId>,
}

impl Coordinator {
    /// The server that leaves the write group, or stays out of it, since it is about to be re-cloned: by a wish, or since a
    /// failover took it in while it was being copied to.
    pub(crate) fn retiring(&self, record: &Record, now: Moment) -> Option<NodeId> {
        let asked = self.reclones.asked.as_ref().filter(|asked| asked.checked).map(|asked| &asked.wish.node);
        let waits = |node: &&NodeId| self.waits_with_its_copy(record, node, now);
        let free = |node: &&NodeId| waits(node) && self.may_leave(record, node, now).is_ok();
        asked.or_else(|| self.settings.servers.keys().find(free)).cloned()
    }

    /// Whether a whole copy cannot take a server's place, since a write group that counts has it.
    fn waits_with_its_copy(&self, record: &Record, node: &NodeId, now: Moment) -> bool {
        self.stage(node, now) == Some(RecloneStage::Copied) && is_member(record, node)
    }

    /// Brings every re-clone one step on.
    pub(crate) fn tend_reclones(&mut self, leading: &mut Leading, now: Moment) {
        self.take_up(leading, now);
        self.begin_reclone(leading, now);
        let nodes: Vec<NodeId> = self.settings.servers.keys().cloned().collect();
        for node in &nodes {
            self.tell_reclone(node, now);
            if self.stage(node, now) == Some(RecloneStage::Copied) {
                self.exchange(leading, node, now);
            }
        }
    }

    /// The one that was asked for gets on, until its node has begun to copy.
    fn begin_reclone(&mut self, leading: &mut Leading, now: Moment) {
        let Some(asked) = self.reclones.asked.clone() else { return };
        leading.tends = true;
        if let Err(reason) = self.may_reclone(leading, &asked.wish.node, now) {
            return self.end_reclone(leading, &asked, Err(reason));
        }
        if asked.by_policy && now.since(asked.since) > BEGINS {
            return self.end_reclone(leading, &asked, Err("it did not begin in time".to_owned()));
        }
        if asked.checked && is_member(leading.record(), &asked.wish.node) {
            // It leaves first.
            return;
        }
        self.ask_node(leading, asked, now);
    }

    /// One at a time: an operator's wish, or what the policy demands.
    fn take_up(&mut self, leading: &mut Leading, now: Moment) {
        let wish = self.pauses.reclone().cloned();
        if self.reclones.asked.as_ref().is_some_and(|asked| !asked.by_policy && wish.as_ref() != Some(&asked.wish)) {
            // It was not begun in time, or somebody wished for something else.
            self.reclones.asked = None;
        }
        if self.reclones.asked.is_some() {
            return;
        }
        let (by_policy, wish) = match wish {
            Some(wish) => (false, wish),
            None => match self.demanded(leading, now) {
                Some(wish) => (true, wish),
                None => return,
            },
        };
        let under_way = |other: &&NodeId| {
            let goes_on = !self.waits_with_its_copy(leading.record(), other, now);
            goes_on && self.stage(other, now).is_some_and(|stage| stage.is_under_way())
        };
        let donor = match self.settings.servers.keys().find(under_way) {
            Some(other) => Err(format!("a re-clone of {other} is under way")),
            None => self.may_reclone(leading, &wish.node, now).and_then(|()| self.donor(leading, &wish.node, now)),
        };
        let (donor, refusal) = match donor {
            Ok(donor) => (donor, None),
            Err(reason) => (wish.node.clone(), Some(reason)),
        };
        let asked = Asked { wish, donor, by_policy, since: now, checked: false };
        if by_policy {
            self.reclones.tried.insert(asked.wish.node.clone(), now);
        }
        leading.forget(&asked.wish.node, OrderName::Reclone);
        match refusal {
            Some(reason) => self.end_reclone(leading, &asked, Err(reason)),
            None => self.reclones.asked = Some(asked),
        }
    }

    /// A server that the policy wants re-cloned: it is ahead, all that is archived, and this is no loop.
    fn demanded(&mut self, leading: &Leading, now: Moment) -> Option<Reclone> {
        if !self.settings.policy.recloning || self.pauses.hold(now).is_some() {
            return None;
        }
        let archived = leading.quarantine().into_iter().filter(|(_, (_, archive))| archive.is_some());
        for node in archived.map(|(node, _)| node) {
            let stage = self.stage(&node, now);
            let lately = |ago_ms: u64, within| Duration::from_millis(ago_ms) < within;
            let tried = self.reclones.tried.get(&node).is_some_and(|at| now.since(*at) < AGAIN);
            match stage {
                Some(RecloneStage::Done { ago_ms, .. }) if lately(ago_ms, STABLE) => {
                    let again = "ahead again so soon after it was re-cloned; that is left to people: find out who writes there, then `tasuki-coordinator reclone`";
                    if self.reclones.again.insert(node.clone()) {
                        self.outbox.tell(EventBody::Repair { node, sentence: again.to_owned() });
                    }
                }
                Some(RecloneStage::Failed { ago_ms, .. }) if lately(ago_ms, AGAIN) => {}
                Some(_) | None if tried => {}
                Some(stage) if stage.is_under_way() => {}
                Some(_) | None => {
                    let (by, reason) =
                        ("the policy".to_owned(), "the cluster file says `rejoin = \"clone\"`".to_owned());
                    return Some(Reclone { node, dry_run: false, by, reason });
                }
            }
        }
        None
    }

    /// The node says whether it can be done, and then begins.
    fn ask_node(&mut self, leading: &mut Leading, asked: Asked, now: Moment) {
        let (node, donor) = (asked.wish.node.clone(), asked.donor.clone());
        let step = if asked.checked { RecloneStep::Copy { donor } } else { RecloneStep::Check { donor } };
        let order = Order::Reclone { record: Box::new(leading.record().clone()), step };
        let place = match leading.order(&self.settings, &self.view, &node, order, &mut self.outbox, now) {
            Some(Outcome::Done { place, .. }) => place.unwrap_or_default(),
            Some(Outcome::Failed { reason }) => return self.end_reclone(leading, &asked, Err(reason)),
            Some(Outcome::Running { .. }) | None => {
                let refusal = self.view.answers(&node, leading.ballot()).and_then(|answers| answers.refusal.clone());
                if let Some(refusal) = refusal {
                    self.end_reclone(leading, &asked, Err(refusal.to_string()));
                }
                return;
            }
        };
        leading.forget(&node, OrderName::Reclone);
        if asked.wish.dry_run {
            let text = format!("{node} can be re-cloned: {place}; nothing was changed");
            return self.end_reclone(leading, &asked, Ok(text));
        }
        if asked.checked {
            let Reclone { by, reason, .. } = &asked.wish;
            let text = format!("re-cloning began, as {by} asked ({reason}): {place}; the events tell how it goes");
            return self.end_reclone(leading, &asked, Ok(text));
        }
        self.reclones.asked = Some(Asked { checked: true, ..asked });
    }

    fn end_reclone(&mut self, leading: &mut Leading, asked: &Asked, answer: Answer) {
        let node = &asked.wish.node;
        leading.forget(node, OrderName::Reclone);
        self.reclones.asked = None;
        self.reclones.again.remove(node);
        let sentence = match &answer {
            Ok(text) => text.clone(),
            Err(reason) => format!("not re-cloned: {reason}"),
        };
        if !asked.wish.dry_run && self.settings.servers.contains_key(node) {
            self.say(node, sentence);
        }
        if !asked.by_policy && self.pauses.reclone().is_some() {
            self.pauses.answer_with(answer);
        }
    }

    /// The copy is whole: it may take the server's place if nobody needs what is there.
    fn exchange(&mut self, leading: &mut Leading, node: &NodeId, now: Moment) {
        leading.tends = true;
        let waits = self.reclones.refused.is_some_and(|at| now.since(at) < REFUSED);
        let serves = Self::is_serving(&self.diagnosis) && self.handing.is_none();
        if waits || !serves || is_member(leading.record(), node) {
            return;
        }
        let primary = leading.record().primary.clone();
        let Some((position, _)) = self.view.position(&primary) else { return };
        let mut known = position.executed.clone();
        match leading.kept(node) {
            Ok(Some(holds)) => known = known.union(holds).unwrap_or(known),
            Ok(None) => {}
            // It is archived first.
            Err(_) => return,
        }
        let order =
            Order::Reclone { record: Box::new(leading.record().clone()), step: RecloneStep::Exchange { known } };
        match leading.order(&self.settings, &self.view, node, order, &mut self.outbox, now) {
            Some(Outcome::Failed { reason }) => {
                self.reclones.refused = Some(now);
                leading.forget(node, OrderName::Reclone);
                self.say(node, format!("the copy waits beside it: {reason}"));
            }
            Some(Outcome::Done { .. }) => leading.forget(node, OrderName::Reclone),
            Some(Outcome::Running { .. }) | None => {}
        }
    }

    /// Why a server is not re-cloned now.
    fn may_reclone(&self, leading: &Leading, node: &NodeId, now: Moment) -> Answer<()> {
        let (settings, record) = (&self.settings, leading.record());
        if record.mode == Mode::Observe {
            return Err("the cluster is only observed".to_owned());
        }
        if !settings.servers.contains_key(node) {
            let all = names(settings.servers.keys());
            return Err(format!("{node} is no server of this cluster; there are {all}"));
        }
        if *node == record.primary {
            return Err(format!("{node} is the primary, which is never re-cloned; let it hand over first"));
        }
        if self.handing.is_some() {
            return Err("a switchover is under way".to_owned());
        }
        if !Self::is_serving(&self.diagnosis) {
            return Err(sentence(&self.diagnosis));
        }
        if self.view.facts(node, settings.policy.silence, now).is_none() {
            return Err(format!(
                "{node} does not answer; start its server and its node: the copy is made beside a running server"
            ));
        }
        leading.kept(node).map_err(|waits| format!("what {node} holds in excess is not archived yet: {waits}"))?;
        self.may_leave(record, node, now)
    }

    /// Why a member of the write group must not leave it.
    fn may_leave(&self, record: &Record, node: &NodeId, now: Moment) -> Answer<()> {
        let Some(group) = record.group().filter(|_| is_member(record, node)) else { return Ok(()) };
        if record.groups.iter().rev().skip(1).any(|older| older.members.contains(node)) {
            return Err(format!("an older write group counts as well, and {node} is in it; bring replicas back first"));
        }
        let others = group::acknowledging(&self.settings, &self.view, record, node, now);
        if others < group.acks {
            return Err(format!(
                "writes wait for {} acknowledgements, and without {node} only {others} replicas give one; bring another replica back first",
                group.acks
            ));
        }
        Ok(())
    }

    fn stage(&self, node: &NodeId, now: Moment) -> Option<RecloneStage> {
        let server = self.view.server(node, self.settings.policy.silence, now)?;
        server.reclone.as_ref().map(|told| told.stage.clone())
    }

    /// Tells how far a re-clone is, each time once.
    fn tell_reclone(&mut self, node: &NodeId, now: Moment) {
        let server = self.view.server(node, self.settings.policy.silence, now);
        let Some(told) = server.and_then(|server| server.reclone.as_ref()) else { return };
        let donor = &told.donor;
        let sentence = match &told.stage {
            RecloneStage::Copying { bytes, expected } => {
                let tenth = bytes.saturating_mul(10).checked_div(*expected).unwrap_or(0).min(10);
                let megabytes = expected.div_ceil(1 << 20);
                format!("is re-cloned from {donor}: {} % of about {megabytes} MB are copied", tenth * 10)
            }
            RecloneStage::Preparing => format!("the copy of {donor} is made consistent"),
            RecloneStage::Copied => format!("the copy of {donor} is whole and is to take the place of its data"),
            RecloneStage::Exchanging { step } => format!("the copy of {donor} takes the place of its data: {step}"),
            RecloneStage::Done { ago_ms, .. } | RecloneStage::Failed { ago_ms, .. } if *ago_ms > NEWS_MS => return,
            RecloneStage::Done { aside, .. } => format!(
                "runs on a copy of {donor}; its data from before is in {aside} on its host: delete that once the server follows and nobody wants to look at it"
            ),
            RecloneStage::Failed { reason, .. } => format!("was not re-cloned: {reason}"),
        };
        self.say(node, sentence);
    }

    fn say(&mut self, node: &NodeId, sentence: String) {
        if self.reclones.told.get(node) != Some(&sentence) {
            self.reclones.told.insert(node.clone(), sentence.clone());
            self.outbox.tell(EventBody::Repair { node: node.clone(), sentence });
        }
    }
}

impl Leading {
    /// A member of the write group that is to leave it for its re-clone.
    pub(crate) fn retiring_member(&self) -> Option<NodeId> {
        let node = self.retiring.as_ref().filter(|node| **node != self.record.primary)?;
        self.record.group().is_some_and(|group| group.members.contains(node)).then(|| node.clone())
    }

    /// Whether a server is left as it is, since a copy takes the place of its data. One that a write group has is needed.
    pub(crate) fn is_spared(&self, settings: &Settings, view: &View, node: &NodeId, now: Moment) -> bool {
        let told = view.server(node, settings.policy.silence, now).and_then(|server| server.reclone.as_ref());
        let under_way = told.is_some_and(|told| told.stage.is_under_way()) && !is_member(self.record(), node);
        self.retiring.as_ref() == Some(node) || under_way
    }

    /// What a server held that stands in its archive; `Ok(None)` if nothing is known that it holds in excess, and the
    /// sentence about its archive as long as that lacks something.
    pub(crate) fn kept(&self, node: &NodeId) -> Result<Option<&GtidSet>, String> {
        self.care.get(node).map_or(Ok(None), Care::kept)
    }
}

/// Whether a server is in a write group that counts.
fn is_member(record: &Record, node: &NodeId) -> bool {
    record.groups.iter().any(|group| group.members.contains(node))
}
