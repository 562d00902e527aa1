//! What a node's probe sees of its server.

use std::net::{IpAddr, Ipv4Addr};

use tasuki_node_core::{Input, Reader, ServerReport};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::observation::{Connection, Endpoint, Facts, Identity, Replication, SemiSync, Thread, WriteProbe};

use super::lives::address;
use super::server::{Host, Server};
use super::world::{Happening, MS, World};

/// From where strangers come.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));

/// Who reads a server's binlog; only MySQL tells who of them acknowledges, and which port is behind a connection.
fn readers(world: &World, host: Host) -> Vec<Reader> {
    let server = &world.hosts[host].server;
    let mysql = server.flavour == Flavour::Mysql;
    let reader = |connection, from, port: Option<u16>, acknowledges: bool| Reader {
        connection,
        host: from,
        user: "repl".to_owned(),
        port: port.filter(|_| mysql),
        acknowledges: mysql.then_some(acknowledges),
    };
    let replica = |other: Host| {
        let channel = world.hosts[other].server.channel.as_ref()?;
        let reads = channel.connected && channel.running && channel.source == host && world.net.joined(host, other);
        let at = address(other);
        reads.then(|| reader(10 + other as u64, at.ip(), Some(at.port()), channel.acknowledges))
    };
    let stranger = server.stranger.then(|| reader(99, ELSEWHERE, None, true));
    (0..world.history.servers()).filter_map(replica).chain(stranger).collect()
}

/// Clients that acknowledge, strangers among them.
fn clients(world: &World, host: Host) -> u32 {
    let acknowledges = |other: &Host| {
        let channel = world.hosts[*other].server.channel.as_ref();
        let joined = world.net.joined(host, *other);
        joined && channel.is_some_and(|channel| channel.connected && channel.source == host && channel.acknowledges)
    };
    let known = (0..world.history.servers()).filter(acknowledges).count();
    u32::try_from(known).unwrap_or(u32::MAX) + u32::from(world.hosts[host].server.stranger)
}

/// One round; the next is already on its way.
pub(crate) fn probe(world: &mut World, host: Host) {
    if host >= world.history.servers() {
        return;
    }
    let (now, life) = (world.now, world.hosts[host].life);
    let pause = if world.hosts[host].server.answers() { 150 * MS } else { 50 * MS };
    world.after(pause, Happening::Probe { host, life });
    let source = world.hosts[host].server.writable;
    let (readers, clients) = (source.then(|| readers(world, host)), clients(world, host));
    let report = report(&mut world.hosts[host].server, readers, clients, now);
    world.node_input(host, Input::Probed(Box::new(report)));
}

fn report(server: &mut Server, readers: Option<Vec<Reader>>, clients: u32, now: u64) -> ServerReport {
    let number = u32::try_from(server.host).unwrap_or(0) + 1;
    let identity = Identity {
        flavour: server.flavour,
        version: if server.flavour == Flavour::Mysql { "9.7.4" } else { "10.11.19" }.to_owned(),
        origin: server.origin(),
        server_id: number,
        binlog_index: None,
    };
    let report =
        |connection, facts| ServerReport { run: server.run, connection, identity: Some(identity), facts, readers };
    if server.run.is_none() {
        server.silent_since = None;
        return report(Connection::Closed, None);
    }
    if server.hung {
        let since = *server.silent_since.get_or_insert(now);
        return report(Connection::Silent { for_ms: (now - since) / MS }, None);
    }
    let facts = facts(server, clients, now);
    report(Connection::Answering, Some(facts))
}

fn facts(server: &Server, clients: u32, now: u64) -> Facts {
    let replication = server.channel.as_ref().map(|channel| Replication {
        source: Endpoint::from(address(channel.source)),
        receiver: server.receiver(),
        applier: if server.applying { Thread::Running } else { Thread::Stopped },
        quiet_ms: (now - channel.heard_at.min(now)) / MS,
        error: channel.error.to_owned(),
        filtered: false,
    });
    Facts {
        writable: server.writable,
        replication,
        semi_sync: SemiSync {
            source_enabled: server.writable && server.wait_count > 0,
            replica_enabled: server.replica_enabled,
            wait_count: server.wait_count,
            clients,
            waiting: u32::try_from(server.waiting.len()).unwrap_or(u32::MAX),
        },
        write_probe: server.writable.then_some(WriteProbe::Written { took_ms: 1 }),
        failing_gates: Vec::new(),
        unsupported: None,
        disk: None,
    }
}
