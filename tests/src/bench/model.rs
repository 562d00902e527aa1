//! A database server in memory, as far as a node's core can tell: every effect is done at once and well.

use std::net::SocketAddr;

use tasuki_node_core::{Effect, EffectId, Ended, Input, Progress, ServerReport, ServerRun};
use tasuki_schemas::answer::{Holdings, Look};
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::observation::{
    Connection, Facts, Identity, Position, Received, Replication, SemiSync, Thread, WriteProbe,
};

/// The server.
#[derive(Clone, Debug)]
pub struct Server {
    number: u32,
    run: Option<ServerRun>,
    writable: bool,
    source: Option<SocketAddr>,
    wait_count: u32,
    executed: GtidSet,
}

impl Server {
    /// A primary, or a replica of `source`; all hold the same.
    #[must_use]
    pub fn new(number: u32, source: Option<SocketAddr>, executed: GtidSet) -> Self {
        let run = Some(ServerRun { pid: 100, started: 1 });
        Self { number, run, writable: source.is_none(), source, wait_count: 1, executed }
    }

    /// Kills its process; returns the run that ended.
    pub const fn kill(&mut self) -> Option<ServerRun> {
        self.writable = false;
        self.run.take()
    }

    fn holdings(&self) -> Holdings {
        Holdings { executed: self.executed.clone(), received: Received::Known { set: self.executed.clone() } }
    }

    /// What a position reads.
    #[must_use]
    pub fn position(&self, node: &tasuki_schemas::id::NodeId) -> Position {
        let holdings = self.holdings();
        Position { node: node.clone(), binlog: None, executed: holdings.executed, received: holdings.received }
    }

    /// What a probe sees.
    #[must_use]
    pub fn report(&self) -> ServerReport {
        let identity = Identity {
            flavour: Flavour::Mariadb,
            version: "10.11.19".to_owned(),
            origin: Origin::Mariadb(self.number),
            server_id: self.number,
            binlog_index: None,
        };
        let connection = if self.run.is_some() { Connection::Answering } else { Connection::Closed };
        let facts = self.run.is_some().then(|| self.facts());
        ServerReport { run: self.run, connection, identity: Some(identity), facts, readers: None }
    }

    fn facts(&self) -> Facts {
        let replication = self.source.map(|source| Replication {
            source: source.into(),
            receiver: Thread::Running,
            applier: Thread::Running,
            quiet_ms: 0,
            error: String::new(),
            filtered: false,
        });
        Facts {
            writable: self.writable,
            replication,
            semi_sync: SemiSync {
                source_enabled: self.writable && self.wait_count > 0,
                replica_enabled: self.source.is_some(),
                wait_count: self.wait_count,
                clients: 0,
                waiting: 0,
            },
            write_probe: self.writable.then_some(WriteProbe::Written { took_ms: 1 }),
            failing_gates: Vec::new(),
            unsupported: None,
            disk: None,
        }
    }

    /// Does an effect, and says what comes of it, in order.
    pub fn execute(&mut self, id: EffectId, effect: Effect) -> Vec<Input> {
        let Some(run) = self.run else {
            return vec![Input::Ended(id, Ended::Gone(self.holdings()))];
        };
        let mut opened = None;
        match effect {
            Effect::Look { .. } => return vec![Input::Ended(id, Ended::Looked(Look::NoGreeting))],
            Effect::ReadFiles { .. }
            | Effect::StopReceiving { .. }
            | Effect::JoinGroup { .. }
            | Effect::CutAcker { .. }
            | Effect::LeaveGroup
            | Effect::Archive { .. }
            | Effect::CutStrangers { .. }
            | Effect::Reclone { .. }
            | Effect::Apply { .. } => {}
            Effect::Fence { .. } | Effect::Drain { .. } => self.writable = false,
            Effect::Follow { source, .. } => (self.writable, self.source) = (false, Some(source)),
            Effect::SetWaitCount { acks, .. } => self.wait_count = acks,
            Effect::Replicate { goal, .. } => {
                self.executed = self.executed.union(&goal).unwrap_or_else(|_| self.executed.clone());
            }
            Effect::Promote { acks, .. } => {
                (self.writable, self.source, self.wait_count) = (true, None, acks);
                opened = Some(Input::Progressed(id, Progress::Opened { run, holdings: self.holdings() }));
            }
        }
        let done = [Input::Ended(id, Ended::Done(self.holdings())), Input::Probed(Box::new(self.report()))];
        opened.into_iter().chain(done).collect()
    }
}
