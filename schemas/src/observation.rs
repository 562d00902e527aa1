//! What a node sees: its whole report, sent at every heartbeat and at once on change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::Answers;
use crate::ballot::Ballot;
use crate::gtid::{Flavour, GtidSet, Origin};
use crate::id::{CoordinatorId, Incarnation, NodeId, Nonce};
use crate::lease::LeaseView;
use crate::reclone::Recloning;
use crate::record::Accepted;

/// A node's whole report. Whole means: a later one replaces an earlier one, so a lost one costs time and never truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// The node.
    pub node: NodeId,
    /// Each coordinator's last heartbeat nonce heard: an observation is fresh to a coordinator that finds a nonce of its own.
    pub heard: BTreeMap<CoordinatorId, Nonce>,
    /// The node's memory as a voter.
    pub ledger: LedgerView,
    /// Its server; `None` on a witness.
    pub server: Option<ServerView>,
    /// The latest answers to each coordinator, sets included.
    pub answers: BTreeMap<CoordinatorId, Answers>,
}

/// What a voter remembers on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerView {
    /// Which ledger this is.
    pub incarnation: Incarnation,
    /// Counts durable writes; heard going backwards, the ledger was rolled back.
    pub sequence: u64,
    /// The highest ballot ever promised.
    pub promised: Option<Ballot>,
    /// The highest failover promise whose duties have not ended.
    pub failover: Option<Ballot>,
    /// The record last accepted.
    pub accepted: Option<Accepted>,
    /// Why this ledger does not go on from an earlier one, for people, until a record names it as a voter's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anew: Option<String>,
}

/// A database server as its node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerView {
    /// Whether the server's process lives.
    pub process: Process,
    /// Whether it answers its node.
    pub connection: Connection,
    /// Who it is, once read.
    pub identity: Option<Identity>,
    /// The last facts read from it. Only as good as `connection` says.
    pub facts: Option<Facts>,
    /// Milliseconds since the facts were read.
    pub facts_age_ms: u64,
    /// How strongly this node can cut the server off.
    pub cut: CutStrength,
    /// True while the node holds clients away from the server (a fence, or the closed port of a replica).
    pub fenced: bool,
    /// The node holds this server to be the primary and open to clients, at the epoch of the accepted record.
    pub serving: bool,
    /// The lease under which it serves without acknowledgements, if it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseView>,
    /// Servers that the kernel keeps away from this one's port: they acknowledge nothing here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub refused: BTreeSet<NodeId>,
    /// Who acknowledged without being in the write group and was cut off lately: each a sentence with its fix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<String>,
    /// Its re-clone: the one under way, or what came of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclone: Option<Recloning>,
    /// It is about to be stopped, with its host or for an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

/// How far a server is that is about to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// It serves, and asks for another server to take over.
    HandsOver,
    /// It may be stopped at any moment: it is no primary, or closed since nobody took over. It opens for nobody.
    Stops,
}

/// The server's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Process {
    /// Alive under this pid.
    Running {
        /// Process id.
        pid: u32,
    },
    /// The node saw the process exit, or its exit flag on every task: nothing can be acknowledged any more.
    Exited {
        /// Its last binlog file was closed before: it was stopped, and did not crash.
        #[serde(default, skip_serializing_if = "is_false")]
        clean: bool,
    },
    /// Not known yet: the node has never reached the server since it started.
    Unknown,
}

impl Process {
    /// Whether the process was seen to end, by a crash or by a stop.
    #[must_use]
    pub const fn has_exited(&self) -> bool {
        match self {
            Self::Exited { .. } => true,
            Self::Running { .. } | Self::Unknown => false,
        }
    }
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The node's own connection to its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// The last probe was answered in time.
    Answering,
    /// The server answered with an error (too many connections, access denied, …): alive, but blind.
    Refused {
        /// The server's error number, 0 if none was given.
        code: u16,
        /// The server's text.
        text: String,
    },
    /// Nobody listens.
    Closed,
    /// No answer for this long, although something accepts connections.
    Silent {
        /// Milliseconds since the last answer.
        for_ms: u64,
    },
}

/// Who a server is. Read once per start of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// MariaDB or MySQL.
    pub flavour: Flavour,
    /// As the server prints it.
    pub version: String,
    /// How its own transactions are told: server_uuid (MySQL), server_id (MariaDB).
    pub origin: Origin,
    /// `server_id`, unique in a cluster on both flavours.
    pub server_id: u32,
    /// The list of its binlog's files, as a whole path on its host: for whoever reads them when it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binlog_index: Option<String>,
}

/// One probe round, typed: two dialects, one meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// True if ordinary clients may write (`read_only` is off).
    pub writable: bool,
    /// What it replicates; `None` if it is configured to follow nobody.
    pub replication: Option<Replication>,
    /// Its semi-sync sides.
    pub semi_sync: SemiSync,
    /// The write probe: a commit into a local table kept out of the binlog. `None` where none is due.
    pub write_probe: Option<WriteProbe>,
    /// Gates of the write group that the server fails now, each with its fix.
    pub failing_gates: Vec<FailingGate>,
    /// Why Tasuki must not manage this server (Galera, Group Replication, multi-source, …).
    pub unsupported: Option<String>,
    /// Why its disk takes no more writes, if so: full, or read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
}

/// A replica's channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replication {
    /// Whom it follows, as configured in the server.
    pub source: Endpoint,
    /// The receiver thread.
    pub receiver: Thread,
    /// The applier.
    pub applier: Thread,
    /// Milliseconds since the newest event or heartbeat arrived from the source. Advancing heartbeats, never
    /// `Slave_IO_Running`, tell that a source lives.
    pub quiet_ms: u64,
    /// The server's last replication error, empty if none.
    pub error: String,
    /// Filters, a delay, or ignored ids are set: acknowledgements of this server mean nothing.
    pub filtered: bool,
}

/// A host and port in SQL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// Address or host name as the server has it.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl PartialEq<SocketAddr> for Endpoint {
    /// Whether the server has it as this very text.
    fn eq(&self, address: &SocketAddr) -> bool {
        self.port == address.port() && is_text_of(&self.host, address.ip())
    }
}

/// Compares without making the text anew: it is asked for with every observation.
fn is_text_of(text: &str, address: IpAddr) -> bool {
    struct Rest<'a>(&'a str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    write!(rest, "{address}").is_ok() && rest.0.is_empty()
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

/// A replication thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Thread {
    /// Running.
    Running,
    /// Started, but without a connection to the source.
    Connecting,
    /// Stopped.
    Stopped,
}

/// Both sides of semi-sync on one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SemiSync {
    /// Commits wait for replicas.
    pub source_enabled: bool,
    /// This server acknowledges as a replica.
    pub replica_enabled: bool,
    /// Acknowledgements that a commit waits for.
    pub wait_count: u32,
    /// Connected semi-sync replicas.
    pub clients: u32,
    /// Commits waiting for an acknowledgement.
    pub waiting: u32,
}

/// The outcome of the write probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WriteProbe {
    /// Committed in time.
    Written {
        /// Milliseconds it took.
        took_ms: u64,
    },
    /// Not committed within its deadline.
    Hung {
        /// Milliseconds since it was begun.
        for_ms: u64,
    },
    /// Refused by the server, e.g. disk full.
    Failed {
        /// The server's text.
        text: String,
    },
}

/// A condition of the write group that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct FailingGate {
    /// The setting, e.g. `sync_binlog`.
    pub setting: String,
    /// What is found.
    pub found: String,
    /// What is needed, as the operator would write it.
    pub fix: String,
}

/// How a node can cut its server off from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CutStrength {
    /// Kernel rules: nothing leaves the host any more.
    Kernel,
    /// Only SQL and SIGKILL: weaker, and said so.
    Server,
}

/// Where a server stands: a message of its own, sent every second and on demand, whole in itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The node.
    pub node: NodeId,
    /// Its newest binlog file and offset; `None` if the server does not answer or writes no binlog.
    pub binlog: Option<BinlogCoordinates>,
    /// Transactions in its own binlog.
    pub executed: GtidSet,
    /// Everything it holds: executed and received.
    pub received: Received,
}

/// An offset in a binlog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct BinlogCoordinates {
    /// File name, e.g. `bin.000003`.
    pub file: String,
    /// Byte offset of the end.
    pub position: u64,
}

/// A received set that can be believed, or the reason why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Received {
    /// Executed and received transactions together.
    Known {
        /// The set.
        set: GtidSet,
    },
    /// The server restarted with relay files that were neither applied nor read, or its files cannot be read: it does
    /// not count.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

impl Received {
    /// The set, if it can be believed.
    #[must_use]
    pub const fn known(&self) -> Option<&GtidSet> {
        match self {
            Self::Known { set } => Some(set),
            Self::Unknown { .. } => None,
        }
    }
}
