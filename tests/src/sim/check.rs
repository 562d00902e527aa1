//! What must hold: one history, nothing lost of it, and after healing writing goes on.

use tasuki_schemas::ballot::Epoch;
use tasuki_schemas::gtid::{Gtid, GtidSet};

use super::server::{Host, Server};
use super::world::{MS, World};

/// A write that a client was told OK for.
#[derive(Clone, Debug)]
struct Acknowledged {
    gtid: Gtid,
    id: u64,
    /// No replica was asked.
    alone: bool,
    /// It may be lost: that was told before another server opened.
    excused: bool,
}

/// Everything that clients were told.
#[derive(Clone, Debug)]
pub(crate) struct History {
    acknowledged: Vec<Acknowledged>,
    /// The newest reign that acknowledged anything.
    reign: Option<Epoch>,
    /// How much of it each server was seen to hold.
    held: Vec<usize>,
    pub(crate) last_at: u64,
    pub(crate) last_on: Host,
    pub(crate) violation: Option<String>,
}

impl History {
    pub(crate) fn new(servers: usize) -> Self {
        Self { acknowledged: Vec::new(), reign: None, held: vec![0; servers], last_at: 0, last_on: 0, violation: None }
    }

    pub(crate) fn servers(&self) -> usize {
        self.held.len()
    }

    /// Keeps the first violation.
    pub(crate) fn demand(&mut self, seen: Result<(), String>) {
        if let Err(violation) = seen {
            self.violation.get_or_insert(violation);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// A client is told OK. The server that says so must hold everything that any client was told before.
    pub(crate) fn acknowledged(&mut self, host: Host, server: &Server, gtid: &Gtid, id: u64, now: u64) {
        if let Some((lost, of)) = self.missing(host, server) {
            let text = format!("db{} acknowledges {gtid} (write {id}) without {lost} (write {of})", host + 1);
            self.violation.get_or_insert(text);
        }
        if server.reign < self.reign {
            let text = format!("db{} acknowledges {gtid} although a newer reign has begun", host + 1);
            self.violation.get_or_insert(text);
        }
        self.reign.clone_from(&server.reign);
        let alone = server.wait_count == 0;
        self.acknowledged.push(Acknowledged { gtid: gtid.clone(), id, alone, excused: false });
        (self.last_at, self.last_on) = (now, host);
    }

    /// What a lost server holds, of what was acknowledged without replicas, may be lost with it, by whomever it was
    /// acknowledged; but not what a running server within reach has.
    pub(crate) fn excuse(&mut self, held: &GtidSet, others: &[GtidSet]) {
        let alone = |gtid: &Gtid| held.contains_gtid(gtid) && !others.iter().any(|set| set.contains_gtid(gtid));
        for write in self.acknowledged.iter_mut().filter(|write| write.alone && alone(&write.gtid)) {
            write.excused = true;
        }
    }

    /// Whether a client was told OK for it, and it may not be lost.
    pub(crate) fn is_acknowledged(&self, gtid: &Gtid) -> bool {
        self.acknowledged.iter().any(|write| write.gtid == *gtid && !write.excused)
    }

    /// A server's data was exchanged: what it was seen to hold is no longer known.
    pub(crate) fn came_back(&mut self, host: Host) {
        self.held[host] = 0;
    }

    /// The first acknowledged write that a server does not hold.
    pub(crate) fn missing(&mut self, host: Host, server: &Server) -> Option<(Gtid, u64)> {
        let from = self.held[host];
        for write in self.acknowledged[from..].iter().filter(|write| !write.excused) {
            if !server.executed.contains_gtid(&write.gtid) {
                return Some((write.gtid.clone(), write.id));
            }
        }
        self.held[host] = self.acknowledged.len();
        None
    }
}

/// Everything is as it was before the faults: one server is open, clients are acknowledged, and every server follows or is known to be ahead.
pub(crate) fn settled(world: &World) -> bool {
    let history = &world.history;
    if world.now - history.last_at > 300 * MS {
        return false;
    }
    let primary = history.last_on;
    // In its binlog, or received and not applied yet.
    let ahead = |host: Host| {
        let server = &world.hosts[host].server;
        let lacks = |set: &GtidSet| world.hosts[primary].server.executed.contains(set) != Ok(true);
        lacks(&server.executed) || server.received().known().is_some_and(lacks)
    };
    let follows = |host: Host| {
        let channel = world.hosts[host].server.channel.as_ref();
        let follows = channel.is_some_and(|channel| channel.connected && channel.source == primary);
        host == primary || follows || ahead(host)
    };
    // Whoever follows is in the write group again, and nobody is kept away.
    let record = world.hosts[primary].node.as_ref().and_then(|node| node.record());
    let members = record.and_then(|record| record.group()).map(|group| &group.members);
    let joined = |host: Host| {
        host == primary || ahead(host) || members.is_some_and(|members| members.contains(&world.hosts[host].name))
    };
    let whole = world.wanted == 0 || (0..history.servers()).all(joined);
    let ackers = (0..history.servers()).any(|host| host != primary && !ahead(host));
    let alone = world.hosts.iter().filter(|host| host.server.run.is_some() && host.server.writable).count() == 1;
    let lossless = !ackers || world.hosts[primary].server.wait_count == world.wanted;
    alone && lossless && whole && (0..history.servers()).all(follows) && world.is_seated()
}

/// What is wrong at the end.
pub(crate) fn at_the_end(world: &mut World) -> Option<String> {
    if let Some(violation) = &world.history.violation {
        return Some(violation.clone());
    }
    let primary = world.history.last_on;
    let server = world.hosts[primary].server.clone();
    if let Some((gtid, id)) = world.history.missing(primary, &server) {
        return Some(format!("{gtid} (write {id}) was acknowledged and is not on db{}", primary + 1));
    }
    let mut ids: Vec<u64> = server.binlog.iter().filter_map(|transaction| transaction.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != all {
        return Some(format!("db{} holds a write twice", primary + 1));
    }
    if !settled(world) {
        let quiet = (world.now - world.history.last_at) / MS;
        return Some(format!("no liveness: {quiet} ms after the last acknowledgement the cluster is not whole again"));
    }
    None
}
