//! What comes into the core and what goes out of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tasuki_schemas::answer::{Holdings, Look};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::{Delivery, Fetch, Heartbeat, Piece, RecloneStep, Request, Tail};
use tasuki_schemas::gtid::{GtidSet, Origin};
use tasuki_schemas::id::{CoordinatorId, Incarnation, NodeId, ProgramId};
use tasuki_schemas::lease::{Grant, Renew};
use tasuki_schemas::message::Message;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Facts, Identity, Observation, Position};
use tasuki_schemas::reclone::Recloning;

use crate::memory::{Memory, ServerRun};

/// Names an effect that was asked for.
pub type EffectId = u64;

/// What one probe round found.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerReport {
    /// The run of the process that was probed; `None` if no process is known.
    pub run: Option<ServerRun>,
    /// How the server answered.
    pub connection: Connection,
    /// Who it is, once it answered.
    pub identity: Option<Identity>,
    /// What it said, if it answered.
    pub facts: Option<Facts>,
    /// Who reads its binlog, in a round that asked for that.
    pub readers: Option<Vec<Reader>>,
}

impl ServerReport {
    /// Without what changes from probe to probe.
    pub(crate) fn substance(&self) -> Self {
        let mut report = Self { readers: None, ..self.clone() };
        if let Some(facts) = &mut report.facts {
            facts.write_probe = None;
            facts.semi_sync.waiting = 0;
            if let Some(replication) = &mut facts.replication {
                replication.quiet_ms = 0;
            }
        }
        if let Connection::Silent { for_ms } = &mut report.connection {
            *for_ms = 0;
        }
        report
    }
}

/// A connection that reads the server's binlog: a replica, or whatever else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The server's number of the connection.
    pub connection: u64,
    /// Where it comes from.
    pub host: IpAddr,
    /// Its account.
    pub user: String,
    /// The port that it says its own server has. MariaDB does not tell.
    pub port: Option<u16>,
    /// Whether it acknowledges. MariaDB tells only how many do.
    pub acknowledges: Option<bool>,
}

/// What a guard was told to do. It does so whatever becomes of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarding {
    /// The server's process that it holds.
    pub run: ServerRun,
    /// When it kills that process; `None`: not yet known.
    pub until: Option<Moment>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passed.
    Woke,
    /// A coordinator asks for something.
    Asked {
        /// Who.
        from: CoordinatorId,
        /// Whether its cluster file is the same.
        same_configuration: bool,
        /// What.
        request: Request,
    },
    /// A coordinator lives.
    Beaten(Heartbeat),
    /// Another node asks for transactions.
    Fetched {
        /// Who.
        from: NodeId,
        /// What it holds.
        fetch: Fetch,
    },
    /// Another node, or the leader, delivers transactions.
    Delivered {
        /// Who.
        from: ProgramId,
        /// A piece, or why there is none.
        delivery: Delivery,
    },
    /// Pieces of the tail that another node asked for were read.
    TailRead {
        /// Who asked.
        to: NodeId,
        /// What there is, in order.
        deliveries: Vec<Delivery>,
    },
    /// A piece of a tail was written to the disk, or could not be.
    Spooled {
        /// The attempt.
        ballot: Ballot,
        /// Its number.
        piece: u64,
        /// The system's word if not.
        kept: Result<(), String>,
    },
    /// The primary's node asks for a lease.
    Renewed {
        /// Who.
        from: NodeId,
        /// Its question.
        renew: Renew,
    },
    /// A voter grants one.
    Granted {
        /// Who.
        from: NodeId,
        /// Its answer.
        grant: Grant,
    },
    /// What the guard holds; `None` if there is no guard, or it holds nothing.
    Guarded(Option<Guarding>),
    /// A probe round ended.
    Probed(Box<ServerReport>),
    /// The process of this run is gone, or its exit flag shows on every task.
    Exited(ServerRun),
    /// The same of a run that had closed its binlog: it was stopped, and did not crash.
    Stopped(ServerRun),
    /// Whom the kernel keeps away from the server's port.
    Refused(BTreeSet<IpAddr>),
    /// How far the re-clone of this server is.
    Recloning(Recloning),
    /// Its server is about to be stopped. Answered by [`Output::MayStop`], within this and the time that closing takes.
    Leave {
        /// Another server may take over within this; then it is closed all the same.
        within: Duration,
    },
    /// Who wanted to stop it does no longer.
    Stay,
    /// A position was read.
    Positioned(Box<Position>),
    /// The ledger holds this sequence durably.
    Persisted(u64),
    /// The random number that [`Output::Draw`] asked for.
    Drawn(Incarnation),
    /// An effect got somewhere.
    Progressed(EffectId, Progress),
    /// An effect ended; nothing of it goes on.
    Ended(EffectId, Ended),
}

/// A step of an effect that others must know before its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The server is open to clients; the barrier row is still to come.
    Opened {
        /// The run that was opened.
        run: ServerRun,
        /// What it holds.
        holdings: Holdings,
    },
    /// It goes on, and has a deadline of its own that is not near.
    Going {
        /// How far it is, for people.
        step: String,
        /// What the server had received itself is applied first.
        backlog: bool,
    },
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// A look at another server.
    Looked(Look),
    /// Done, with what the server holds now.
    Done(Holdings),
    /// Something was kept in this folder; the server was left as it was.
    Kept(String),
    /// The server had to be killed, or was found gone: its files were read.
    Gone(Holdings),
    /// Not done.
    Failed(String),
    /// Cancelled, and seen gone.
    Cancelled,
}

/// Others may name another primary when a node was silent for so long.
pub const STILL: Duration = Duration::from_millis(700);
/// Before it opens its server, a node that stood still listens for so long: a lower ballot's promotion is cancelled then.
pub const LISTEN: Duration = Duration::from_millis(300);

/// What becomes of what a replica receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledging {
    /// It is acknowledged: this node is of the record's group, whose writes wait for acknowledgements.
    Now,
    /// It will be, once the replica has caught up and joined. Until then its relay log need not be on disk.
    Later,
    /// Nobody waits for it in this cluster. Its server's own setting says how often the relay log is synced.
    Never,
}

/// An act on this node's server. Every effect has a deadline of its own in the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// See whether a server greets within 100 ms.
    Look {
        /// Whom to look at.
        address: SocketAddr,
    },
    /// Reset and refuse the path to the source, or drain it when its process is gone; stop the receiver, verify, read.
    StopReceiving {
        /// The record's primary, as the path to cut.
        source: Option<SocketAddr>,
        /// The source's process is proved gone: read its socket to the end first.
        drain: bool,
    },
    /// Close the port, end clients' connections, close to writes, verify; SIGKILL if that cannot be verified in time.
    Fence {
        /// As in [`Effect::ReadFiles`], for a server that must be killed.
        was_primary: bool,
        /// The other servers: a candidate may have to fetch from this one what nobody else has.
        let_in: BTreeSet<SocketAddr>,
        /// Whom it may be receiving from, as a former primary that follows already: that ends as in
        /// [`Effect::StopReceiving`].
        source: Option<SocketAddr>,
    },
    /// The server's process is gone: read from its files what it held.
    ReadFiles {
        /// It was opened as primary and received nothing since: its binlog is all it holds. Relay files are not read here.
        was_primary: bool,
    },
    /// Replicate from a source.
    Follow {
        /// The primary.
        source: SocketAddr,
        /// What becomes of what is received.
        acknowledging: Acknowledging,
    },
    /// Switch the semi-sync replica side on and reconnect. Fails on a replica of anybody else.
    JoinGroup {
        /// The primary.
        source: SocketAddr,
    },
    /// Wait for so many acknowledgements from now on; 0 switches the waiting off.
    SetWaitCount {
        /// How many.
        acks: u32,
        /// What the record says. With more than that, a barrier row must be acknowledged in time: whoever has it has all
        /// before it. Otherwise the server goes back to this.
        floor: u32,
        /// The reign, for the barrier row.
        epoch: Epoch,
        /// Servers outside the group: cut off before acknowledgements begin to count.
        outside: BTreeSet<SocketAddr>,
    },
    /// Keep exactly these servers away from the server's port.
    CutAcker {
        /// Whom.
        refused: BTreeSet<SocketAddr>,
        /// The reign: then a barrier row is written and acknowledged, so that what the server holds has everything that a
        /// server which is cut off now acknowledged. `None` where nobody is being removed.
        barrier: Option<Epoch>,
    },
    /// Cut off who acknowledges without being in the write group.
    CutStrangers {
        /// Connections to end.
        connections: Vec<u64>,
        /// Hosts to keep away from the server's port, until the node ends or a while has passed.
        hosts: BTreeSet<IpAddr>,
    },
    /// Switch the semi-sync replica side off, and see that no connection acknowledges.
    LeaveGroup,
    /// Let what is being written end within this, close to writes, end clients' connections. What does not end leaves the
    /// server open, as it was.
    Drain {
        /// For so long new writes may have to wait.
        within: Duration,
        /// The other servers: they have to receive the rest.
        let_in: BTreeSet<SocketAddr>,
    },
    /// Keep the transactions of `holds` that `beyond` lacks. Changes nothing on the server.
    Archive {
        /// What the server was seen to hold.
        holds: GtidSet,
        /// What is held elsewhere.
        beyond: GtidSet,
    },
    /// A step of a re-clone. What it begins goes on after its end, and is told by [`Input::Recloning`].
    Reclone {
        /// What is to be done.
        step: RecloneStep,
        /// The donor's server; of an exchange the primary's.
        address: SocketAddr,
        /// The origin of the primary's own transactions: a server that follows it may hold more of these than was known.
        primary: Origin,
    },
    /// Replicate from a living server until the goal is received, then stop receiving.
    Replicate {
        /// Whom from.
        source: SocketAddr,
        /// Everything to be received.
        goal: GtidSet,
    },
    /// Apply the tail of a dead server's binlog, all of whose pieces were spooled.
    Apply {
        /// What this server held before: nothing of that may be in the tail.
        have: GtidSet,
        /// What the pieces must be together.
        tail: Box<Tail>,
    },
    /// Apply the goal, arm semi-sync, open; then write the barrier row.
    Promote {
        /// The reign, for the barrier row.
        epoch: Epoch,
        /// What must be executed before the server opens.
        goal: GtidSet,
        /// Required acknowledgements.
        acks: u32,
        /// Servers outside the new group: cut off before the server opens, and until each is known to acknowledge nothing.
        outside: BTreeSet<SocketAddr>,
    },
}

/// One thing to do. None of them is waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Publish the node's report.
    Publish(Box<Observation>),
    /// Publish the server's position.
    PublishPosition(Box<Position>),
    /// Read the server's position.
    ReadPosition,
    /// Make the memory durable.
    Persist(Box<Memory>),
    /// Draw a random number for a new incarnation of the ledger. Answered by [`Input::Drawn`].
    Draw,
    /// Begin an effect.
    Execute(EffectId, Effect),
    /// End an effect at once: kill its connection and see it gone.
    Cancel(EffectId),
    /// Read pieces of the dead server's binlog tail, up to [`BATCH`](tasuki_schemas::command::BATCH). Answered by [`Input::TailRead`].
    Deliver {
        /// For whom.
        to: NodeId,
        /// What is asked for.
        fetch: Fetch,
    },
    /// Write a piece behind those before it; the first begins anew. Answered by [`Input::Spooled`].
    Spool {
        /// The attempt.
        ballot: Ballot,
        /// The piece.
        piece: Piece,
    },
    /// The server is needed as it is: end its re-clone, and remove the copy.
    AbandonReclone,
    /// The server may be stopped: what was done, or why nothing had to be. Or what may come of it nevertheless.
    MayStop(Result<String, String>),
    /// Say something to one program.
    Send(ProgramId, Box<Message>),
    /// The guard is to hold this, or to let go. Answered by [`Input::Guarded`].
    Guard(Option<Guarding>),
    /// What holds from now on: role page, VIP, write probe, scheduled events.
    Serving {
        /// Whether the server serves clients as primary.
        on: bool,
        /// Whether the record lets Tasuki change anything.
        armed: bool,
    },
}
