//! A switchover: an operator asks the primary to hand over. It is drained while its replicas still acknowledge: what is being
//! written ends, nobody writes any more, and the server that takes over receives the rest. Then the same attempt as ever
//! moves the reign, by the same proofs. Whatever goes wrong before the record is decided ends where it began: the old
//! primary lives and holds everything, so it is left open, or named again.

use std::time::Duration;

use tasuki_schemas::answer::Outcome;
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::command::{Order, OrderName};
pub use tasuki_schemas::errand::Switchover;
use tasuki_schemas::event::{Diagnosis, EventBody, StageName};
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::Thread;
use tasuki_schemas::record::{Mode, Record};

use crate::coordinator::{Coordinator, Role};
use crate::leading::Leading;
use crate::pause::{Answer, Wish};
use crate::plan::{stops, unfit};
use crate::sentence::{names, sentence};
use crate::settings::Promotion;

/// Writes may have to wait for so long while the primary closes; then it stays open.
const CLOSES: Duration = Duration::from_secs(1);
/// The outcome of that is waited for: the node may have to open its server again.
const ANSWERS: Duration = Duration::from_secs(4);
/// Whoever takes over receives the rest within this.
const RECEIVES: Duration = Duration::from_secs(1);

/// A switchover under way.
#[derive(Clone, Debug)]
pub(crate) struct Handing {
    to: NodeId,
    from: NodeId,
    /// The reign that ends.
    epoch: Epoch,
    began: Moment,
    /// When clients could write again.
    opened: Option<Moment>,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// The primary is closing.
    Draining,
    /// It is closed, and held this at its end.
    Drained { held: GtidSet, since: Moment },
    /// The attempt is under way. Only the first one is the switchover: a later one undoes it.
    Moving { tried: bool },
}

impl Coordinator {
    /// Whether the primary is closed, or closing, because this coordinator asked for it.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.role, Role::Leading(_)) && self.drains()
    }

    /// The same, where the role is known.
    pub(crate) fn drains(&self) -> bool {
        let step = self.handing.as_ref().map(|handing| &handing.step);
        matches!(step, Some(Step::Draining | Step::Drained { .. }))
    }

    /// A primary that is closed because it is being drained is not found closed.
    pub(crate) fn expected(&self, found: Diagnosis) -> Diagnosis {
        let expected = Self::is_serving(&found) || matches!(found, Diagnosis::PrimaryClosed { .. });
        match self.handing.as_ref().filter(|_| expected && self.is_draining()) {
            Some(handing) => Diagnosis::Switchover { primary: handing.from.clone(), to: handing.to.clone() },
            None => found,
        }
    }

    /// Whom the attempt that begins now is for.
    pub(crate) fn chosen(&mut self) -> Option<NodeId> {
        let handing = self.handing.as_mut()?;
        match &mut handing.step {
            Step::Moving { tried } if !*tried => {
                *tried = true;
                Some(handing.to.clone())
            }
            Step::Moving { .. } | Step::Draining | Step::Drained { .. } => None,
        }
    }

    /// Begins what an operator asked for, or says why not. True if the primary is being drained now.
    pub(crate) fn begins_switchover(&mut self, leading: &mut Leading, now: Moment) -> bool {
        if self.handing.is_some() {
            return false;
        }
        let record = leading.record();
        let (wish, unwanted, planned) = match (self.pauses.switchover(), self.leaving(record, now)) {
            (Some(wish), _) => (wish.clone(), None, false),
            (None, Some(wish)) => (wish, self.unwanted(), false),
            (None, None) => match self.take_due(record) {
                Some(wish) => (wish, None, true),
                None => return false,
            },
        };
        let (from, epoch) = (record.primary.clone(), record.epoch.clone());
        match unwanted.map_or_else(|| self.successor(record, wish.to.as_ref(), now), Err) {
            Err(reason) if planned => self.postpone(wish.to, reason),
            Err(reason) => self.end_switchover(wish.to, Err(reason), now),
            Ok(to) if wish.dry_run => {
                let would = format!("{to} would take over from {from}; nothing was changed");
                self.pauses.answer_with(Ok(would));
            }
            Ok(to) => {
                if planned {
                    self.plans.begin(record);
                }
                leading.forget(&from, OrderName::Drain);
                self.outbox.tell(EventBody::Stage {
                    ballot: leading.ballot().clone(),
                    stage: StageName::Draining,
                    old: from.clone(),
                    candidate: Some(to.clone()),
                    after_ms: 0.0,
                    reasons: vec![format!("{} asked for a switchover: {}", wish.by, wish.reason)],
                });
                self.handing = Some(Handing { to, from, epoch, began: now, opened: None, step: Step::Draining });
                return true;
            }
        }
        false
    }

    /// Who takes over; everything that can be known to fail is refused before a write has to wait.
    fn successor(&self, record: &Record, to: Option<&NodeId>, now: Moment) -> Answer<NodeId> {
        if record.mode == Mode::Observe {
            return Err("the cluster is only observed".to_owned());
        }
        if let Some((reason, _)) = self.pauses.hold(now) {
            return Err(format!(
                "{reason}; `tasuki-coordinator resume` first: what fails could not be undone by itself"
            ));
        }
        if !Self::is_serving(&self.diagnosis) {
            return Err(sentence(&self.diagnosis));
        }
        let Some(to) = to else { return self.best(record, now) };
        if *to == record.primary {
            return Err(format!("{to} is the primary already"));
        }
        self.unready(to, now).map_or_else(|| Ok(to.clone()), Err)
    }

    /// The first in the cluster file of those that are ready and stand alike. The primary is alive and whoever takes over
    /// receives the rest from it, so what each holds at this moment is no reason: with it, who was named by a dry run
    /// would depend on the last few milliseconds.
    fn best(&self, record: &Record, now: Moment) -> Answer<NodeId> {
        let foretold = self.outlook(record, now);
        let winner = foretold.winner.filter(|winner| *winner != record.primary);
        let winner = winner.ok_or_else(|| format!("nobody can take over: {}", foretold.reasons.join("; ")))?;
        let mut alike: Vec<&NodeId> = foretold.or.iter().chain([&winner]).collect();
        alike.sort_by_key(|node| self.settings.servers.get(*node).map(|server| server.order));
        let ready = alike.into_iter().find(|node| **node != record.primary && self.unready(node, now).is_none());
        let ready = ready.cloned();
        match self.unready(&winner, now) {
            None => Ok(ready.unwrap_or(winner)),
            Some(reason) => ready.ok_or(reason),
        }
    }

    /// Why a server should not take over now.
    fn unready(&self, to: &NodeId, now: Moment) -> Option<String> {
        let Some(server) = self.settings.servers.get(to) else {
            return Some(format!(
                "{to} is no server of this cluster; there are {}",
                names(self.settings.servers.keys())
            ));
        };
        if server.promotion == Promotion::Never {
            return Some(format!("{to} cannot take over: the cluster file says `promotion = \"never\"`"));
        }
        let Some(facts) = self.view.facts(to, self.settings.policy.silence, now) else {
            return Some(format!("{to} does not answer; look at its server and its node"));
        };
        let told = self.view.server(to, self.settings.policy.silence, now).and_then(|server| server.reclone.as_ref());
        if told.is_some_and(|told| told.stage.is_under_way()) {
            return Some(format!("{to} is being re-cloned"));
        }
        let stops = stops(&self.settings, &self.view, to, now);
        if let Some(reason) = stops.or_else(|| unfit(&self.settings, &self.view, to, now)) {
            return Some(format!("{to} cannot take over: {reason}"));
        }
        if let Diagnosis::ReplicaLagging { node, behind } = &self.diagnosis
            && node == to
        {
            return Some(format!("{to} has {behind} transactions left to apply; wait until it has caught up"));
        }
        let flows = facts.replication.as_ref();
        let flows = flows.is_some_and(|own| (own.receiver, own.applier) == (Thread::Running, Thread::Running));
        (!flows).then(|| format!("{to} does not replicate: {}", sentence(&self.diagnosis)))
    }

    /// The primary closes, and its successor receives the rest. True if another transition may follow.
    pub(crate) fn drain(&mut self, mut leading: Box<Leading>, now: Moment) -> bool {
        let Some(mut handing) = self.handing.take() else { return false };
        match self.drained(&mut leading, &mut handing, now) {
            Err(reason) => {
                self.end_switchover(Some(handing.to), Err(format!("undone: {reason}")), now);
                if matches!(handing.step, Step::Drained { .. }) {
                    self.diagnosis = Diagnosis::PrimaryClosed { primary: handing.from };
                    return self.begin_failover(leading.record(), now);
                }
                leading.forget(&handing.from, OrderName::Drain);
                self.role = Role::Leading(leading);
                false
            }
            Ok(false) => {
                (self.handing, self.role) = (Some(handing), Role::Leading(leading));
                false
            }
            Ok(true) => {
                self.diagnosis = Diagnosis::Switchover { primary: handing.from.clone(), to: handing.to.clone() };
                self.incident = Some((handing.began, false));
                handing.step = Step::Moving { tried: false };
                self.handing = Some(handing);
                self.begin_failover(leading.record(), now)
            }
        }
    }

    /// True once the primary is closed and its successor has received everything.
    fn drained(&mut self, leading: &mut Leading, handing: &mut Handing, now: Moment) -> Answer<bool> {
        if matches!(handing.step, Step::Draining) {
            let within_ms = u64::try_from(CLOSES.as_millis()).unwrap_or(u64::MAX);
            let order = Order::Drain { record: Box::new(leading.record().clone()), within_ms };
            match leading.order(&self.settings, &self.view, &handing.from, order, &mut self.outbox, now) {
                Some(Outcome::Done { holdings: Some(holdings), .. }) => {
                    handing.step = Step::Drained { held: holdings.executed, since: now };
                }
                Some(Outcome::Failed { reason }) => return Err(reason),
                Some(Outcome::Done { holdings: None, .. }) => {
                    return Err(format!("{} does not tell what it holds", handing.from));
                }
                Some(Outcome::Running { .. }) | None if now.since(handing.began) > ANSWERS => {
                    return Err(format!("{} did not close in time", handing.from));
                }
                Some(Outcome::Running { .. }) | None => {
                    let answers = self.view.answers(&handing.from, leading.ballot());
                    return match answers.and_then(|answers| answers.refusal.as_ref()) {
                        Some(refusal) => Err(format!("{} does not close: {refusal}", handing.from)),
                        None => Ok(false),
                    };
                }
            }
        }
        let Step::Drained { held, since } = &handing.step else { return Ok(false) };
        let received = self.view.position(&handing.to).and_then(|(position, _)| position.received.known());
        if received.is_some_and(|received| received.contains(held) == Ok(true)) {
            return Ok(true);
        }
        if now.since(*since) > RECEIVES {
            return Err(format!("{} did not receive the last transactions of {}", handing.to, handing.from));
        }
        self.outbox.ask_report(&handing.to, now);
        Ok(false)
    }

    /// Sees whether a switchover has ended, by whatever was decided.
    pub(crate) fn look_at_switchover(&mut self, record: Option<&Record>, now: Moment) {
        let opens = matches!(&self.role, Role::Leading(leading) if leading.stage() == Some(StageName::Opened));
        if let Some(handing) = self.handing.as_mut().filter(|_| opens) {
            handing.opened.get_or_insert(now);
        }
        let Some(handing) = &self.handing else { return };
        let decided = record.filter(|record| record.opened && record.epoch != handing.epoch);
        let left = self.drains() && !self.is_draining();
        let (to, from) = (handing.to.clone(), &handing.from);
        let answer = match decided {
            Some(record) if record.primary == to => {
                let took = handing.opened.unwrap_or(now).since(handing.began).as_millis();
                Ok(format!("{to} took over from {from}; clients could write again after {took} ms"))
            }
            Some(record) => {
                Err(format!("undone: {} is the primary; look at the events for the reason", record.primary))
            }
            None if left => Err(match &self.role {
                Role::Failing(_) => format!("overtaken by a failover: {}", sentence(&self.diagnosis)),
                Role::Following | Role::Proposing(..) | Role::Leading(_) => {
                    format!("{} no longer leads; whoever does opens the primary again", self.settings.me)
                }
            }),
            None => return,
        };
        self.end_switchover(Some(to), answer, now);
    }

    fn end_switchover(&mut self, to: Option<NodeId>, answer: Answer, now: Moment) {
        self.handing = None;
        let (Ok(text) | Err(text)) = &answer;
        let told = self.known.clone().filter(|_| answer.is_err());
        if told.is_none_or(|record| self.decline(&record, text, now)) {
            self.outbox.tell(EventBody::Switchover { to, sentence: text.clone() });
        }
        if self.pauses.switchover().is_some() {
            self.pauses.answer_with(answer);
        }
    }

    /// Only the leader's own word moves a primary, or brings a server home.
    pub(crate) fn leads_elsewhere(&self, wish: &Wish, now: Moment) -> Option<String> {
        let leads = !matches!(self.role, Role::Following);
        let (Wish::Switchover(_) | Wish::Reclone(_)) = wish else { return None };
        let leader = self.view.leader(self.settings.policy.leader_patience, now).map(|(name, _)| name);
        (!leads).then(|| match leader {
            Some(leader) => format!("{leader} leads; ask there"),
            None => format!("nobody leads now: {}", sentence(&self.diagnosis)),
        })
    }
}
