//! What a node's hands do to its server, step by step, each step at a moment of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tasuki_node_core::{Acknowledging, Effect, EffectId, Ended, Input, LISTEN, Progress, STILL};
use tasuki_schemas::answer::{Holdings, Look};
use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, Gtid, GtidSet};
use tasuki_schemas::observation::{Received, Thread};

use super::reclones;
use super::server::{Host, Server};
use super::switchovers;
use super::world::{Happening, MS, World};

/// An effect under way.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) id: EffectId,
    effect: Effect,
    step: u32,
    began: u64,
    /// When it was last sure not to have stood still.
    awake: u64,
    pub(crate) cancelled: bool,
    barrier: Option<Gtid>,
    /// What the server held when that was read.
    held: Option<Holdings>,
}

impl Running {
    pub(crate) const fn new(id: EffectId, effect: Effect, began: u64) -> Self {
        Self { id, effect, step: 0, began, awake: began, cancelled: false, barrier: None, held: None }
    }

    /// The other host whose server this is about to look at.
    pub(crate) fn looks_at(&self) -> Option<Host> {
        let Effect::Look { address } = self.effect else { return None };
        Some(host_of(address))
    }
}

/// What a step leads to.
pub(crate) enum Step {
    /// The next one, after so many microseconds.
    After(u64),
    /// The same one, once the server goes on.
    Blocked,
    /// The end.
    End(Ended),
}

const POLL: u64 = MS;

pub(crate) fn failed(reason: &str) -> Step {
    Step::End(Ended::Failed(reason.to_owned()))
}

/// The host that listens at an address of the cluster file.
pub(crate) fn host_of(address: SocketAddr) -> Host {
    usize::from(address.port()) - 3306
}

/// A step of a host's effect; it comes again until the effect ends.
pub(crate) fn step(world: &mut World, host: Host, id: EffectId) {
    let Some(mut running) = world.hosts[host].effects.remove(&id) else { return };
    let next = if running.cancelled { cancel(world, host, &running) } else { go_on(world, host, &mut running) };
    match next {
        Step::After(delay) => {
            running.step += 1;
            world.hosts[host].effects.insert(id, running);
            world.after(delay, Happening::Step { host, life: world.hosts[host].life, id });
        }
        Step::Blocked => {
            world.hosts[host].effects.insert(id, running);
            world.after(POLL, Happening::Step { host, life: world.hosts[host].life, id });
        }
        Step::End(ended) => {
            world.note(|| format!("db{} ends effect {id}: {ended:?}", host + 1));
            world.tell_refused(host);
            world.node_input(host, Input::Ended(id, ended));
        }
    }
}

fn cancel(world: &mut World, host: Host, running: &Running) -> Step {
    let server = &mut world.hosts[host].server;
    if server.hung {
        return Step::Blocked;
    }
    server.waiting.retain(|waiting| Some(&waiting.transaction.gtid) != running.barrier.as_ref());
    Step::End(Ended::Cancelled)
}

fn go_on(world: &mut World, host: Host, running: &mut Running) -> Step {
    let effect = running.effect.clone();
    if let Effect::Look { address } = effect {
        return look(world, host, host_of(address), running);
    }
    let now = world.now;
    let waited = now - running.began;
    let server = &mut world.hosts[host].server;
    match (&effect, server.run) {
        (Effect::ReadFiles { was_primary }, _) => return gone(server, *was_primary),
        (Effect::Fence { was_primary, .. }, None) => return gone(server, *was_primary),
        (Effect::LeaveGroup, None) => return gone(server, false),
        (_, None) => return failed("nobody listens"),
        (Effect::Fence { was_primary, .. }, Some(_)) if server.hung => {
            if waited < 250 * MS {
                return Step::After(10 * MS);
            }
            server.port_closed = true;
            let run = server.crash();
            if let Some(run) = run {
                world.after(MS, Happening::Exit { host, run, clean: false });
                // The system's service manager starts it again.
                world.after(1000 * MS, Happening::Fault(super::faults::Fault::Start(host)));
            }
            return gone(&world.hosts[host].server, *was_primary);
        }
        (Effect::StopReceiving { source, drain: false }, Some(_)) if server.hung && running.step == 0 => {
            // The kernel's rule does not wait for the server.
            server.refused_sources.extend(source.map(host_of));
            return Step::Blocked;
        }
        (_, Some(_)) if server.hung => return Step::Blocked,
        (_, Some(_)) => {}
    }
    match effect {
        Effect::Look { .. } | Effect::ReadFiles { .. } => failed("done above"),
        Effect::Fence { source, .. } => fence(server, running.step, source.map(host_of)),
        Effect::StopReceiving { source, drain } => stop(server, running, source.map(host_of), drain),
        Effect::Follow { source, acknowledging } => follow(world, host, running, host_of(source), acknowledging),
        Effect::JoinGroup { source } => join(server, running, host_of(source), waited),
        Effect::SetWaitCount { acks, floor, outside, .. } => {
            if acks > 0 && floor == 0 && running.barrier.is_none() && world.kernel {
                server.refused_servers = outside.into_iter().map(host_of).collect();
            }
            set_wait_count(world, host, running, acks, floor)
        }
        Effect::CutAcker { refused, .. } => cut_acker(server, running.step, &refused),
        Effect::CutStrangers { .. } => {
            server.stranger = false;
            Step::End(Ended::Done(server.holdings()))
        }
        Effect::LeaveGroup => leave(server, running.step),
        Effect::Archive { .. } if running.step == 0 => Step::After(20 * MS),
        Effect::Archive { .. } => Step::End(Ended::Kept("/archive/extra-1".to_owned())),
        Effect::Reclone { step, address, primary } => {
            reclones::step(world, host, running.step, host_of(address), &step, &primary)
        }
        Effect::Drain { within, .. } => {
            let within = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
            switchovers::drain(server, running.step, waited, within)
        }
        Effect::Replicate { source, goal } => replicate(server, running, host_of(source), &goal, now, waited),
        Effect::Apply { tail, .. } => apply(world, host, running.step, &tail),
        Effect::Promote { goal, acks, outside, epoch } => {
            let outside = outside.into_iter().map(host_of).filter(|_| world.kernel).collect();
            world.hosts[host].server.reign = Some(epoch);
            promote(world, host, running, &goal, acks, outside)
        }
    }
}

fn look(world: &World, host: Host, target: Host, running: &Running) -> Step {
    if running.step == 0 {
        return Step::After(3 * MS);
    }
    let server = &world.hosts[target].server;
    let greets = server.answers() && !server.port_closed && world.net.joined(host, target);
    match greets {
        true => Step::End(Ended::Looked(Look::Greeted)),
        false if world.now - running.began < 100 * MS => Step::After(5 * MS),
        false => Step::End(Ended::Looked(Look::NoGreeting)),
    }
}

fn gone(server: &Server, was_primary: bool) -> Step {
    let executed = server.executed.clone();
    let received = if was_primary || server.relay.is_empty() {
        Received::Known { set: executed.clone() }
    } else {
        Received::Unknown { reason: "its relay files hold what it has not applied".to_owned() }
    };
    Step::End(Ended::Gone(Holdings { executed, received }))
}

fn fence(server: &mut Server, step: u32, source: Option<Host>) -> Step {
    if step == 0 {
        server.port_closed = true;
        server.end_clients();
        return Step::After(MS);
    }
    server.writable = false;
    server.end_clients();
    if let Some(source) = source {
        server.refused_sources.insert(source);
        server.stop_receiver();
    }
    Step::End(Ended::Done(server.holdings()))
}

fn stop(server: &mut Server, running: &mut Running, source: Option<Host>, drain: bool) -> Step {
    match running.step {
        0 => {
            if let Some(source) = source.filter(|_| !drain) {
                server.refused_sources.insert(source);
            }
            Step::After(2 * MS)
        }
        1 => {
            server.stop_receiver();
            Step::After(MS / 2)
        }
        _ if running.held.is_none() && source.is_some_and(|source| server.settle(source)) => Step::After(MS),
        _ if running.held.is_none() => {
            running.held = Some(server.holdings());
            Step::After(MS / 2)
        }
        _ => Step::End(Ended::Done(running.held.take().unwrap_or_else(|| server.holdings()))),
    }
}

fn follow(world: &mut World, host: Host, running: &Running, source: Host, acknowledging: Acknowledging) -> Step {
    let (now, waited) = (world.now, world.now - running.began);
    let server = &mut world.hosts[host].server;
    if running.step == 0 {
        server.writable = false;
        server.refused_sources.remove(&source);
        server.stop_receiver();
        return Step::After(MS);
    }
    if server.settle(source) {
        return Step::After(MS);
    }
    let pointed = server.channel.as_ref().is_some_and(|channel| channel.running && channel.source == source);
    if !pointed {
        let must_apply = server.flavour == Flavour::Mariadb && !server.unread && !server.relay.is_empty();
        if must_apply && server.applying {
            return if waited > 5000 * MS { failed("it does not apply") } else { Step::After(POLL) };
        }
        if must_apply {
            return failed("its applier is stopped with work left");
        }
        server.point(source, acknowledging == Acknowledging::Now, now);
        return Step::After(2 * MS);
    }
    if server.receiver() == Thread::Running {
        server.port_closed = false;
        server.refused_servers.clear();
        return Step::End(Ended::Done(server.holdings()));
    }
    if waited > 3000 * MS { failed("the receiver does not connect") } else { Step::After(POLL) }
}

fn join(server: &mut Server, running: &Running, source: Host, waited: u64) -> Step {
    let applying = server.applying;
    let Some(channel) = server.channel.as_mut().filter(|channel| applying && channel.source == source) else {
        return failed("it does not follow the primary");
    };
    if running.step == 0 {
        server.replica_enabled = true;
        if !channel.acknowledges {
            (channel.running, channel.connected) = (true, false);
        }
        return Step::After(MS);
    }
    if channel.connected && channel.acknowledges {
        return Step::End(Ended::Done(server.holdings()));
    }
    if waited > 3000 * MS { failed("it does not acknowledge") } else { Step::After(POLL) }
}

/// The set that it holds at the end has every transaction of its binlog, acknowledged or not.
fn cut_acker(server: &mut Server, step: u32, refused: &BTreeSet<SocketAddr>) -> Step {
    match step {
        0 => Step::After(MS),
        1 => {
            server.refused_servers = refused.iter().copied().map(host_of).collect();
            Step::After(MS)
        }
        _ => Step::End(Ended::Done(server.holdings())),
    }
}

fn leave(server: &mut Server, step: u32) -> Step {
    server.replica_enabled = false;
    let Some(channel) = server.channel.as_mut().filter(|channel| channel.acknowledges) else {
        return Step::End(Ended::Done(server.holdings()));
    };
    if step == 0 {
        return Step::After(MS);
    }
    (channel.connected, channel.acknowledges) = (false, false);
    Step::After(POLL)
}

fn replicate(server: &mut Server, running: &Running, source: Host, goal: &GtidSet, now: u64, waited: u64) -> Step {
    if running.step == 0 {
        server.refused_sources.remove(&source);
        server.point(source, false, now);
        return Step::After(MS);
    }
    if server.received().known().is_some_and(|received| received.contains(goal) == Ok(true)) {
        server.stop_receiver();
        return Step::End(Ended::Done(server.holdings()));
    }
    if waited > 5000 * MS { failed("not delivered in time") } else { Step::After(POLL) }
}

fn apply(world: &mut World, host: Host, step: u32, tail: &Tail) -> Step {
    if step == 0 {
        world.hosts[host].server.applying = true;
    }
    if !world.hosts[host].server.relay.is_empty() {
        return Step::After(POLL);
    }
    let spool = world.hosts[host].spool.clone();
    if spool.len() as u64 != tail.transactions {
        return failed("what was delivered is not what was announced");
    }
    for gtid in &spool {
        if let Some(transaction) = world.registry.get(gtid).cloned() {
            world.hosts[host].server.append(transaction);
        }
    }
    Step::End(Ended::Done(world.hosts[host].server.holdings()))
}

fn set_wait_count(world: &mut World, host: Host, running: &mut Running, acks: u32, floor: u32) -> Step {
    let waited = world.now - running.began;
    let server = &mut world.hosts[host].server;
    let Some(barrier) = running.barrier.clone() else {
        server.wait_count = acks;
        if acks <= floor {
            super::traffic::release(world, host);
            return Step::End(Ended::Done(world.hosts[host].server.holdings()));
        }
        running.barrier = Some(server.commit(None, true));
        world.register(host);
        return Step::After(POLL);
    };
    if !server.waiting.iter().any(|waiting| waiting.transaction.gtid == barrier) {
        return Step::End(Ended::Done(server.holdings()));
    }
    if waited < 700 * MS {
        return Step::After(POLL);
    }
    server.wait_count = floor;
    super::traffic::release(world, host);
    failed("the barrier row was not acknowledged")
}

fn promote(
    world: &mut World,
    host: Host,
    running: &mut Running,
    goal: &GtidSet,
    acks: u32,
    outside: BTreeSet<Host>,
) -> Step {
    let waited = world.now - running.began;
    let server = &mut world.hosts[host].server;
    if let Some(barrier) = &running.barrier {
        if server.waiting.iter().any(|waiting| waiting.transaction.gtid == *barrier) {
            return Step::After(POLL);
        }
        server.channel = None;
        return Step::End(Ended::Done(server.holdings()));
    }
    if running.step == 0 {
        server.refused_servers = if acks == 0 { BTreeSet::new() } else { outside };
        return Step::After(MS);
    }
    if server.executed.contains(goal) != Ok(true) {
        server.applying = true;
        return if waited > 5000 * MS { failed("the goal was not applied") } else { Step::After(POLL) };
    }
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if world.now - running.awake > micros(STILL) {
        running.awake = world.now;
        return Step::After(micros(LISTEN));
    }
    server.stop_receiver();
    server.wait_count = acks;
    server.writable = true;
    server.port_closed = false;
    let (run, holdings) = (server.run, server.holdings());
    let barrier = server.commit(None, true);
    world.register(host);
    running.barrier = Some(barrier);
    if let Some(run) = run {
        world.node_input(host, Input::Progressed(running.id, Progress::Opened { run, holdings }));
    }
    Step::After(POLL)
}
