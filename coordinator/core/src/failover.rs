//! A failover, up to its commit: Recruiting, CatchingUp, Promoting. Only proof seen in answers moves it.
//!
//! After the record is decided it goes only forward, as the duty of whoever leads: see [`crate::leading`].

mod fencing;

use std::collections::BTreeSet;
use std::time::Duration;

use tasuki_schemas::answer::{Outcome, Refusal};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{CatchUpHow, Kind, Order, OrderName, Request};
use tasuki_schemas::event::{Diagnosis, EventBody, StageName};
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::{Incarnation, IncidentId, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::Record;

use crate::awake::Awake;
use crate::elect::Doubts;
use crate::fence::Fences;
use crate::flapping;
use crate::headway::Headway;
use crate::outbox::{Outbox, Topic};
use crate::plan::{Plan, Unplanned, plan};
use crate::promises::Promises;
use crate::proof::{NoProof, Proof};
use crate::propose::{accepted, ask_accept, outbid};
use crate::sentence::names;
use crate::settings::Settings;
use crate::view::View;

/// One attempt at one ballot.
#[derive(Clone, Debug)]
pub struct Attempt {
    diagnosis: Diagnosis,
    old: NodeId,
    /// When the failover began at this coordinator: earlier attempts of the same incident included.
    pub began: Moment,
    /// The dead primary's tail did not come in time: it is left for quarantine.
    pub without_tail: bool,
    /// Servers that are chosen only if nobody else can be.
    pub doubts: Doubts,
    /// Its name, for people.
    pub incident: Option<IncidentId>,
    pub(crate) fences: Fences,
    promises: Promises,
    stage: Stage,
    entered: Moment,
    awake: Awake,
    /// How far the candidate says that it is.
    headway: Headway,
    told: Option<String>,
}

#[derive(Clone, Debug)]
enum Stage {
    Recruiting { proved: Option<Moment> },
    CatchingUp { plan: Box<Plan>, number: u64 },
    Promoting { record: Box<Record>, goal: GtidSet, followers: BTreeSet<NodeId> },
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Answers are missing.
    Pending,
    /// The record that names the winner is decided.
    Decided {
        /// The record.
        record: Box<Record>,
        /// What the winner must have applied before it opens.
        goal: GtidSet,
        /// Who follows it in the same breath.
        followers: BTreeSet<NodeId>,
    },
    /// Another ballot is needed.
    Again {
        /// Leave the tail out next time.
        without_tail: bool,
        /// The candidate that did not get there.
        failed: Option<NodeId>,
    },
}

impl Attempt {
    /// Begins an attempt to replace `old`.
    #[must_use]
    pub fn new(ballot: Ballot, diagnosis: Diagnosis, old: NodeId, began: Moment, now: Moment) -> Self {
        Self {
            diagnosis,
            old,
            began,
            without_tail: false,
            doubts: Doubts::default(),
            incident: None,
            fences: Fences::new(ballot.clone()),
            promises: Promises::new(ballot),
            stage: Stage::Recruiting { proved: None },
            entered: now,
            awake: Awake::new(now),
            headway: Headway::new(now),
            told: None,
        }
    }

    /// An operator's word for a node with a new ledger.
    pub(crate) fn admit(&mut self, word: Option<(NodeId, Incarnation)>) {
        self.promises.admit(word);
    }

    /// Its ballot.
    #[must_use]
    pub const fn ballot(&self) -> &Ballot {
        self.promises.ballot()
    }

    /// The server being replaced.
    #[must_use]
    pub const fn old(&self) -> &NodeId {
        &self.old
    }

    /// What the attempt rests on.
    #[must_use]
    pub const fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }

    /// The stage, for viewers.
    #[must_use]
    pub const fn stage(&self) -> StageName {
        match self.stage {
            Stage::Recruiting { .. } => StageName::Recruiting,
            Stage::CatchingUp { .. } => StageName::CatchingUp,
            Stage::Promoting { .. } => StageName::Promoting,
        }
    }

    /// What the winner must hold, once it is known.
    #[must_use]
    pub const fn goal(&self) -> Option<&GtidSet> {
        match &self.stage {
            Stage::Recruiting { .. } => None,
            Stage::CatchingUp { plan, .. } => Some(&plan.goal),
            Stage::Promoting { goal, .. } => Some(goal),
        }
    }

    pub(crate) fn tell_stage(
        &self,
        candidate: Option<&NodeId>,
        reasons: Vec<String>,
        outbox: &mut Outbox,
        now: Moment,
    ) {
        outbox.tell(EventBody::Stage {
            ballot: self.ballot().clone(),
            stage: self.stage(),
            old: self.old.clone(),
            candidate: candidate.cloned(),
            after_ms: now.since(self.began).as_secs_f64() * 1000.0,
            reasons,
        });
    }

    /// Asks whom it has to, reads what was answered, and moves on as far as that allows.
    pub(crate) fn step(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Progress {
        self.awake.look(settings.policy.silence / 4, now);
        if outbid(settings, view, self.ballot()) {
            return Progress::Again { without_tail: self.without_tail, failed: None };
        }
        loop {
            let next = match &self.stage {
                Stage::Recruiting { .. } => self.recruit(settings, view, outbox, now),
                Stage::CatchingUp { .. } => self.catch_up(settings, view, outbox, now),
                Stage::Promoting { record, goal, followers } => {
                    ask_accept(settings, view, self.ballot(), record, outbox, now);
                    if accepted(view, self.ballot(), record) {
                        let (record, goal, followers) = (record.clone(), goal.clone(), followers.clone());
                        return Progress::Decided { record, goal, followers };
                    }
                    Step::Wait
                }
            };
            match next {
                Step::Wait => break,
                Step::Again { without_tail, failed } => return Progress::Again { without_tail, failed },
                Step::Hold(reasons) => {
                    self.hold(reasons, outbox);
                    break;
                }
                Step::Enter(stage, candidate, reasons) => {
                    self.stage = *stage;
                    self.entered = now;
                    self.tell_stage(Some(&candidate), reasons, outbox, now);
                }
            }
        }
        // A fence has its own limit.
        let fencing = matches!(self.stage, Stage::Recruiting { .. }) && self.fences.are_awaited(now);
        if !fencing && now.since(self.last_step()) > settings.policy.stage_patience {
            let failed = match &self.stage {
                Stage::CatchingUp { plan, .. } => Some(plan.winner.clone()),
                Stage::Recruiting { .. } | Stage::Promoting { .. } => None,
            };
            return Progress::Again { without_tail: self.without_tail, failed };
        }
        Progress::Pending
    }

    /// When the stage got on last. A candidate that fetches and applies a long tail tells how far it is.
    fn last_step(&self) -> Moment {
        match &self.stage {
            Stage::CatchingUp { .. } => self.entered.max(self.headway.changed()),
            Stage::Recruiting { .. } | Stage::Promoting { .. } => self.entered,
        }
    }

    /// Whether voters refuse the silence that it rests on, since they greet the primary.
    pub(crate) fn is_contradicted(&self, settings: &Settings, view: &View) -> bool {
        let refusal = |node| view.answers(node, self.ballot())?.refusal.as_ref();
        let contradicted = || settings.nodes().any(|node| refusal(node) == Some(&Refusal::Contradicted));
        matches!(self.stage, Stage::Recruiting { .. }) && contradicted()
    }

    fn recruit(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Step {
        let ballot = self.ballot().clone();
        let prepare =
            Request::Prepare { ballot: ballot.clone(), kind: Kind::Failover, evidence: Some(self.diagnosis.clone()) };
        let mut awaited = false;
        for node in settings.nodes() {
            let answers = view.answers(node, &ballot);
            if view.doubt(node).is_some() {
                self.promises.doubt(node);
            }
            if let Some(promise) = answers.and_then(|answers| answers.promise.as_ref()) {
                self.promises.keep(node, promise, now);
                continue;
            }
            outbox.ask(node, Topic::Prepare, prepare.clone(), settings.policy.repeat, now);
            let refused = answers.is_some_and(|answers| answers.refusal.is_some());
            // Whoever stood still has not heard yet what others said meanwhile.
            let lately = view.silence_of(node, now) < settings.policy.silence / 2;
            awaited |= !refused && (lately || self.awake.lasts(now) < settings.policy.tail_patience);
        }
        self.fence(settings, view, awaited, outbox, now);
        self.read(settings, view, outbox, now);
        let proof = match Proof::from(&self.promises, &self.fences, &settings.policy, now) {
            Ok(proof) => proof,
            Err(missing) => {
                if !awaited && !self.fences.are_awaited(now) {
                    self.hold(vec![self.told_missing(&missing, settings, view)], outbox);
                }
                return Step::Wait;
            }
        };
        // What is being read need not be lost.
        if proof.lost().any(|(fence, _)| self.fences.readings.is_awaited(fence.node(), now)) {
            return Step::Wait;
        }
        let proved = match &mut self.stage {
            Stage::Recruiting { proved } => *proved.get_or_insert(now),
            Stage::CatchingUp { .. } | Stage::Promoting { .. } => now,
        };
        if awaited && now.since(proved) < settings.policy.tail_patience {
            return Step::Wait;
        }
        match plan(settings, view, &self.promises, &proof, &self.doubts, self.without_tail, now) {
            Ok(plan) => self.next_of(plan),
            Err(Unplanned(reasons)) => {
                self.hold(reasons, outbox);
                Step::Wait
            }
        }
    }

    fn told_missing(&self, missing: &NoProof, settings: &Settings, view: &View) -> String {
        let record = view.highest_accepted().map(|accepted| &accepted.record);
        let voters = record.iter().flat_map(|record| record.voters.keys());
        let silent: Vec<&NodeId> = voters.filter(|node| self.promises.get(node).is_none()).collect();
        let silent = if silent.is_empty() { String::new() } else { names(silent) };
        missing.sentence(&settings.policy, &settings.cluster, self.incident, &silent)
    }

    /// The stage that a plan calls for next.
    fn next_of(&self, plan: Plan) -> Step {
        let (winner, reasons) = (plan.winner.clone(), plan.reasons.clone());
        if plan.donor.is_some() {
            return Step::Enter(Box::new(Stage::CatchingUp { plan: Box::new(plan), number: 1 }), winner, reasons);
        }
        let goal = plan.goal.clone();
        let mut record = Box::new(plan.record(self.ballot(), flapping::cause(&self.diagnosis)));
        self.promises.admit_into(&mut record);
        let followers = plan.followers;
        Step::Enter(Box::new(Stage::Promoting { record, goal, followers }), winner, reasons)
    }

    fn catch_up(&mut self, settings: &Settings, view: &View, outbox: &mut Outbox, now: Moment) -> Step {
        let Stage::CatchingUp { plan, number } = &self.stage else {
            return Step::Wait;
        };
        let Some((from, how, goal)) = plan.donor.clone() else {
            return self.next_of(Plan::clone(plan));
        };
        let reported = view
            .answers(&plan.winner, self.ballot())
            .and_then(|answers| answers.outcomes.get(&OrderName::CatchUp))
            .filter(|reported| reported.number == *number);
        match reported.map(|reported| &reported.outcome) {
            Some(Outcome::Done { holdings, .. }) => {
                let received = holdings.as_ref().and_then(|holdings| holdings.received.known());
                let mut plan = plan.clone();
                match received.map(|received| plan.caught_up(received)) {
                    Some(true) => {
                        if let (true, Stage::CatchingUp { number, .. }) = (plan.donor.is_some(), &self.stage) {
                            let winner = plan.winner.clone();
                            let stage = Stage::CatchingUp { plan, number: number + 1 };
                            return Step::Enter(Box::new(stage), winner, Vec::new());
                        }
                        self.next_of(*plan)
                    }
                    Some(false) | None => Step::Again { without_tail: true, failed: None },
                }
            }
            Some(Outcome::Failed { reason }) => match how {
                // Whatever was in the way once may be over; and what was never acknowledged can be left.
                CatchUpHow::Tail if plan.tail_optional || !self.without_tail => {
                    Step::Again { without_tail: true, failed: None }
                }
                CatchUpHow::Tail => Step::Hold(vec![format!(
                    "{from} alone holds what may have been acknowledged, and it is not rescued: {reason}; it is tried \
                     again. Where its files cannot be repaired, move its binlog's index away: then an operator can \
                     accept what is lost with it"
                )]),
                CatchUpHow::Replicate => {
                    Step::Again { without_tail: self.without_tail, failed: Some(plan.winner.clone()) }
                }
            },
            running @ (Some(Outcome::Running { .. }) | None) => {
                self.headway.look(running, now);
                let since = self.headway.behind().map_or(self.entered, |behind| behind.max(self.entered));
                if how == CatchUpHow::Tail && plan.tail_optional && now.since(since) > tail_limit(settings) {
                    return Step::Again { without_tail: true, failed: None };
                }
                let through = plan.is_read(&from).then(|| self.ballot().coordinator.clone());
                let order = Order::CatchUp { goal, from, how, through };
                let request = Request::Order { ballot: self.ballot().clone(), number: *number, order: Box::new(order) };
                outbox.ask(&plan.winner, Topic::Order(OrderName::CatchUp), request, settings.policy.repeat, now);
                Step::Wait
            }
        }
    }

    /// Tells why nothing goes on, once for each reason.
    fn hold(&mut self, reasons: Vec<String>, outbox: &mut Outbox) {
        let text = reasons.join("; ");
        if self.told.as_ref() != Some(&text) {
            self.told = Some(text);
            outbox.tell(EventBody::Hold { reasons });
        }
    }

    /// Why the attempt does not go on, if it was told.
    #[must_use]
    pub fn holds(&self) -> Vec<String> {
        self.told.iter().cloned().collect()
    }
}

enum Step {
    Wait,
    Hold(Vec<String>),
    Again { without_tail: bool, failed: Option<NodeId> },
    Enter(Box<Stage>, NodeId, Vec<String>),
}

/// The tail is fetched and applied within the patience, plus the way there and back.
fn tail_limit(settings: &Settings) -> Duration {
    settings.policy.tail_patience + settings.policy.tail_patience / 2
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
