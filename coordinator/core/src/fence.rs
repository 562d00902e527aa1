//! Fences from outside: what makes a server unable to serve when the node beside it does not, and what came of it.
//!
//! The shell carries them out and hands back what came of them. A result belongs to the ballot that it was asked for: of
//! an earlier one it proves nothing, since the server may have served again meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::event::EventBody;
use tasuki_schemas::grounds::{FenceHow, Override};
use tasuki_schemas::gtid::GtidSet;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;

use crate::outbox::{Outbox, Output};
use crate::reading::{Reading, Readings};
use crate::settings::Policy;
use crate::view::View;

/// A way to fence a server from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Means {
    /// The coordinator kills the server's process on its host, through ssh.
    Ssh,
    /// A hook of the cluster file shuts the server or its host down.
    Hook,
}

impl Means {
    /// What is proved when it succeeds.
    #[must_use]
    pub const fn proves(self) -> FenceHow {
        match self {
            Self::Ssh => FenceHow::SshKilled,
            Self::Hook => FenceHow::ShutDown,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Hook => "the shutdown hook",
        }
    }
}

/// What came of a fence: done and read back, or why not.
pub type Fenced = Result<(), String>;

/// A server was made unable to serve from outside, within one attempt. Nothing else makes this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedFence {
    node: NodeId,
    how: FenceHow,
}

impl ConfirmedFence {
    /// The server.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// How it was fenced: through ssh, by a hook, or by an operator.
    #[must_use]
    pub const fn how(&self) -> FenceHow {
        self.how
    }
}

/// One fence that was asked for.
#[derive(Clone, Debug)]
struct Tried {
    since: Moment,
    limit: Duration,
    outcome: Option<Fenced>,
}

/// The fences of one attempt.
#[derive(Clone, Debug)]
pub struct Fences {
    ballot: Ballot,
    tried: BTreeMap<(NodeId, Means), Tried>,
    word: Option<Override>,
    pub(crate) readings: Readings,
}

/// A result may be on its way for so long after its limit.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

impl Fences {
    /// None yet.
    #[must_use]
    pub fn new(ballot: Ballot) -> Self {
        Self { ballot, tried: BTreeMap::new(), word: None, readings: Readings::default() }
    }

    /// An operator answers for this attempt's incident.
    pub(crate) fn vouch(&mut self, word: Option<Override>) {
        self.word = word;
    }

    /// The operator's word.
    #[must_use]
    pub const fn word(&self) -> Option<&Override> {
        self.word.as_ref()
    }

    /// Asks for every fence of a server that the cluster file names, each once; where its loss is not accepted, for those
    /// alone after which its files can be read.
    pub(crate) fn ask(
        &mut self,
        policy: &Policy,
        node: &NodeId,
        (accepted, index): (bool, Option<String>),
        outbox: &mut Outbox,
        now: Moment,
    ) {
        for (means, limit) in policy.fences.iter().filter(|(means, _)| accepted || **means == Means::Ssh) {
            let key = (node.clone(), *means);
            if self.tried.contains_key(&key) {
                continue;
            }
            self.tried.insert(key, Tried { since: now, limit: *limit, outcome: None });
            outbox.push(Output::Fence {
                ballot: self.ballot.clone(),
                node: node.clone(),
                how: *means,
                only_readable: !accepted,
                index: index.clone(),
            });
            self.tell(node, *means, format!("{node} is being fenced by {}", means.words()), outbox);
        }
    }

    /// Takes what came of a fence; that of another ballot, or one that was not asked for, counts for nothing.
    pub(crate) fn hear(
        &mut self,
        ballot: &Ballot,
        node: &NodeId,
        how: Means,
        outcome: Fenced,
        outbox: &mut Outbox,
    ) -> bool {
        if *ballot != self.ballot {
            return false;
        }
        let Some(tried) = self.tried.get_mut(&(node.clone(), how)).filter(|tried| tried.outcome.is_none()) else {
            return false;
        };
        let sentence = match &outcome {
            Ok(()) => format!("{node} was fenced by {}, and that was read back", how.words()),
            Err(reason) => format!("{node} was not fenced by {}: {reason}", how.words()),
        };
        tried.outcome = Some(outcome);
        self.tell(node, how, sentence, outbox);
        true
    }

    /// Asks for the files of a server that was ended through ssh, once. `have` is what others show together.
    pub(crate) fn read(
        &mut self,
        policy: &Policy,
        node: &NodeId,
        (have, index): (&GtidSet, Option<String>),
        outbox: &mut Outbox,
        now: Moment,
    ) {
        let ended = self.tried.get(&(node.clone(), Means::Ssh)).is_some_and(|tried| tried.outcome == Some(Ok(())));
        if ended && self.readings.ask(node, have.clone(), policy.read_limit, now) {
            let (ballot, have) = (self.ballot.clone(), Box::new(have.clone()));
            outbox.push(Output::Read { ballot, node: node.clone(), index, have });
            self.tell(node, Means::Ssh, format!("{node}'s binlog is being read through ssh"), outbox);
        }
    }

    /// Takes what came of a reading; that of another ballot, or one that was not asked for, counts for nothing.
    pub(crate) fn hear_reading(
        &mut self,
        view: &View,
        (ballot, node, reading): (&Ballot, &NodeId, Reading),
        outbox: &mut Outbox,
        now: Moment,
    ) {
        if *ballot == self.ballot
            && let Some(sentence) = self.readings.hear(view, node, reading, now)
        {
            self.tell(node, Means::Ssh, sentence, outbox);
        }
    }

    fn tell(&self, node: &NodeId, means: Means, sentence: String, outbox: &mut Outbox) {
        let (ballot, node, how) = (self.ballot.clone(), node.clone(), means.proves());
        outbox.tell(EventBody::Fence { ballot, node, how, sentence });
    }

    /// Whether a fence, or a reading behind it, has yet to tell what came of it.
    #[must_use]
    pub fn are_awaited(&self, now: Moment) -> bool {
        self.readings.are_awaited(now)
            || self
                .tried
                .values()
                .any(|tried| tried.outcome.is_none() && now.since(tried.since) <= tried.limit + ON_ITS_WAY)
    }

    /// Whether a server was fenced from outside, or is being fenced: it may end at any moment.
    #[must_use]
    pub fn strike(&self, node: &NodeId) -> bool {
        self.tried.keys().any(|(struck, _)| struck == node)
    }

    /// The proof that a server was fenced from outside, if one of the fences succeeded or an operator says so.
    #[must_use]
    pub fn confirmed(&self, node: &NodeId) -> Option<ConfirmedFence> {
        let done = self.tried.iter().find(|((of, _), tried)| of == node && tried.outcome == Some(Ok(())));
        let said = || self.word.as_ref().is_some_and(|word| word.fenced.as_ref() == Some(node));
        let how = match done {
            Some(((_, means), _)) => means.proves(),
            None if said() => FenceHow::Operator,
            None => return None,
        };
        Some(ConfirmedFence { node: node.clone(), how })
    }

    /// What was tried on a server so far, for people; `None` if nothing was.
    #[must_use]
    pub fn told(&self, node: &NodeId) -> Option<String> {
        let of = self.tried.iter().filter(|((of, _), _)| of == node);
        let words: Vec<String> = of
            .map(|((_, means), tried)| match &tried.outcome {
                None => format!("{} is under way", means.words()),
                Some(Ok(())) => format!("{} succeeded", means.words()),
                Some(Err(reason)) => format!("{} failed ({reason})", means.words()),
            })
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use tasuki_schemas::id::BootId;

    use super::*;

    const NOW: Moment = Moment::from_nanos(1_000_000_000);
    const LIMIT: Duration = Duration::from_secs(4);

    fn ballot(counter: u64) -> Ballot {
        Ballot { counter, coordinator: "co1".parse().unwrap(), boot: BootId(1) }
    }

    fn db1() -> NodeId {
        "db1".parse().unwrap()
    }

    fn asked() -> (Fences, Outbox) {
        let policy = Policy { fences: [(Means::Ssh, LIMIT)].into(), ..Policy::default() };
        let (mut fences, mut outbox) = (Fences::new(ballot(5)), Outbox::default());
        for now in [NOW, NOW + LIMIT] {
            fences.ask(&policy, &db1(), (true, None), &mut outbox, now);
        }
        (fences, outbox)
    }

    #[test]
    fn a_fence_is_asked_for_once_and_told() {
        let (fences, mut outbox) = asked();
        let outputs = outbox.take();
        assert_eq!(outputs.len(), 2, "{outputs:?}");
        assert!(matches!(&outputs[..1], [Output::Fence { how: Means::Ssh, .. }]), "{outputs:?}");
        assert!(fences.are_awaited(NOW + LIMIT) && !fences.are_awaited(NOW + LIMIT * 2) && fences.strike(&db1()));
        assert_eq!(fences.confirmed(&db1()), None);
    }

    #[test]
    fn only_what_was_asked_for_at_this_ballot_counts() {
        let (mut fences, mut outbox) = asked();
        assert!(!fences.hear(&ballot(4), &db1(), Means::Ssh, Ok(()), &mut outbox), "an older ballot's");
        assert!(!fences.hear(&ballot(6), &db1(), Means::Ssh, Ok(()), &mut outbox), "another's");
        assert!(!fences.hear(&ballot(5), &db1(), Means::Hook, Ok(()), &mut outbox), "never asked for");
        assert!(!fences.hear(&ballot(5), &"db2".parse().unwrap(), Means::Ssh, Ok(()), &mut outbox), "another server's");
        assert_eq!(fences.confirmed(&db1()), None);
        assert!(fences.hear(&ballot(5), &db1(), Means::Ssh, Ok(()), &mut outbox));
        let confirmed = fences.confirmed(&db1()).unwrap();
        assert_eq!((confirmed.node(), confirmed.how()), (&db1(), FenceHow::SshKilled));
    }

    #[test]
    fn a_fence_that_failed_proves_nothing_and_its_first_result_stays() {
        let (mut fences, mut outbox) = asked();
        assert!(fences.hear(&ballot(5), &db1(), Means::Ssh, Err("no route".to_owned()), &mut outbox));
        assert!(!fences.hear(&ballot(5), &db1(), Means::Ssh, Ok(()), &mut outbox));
        assert_eq!(fences.confirmed(&db1()), None);
        assert!(fences.told(&db1()).unwrap().contains("failed (no route)"));
    }

    #[test]
    fn an_operator_vouches_for_one_server() {
        let word = Override {
            incident: tasuki_schemas::id::IncidentId(7),
            fenced: Some(db1()),
            accept_loss: false,
            by: "ann".to_owned(),
            reason: "plug pulled".to_owned(),
        };
        let mut fences = Fences::new(ballot(5));
        fences.vouch(Some(word));
        assert_eq!(fences.confirmed(&db1()).unwrap().how(), FenceHow::Operator);
        assert_eq!(fences.confirmed(&"db2".parse().unwrap()), None);
    }
}
