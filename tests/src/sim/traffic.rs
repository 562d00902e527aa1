//! Replication between servers, and the clients that write.

use std::collections::BTreeSet;

use tasuki_node_core::ServerRun;
use tasuki_schemas::gtid::{Flavour, Gtid};

use super::server::{Host, Server};
use super::world::{Happening, MS, World};

/// Clients through the proxy; as many again sit on a host each and use its server's socket.
pub(crate) const WRITERS: usize = 6;

/// One look of a replica's receiver at its source.
pub(crate) fn replicate(world: &mut World, host: Host) {
    let delay = world.dice.between(MS, 4 * MS);
    world.after(delay, Happening::Replicate { host });
    let Some(channel) = world.hosts[host].server.channel.clone().filter(|channel| channel.running) else { return };
    if !world.hosts[host].server.answers() {
        return;
    }
    let source = channel.source;
    let giver = &world.hosts[source].server;
    let refused = giver.refused_servers.contains(&host)
        || world.hosts[host].server.refused_sources.contains(&source)
        || giver.run.is_none();
    let reset = refused && world.net.joined(host, source);
    let flows = !refused && giver.answers() && world.net.joined(host, source);
    let have = world.hosts[host].server.executed.clone();
    let strange = world.flavour == Flavour::Mariadb && giver.executed.contains(&have) != Ok(true);
    let (next, sent) = world.hosts[host].server.lacks(giver);
    let run = giver.run;
    let replica = &mut world.hosts[host].server;
    let enabled = replica.replica_enabled;
    let Some(channel) = &mut replica.channel else { return };
    if reset {
        channel.connected = false;
        return;
    }
    if !flows {
        return;
    }
    if !channel.connected {
        if strange {
            (channel.running, channel.error) = (false, "it holds what its source does not");
            return;
        }
        (channel.connected, channel.acknowledges) = (true, enabled);
    }
    channel.heard_at = world.now;
    let acknowledges = channel.acknowledges;
    if replica.lags_until > world.now {
        return;
    }
    let Some(run) = run else { return };
    channel.sent = sent;
    let mut acks = Vec::new();
    for transaction in next {
        let gtid = transaction.gtid.to_string();
        replica.relay.push(transaction);
        if acknowledges {
            replica.relay_synced = replica.relay.len();
            let delay = world.dice.between(100, 2 * MS);
            let order = Happening::Ack { source, run, gtid, replica: host };
            acks.push((delay, order));
        }
    }
    for (delay, order) in acks {
        world.after(delay, order);
    }
}

/// An acknowledgement arrives at the run of the server that waits for it.
pub(crate) fn acknowledge(world: &mut World, source: Host, run: ServerRun, gtid: &str, replica: Host) {
    let joined = world.net.joined(source, replica);
    let connected = world.hosts[replica]
        .server
        .channel
        .as_ref()
        .is_some_and(|channel| channel.connected && channel.source == source);
    let server = &mut world.hosts[source].server;
    let heard = joined && connected && !server.refused_servers.contains(&replica);
    if server.run != Some(run) || server.hung || !heard {
        return;
    }
    let Some(at) = server.binlog.iter().rposition(|transaction| transaction.gtid.to_string() == gtid) else { return };
    for waiting in server.waiting.iter_mut().filter(|waiting| waiting.at <= at + 1) {
        waiting.ackers.insert(replica);
    }
    release(world, source);
}

/// A commit that waits no more.
pub(crate) struct Released {
    pub(crate) gtid: Gtid,
    pub(crate) ackers: BTreeSet<Host>,
    /// A client is told OK.
    pub(crate) answered: bool,
    /// The kernel keeps away whoever is not in the group.
    pub(crate) strict: bool,
}

/// A stranger has received it all at once.
fn acknowledge_as_stranger(server: &mut Server) {
    const NOBODY: Host = Host::MAX;
    if server.stranger {
        for waiting in &mut server.waiting {
            waiting.ackers.insert(NOBODY);
        }
    }
}

/// Tells clients whose commits have what they waited for.
pub(crate) fn release(world: &mut World, host: Host) {
    let done = world.hosts[host].server.acknowledged();
    // Until a stranger is cut off, it counts.
    let strict = world.kernel && !world.hosts[host].server.stranger;
    for waiting in done {
        let reached = !world.hosts[host].server.port_closed && world.net.joined(host, world.clients());
        let told = waiting.transaction.id.filter(|_| waiting.listening && (waiting.local || reached));
        let gtid = waiting.transaction.gtid;
        let released = Released { gtid, ackers: waiting.ackers, answered: told.is_some(), strict };
        let seen = world.watch.released(&world.hosts, host, &released);
        world.history.demand(seen);
        let Some(id) = told else { continue };
        let Released { gtid, ackers, .. } = released;
        world.history.acknowledged(host, &world.hosts[host].server, &gtid, id, world.now);
        world.note(|| format!("db{} says OK for {gtid}, held by {ackers:?}", host + 1));
    }
}

/// The applier of a replica.
pub(crate) fn apply(world: &mut World, host: Host) {
    let delay = world.dice.between(MS, 6 * MS);
    world.after(delay, Happening::Apply { host });
    world.hosts[host].server.apply();
}

/// A client writes, if it finds a server: through the proxy the one that says that it serves, on a host the one there.
pub(crate) fn write(world: &mut World, writer: usize) {
    let delay = world.dice.between(15 * MS, 40 * MS);
    world.after(delay, Happening::Write { writer });
    let local = writer < world.history.servers();
    let target = if local {
        Some(writer)
    } else {
        (0..world.history.servers()).find(|host| {
            let state = &world.hosts[*host];
            let serves = state.node.as_ref().is_some_and(tasuki_node_core::Node::serving);
            serves && state.paused_until <= world.now && world.net.joined(*host, world.clients())
        })
    };
    let Some(host) = target else { return };
    let server = &mut world.hosts[host].server;
    if !server.answers() || !server.writable || (!local && server.port_closed) {
        return;
    }
    world.writes += 1;
    let id = world.writes;
    server.commit(Some(id), local);
    world.register(host);
    acknowledge_as_stranger(&mut world.hosts[host].server);
    if world.hosts[host].server.wait_count == 0 || world.hosts[host].server.stranger {
        release(world, host);
    }
}
