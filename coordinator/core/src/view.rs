//! The latest of everything heard. Keeps an observation only if it is fresh: it echoes one of this coordinator's last
//! five nonces, so that nothing replayed is believed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tasuki_schemas::answer::Answers;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Heartbeat;
use tasuki_schemas::id::{Boot, CoordinatorId, Incarnation, NodeId, Nonce};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Facts, LedgerView, Observation, Position, ServerView};
use tasuki_schemas::record::Accepted;

use crate::doubts::Ledgers;

/// How many of its own nonces a coordinator still takes for fresh.
const NONCES: usize = 5;

/// The latest report of one node.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The report.
    pub observation: Arc<Observation>,
    /// When it arrived here.
    pub at: Moment,
    stamp: Stamp,
    /// How many nonces were sent before its run was first heard.
    run_heard_at: u64,
    /// Why its server must be left alone, as it was when facts of it could be read last.
    unsupported: Option<String>,
}

/// A message's place among its sender's: two carriers overtake each other, so the later one is told by this.
pub type Stamp = (Boot, u64);

/// All latest reports.
#[derive(Clone, Debug)]
pub struct View {
    me: CoordinatorId,
    /// Nothing was heard before this.
    pub started: Moment,
    nonces: VecDeque<Nonce>,
    /// How many nonces were sent.
    sent: u64,
    ledgers: Ledgers,
    nodes: BTreeMap<NodeId, Seen>,
    positions: BTreeMap<NodeId, (Position, Moment, Stamp)>,
    coordinators: BTreeMap<CoordinatorId, (Heartbeat, Moment)>,
    /// The newest nonce of each other coordinator that any node echoes, and when it was new: with Redis gone,
    /// coordinators hear of each other only so.
    echoed: BTreeMap<CoordinatorId, (Nonce, Moment)>,
    changes: u64,
}

impl View {
    /// Nothing heard yet.
    #[must_use]
    pub const fn new(me: CoordinatorId, started: Moment) -> Self {
        Self {
            me,
            started,
            nonces: VecDeque::new(),
            sent: 0,
            ledgers: Ledgers::new(),
            nodes: BTreeMap::new(),
            positions: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            echoed: BTreeMap::new(),
            changes: 0,
        }
    }

    /// Remembers a nonce of this coordinator's own.
    pub fn sent_nonce(&mut self, nonce: Nonce) {
        self.nonces.push_back(nonce);
        self.sent += 1;
        if self.nonces.len() > NONCES {
            self.nonces.pop_front();
        }
    }

    /// Keeps an observation; false if it is stale.
    pub fn observed(&mut self, observation: impl Into<Arc<Observation>>, stamp: Stamp, now: Moment) -> bool {
        let observation = observation.into();
        let Some(number) = self.number_of_nonce(&observation) else { return false };
        let seen = self.nodes.get(&observation.node);
        if let Some(seen) = seen.filter(|seen| seen.stamp >= stamp) {
            if stamp.0 < seen.stamp.0 && number >= seen.run_heard_at {
                // It echoes what was said after a later run had spoken: both live.
                self.ledgers.met_twin(&observation.node, observation.ledger.incarnation);
            }
            return false;
        }
        let same_run = seen.filter(|seen| seen.stamp.0 == stamp.0);
        let run_heard_at = same_run.map_or(self.sent, |seen| seen.run_heard_at);
        self.overhear(&observation, now);
        self.ledgers.heard(&observation.node, &observation.ledger);
        let last = self.nodes.get(&observation.node);
        let before = last.and_then(|seen| seen.observation.server.as_ref());
        if before.map(lasting) != observation.server.as_ref().map(lasting) {
            self.changes += 1;
        }
        let unsupported = match &observation.server {
            Some(ServerView { facts: Some(facts), .. }) => facts.unsupported.clone(),
            Some(_) => last.and_then(|seen| seen.unsupported.clone()),
            None => None,
        };
        self.nodes.insert(observation.node.clone(), Seen { observation, at: now, stamp, run_heard_at, unsupported });
        true
    }

    /// Which of the nonces that were ever sent an observation echoes, if it is one of the last.
    fn number_of_nonce(&self, observation: &Observation) -> Option<u64> {
        let nonce = observation.heard.get(&self.me)?;
        let at = self.nonces.iter().rev().position(|sent| sent == nonce)?;
        Some(self.sent.saturating_sub(1 + u64::try_from(at).unwrap_or(u64::MAX)))
    }

    /// Why the ledger that a node holds has no vote, whatever the record says.
    #[must_use]
    pub fn doubt(&self, node: &NodeId) -> Option<&str> {
        self.ledgers.doubt_of(node, self.ledger(node)?.incarnation)
    }

    /// Whether a node votes with this ledger.
    #[must_use]
    pub fn votes_with(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.ledger(node).is_some_and(|ledger| ledger.incarnation == incarnation) && self.doubt(node).is_none()
    }

    fn overhear(&mut self, observation: &Observation, now: Moment) {
        let before = self.nodes.get(&observation.node).map(|seen| &seen.observation.heard);
        for (coordinator, nonce) in &observation.heard {
            let news = before.is_some_and(|heard| heard.get(coordinator) != Some(nonce));
            if *coordinator != self.me && news {
                self.echoed.insert(coordinator.clone(), (*nonce, now));
            }
        }
    }

    /// Keeps a position; false if it is stale.
    pub fn positioned(&mut self, position: Position, stamp: Stamp, now: Moment) -> bool {
        let fresh = self.positions.get(&position.node).is_none_or(|(_, _, last)| *last < stamp);
        if fresh {
            self.positions.insert(position.node.clone(), (position, now, stamp));
        }
        fresh
    }

    /// Keeps another coordinator's heartbeat.
    pub fn beaten(&mut self, heartbeat: Heartbeat, now: Moment) {
        if heartbeat.coordinator != self.me {
            self.coordinators.insert(heartbeat.coordinator.clone(), (heartbeat, now));
        }
    }

    /// How often a server was seen to be another than before: what differs from probe to probe does not count.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The nodes heard within `patience`.
    pub fn heard(&self, patience: Duration, now: Moment) -> impl Iterator<Item = (&NodeId, &Observation)> {
        self.nodes
            .iter()
            .filter(move |(_, seen)| now.since(seen.at) <= patience)
            .map(|(node, seen)| (node, &*seen.observation))
    }

    /// A node's report, if heard within `patience`.
    #[must_use]
    pub fn node(&self, node: &NodeId, patience: Duration, now: Moment) -> Option<&Observation> {
        self.nodes.get(node).filter(|seen| now.since(seen.at) <= patience).map(|seen| &*seen.observation)
    }

    /// A server as its node sees it, if heard within `patience`.
    #[must_use]
    pub fn server(&self, node: &NodeId, patience: Duration, now: Moment) -> Option<&ServerView> {
        self.node(node, patience, now).and_then(|observation| observation.server.as_ref())
    }

    /// A server's facts, if heard within `patience`.
    #[must_use]
    pub fn facts(&self, node: &NodeId, patience: Duration, now: Moment) -> Option<&Facts> {
        self.server(node, patience, now).and_then(|server| server.facts.as_ref())
    }

    /// Why a server must be left alone: what was so when it died is so still.
    pub(crate) fn unsupported(&self, node: &NodeId) -> Option<&str> {
        self.nodes.get(node)?.unsupported.as_deref()
    }

    /// How long nothing was heard from a node.
    #[must_use]
    pub fn silence_of(&self, node: &NodeId, now: Moment) -> Duration {
        now.since(self.nodes.get(node).map_or(self.started, |seen| seen.at))
    }

    /// A server's position and when it arrived.
    #[must_use]
    pub fn position(&self, node: &NodeId) -> Option<(&Position, Moment)> {
        self.positions.get(node).map(|(position, at, _)| (position, *at))
    }

    /// A node's answers to this coordinator at `ballot`.
    #[must_use]
    pub fn answers(&self, node: &NodeId, ballot: &Ballot) -> Option<&Answers> {
        self.nodes
            .get(node)
            .and_then(|seen| seen.observation.answers.get(&self.me))
            .filter(|answers| answers.ballot.as_ref() == Some(ballot))
    }

    /// What a node remembers as a voter, as last reported.
    #[must_use]
    pub fn ledger(&self, node: &NodeId) -> Option<&LedgerView> {
        self.nodes.get(node).map(|seen| &seen.observation.ledger)
    }

    /// A node's answers to this coordinator, whatever their ballot.
    #[must_use]
    pub fn any_answers(&self, node: &NodeId) -> Option<&Answers> {
        self.nodes.get(node).and_then(|seen| seen.observation.answers.get(&self.me))
    }

    /// The highest accepted record that any node reported. Accepted is not decided: enough to diagnose by.
    #[must_use]
    pub fn highest_accepted(&self) -> Option<&Accepted> {
        self.nodes
            .values()
            .filter_map(|seen| seen.observation.ledger.accepted.as_ref())
            .max_by(|a, b| a.ballot.cmp(&b.ballot))
    }

    /// The highest ballot that any node reported as promised or accepted.
    #[must_use]
    pub fn highest_ballot(&self) -> Option<&Ballot> {
        self.nodes
            .values()
            .flat_map(|seen| {
                let ledger = &seen.observation.ledger;
                [ledger.promised.as_ref(), ledger.accepted.as_ref().map(|accepted| &accepted.ballot)]
            })
            .flatten()
            .max()
    }

    /// The other coordinator that leads: it says so itself, or, unheard, it owns the highest ballot and nodes hear it.
    #[must_use]
    pub fn leader(&self, patience: Duration, now: Moment) -> Option<(&CoordinatorId, &Ballot)> {
        let direct = self
            .coordinators
            .iter()
            .filter(|(_, (_, at))| now.since(*at) <= patience)
            .filter_map(|(name, (heartbeat, _))| heartbeat.leading.as_ref().map(|ballot| (name, ballot)))
            .max_by(|a, b| a.1.cmp(b.1));
        direct.or_else(|| {
            let ballot = self.highest_ballot()?;
            let (name, (_, at)) = self.echoed.get_key_value(&ballot.coordinator)?;
            let direct = self.coordinators.get(name).is_some_and(|(_, at)| now.since(*at) <= patience * 4);
            (!direct && now.since(*at) <= patience + patience / 2).then_some((name, ballot))
        })
    }

    /// Whether another coordinator says itself that it leads.
    #[must_use]
    pub fn is_led(&self, patience: Duration, now: Moment) -> bool {
        self.leaders().any(|at| now.since(at) <= patience)
    }

    /// When each coordinator that leads said so last.
    fn leaders(&self) -> impl Iterator<Item = Moment> {
        self.coordinators.values().filter(|(heartbeat, _)| heartbeat.leading.is_some()).map(|(_, at)| *at)
    }

    /// When the next of those that lead counts as gone, if nothing more is heard.
    #[must_use]
    pub fn next_unled(&self, patience: Duration, now: Moment) -> Option<Moment> {
        self.leaders().map(|at| past(at, patience)).filter(|end| *end > now).min()
    }

    /// When the next node counts as silent, if nothing more is heard.
    #[must_use]
    pub fn next_silence(&self, patience: Duration, now: Moment) -> Option<Moment> {
        self.nodes.values().map(|seen| past(seen.at, patience)).filter(|end| *end > now).min()
    }

    /// All latest reports, for the snapshot.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<NodeId, Observation> {
        self.nodes.iter().map(|(node, seen)| (node.clone(), (*seen.observation).clone())).collect()
    }

    /// All latest positions, for the snapshot.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<NodeId, Position> {
        self.positions.iter().map(|(node, (position, ..))| (node.clone(), position.clone())).collect()
    }
}

/// The first moment at which a patience has ended.
fn past(since: Moment, patience: Duration) -> Moment {
    since + patience + Duration::from_nanos(1)
}

/// What stays the same of a server while nothing happens to it.
fn lasting(server: &ServerView) -> impl PartialEq + use<'_> {
    let facts = server.facts.as_ref().map(|facts| {
        let channel = facts.replication.as_ref();
        let channel = channel.map(|own| (&own.source, own.receiver, own.applier, &own.error, own.filtered));
        (facts.writable, channel, &facts.failing_gates, &facts.unsupported, &facts.disk)
    });
    (&server.process, &server.connection, &server.identity, facts)
}
