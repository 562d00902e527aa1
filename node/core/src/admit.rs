//! Promises and records: what a voter owes before it answers.

use tasuki_schemas::answer::{Answers, Duty, Holdings, Look, Promise, Refusal};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Kind;
use tasuki_schemas::event::Diagnosis;
use tasuki_schemas::id::CoordinatorId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Mode, Record};

use crate::io::{Effect, EffectId, Ended, Output};
use crate::memory::ServerRun;
use crate::node::Node;

/// A promise or an acceptance that is owed: older effects must end, then duties and the ledger run side by side.
#[derive(Debug)]
pub(crate) struct Pending {
    from: CoordinatorId,
    ballot: Ballot,
    what: What,
    step: Step,
}

#[derive(Debug)]
enum What {
    Promise { kind: Kind, evidence: Option<Diagnosis> },
    Accept { record: Box<Record> },
}

#[derive(Debug)]
enum Step {
    /// Silence is looked at with own eyes first.
    Looking(EffectId),
    /// Effects of lower ballots are being ended.
    Clearing,
    /// The duty under way.
    OnDuty { effect: Option<EffectId>, duty: Option<Duty>, holdings: Option<Holdings>, durable: Option<u64> },
}

impl Pending {
    pub(crate) const fn waits_for(&self, id: EffectId) -> bool {
        match &self.step {
            Step::Looking(effect) | Step::OnDuty { effect: Some(effect), .. } => *effect == id,
            Step::Clearing | Step::OnDuty { effect: None, .. } => false,
        }
    }
}

impl Node {
    pub(crate) fn prepare(&mut self, from: &CoordinatorId, ballot: Ballot, kind: Kind, evidence: Option<Diagnosis>) {
        let answered = self.answers.get(from).is_some_and(|answers| {
            answers.ballot.as_ref() == Some(&ballot) && (answers.promise.is_some() || answers.accepted)
        });
        if answered && self.memory.promised.as_ref() == Some(&ballot) {
            self.dirty = true;
            return;
        }
        if self.pending.as_ref().is_some_and(|pending| pending.ballot >= ballot) {
            return;
        }
        if let Some(refusal) = self.objection(&ballot, kind) {
            self.refuse(from, &ballot, refusal);
            return;
        }
        let silence = match &evidence {
            Some(Diagnosis::PrimaryHostLost { primary, .. } | Diagnosis::PrimaryIsolated { primary, .. })
                if kind == Kind::Failover =>
            {
                self.settings.servers.get(primary).copied().filter(|_| *primary != self.settings.me)
            }
            _ => None,
        };
        let step = match silence {
            Some(address) => Step::Looking(self.execute(Effect::Look { address })),
            None => Step::Clearing,
        };
        self.overtake(Pending { from: from.clone(), ballot, what: What::Promise { kind, evidence }, step });
    }

    /// Something newer is owed. A duty under way goes on to its end, which is waited for.
    fn overtake(&mut self, newer: Pending) {
        if let Some(Pending { ballot, step: Step::OnDuty { effect: Some(effect), .. }, .. }) = self.pending.take() {
            self.overtaken = Some((effect, ballot));
        }
        self.pending = Some(newer);
    }

    /// Why a ballot must not be promised.
    fn objection(&self, ballot: &Ballot, kind: Kind) -> Option<Refusal> {
        if let Some(promised) = &self.memory.promised {
            let same = promised.counter == ballot.counter && promised.coordinator == ballot.coordinator;
            let accepted = self.memory.accepted.as_ref().is_some_and(|accepted| accepted.ballot >= *ballot);
            if promised > ballot || (same && promised.boot != ballot.boot) || accepted {
                return Some(Refusal::Promised { promised: promised.clone() });
            }
        }
        if kind == Kind::Vote
            && let Some(promised) = &self.memory.failover
        {
            return Some(Refusal::Unfinished { promised: promised.clone() });
        }
        let observed = self.record().is_some_and(|record| record.mode == Mode::Observe);
        (kind == Kind::Failover && observed).then_some(Refusal::Observed)
    }

    pub(crate) fn accept(&mut self, from: &CoordinatorId, ballot: Ballot, record: Box<Record>) {
        if let Some(promised) = self.memory.promised.clone().filter(|promised| *promised > ballot) {
            self.refuse(from, &ballot, Refusal::Promised { promised });
            return;
        }
        if let Some(accepted) = self.memory.accepted.as_ref().filter(|accepted| accepted.ballot == ballot) {
            if accepted.record == *record {
                // What is on its way to the disk is answered once it is there, or when this is asked again.
                if self.durable >= self.memory.sequence {
                    self.answer_accepted(from, &ballot);
                }
            } else {
                let reason = "this ballot carries another record already".to_owned();
                self.refuse(from, &ballot, Refusal::Unlawful { reason });
            }
            return;
        }
        let newer = |pending: &Pending| {
            pending.ballot > ballot || pending.ballot == ballot && matches!(pending.what, What::Accept { .. })
        };
        if self.pending.as_ref().is_some_and(newer) {
            return;
        }
        self.overtake(Pending { from: from.clone(), ballot, what: What::Accept { record }, step: Step::Clearing });
    }

    fn answer_accepted(&mut self, from: &CoordinatorId, ballot: &Ballot) {
        let answers = self.answers_at(from, ballot);
        answers.accepted = true;
        answers.refusal = None;
        self.dirty = true;
    }

    pub(crate) fn advance_pending(&mut self, now: Moment) {
        let Some(mut pending) = self.pending.take() else { return };
        if matches!(pending.step, Step::Clearing) && self.is_clear(&pending.ballot) {
            pending.step = self.begin(&pending);
        }
        match &pending.step {
            Step::OnDuty { effect: None, duty, holdings, durable: Some(durable) } if *durable <= self.durable => {
                let (duty, holdings) = (duty.clone(), holdings.clone());
                self.answer(&pending, duty, holdings, now);
            }
            Step::Looking(_) | Step::Clearing | Step::OnDuty { .. } => self.pending = Some(pending),
        }
    }

    /// Ends every effect of lower ballots; true once none is left and the server was looked at: one that never was is
    /// not known to be gone. Where no record tells what the server is, it has to answer: it may be open, or receive.
    fn is_clear(&mut self, ballot: &Ballot) -> bool {
        let nameless = self.record().is_none() && self.server.run().is_some() && self.server.facts().is_none();
        let unseen = self.settings.has_server() && self.server.report.is_none();
        if self.closing.is_some() || self.overtaken.is_some() || unseen || nameless {
            return false;
        }
        let Some(act) = &mut self.act else { return true };
        if act.ballot() >= ballot {
            return true;
        }
        match act.cancel() {
            Some(id) => {
                self.outputs.push(Output::Cancel(id));
                false
            }
            None if act.is_waiting() => {
                self.memory.opened = act.found_open().or(self.memory.opened);
                self.act = None;
                true
            }
            None => false,
        }
    }

    /// The duty begins; a promise is made durable beside it, a record after it.
    fn begin(&mut self, pending: &Pending) -> Step {
        let (failover, drain) = match &pending.what {
            What::Promise { kind, evidence } => {
                self.memory.promised = Some(pending.ballot.clone());
                if *kind == Kind::Failover {
                    self.memory.failover = Some(pending.ballot.clone());
                    self.dirty = true;
                }
                (
                    *kind == Kind::Failover,
                    matches!(evidence, Some(Diagnosis::PrimaryCrashed { .. } | Diagnosis::PrimaryStopped { .. })),
                )
            }
            What::Accept { record } => (self.owes_duty(&pending.ballot, record), false),
        };
        let effect = failover.then(|| self.duty_effect(drain)).flatten();
        if matches!(effect, Some(Effect::Fence { .. } | Effect::ReadFiles { .. })) {
            self.memory.opened = None;
        }
        let durable = match &pending.what {
            What::Promise { .. } => Some(self.persist()),
            What::Accept { .. } if effect.is_none() => Some(self.keep(&pending.what, &pending.ballot)),
            What::Accept { .. } => None,
        };
        let away = failover && self.is_exchanging();
        let duty = effect.is_none().then(|| if away { Self::exchanging_duty() } else { Duty::Nothing });
        let effect = effect.map(|effect| self.execute(effect));
        Step::OnDuty { effect, duty, holdings: None, durable }
    }

    /// Accepting a record of a new epoch first finishes what a failover promise at its ballot would have demanded.
    fn owes_duty(&self, ballot: &Ballot, record: &Record) -> bool {
        if self.is_exchanging() {
            return false;
        }
        let born = self.memory.accepted.is_none();
        let done = self.on_duty_done.as_ref() == Some(ballot);
        let same = self.record().is_some_and(|accepted| accepted.epoch == record.epoch);
        !born && !done && !same && record.mode == Mode::Armed && self.server.run().is_some()
    }

    /// What a failover demands of this node's server; `None` on a witness, and where the server is being exchanged.
    fn duty_effect(&self, drain: bool) -> Option<Effect> {
        if !self.settings.has_server() || self.is_exchanging() {
            return None;
        }
        let me = &self.settings.me;
        let subject = self.record().is_some_and(|record| record.subjects().contains(me));
        let writable = self.server.facts().is_some_and(|facts| facts.writable);
        let primary = self.record().map(|record| &record.primary).filter(|primary| *primary != me);
        let source = primary.and_then(|primary| self.settings.servers.get(primary)).copied();
        Some(match self.server.run() {
            None => Effect::ReadFiles { was_primary: self.memory.whole },
            Some(_) if subject || writable => self.fence(if self.memory.whole { None } else { source }),
            Some(_) => Effect::StopReceiving { source, drain },
        })
    }

    /// Keeps a record; the promise of its ballot, and every failover promise up to it, end.
    fn keep(&mut self, what: &What, ballot: &Ballot) -> u64 {
        if let What::Accept { record } = what {
            let born = self.memory.accepted.is_none();
            let same = self.record().is_some_and(|accepted| accepted.epoch == record.epoch);
            if born {
                self.memory.opened = self.adopted(record);
                self.memory.whole = self.memory.opened.is_some();
            } else if !same {
                self.memory.opened = None;
            }
            self.memory.promised = self.memory.promised.take().max(Some(ballot.clone()));
            if self.memory.failover.as_ref().is_some_and(|failover| failover <= ballot) {
                self.memory.failover = None;
            }
            self.remember(ballot.clone(), (**record).clone());
        }
        self.persist()
    }

    /// At birth the server that is writable is the primary: it was opened by whoever ran the cluster before.
    fn adopted(&self, record: &Record) -> Option<ServerRun> {
        let writable = self.server.facts().is_some_and(|facts| facts.writable);
        (record.primary == self.settings.me && writable).then(|| self.server.run()).flatten()
    }

    pub(crate) fn pending_ended(&mut self, id: EffectId, ended: Ended) {
        let Some(mut pending) = self.pending.take_if(|pending| pending.waits_for(id)) else { return };
        self.closed(&ended);
        match &mut pending.step {
            Step::Looking(_) => {
                if ended == Ended::Looked(Look::Greeted) {
                    self.refuse(&pending.from, &pending.ballot, Refusal::Contradicted);
                    return;
                }
                pending.step = Step::Clearing;
            }
            Step::OnDuty { effect, duty, holdings, durable } => {
                *effect = None;
                let subject = self.record().is_some_and(|record| record.subjects().contains(&self.settings.me));
                let (done, held) = match ended {
                    Ended::Done(held) if subject => (Duty::Fenced, Some(held)),
                    Ended::Done(held) => (Duty::ReceiverStopped, Some(held)),
                    Ended::Gone(held) => (Duty::ProcessExited, Some(held)),
                    Ended::Failed(reason) => (Duty::Failed { reason }, None),
                    Ended::Cancelled => (Duty::Failed { reason: "cancelled".to_owned() }, None),
                    Ended::Looked(_) | Ended::Kept(_) => (Duty::Failed { reason: "this is no duty".to_owned() }, None),
                };
                if matches!(done, Duty::Failed { .. }) {
                    if matches!(pending.what, What::Accept { .. }) {
                        // Still owed. The record is offered again, and with it the duty.
                        return;
                    }
                } else {
                    self.on_duty_done = Some(pending.ballot.clone());
                }
                (*duty, *holdings) = (Some(done), held);
                if durable.is_none() {
                    let kept = self.keep(&pending.what, &pending.ballot);
                    if let Step::OnDuty { durable, .. } = &mut pending.step {
                        *durable = Some(kept);
                    }
                }
            }
            Step::Clearing => {}
        }
        self.pending = Some(pending);
    }

    /// Everything owed is done and durable: the answer becomes part of the next observation.
    fn answer(&mut self, pending: &Pending, duty: Option<Duty>, holdings: Option<Holdings>, now: Moment) {
        self.dirty = true;
        match &pending.what {
            What::Accept { .. } => self.answer_accepted(&pending.from, &pending.ballot),
            What::Promise { kind, .. } => {
                let promise = Promise {
                    kind: *kind,
                    incarnation: self.memory.incarnation,
                    sequence: self.memory.sequence,
                    accepted: self.memory.accepted.clone(),
                    duty: duty.unwrap_or(Duty::Nothing),
                    holdings,
                    lease_rest_ms: self.lease.rest_ms(now),
                };
                let answers = self.answers_of(&pending.from);
                let probe = answers.probe.take();
                *answers =
                    Answers { ballot: Some(pending.ballot.clone()), probe, promise: Some(promise), ..Answers::none() };
            }
        }
    }
}
