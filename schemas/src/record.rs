//! The record: the one truth of a cluster, kept on the nodes' disks by the CASPaxos rules.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::{Ballot, Epoch};
use crate::gtid::{GtidSet, Origin};
use crate::id::{Incarnation, NodeId};
use crate::past::{Past, Pause, Planned};

/// Whether Tasuki acts on a cluster or only says what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Changes nothing on any server; decisions are told, not taken.
    Observe,
    /// Acts.
    Armed,
}

/// Servers of which `acks` must have a transaction before the primary acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WriteGroup {
    /// The server that serves writes with this group; a subject of every proof made while the group counts.
    pub primary: NodeId,
    /// The group, the primary included.
    pub members: BTreeSet<NodeId>,
    /// k: acknowledgements that a commit waits for, besides the primary's own disk. 0: asynchronous.
    pub acks: u32,
    /// With k = 0: the primary acknowledges only under a lease with a guard, so that the lease's end ends its
    /// acknowledging. False for one that was adopted, until its lease is seen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leased: bool,
}

/// Left out where it is false: readers of an earlier version do not know it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl WriteGroup {
    /// n − k, for k ≥ 1: with received sets of so many members, every acknowledged write is among them, and at most k − 1
    /// possible ackers remain with the old primary.
    #[must_use]
    pub fn needed_promises(&self) -> usize {
        self.members.len().saturating_sub(usize::try_from(self.acks).unwrap_or(usize::MAX))
    }
}

/// One reign: from which epoch on which server wrote, and what existed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reign {
    /// The ballot at which the server was named.
    pub epoch: Epoch,
    /// The server.
    pub node: NodeId,
    /// How its transactions are told from others': server_uuid, or server_id on MariaDB.
    pub origin: Origin,
    /// Everything that the server held when it was named: what lies beyond is of this reign or later.
    pub set_before: GtidSet,
}

/// Who votes, each with the incarnation of its ledger.
pub type Voters = BTreeMap<NodeId, Incarnation>;

/// The value of the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The ballot at which `primary` was named.
    pub epoch: Epoch,
    /// The server that clients write to.
    pub primary: NodeId,
    /// True once the epoch's barrier row was acknowledged by the group: older groups no longer count.
    pub opened: bool,
    /// The last opened group and every one since, oldest first. Never empty.
    pub groups: Vec<WriteGroup>,
    /// The reigns that a voter or server may still need, oldest first.
    pub reigns: Vec<Reign>,
    /// Who votes, each with the incarnation of its ledger.
    pub voters: Voters,
    /// The voters before the last change of them, for as long as nobody knows that the record with that change was
    /// decided: until then a majority of these is needed as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voters_before: Option<Voters>,
    /// Whether Tasuki acts.
    pub mode: Mode,
    /// The acknowledgements that the operator wants. A group that lost too many ackers has fewer, and gets them back.
    pub wanted: u32,
    /// Failovers since the last stable while, oldest first, at most [`REMEMBERED`](crate::past::REMEMBERED).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Past>,
    /// No failover begins while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// A switchover at a stated time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
}

impl Record {
    /// How many voters decide: more than half of the record's voters.
    #[must_use]
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// The sets of voters of each of which more than half must agree: one, or two while a change of them is not known to
    /// be decided.
    pub fn councils(&self) -> impl Iterator<Item = &Voters> {
        std::iter::once(&self.voters).chain(&self.voters_before)
    }

    /// Whether more than half of each council agree. Whoever speaks with another ledger than a council names is not in it.
    pub fn has_quorum(&self, agrees: impl Fn(&NodeId, Incarnation) -> bool) -> bool {
        self.councils().all(|voters| {
            let votes = voters.iter().filter(|(node, incarnation)| agrees(node, **incarnation)).count();
            votes > voters.len() / 2
        })
    }

    /// The group that the primary serves with now.
    #[must_use]
    pub fn group(&self) -> Option<&WriteGroup> {
        self.groups.last()
    }

    /// Every server named primary since the last opened record: the subjects of a proof.
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<NodeId> {
        self.groups.iter().map(|group| group.primary.clone()).collect()
    }
}

/// A record with the ballot at which a voter accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The ballot of the Accept.
    pub ballot: Ballot,
    /// Its value.
    pub record: Record,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{BootId, CoordinatorId};

    fn node(number: u64) -> NodeId {
        format!("db{number}").parse().unwrap()
    }

    fn voters(of: impl IntoIterator<Item = u64>) -> Voters {
        of.into_iter().map(|number| (node(number), Incarnation(number))).collect()
    }

    fn record(voters: Voters, voters_before: Option<Voters>) -> Record {
        let coordinator: CoordinatorId = "co1".parse().unwrap();
        Record {
            epoch: Epoch(Ballot { counter: 1, coordinator, boot: BootId(1) }),
            primary: node(0),
            opened: true,
            groups: Vec::new(),
            reigns: Vec::new(),
            voters,
            voters_before,
            mode: Mode::Armed,
            wanted: 1,
            recent: Vec::new(),
            pause: None,
            planned: None,
        }
    }

    #[test]
    fn as_many_decide_as_no_two_disjoint_sets_of_voters_can_have() {
        for (all, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let record = record(voters(0..all), None);
            assert_eq!(record.majority(), needed);
            for agreeing in 0..=all {
                let decides = record.has_quorum(|_, incarnation| incarnation.0 < agreeing);
                assert_eq!(decides, usize::try_from(agreeing).unwrap() >= needed, "{agreeing} of {all}");
            }
        }
    }

    #[test]
    fn while_voters_change_both_councils_must_agree_each_with_its_own_ledgers() {
        let changed = record(voters([0, 1, 3]), Some(voters([0, 1, 2])));
        let agree = |by: &[u64]| changed.has_quorum(|_, incarnation| by.contains(&incarnation.0));
        assert!(agree(&[0, 1]));
        assert!(!agree(&[0, 3]) && !agree(&[1, 2]), "a majority of one council alone");
    }

    /// Readers of an earlier version do not know the lease, and must still read every group without one.
    #[test]
    fn a_lease_is_written_only_where_there_is_one_and_is_read_back() {
        for leased in [false, true] {
            let group = WriteGroup { primary: node(0), members: [node(0)].into(), acks: 0, leased };
            let text = serde_json::to_string(&group).unwrap();
            assert_eq!(text.contains("leased"), leased);
            assert_eq!(serde_json::from_str::<WriteGroup>(&text).unwrap(), group);
        }
    }
}
