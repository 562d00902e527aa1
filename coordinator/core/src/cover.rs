//! What covers a write group: a quorum of its members that showed what they hold; or the proof that its primary is mute,
//! and the proof that nothing is lost with it, or that its loss is accepted.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::answer::Duty;
use tasuki_schemas::grounds::{Acceptance, FenceHow};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Record, WriteGroup};

use crate::fence::Fences;
use crate::missing::NoProof;
use crate::promises::Promises;
use crate::sentence::names;
use crate::settings::Policy;

/// A server acknowledges nothing any more. Made of answers to one ballot alone, or of the end of a lease that they tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceProof {
    node: NodeId,
    how: FenceHow,
}

impl FenceProof {
    /// The server.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// How that is known.
    #[must_use]
    pub const fn how(&self) -> FenceHow {
        self.how
    }
}

/// Nothing that a mute server acknowledged is missing without anybody's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurabilityProof(Kept);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Rescued,
    LossAccepted(Acceptance),
}

impl DurabilityProof {
    /// Who accepts that what only the server holds is lost; `None` if its node showed everything, a dead server's binlog
    /// read to its end.
    #[must_use]
    pub const fn loss_accepted_by(&self) -> Option<Acceptance> {
        match self.0 {
            Kept::Rescued => None,
            Kept::LossAccepted(by) => Some(by),
        }
    }
}

/// What covers a group.
#[derive(Clone, Debug)]
pub(crate) enum Cover {
    /// These members showed what they hold.
    Quorum(BTreeSet<NodeId>),
    /// Its primary is mute, and that is enough.
    Fenced(FenceProof, DurabilityProof),
}

/// All that a proof is made of.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) promises: &'a Promises,
    pub(crate) fences: &'a Fences,
    pub(crate) policy: &'a Policy,
    pub(crate) now: Moment,
}

impl Evidence<'_> {
    /// Covers a group of a record.
    pub(crate) fn cover(&self, record: &Record, group: &WriteGroup) -> Result<Cover, NoProof> {
        if group.acks == 0 { self.alone(record, group) } else { self.quorum(group) }
    }

    /// Nobody else need have what it acknowledged, and nobody else's word ends its acknowledging: closed by its node, or
    /// gone with its binlog read to the end, it proves both itself.
    fn alone(&self, record: &Record, group: &WriteGroup) -> Result<Cover, NoProof> {
        let primary = &group.primary;
        if self.promises.holding(primary).is_some() {
            let how = self.own_fence(primary).unwrap_or(FenceHow::SelfFenced);
            return Ok(fenced(primary, how, Kept::Rescued));
        }
        if self.fences.readings.is_whole(primary) {
            return Ok(fenced(primary, FenceHow::SshKilled, Kept::Rescued));
        }
        let ends = self.promises.leases_end(record).filter(|_| group.leased);
        let confirmed = self.fences.confirmed(primary).map(|fence| fence.how());
        let how = match (confirmed.or_else(|| self.own_fence(primary)), ends) {
            (Some(how), _) => how,
            (None, Some(ends)) if ends <= self.now => FenceHow::LeaseExpired,
            (None, Some(ends)) => return Err(NoProof::Leased { primary: primary.clone(), rest: ends.since(self.now) }),
            (None, None) => {
                return Err(NoProof::Alone { primary: primary.clone(), tried: self.fences.told(primary) });
            }
        };
        match self.acceptance(group) {
            Some(by) => Ok(fenced(primary, how, Kept::LossAccepted(by))),
            None => Err(self
                .unread(primary)
                .unwrap_or_else(|| NoProof::Unaccepted { primary: primary.clone(), serves: false })),
        }
    }

    /// Its files can be reached and not read.
    fn unread(&self, primary: &NodeId) -> Option<NoProof> {
        let reason = self.fences.readings.unreadable(primary)?.to_owned();
        Some(NoProof::Unreadable { primary: primary.clone(), reason })
    }

    fn quorum(&self, group: &WriteGroup) -> Result<Cover, NoProof> {
        let (by, others): (BTreeSet<NodeId>, BTreeSet<NodeId>) =
            group.members.iter().cloned().partition(|member| self.promises.holding(member).is_some());
        let needed = group.needed_promises();
        // The primary's own set, read after it was closed or was gone, has whatever it acknowledged: after a power failure
        // the replicas may have relay files that nobody read, and show nothing.
        if by.len() >= needed || by.contains(&group.primary) {
            return Ok(Cover::Quorum(by));
        }
        if self.fences.readings.is_whole(&group.primary) {
            return Ok(fenced(&group.primary, FenceHow::SshKilled, Kept::Rescued));
        }
        let confirmed = self.fences.confirmed(&group.primary).map(|fence| fence.how());
        if let (Some(how), Some(by)) = (confirmed.or_else(|| self.own_fence(&group.primary)), self.acceptance(group)) {
            return Ok(fenced(&group.primary, how, Kept::LossAccepted(by)));
        }
        Err(NoProof::TooFew {
            primary: group.primary.clone(),
            group: names(&group.members),
            acks: group.acks,
            needed,
            shown: by.len(),
            by: names(&by),
            others: names(&others),
        })
    }

    /// What the node beside a server did about it at this ballot.
    fn own_fence(&self, node: &NodeId) -> Option<FenceHow> {
        match &self.promises.get(node)?.duty {
            Duty::ProcessExited => Some(FenceHow::ProcessExited),
            Duty::Fenced => Some(FenceHow::SelfFenced),
            Duty::Nothing | Duty::ReceiverStopped | Duty::Failed { .. } => None,
        }
    }

    /// Who accepts that what nobody shows of a group is lost. The cluster file speaks of lost hosts: of a server whose node
    /// answers, or whose files ssh finds, the disk can be reached, and people decide; and of a group with acknowledgements,
    /// others may have it.
    fn acceptance(&self, group: &WriteGroup) -> Option<Acceptance> {
        let reached = self.fences.readings.unreadable(&group.primary).is_some();
        let lost = !reached && (group.leased || self.promises.get(&group.primary).is_none());
        accepted(self.policy, self.fences.word().is_some_and(|word| word.accept_loss), group)
            .filter(|by| *by == Acceptance::Operator || lost)
    }

    /// The primaries that a fence from outside would help to prove, and whether what would be lost is accepted: nothing covers
    /// their group, the node beside them does not fence them, and the loss is accepted or ssh can show what they hold. That
    /// others show a group with acknowledgements is waited for (`awaited`) before its primary is ended, and that a majority
    /// promised: without one it would be ended for nothing.
    pub(crate) fn worth_fencing(
        &self,
        record: &Record,
        is_silent: impl Fn(&NodeId) -> bool,
        awaited: bool,
    ) -> BTreeMap<NodeId, bool> {
        let wanting = |group: &WriteGroup| {
            let idle = match self.promises.get(&group.primary).map(|promise| &promise.duty) {
                Some(Duty::Failed { .. }) => true,
                Some(Duty::Nothing | Duty::ReceiverStopped | Duty::Fenced | Duty::ProcessExited) => false,
                None => is_silent(&group.primary),
            };
            let accepted = self.acceptance(group).is_some();
            let read = self.policy.reads() && self.promises.base().is_some() && (group.acks == 0 || !awaited);
            (idle && (accepted || read) && self.cover(record, group).is_err())
                .then(|| (group.primary.clone(), accepted))
        };
        record.groups.iter().filter_map(wanting).collect()
    }
}

fn fenced(node: &NodeId, how: FenceHow, kept: Kept) -> Cover {
    Cover::Fenced(FenceProof { node: node.clone(), how }, DurabilityProof(kept))
}

/// Who accepts that what only a group's lost primary has is lost.
pub(crate) fn accepted(policy: &Policy, by_operator: bool, group: &WriteGroup) -> Option<Acceptance> {
    if by_operator {
        return Some(Acceptance::Operator);
    }
    (group.acks == 0 && policy.accepts_tail(group.leased)).then_some(Acceptance::Policy)
}

#[cfg(test)]
#[path = "cover_tests.rs"]
mod tests;
