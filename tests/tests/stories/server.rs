//! A scripted server: what a story says of it, and how its node would report that.

use std::collections::BTreeSet;

use tasuki_schemas::answer::Holdings;
use tasuki_schemas::command::RecloneStep;
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::observation::{
    Connection, CutStrength, Endpoint, Facts, FailingGate, Identity, Leaving, Process, Received, Replication, SemiSync,
    ServerView, Thread, WriteProbe,
};

use tasuki_schemas::reclone::{RecloneStage, Recloning};

use crate::script::address;

/// The server's process and how it answers its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It answers.
    Runs,
    /// Its port is closed, its process is still there.
    Stopping,
    /// Nobody new is let in, and its replicas stay connected.
    Lingers,
    /// It lives and serves its replicas and clients, but its node finds nobody at its socket.
    Unfindable,
    /// It answers nothing since.
    Frozen { since_ms: u64 },
    /// It answers with an error.
    Refuses { code: u16, text: String },
    /// It is gone.
    Gone { clean: bool },
}

/// What becomes of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// It ends in time.
    End,
    /// It ends late.
    Take { ms: u64 },
    /// None ended since.
    Hang { since_ms: u64 },
    /// It is refused, since the disk is full.
    FindNoSpace,
}

/// A server as a story sets it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) id: u32,
    pub(crate) port: u16,
    pub(crate) life: Life,
    pub(crate) writes: Writes,
    pub(crate) writable: bool,
    pub(crate) follows: Option<u16>,
    /// False once the receiver is stopped.
    pub(crate) receives: bool,
    /// The source's process is gone: its end of file was seen.
    pub(crate) disconnected: bool,
    /// When anything came from the source last.
    pub(crate) heard_ms: u64,
    /// Cut off from its source, whatever that does.
    pub(crate) deaf: bool,
    /// The applier stopped with this error.
    pub(crate) applier_error: Option<String>,
    /// The receiver stopped with this error.
    pub(crate) receiver_error: Option<String>,
    pub(crate) filtered: bool,
    pub(crate) executed: GtidSet,
    pub(crate) received: GtidSet,
    /// It restarted with relay files that nobody read.
    pub(crate) forgot_received: bool,
    pub(crate) semi_sync: bool,
    /// Commits that wait for an acknowledgement.
    pub(crate) waiting: u32,
    pub(crate) wait_count: u32,
    pub(crate) cut: CutStrength,
    /// Whom its node keeps away from it.
    pub(crate) refused: BTreeSet<NodeId>,
    /// Who acknowledged there without being in the group.
    pub(crate) strangers: Vec<String>,
    pub(crate) gate: Option<String>,
    pub(crate) disk: Option<String>,
    pub(crate) unsupported: Option<String>,
    /// Its re-clone.
    pub(crate) reclone: Option<Recloning>,
    /// It is about to be stopped.
    pub(crate) leaving: Option<Leaving>,
    pub(crate) flavour: Flavour,
    pub(crate) version: String,
    /// Settings that should be on.
    pub(crate) lacks: Vec<String>,
}

impl Server {
    pub(crate) fn new(id: u32, port: u16, source: u16) -> Self {
        let nothing = GtidSet::empty(Flavour::Mariadb);
        Self {
            id,
            port,
            life: Life::Runs,
            writes: Writes::End,
            writable: false,
            follows: Some(source),
            receives: true,
            disconnected: false,
            heard_ms: 0,
            deaf: false,
            applier_error: None,
            receiver_error: None,
            filtered: false,
            executed: nothing.clone(),
            received: nothing,
            forgot_received: false,
            semi_sync: true,
            waiting: 0,
            wait_count: 1,
            cut: CutStrength::Kernel,
            refused: BTreeSet::new(),
            strangers: Vec::new(),
            gate: None,
            disk: None,
            unsupported: None,
            reclone: None,
            leaving: None,
            flavour: Flavour::Mariadb,
            version: "10.11".to_owned(),
            lacks: Vec::new(),
        }
    }

    /// The whole cluster is of that flavour.
    pub(crate) fn become_mysql(&mut self) {
        let nothing = GtidSet::empty(Flavour::Mysql);
        (self.flavour, self.version) = (Flavour::Mysql, "8.4.6".to_owned());
        (self.executed, self.received) = (nothing.clone(), nothing);
    }

    pub(crate) fn origin(&self) -> Origin {
        match self.flavour {
            Flavour::Mariadb => Origin::Mariadb(self.id),
            Flavour::Mysql => Origin::Mysql(format!("00000000-0000-0000-0000-{:012}", self.id)),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.life, Life::Gone { .. })
    }

    /// It greets whoever connects.
    pub(crate) fn greets(&self) -> bool {
        matches!(self.life, Life::Runs | Life::Unfindable | Life::Refuses { .. })
    }

    /// Its dump threads send heartbeats: also when sessions are refused, and on a hung disk.
    pub(crate) fn feeds_replicas(&self) -> bool {
        self.greets() || self.life == Life::Lingers
    }

    /// It can be closed to writes without a SIGKILL.
    pub(crate) fn can_be_closed(&self) -> bool {
        self.life == Life::Runs && !matches!(self.writes, Writes::Hang { .. })
    }

    /// A step of its re-clone begins.
    pub(crate) fn reclone(&mut self, step: &RecloneStep) {
        match step {
            RecloneStep::Check { .. } => {}
            RecloneStep::Copy { donor } => {
                let stage = RecloneStage::Copying { bytes: 0, expected: 9 << 20 };
                self.reclone = Some(Recloning { donor: donor.clone(), stage });
            }
            RecloneStep::Exchange { .. } => {
                self.copy_is(RecloneStage::Exchanging { step: "the server is being stopped".to_owned() });
                self.life = Life::Gone { clean: true };
            }
        }
    }

    /// How far that is now.
    pub(crate) fn copy_is(&mut self, stage: RecloneStage) {
        if let Some(told) = &mut self.reclone {
            told.stage = stage;
        }
    }

    fn known(&self) -> Received {
        if self.forgot_received {
            return Received::Unknown { reason: "the server restarted, and its relay files were not read".to_owned() };
        }
        Received::Known { set: self.received.clone() }
    }

    pub(crate) fn holdings(&self) -> Holdings {
        Holdings { executed: self.executed.clone(), received: self.known() }
    }

    fn replication(&self, now_ms: u64) -> Option<Replication> {
        let receiver = if !self.receives || self.receiver_error.is_some() {
            Thread::Stopped
        } else if self.disconnected {
            Thread::Connecting
        } else {
            Thread::Running
        };
        let errors: Vec<&str> =
            [&self.receiver_error, &self.applier_error].into_iter().flatten().map(String::as_str).collect();
        Some(Replication {
            source: Endpoint::from(address(self.follows?)),
            receiver,
            applier: if self.applier_error.is_some() { Thread::Stopped } else { Thread::Running },
            quiet_ms: now_ms - self.heard_ms,
            error: errors.join("; "),
            filtered: self.filtered,
        })
    }

    fn facts(&self, now_ms: u64) -> Facts {
        let gate = |found: &String| FailingGate {
            setting: "sync_relay_log".to_owned(),
            found: found.clone(),
            fix: "sync_relay_log = 1".to_owned(),
        };
        let lacked = |setting: &String| FailingGate {
            setting: setting.clone(),
            found: "OFF".to_owned(),
            fix: format!("{setting} = ON"),
        };
        Facts {
            writable: self.writable,
            replication: self.replication(now_ms),
            semi_sync: SemiSync {
                source_enabled: self.writable && self.wait_count > 0,
                replica_enabled: self.semi_sync,
                wait_count: self.wait_count,
                clients: 2,
                waiting: self.waiting,
            },
            write_probe: self.writable.then(|| match self.writes {
                Writes::End => WriteProbe::Written { took_ms: 1 },
                Writes::Take { ms } => WriteProbe::Written { took_ms: ms },
                Writes::Hang { since_ms } => WriteProbe::Hung { for_ms: now_ms - since_ms },
                Writes::FindNoSpace => WriteProbe::Failed { text: "error 1114: The table 'probe' is full".to_owned() },
            }),
            failing_gates: self.gate.iter().map(gate).chain(self.lacks.iter().map(lacked)).collect(),
            unsupported: self.unsupported.clone(),
            disk: self.disk.clone(),
        }
    }

    pub(crate) fn view(&self, now_ms: u64) -> ServerView {
        let connection = match &self.life {
            Life::Runs => Connection::Answering,
            Life::Stopping | Life::Lingers | Life::Unfindable | Life::Gone { .. } => Connection::Closed,
            Life::Frozen { since_ms } => Connection::Silent { for_ms: now_ms - since_ms },
            Life::Refuses { code, text } => Connection::Refused { code: *code, text: text.clone() },
        };
        let answers = connection == Connection::Answering;
        ServerView {
            process: match self.life {
                Life::Gone { clean } => Process::Exited { clean },
                Life::Runs
                | Life::Stopping
                | Life::Lingers
                | Life::Unfindable
                | Life::Frozen { .. }
                | Life::Refuses { .. } => Process::Running { pid: 1 },
            },
            connection,
            identity: Some(Identity {
                flavour: self.flavour,
                version: self.version.clone(),
                origin: self.origin(),
                server_id: self.id,
                binlog_index: None,
            }),
            facts: answers.then(|| self.facts(now_ms)),
            facts_age_ms: 0,
            cut: self.cut,
            fenced: false,
            serving: self.writable && self.is_running(),
            lease: None,
            refused: self.refused.clone(),
            strangers: self.strangers.clone(),
            reclone: self.reclone.clone(),
            leaving: self.leaving,
        }
    }
}
