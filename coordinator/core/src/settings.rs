//! What a coordinator is told at start: the cluster file, typed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{BootId, ClusterName, CoordinatorId, NodeId};
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::record::Mode;

use crate::fence::Means;

/// Everything that stays the same during a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This coordinator.
    pub me: CoordinatorId,
    /// Its run.
    pub boot: BootId,
    /// The cluster.
    pub cluster: ClusterName,
    /// Its servers' flavour.
    pub flavour: Flavour,
    /// Its servers.
    pub servers: BTreeMap<NodeId, Server>,
    /// Nodes without a server.
    pub witnesses: Vec<NodeId>,
    /// All coordinators, by rank.
    pub coordinators: Vec<CoordinatorId>,
    /// What `init` proposes.
    pub mode: Mode,
    /// Patience and periods.
    pub policy: Policy,
    /// Seed of this run's random numbers.
    pub seed: u64,
}

/// One server of the cluster file.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where replicas reach it.
    pub address: SocketAddr,
    /// Whether it may win an election.
    pub promotion: Promotion,
    /// Where it stands; a server of the old primary's site is rather promoted.
    pub site: Option<String>,
    /// Its place in the file: the last tie-breaker.
    pub order: usize,
}

/// The operator's wish about a server's promotion. The order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promotion {
    /// Rather than others.
    Prefer,
    /// No wish.
    Neutral,
    /// Only if nobody else can.
    Avoid,
    /// Not at all.
    Never,
}

/// What happens when too few replicas are left to acknowledge writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degraded {
    /// Writing goes on with fewer acknowledgements, and this is shown; they are required again when replicas are back.
    Open,
    /// Writing waits for replicas.
    Hold,
}

/// What happens when somebody stops the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedStop {
    /// Another server takes over at once, if one is ready.
    HandOver,
    /// The server has so long to come back; then another takes over.
    Wait(Duration),
}

/// What a failover may lose without asking people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxLoss {
    /// Nothing.
    Nothing,
    /// What a lost host acknowledged without replicas (k = 0), and nobody received.
    UnreceivedTail,
}

/// Periods and patience. Every wait of the core is one of these.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Between two heartbeats of a coordinator.
    pub heartbeat: Duration,
    /// A node or source unheard for this long is silent.
    pub silence: Duration,
    /// A server that answers nothing, or writes nothing, for this long hangs.
    pub hang: Duration,
    /// How long a failover waits for the dead primary's unacknowledged tail, and for late answers, once it is proved.
    pub tail_patience: Duration,
    /// A leader unheard for this long is gone.
    pub leader_patience: Duration,
    /// Each rank waits this much longer before it takes over.
    pub rank_step: Duration,
    /// A request without an answer is repeated after this.
    pub repeat: Duration,
    /// A replica that should acknowledge and does not, for this long, is waited for no more.
    pub acker_patience: Duration,
    /// Whether writing goes on then.
    pub degraded: Degraded,
    /// A member of the write group that acknowledges nothing for this long is taken out of it. Longer than a restart: its
    /// return costs a few steps.
    pub narrow_patience: Duration,
    /// An attempt's stage that has not ended by then is given up.
    pub stage_patience: Duration,
    /// A primary that served for this long is stable: what was before no longer counts as flapping.
    pub stable_window: Duration,
    /// So many failovers of one server by one cause, without a stable window in between, are made; then people decide.
    pub flap_limit: u32,
    /// The lease of a primary without acknowledgements, if the cluster file has one.
    pub lease: Option<LeaseTerms>,
    /// What a clean stop of the primary leads to.
    pub planned_stop: PlannedStop,
    /// How servers are fenced from outside, each with the time that it may take.
    pub fences: BTreeMap<Means, Duration>,
    /// The files of a server that was ended through ssh are read within this.
    pub read_limit: Duration,
    /// What a failover may lose without asking people; `None`: what a leased primary alone had, and of others nothing.
    pub max_loss: Option<MaxLoss>,
    /// A server that holds more than the primary is re-cloned, once that is archived; otherwise it is left to people.
    pub recloning: bool,
    /// An answer or a write that takes longer is told as overload.
    pub slow: Duration,
    /// A replica that has not applied what the primary held so long ago is told as lagging.
    pub lag: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            silence: Duration::from_millis(800),
            hang: Duration::from_secs(2),
            tail_patience: Duration::from_millis(100),
            leader_patience: Duration::from_millis(400),
            rank_step: Duration::from_millis(300),
            repeat: Duration::from_millis(50),
            acker_patience: Duration::from_millis(300),
            narrow_patience: Duration::from_secs(15),
            degraded: Degraded::Open,
            stage_patience: Duration::from_secs(5),
            stable_window: Duration::from_secs(60),
            flap_limit: 2,
            lease: None,
            planned_stop: PlannedStop::HandOver,
            fences: BTreeMap::new(),
            read_limit: Duration::from_secs(120),
            max_loss: None,
            recloning: false,
            slow: Duration::from_millis(500),
            lag: Duration::from_secs(10),
        }
    }
}

impl Policy {
    /// Whether what only a lost host has may be lost without asking people, by whether its primary served under a lease.
    #[must_use]
    pub fn accepts_tail(&self, leased: bool) -> bool {
        self.max_loss.map_or(leased, |max_loss| max_loss == MaxLoss::UnreceivedTail)
    }

    /// Whether what a dead server holds can be shown without its node.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.fences.contains_key(&Means::Ssh)
    }

    /// The usual policy where nodes report so often. Where they report seldom they are spoken to seldom as well, and a
    /// leader is missed later.
    #[must_use]
    pub fn paced(reports: Duration) -> Self {
        let usual = Self::default();
        let heartbeat = usual.heartbeat.max(reports / 2);
        Self { heartbeat, leader_patience: heartbeat * 4, rank_step: heartbeat * 3, ..usual }
    }
}

impl Settings {
    /// All nodes: servers and witnesses.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.servers.keys().chain(&self.witnesses)
    }

    /// Whether two servers stand in different places. One whose place is not said stands anywhere.
    #[must_use]
    pub fn are_apart(&self, one: &NodeId, other: &NodeId) -> bool {
        let site = |node| self.servers.get(node).and_then(|server| server.site.as_ref());
        site(one).zip(site(other)).is_some_and(|(one, other)| one != other)
    }

    /// How long this coordinator lets others go first.
    #[must_use]
    pub fn rank_delay(&self) -> Duration {
        let rank = self.coordinators.iter().position(|name| *name == self.me).unwrap_or(self.coordinators.len());
        self.policy.rank_step * u32::try_from(rank).unwrap_or(u32::MAX)
    }
}
