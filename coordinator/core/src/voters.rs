//! Who votes: changed by the record alone, one voter at a time. Cluster files only propose.
//!
//! # Why two majorities never decide apart
//!
//! A record R names its councils: its voters, and, in `voters_before`, those of the record that it changed. A *quorum* of R
//! is more than half of each council, every voter with the very ledger that the council names. The rules:
//!
//! 1. A ballot's base is the highest record that its promises show, and the promises must hold a quorum of that base.
//! 2. What is proposed has the councils of its base, with two exceptions, both only for a leader whose base is the very
//!    record that it saw *decided*: one voter is added, removed or given another ledger, and then the voters before are named as the
//!    second council; or, where the base has a second council, it is left out.
//! 3. A record is decided once a quorum of *it* accepted it.
//!
//! Claim: if R was decided at ballot b, whatever is proposed at a higher ballot descends from R. By induction over ballots.
//! Let a higher ballot have the base B, accepted at β. If β ≥ b, B descends from R or is R. Otherwise let D be the last
//! record decided at or below β, and R' the first one decided above it, up to b. Both B and R' descend from D, and by rule 2
//! at most one change on the way was made, on D itself. So D's voters are a council of B and of R': as its voters, or as
//! those before its change. More than half of the same council promised the higher ballot and accepted R', so one voter
//! did both. It accepted R' first, or it would have refused; then its promise showed a record above β, and B was not the
//! highest.
//!
//! A ledger that was lost, copied or rolled back has promised what its node does not know. The record names ledgers by
//! their incarnation, and the node draws another one; so it is in no council, neither with its promise nor with its
//! acceptance, until a record that gives it the new incarnation is decided. That record's second council names its *old*
//! ledger, which nobody speaks for any more: a majority of the others decides alone, and whatever the lost ledger had
//! helped to decide, one of these knows. Where the others are no majority, only an operator can say so: [`crate::pause::Wish::Admit`].
//!
//! The lease needs no more than this: its holder's record is at most one change older than the register while the second
//! council stands, and that is left out only once the primary has accepted the change.

use std::collections::BTreeMap;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Request;
use tasuki_schemas::event::EventBody;
use tasuki_schemas::id::{Incarnation, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Accepted, Record, Voters};

use crate::outbox::{Outbox, Topic};
use crate::propose::Purpose;
use crate::sentence::names;
use crate::settings::Settings;
use crate::view::View;

/// Changes the voters of a record. Its leader saw it decided, and without a second council: [`Seats::look`].
pub(crate) fn change(record: &mut Record, by: impl FnOnce(&mut Voters)) {
    record.voters_before = Some(record.voters.clone());
    by(&mut record.voters);
}

/// The leader's care for who votes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats {
    told: BTreeMap<NodeId, String>,
}

/// What a leader with a decided, opened record sees.
struct Look<'a> {
    settings: &'a Settings,
    view: &'a View,
    record: &'a Record,
    ballot: &'a Ballot,
    now: Moment,
}

impl Seats {
    /// The next change of the voters, if one is due and can be decided. Tells what stands in the way, once.
    pub(crate) fn look(
        &mut self,
        settings: &Settings,
        view: &View,
        (ballot, record): (&Ballot, &Record),
        outbox: &mut Outbox,
        now: Moment,
    ) -> Option<Purpose> {
        let look = Look { settings, view, record, ballot, now };
        look.disown(outbox);
        if record.voters_before.is_some() {
            return look.holds(&record.primary).then_some(Purpose::Seated);
        }
        let due = look.due();
        self.told.retain(|node, _| due.iter().any(|(waiting, _)| waiting == node));
        for (node, change) in due {
            match look.obstacle(&node, &change) {
                None => {
                    self.tell(node.clone(), look.why(&node, &change), outbox);
                    return Some(change);
                }
                Some(sentence) => self.tell(node, sentence, outbox),
            }
        }
        None
    }

    /// Whether a change waits for something.
    pub(crate) fn waits(&self) -> bool {
        !self.told.is_empty()
    }

    /// A round found no majority of the record's voters: tells of those whose ledgers have no vote.
    pub(crate) fn unable(
        &mut self,
        settings: &Settings,
        view: &View,
        accepted: &Accepted,
        outbox: &mut Outbox,
        now: Moment,
    ) {
        let look = Look { settings, view, record: &accepted.record, ballot: &accepted.ballot, now };
        look.disown(outbox);
        for (node, change) in look.due() {
            if let Some(sentence) = look.obstacle(&node, &change) {
                self.tell(node, sentence, outbox);
            }
        }
    }

    fn tell(&mut self, node: NodeId, sentence: String, outbox: &mut Outbox) {
        if self.told.get(&node) != Some(&sentence) {
            self.told.insert(node.clone(), sentence.clone());
            outbox.tell(EventBody::Voters { node, sentence });
        }
    }
}

impl Look<'_> {
    /// Nodes whose ledgers cannot be trusted are to draw new ones.
    fn disown(&self, outbox: &mut Outbox) {
        for node in self.settings.nodes() {
            if let Some((doubt, ledger)) = self.view.doubt(node).zip(self.view.ledger(node)) {
                let request = Request::BeginAnew { incarnation: ledger.incarnation, reason: doubt.to_owned() };
                outbox.ask(node, Topic::BeginAnew, request, self.settings.policy.repeat * 10, self.now);
            }
        }
    }

    /// The changes that are due: ledgers first, then nodes that the record lacks, then voters that the file lacks.
    fn due(&self) -> Vec<(NodeId, Purpose)> {
        let seat = |node: &NodeId| {
            let ledger = self.view.ledger(node)?;
            Some((node.clone(), Purpose::Seat(node.clone(), ledger.incarnation)))
        };
        let voters = &self.record.voters;
        let other_ledger =
            |node: &&NodeId| voters.get(*node).is_some_and(|incarnation| !self.view.votes_with(node, *incarnation));
        let lost = self.settings.nodes().filter(other_ledger).filter_map(seat);
        let added = self.settings.nodes().filter(|node| !voters.contains_key(*node)).filter_map(seat);
        let removed = voters.keys().filter(|node| !self.settings.nodes().any(|known| known == *node));
        lost.chain(added).chain(removed.map(|node| (node.clone(), Purpose::Unseat(node.clone())))).collect()
    }

    /// Why a change has to wait.
    fn obstacle(&self, node: &NodeId, change: &Purpose) -> Option<String> {
        if let Purpose::Unseat(_) = change {
            if *node == self.record.primary {
                return Some("is not in the cluster file any more and stays a voter: it is the primary; let another server be that first".to_owned());
            }
            if self.record.groups.iter().any(|group| group.members.contains(node)) {
                return Some(
                    "is not in the cluster file any more and stays a voter: it is in the write group".to_owned(),
                );
            }
        } else if let Some(doubt) = self.view.doubt(node) {
            return Some(format!("has no vote: {doubt}; it begins a new one"));
        }
        let without: Vec<&NodeId> = self.record.voters.keys().filter(|voter| !self.votes(voter)).collect();
        let possible = self
            .record
            .has_quorum(|voter, incarnation| self.votes(voter) && self.record.voters.get(voter) == Some(&incarnation));
        if possible {
            let waits = !matches!(change, Purpose::Unseat(_)) && !self.holds(node);
            let known = waits && self.record.voters.contains_key(node);
            return known.then(|| format!("has no vote: {}; it gets the record first", self.anew(node)));
        }
        let without = names(without);
        Some(if matches!(change, Purpose::Unseat(_)) {
            format!("stays a voter: no majority can decide that it is none, without {without}")
        } else {
            format!(
                "has no vote, and no majority can give it one without {without}; `tasuki-coordinator admit` does so on your word"
            )
        })
    }

    /// What a change that can be decided is for.
    fn why(&self, node: &NodeId, change: &Purpose) -> String {
        if matches!(change, Purpose::Unseat(_)) {
            "is not in the cluster file any more: it votes no more".to_owned()
        } else if self.record.voters.contains_key(node) {
            format!("has no vote: {}; the others give it its vote back", self.anew(node))
        } else {
            "is new in the cluster file: it gets a vote".to_owned()
        }
    }

    fn anew(&self, node: &NodeId) -> String {
        let told = self.view.ledger(node).and_then(|ledger| ledger.anew.clone());
        told.unwrap_or_else(|| "its ledger is not the one that the record names".to_owned())
    }

    /// Whether a node is heard and has accepted the leader's decided record.
    fn holds(&self, node: &NodeId) -> bool {
        let heard = self.view.node(node, self.settings.policy.silence, self.now);
        heard.and_then(|it| it.ledger.accepted.as_ref()).is_some_and(|accepted| accepted.ballot >= *self.ballot)
    }

    /// Whether a voter is heard, with the ledger that the record names.
    fn votes(&self, node: &NodeId) -> bool {
        let heard = self.view.node(node, self.settings.policy.silence, self.now).is_some();
        let named = self.record.voters.get(node).copied();
        heard && named.is_some_and(|incarnation: Incarnation| self.view.votes_with(node, incarnation))
    }
}

#[cfg(test)]
#[path = "voters_tests.rs"]
mod tests;
