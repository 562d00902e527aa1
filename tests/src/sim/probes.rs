//! What a node's probe sees of its server.

use std::net::{IpAddr, Ipv4Addr};

use tasuki_node_core::{Input, Reader, ServerReport};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::observation::{Connection, Endpoint, Facts, Identity, Replication, SemiSync, Thread, WriteProbe};

use super::lives::address;
use super::server::{Host, Server};
use super::world::{Happening, MS, World};

/// A stranger that acknowledges, as MySQL shows it.
const STRANGER: Reader = Reader {
    connection: 99,
    host: IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)),
    user: String::new(),
    port: None,
    acknowledges: Some(true),
};

/// One round; the next is already on its way.
pub(crate) fn probe(world: &mut World, host: Host) {
    if host >= world.history.servers() {
        return;
    }
    let (now, life) = (world.now, world.hosts[host].life);
    let pause = if world.hosts[host].server.answers() { 150 * MS } else { 50 * MS };
    world.after(pause, Happening::Probe { host, life });
    let report = report(&mut world.hosts[host].server, now);
    world.node_input(host, Input::Probed(Box::new(report)));
}

fn report(server: &mut Server, now: u64) -> ServerReport {
    let number = u32::try_from(server.host).unwrap_or(0) + 1;
    let identity = Identity {
        flavour: server.flavour,
        version: if server.flavour == Flavour::Mysql { "9.7.4" } else { "10.11.19" }.to_owned(),
        origin: server.origin(),
        server_id: number,
    };
    let readers = server.stranger.then(|| vec![STRANGER]);
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
    let facts = facts(server, now);
    report(Connection::Answering, Some(facts))
}

fn facts(server: &Server, now: u64) -> Facts {
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
            clients: u32::from(server.stranger),
            waiting: u32::try_from(server.waiting.len()).unwrap_or(u32::MAX),
        },
        write_probe: server.writable.then_some(WriteProbe::Written { took_ms: 1 }),
        failing_gates: Vec::new(),
        unsupported: None,
        disk: None,
    }
}
