//! A database server as far as its replication goes: binlog, relay log, semi-sync, and the kernel's rules around it.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_node_core::ServerRun;
use tasuki_schemas::answer::Holdings;
use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::gtid::{Flavour, Gtid, GtidSet, Origin};
use tasuki_schemas::observation::{Received, Thread};

/// A host: its place in the cluster file.
pub(crate) type Host = usize;

/// One transaction. `id` is the client's; barrier rows have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) gtid: Gtid,
    pub(crate) id: Option<u64>,
}

/// A commit that waits for acknowledgements.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) transaction: Transaction,
    pub(crate) ackers: BTreeSet<Host>,
    /// Its place in the binlog: who acknowledges a later one has this one too.
    pub(crate) at: usize,
    /// Its client still listens.
    pub(crate) listening: bool,
    /// The client is on the server's own host.
    pub(crate) local: bool,
}

/// The receiver of a replica.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) source: Host,
    pub(crate) running: bool,
    pub(crate) connected: bool,
    /// The present connection acknowledges.
    pub(crate) acknowledges: bool,
    /// So much of the source's binlog was sent through the present connection.
    pub(crate) sent: usize,
    pub(crate) heard_at: u64,
    pub(crate) error: &'static str,
}

/// A server with its host's kernel rules.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: Host,
    pub(crate) flavour: Flavour,
    pub(crate) run: Option<ServerRun>,
    pub(crate) hung: bool,
    pub(crate) writable: bool,
    pub(crate) binlog: Vec<Transaction>,
    pub(crate) executed: GtidSet,
    pub(crate) relay: Vec<Transaction>,
    /// So many of them are on disk: a receiver that does not acknowledge leaves the syncing to the system.
    pub(crate) relay_synced: usize,
    /// What it received and never read, deleted, each with the server that it followed then.
    pub(crate) deleted: Vec<(Gtid, Host)>,
    /// Restarted with relay files that nobody read since.
    pub(crate) unread: bool,
    pub(crate) channel: Option<Channel>,
    pub(crate) applying: bool,
    pub(crate) replica_enabled: bool,
    pub(crate) wait_count: u32,
    /// The epoch at which it was told to open.
    pub(crate) reign: Option<Epoch>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) port_closed: bool,
    pub(crate) refused_sources: BTreeSet<Host>,
    pub(crate) refused_servers: BTreeSet<Host>,
    /// A client that no cluster file knows acknowledges whatever is written here.
    pub(crate) stranger: bool,
    pub(crate) silent_since: Option<u64>,
    pub(crate) lags_until: u64,
    runs: u64,
    /// How often MySQL's data was exchanged: each time it got another name.
    pub(crate) names: u32,
    /// The number of its last own transaction, or of the domain's last one.
    pub(crate) top: u64,
}

impl Server {
    pub(crate) fn new(host: Host, flavour: Flavour) -> Self {
        Self {
            host,
            flavour,
            run: Some(ServerRun { pid: 100, started: 0 }),
            hung: false,
            writable: false,
            binlog: Vec::new(),
            executed: GtidSet::empty(flavour),
            relay: Vec::new(),
            relay_synced: 0,
            deleted: Vec::new(),
            unread: false,
            channel: None,
            applying: true,
            replica_enabled: true,
            wait_count: 1,
            reign: None,
            waiting: Vec::new(),
            port_closed: false,
            refused_sources: BTreeSet::new(),
            refused_servers: BTreeSet::new(),
            stranger: false,
            silent_since: None,
            lags_until: 0,
            runs: 0,
            names: 0,
            top: 0,
        }
    }

    pub(crate) const fn answers(&self) -> bool {
        self.run.is_some() && !self.hung
    }

    pub(crate) fn origin(&self) -> Origin {
        match self.flavour {
            Flavour::Mariadb => Origin::Mariadb(u32::try_from(self.host).unwrap_or(0) + 1),
            Flavour::Mysql => {
                Origin::Mysql(format!("00000000-0000-0000-{:04}-00000000000{}", self.names, self.host + 1))
            }
        }
    }

    /// The next GTID of its own: MariaDB counts through its domain, MySQL through its own transactions.
    fn next_gtid(&self) -> Gtid {
        let next = self.top + 1;
        match self.origin() {
            Origin::Mariadb(server) => Gtid::Mariadb { domain: 0, server, sequence: next },
            Origin::Mysql(uuid) => Gtid::Mysql { uuid, tag: None, number: next },
        }
    }

    /// Writes a transaction of its own to the binlog; the commit then waits.
    pub(crate) fn commit(&mut self, id: Option<u64>, local: bool) -> Gtid {
        let transaction = Transaction { gtid: self.next_gtid(), id };
        let gtid = transaction.gtid.clone();
        self.append(transaction.clone());
        let at = self.binlog.len();
        self.waiting.push(Waiting { transaction, ackers: BTreeSet::new(), at, listening: true, local });
        gtid
    }

    /// Writes a transaction of its own that no client asked for and nobody waits for.
    pub(crate) fn write_aside(&mut self) {
        if self.answers() {
            self.append(Transaction { gtid: self.next_gtid(), id: None });
        }
    }

    pub(crate) fn append(&mut self, transaction: Transaction) {
        if self.executed.contains_gtid(&transaction.gtid) {
            return;
        }
        self.executed.insert(&transaction.gtid).expect("one flavour");
        let number = match (&transaction.gtid, self.origin()) {
            (Gtid::Mariadb { sequence, .. }, _) => *sequence,
            (Gtid::Mysql { uuid, number, .. }, Origin::Mysql(mine)) if *uuid == mine => *number,
            (Gtid::Mysql { .. }, _) => 0,
        };
        self.top = self.top.max(number);
        self.binlog.push(transaction);
    }

    /// Everything it executed and, as far as that is known, received.
    pub(crate) fn holdings(&self) -> Holdings {
        Holdings { executed: self.executed.clone(), received: self.received() }
    }

    pub(crate) fn received(&self) -> Received {
        if self.unread {
            return Received::Unknown { reason: "the server restarted".to_owned() };
        }
        let mut set = self.executed.clone();
        for transaction in &self.relay {
            set.insert(&transaction.gtid).expect("one flavour");
        }
        Received::Known { set }
    }

    pub(crate) fn has(&self, gtid: &Gtid) -> bool {
        self.executed.contains_gtid(gtid) || self.relay.iter().any(|transaction| transaction.gtid == *gtid)
    }

    /// The next of a source's transactions to receive, and how much of its binlog was sent then. A MySQL source sends all
    /// that its replica lacked when it connected, one of MariaDB what comes after the last that it has.
    pub(crate) fn lacks(&self, source: &Self) -> (Vec<Transaction>, usize) {
        const AT_ONCE: usize = 4;
        let connected = self.channel.as_ref().filter(|channel| channel.connected);
        let from = match (connected, self.flavour) {
            (None, _) => 0,
            (Some(channel), Flavour::Mysql) => channel.sent,
            (Some(_), Flavour::Mariadb) => {
                source.binlog.iter().rposition(|transaction| self.has(&transaction.gtid)).map_or(0, |at| at + 1)
            }
        };
        let (mut next, mut sent) = (Vec::new(), from);
        for transaction in source.binlog.iter().skip(from) {
            if next.len() == AT_ONCE {
                break;
            }
            sent += 1;
            if !self.has(&transaction.gtid) {
                next.push(transaction.clone());
            }
        }
        (next, sent)
    }

    pub(crate) fn receiver(&self) -> Thread {
        match &self.channel {
            Some(Channel { running: true, connected: true, .. }) => Thread::Running,
            Some(Channel { running: true, connected: false, .. }) => Thread::Connecting,
            Some(Channel { running: false, .. }) | None => Thread::Stopped,
        }
    }

    /// Applies one transaction of the relay files that it does not know any more, if they are of this source; false once
    /// there is none left.
    pub(crate) fn settle(&mut self, source: Host) -> bool {
        if !self.unread || self.channel.as_ref().is_none_or(|channel| channel.source != source) {
            return false;
        }
        if self.relay.is_empty() {
            self.unread = false;
            return false;
        }
        let transaction = self.relay.remove(0);
        self.relay_synced = self.relay_synced.saturating_sub(1);
        self.append(transaction);
        true
    }

    /// Points at a source and starts. What was received and never read is deleted with the relay files.
    pub(crate) fn point(&mut self, source: Host, acknowledges: bool, now: u64) {
        if self.unread {
            let unread = std::mem::take(&mut self.relay);
            self.relay_synced = 0;
            self.deleted.extend(unread.into_iter().map(|transaction| (transaction.gtid, source)));
            self.unread = false;
        }
        self.replica_enabled = acknowledges;
        self.applying = true;
        self.channel = Some(Channel {
            source,
            running: true,
            connected: false,
            acknowledges: false,
            sent: 0,
            heard_at: now,
            error: "",
        });
    }

    pub(crate) fn stop_receiver(&mut self) {
        if let Some(channel) = &mut self.channel {
            (channel.running, channel.connected) = (false, false);
        }
    }

    pub(crate) fn end_clients(&mut self) {
        for waiting in &mut self.waiting {
            waiting.listening = false;
        }
    }

    /// The process ends at once: what is on disk stays.
    pub(crate) fn crash(&mut self) -> Option<ServerRun> {
        self.waiting.clear();
        self.writable = false;
        self.hung = false;
        self.stranger = false;
        self.stop_receiver();
        self.run.take()
    }

    /// The host's memory is gone with what was not synced.
    pub(crate) fn lose_power(&mut self) {
        self.crash();
        self.relay.truncate(self.relay_synced);
    }

    /// Starts closed, not replicating, and without semi-sync on either side.
    pub(crate) fn start(&mut self) {
        self.runs += 1;
        self.run = Some(ServerRun { pid: 100, started: self.runs });
        self.replica_enabled = false;
        self.applying = false;
        self.unread = self.flavour == Flavour::Mariadb && !self.relay.is_empty();
        self.silent_since = None;
    }

    /// Applies everything that was received.
    pub(crate) fn apply(&mut self) {
        if self.answers() && self.applying && !self.unread {
            self.relay_synced = 0;
            for transaction in std::mem::take(&mut self.relay) {
                self.append(transaction);
            }
        }
    }

    /// What another server lacks of this one's binlog, in order.
    pub(crate) fn beyond(&self, have: &GtidSet) -> Vec<Transaction> {
        self.binlog.iter().filter(|transaction| !have.contains_gtid(&transaction.gtid)).cloned().collect()
    }

    /// Commits that have what they wait for, in order; they wait no longer.
    pub(crate) fn acknowledged(&mut self) -> Vec<Waiting> {
        let needed = usize::try_from(self.wait_count).unwrap_or(usize::MAX);
        let (done, waiting) = self.waiting.drain(..).partition(|waiting| waiting.ackers.len() >= needed);
        self.waiting = waiting;
        done
    }
}

/// Transactions by their GTID, wherever they are.
pub(crate) type Registry = BTreeMap<String, Transaction>;
