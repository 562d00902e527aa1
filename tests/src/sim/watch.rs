//! What must hold after every event, as the clients, the servers and the disks see it. What the cores believe plays no part.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_node_core::{Effect, Memory, ServerRun};
use tasuki_schemas::answer::{Answers, Duty};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::{Kind, RecloneStep, Request};
use tasuki_schemas::gtid::Gtid;
use tasuki_schemas::id::{CoordinatorId, Incarnation, NodeId};
use tasuki_schemas::record::{Mode, Record};

use super::acts::Acts;
use super::check::History;
use super::effects::host_of;
use super::lives::LATER_LEDGERS;
use super::net::Net;
use super::server::{Host, Server};
use super::traffic::Released;
use super::world::{HostState, MS};

/// What was seen so far. Everything is looked at when it changes, so that an event at which nothing does costs next to
/// nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    disks: Vec<Option<Memory>>,
    open: Vec<Option<(ServerRun, Option<Epoch>)>>,
    /// Every value that any disk ever held as accepted.
    values: BTreeMap<Ballot, Value>,
    /// Of each reign the newest decided record, and its ballot.
    decided: BTreeMap<Epoch, (Ballot, Record)>,
    /// Reigns of which the group acknowledged a commit: the barrier row, if no other.
    acknowledged: BTreeSet<Epoch>,
    /// How many of each server's deleted transactions were looked at.
    deleted: Vec<usize>,
    /// Reigns that began open, and whose group had acknowledged before.
    born: BTreeSet<Epoch>,
    /// Who was added to the write group of a reign, until that is looked at.
    joined: Vec<(Epoch, NodeId)>,
    /// How many requests each coordinator sent in which second.
    asked: BTreeMap<usize, (u64, u32)>,
    /// What each node was ordered and began.
    acts: BTreeMap<Host, Acts>,
}

/// Requests of one coordinator in a second. Three thousand drawn runs sent at most two hundred.
const MOST_REQUESTS: u32 = 1000;

#[derive(Clone, Debug)]
struct Value {
    record: Record,
    on: BTreeSet<(NodeId, Incarnation)>,
}

impl Value {
    /// Whether enough disks hold it.
    fn is_decided(&self) -> bool {
        self.record.has_quorum(|node, incarnation| self.on.contains(&(node.clone(), incarnation)))
    }
}

impl Watch {
    /// A coordinator sends a request. Two programs must not make each other talk without end.
    pub(crate) fn asks(&mut self, coordinator: usize, now: u64) -> Result<(), String> {
        let second = now / (1000 * MS);
        let (of, requests) = self.asked.entry(coordinator).or_default();
        if *of != second {
            (*of, *requests) = (second, 0);
        }
        *requests += 1;
        if *requests < MOST_REQUESTS {
            return Ok(());
        }
        Err(format!("co{} sent {requests} requests within a second", coordinator + 1))
    }

    /// Looks at everything that has changed since the last event.
    pub(crate) fn look(&mut self, hosts: &[HostState], net: &Net, history: &mut History) -> Result<(), String> {
        self.disks.resize(hosts.len(), None);
        self.open.resize(hosts.len(), None);
        self.deleted.resize(hosts.len(), 0);
        for (host, state) in hosts.iter().enumerate() {
            let unchanged =
                |seen: &Memory| (seen.incarnation, seen.sequence) == (state.ledger.incarnation, state.ledger.sequence);
            if !self.disks[host].as_ref().is_some_and(unchanged) {
                self.read_disk(host, state)?;
            }
        }
        for (epoch, node) in std::mem::take(&mut self.joined) {
            holds_nothing_more(hosts, &epoch, &node)?;
        }
        let mut open = 0;
        for (host, state) in hosts.iter().enumerate() {
            open += usize::from(state.server.answers() && state.server.writable);
            self.look_at_server(host, state, history)?;
            let (seen, deleted) = (self.deleted[host], &state.server.deleted);
            if seen < deleted.len() {
                self.deleted[host] = deleted.len();
                deleted[seen..].iter().try_for_each(|(gtid, source)| keeps(hosts, history, host, gtid, *source))?;
            }
        }
        if open > 1 {
            let may: Vec<Host> = (0..hosts.len()).filter(|host| may_acknowledge(hosts, net, *host)).collect();
            if let [one, other, ..] = may.as_slice() {
                return Err(format!("clients of db{} and of db{} can both be acknowledged", one + 1, other + 1));
            }
        }
        Ok(())
    }

    /// Somebody put an older copy onto a disk: what it held before is gone, and that is no fault of the node.
    pub(crate) fn restored(&mut self, host: Host) {
        if let Some(seen) = self.disks.get_mut(host) {
            *seen = None;
        }
    }

    /// A disk holds something new.
    fn read_disk(&mut self, host: Host, state: &HostState) -> Result<(), String> {
        let now = &state.ledger;
        let name = &state.name;
        let before = self.disks[host].replace(now.clone()).filter(|before| before.incarnation == now.incarnation);
        if let Some(before) = &before {
            if now.promised < before.promised {
                return Err(format!(
                    "the disk of {name} promised {:?}, and no more: {:?}",
                    before.promised, now.promised
                ));
            }
            let ballot = |memory: &Memory| memory.accepted.as_ref().map(|accepted| accepted.ballot.clone());
            if ballot(now) != ballot(before) && ballot(now) < before.promised {
                let (ballot, promised) = (ballot(now), &before.promised);
                return Err(format!("the disk of {name} accepts at {ballot:?}, and had promised {promised:?}"));
            }
        }
        let Some(accepted) = &now.accepted else { return Ok(()) };
        let value = self
            .values
            .entry(accepted.ballot.clone())
            .or_insert_with(|| Value { record: accepted.record.clone(), on: BTreeSet::new() });
        if value.record != accepted.record {
            return Err(format!("the disk of {name} holds another record at {} than others", accepted.ballot));
        }
        let is_new = value.on.insert((name.clone(), now.incarnation));
        if is_new && value.is_decided() {
            let record = value.record.clone();
            return self.decide(accepted.ballot.clone(), record);
        }
        Ok(())
    }

    /// A majority of the voters' disks hold a record, or held it.
    fn decide(&mut self, ballot: Ballot, record: Record) -> Result<(), String> {
        let epoch = record.epoch.clone();
        if self.decided.is_empty() {
            self.born.insert(epoch.clone());
        }
        let lawful = !record.opened || self.acknowledged.contains(&epoch) || self.born.contains(&epoch);
        let before = self.decided.get(&epoch);
        let members = |record: &Record| record.group().map(|group| group.members.clone()).unwrap_or_default();
        if let Some((_, older)) = before.filter(|(newest, _)| *newest < ballot) {
            let (old, new) = (members(older), members(&record));
            self.joined.extend(new.difference(&old).map(|node| (epoch.clone(), node.clone())));
        }
        if before.is_none_or(|(newest, _)| *newest < ballot) {
            self.decided.insert(epoch.clone(), (ballot.clone(), record));
        }
        if lawful {
            return Ok(());
        }
        Err(format!("decided at {ballot}: {epoch} is opened, though nobody acknowledged anything of it"))
    }

    fn look_at_server(&mut self, host: Host, state: &HostState, history: &mut History) -> Result<(), String> {
        let server = &state.server;
        let run = server.run.filter(|_| server.writable);
        let known = match (&self.open[host], run) {
            (Some((known, reign)), Some(run)) => *known == run && *reign == server.reign,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !known {
            self.open[host] = run.map(|run| (run, server.reign.clone()));
            if run.is_some() {
                self.opens(host, state, history)?;
            }
        }
        if run.is_some() && server.wait_count == 0 && server.answers() {
            let leased = self.record(server).and_then(Record::group).is_some_and(|group| group.leased);
            let ends = state.guard.is_some_and(|guard| Some(guard.run) == server.run && guard.until.is_some());
            if leased && !ends {
                return Err(format!("{} acknowledges alone, and no guard ends that", state.name));
            }
        }
        Ok(())
    }

    /// A server is open that was not.
    fn opens(&self, host: Host, state: &HostState, history: &mut History) -> Result<(), String> {
        let server = &state.server;
        if let Some((gtid, id)) = history.missing(host, server) {
            return Err(format!("{} opens without {gtid} (write {id}), which was acknowledged", state.name));
        }
        match self.record(server) {
            Some(record) if record.primary == state.name => Ok(()),
            Some(_) | None => Err(format!("{} is open, and no decided record names it", state.name)),
        }
    }

    /// The newest decided record of the reign that a server opened for.
    fn record(&self, server: &Server) -> Option<&Record> {
        server.reign.as_ref().and_then(|reign| self.decided.get(reign)).map(|(_, record)| record)
    }

    /// A commit is over: enough acknowledged it. Whoever is not in the decided group does not count, where
    /// the kernel can keep strangers away.
    pub(crate) fn released(&mut self, hosts: &[HostState], host: Host, released: &Released) -> Result<(), String> {
        let server = &hosts[host].server;
        let (Some(reign), Some(record)) = (server.reign.clone(), self.record(server)) else {
            return Err(format!("{} releases a commit, and no decided record names it", hosts[host].name));
        };
        let group = record.group();
        let counts =
            |acker: &&Host| group.is_some_and(|group| !released.strict || group.members.contains(&hosts[**acker].name));
        let acks = released.ackers.iter().filter(counts).count();
        let needed = group.map_or(usize::MAX, |group| usize::try_from(group.acks).unwrap_or(usize::MAX));
        if acks < needed && released.answered {
            let (name, gtid) = (&hosts[host].name, &released.gtid);
            return Err(format!(
                "{name} answers OK for {gtid} with {acks} acknowledgements of the group, not {needed}"
            ));
        }
        if acks >= needed && !self.acknowledged.contains(&reign) {
            self.acknowledged.insert(reign);
        }
        Ok(())
    }

    /// A request comes to a node.
    pub(crate) fn ordered(&mut self, host: Host, state: &HostState, from: &CoordinatorId, request: &Request) {
        self.acts.entry(host).or_default().asked(state.life, from, request);
    }

    /// A node's hands begin something: it was ordered, and what its record says is decided.
    pub(crate) fn begins(&mut self, host: Host, hosts: &[HostState], effect: &Effect) -> Result<(), String> {
        let state = &hosts[host];
        self.acts
            .entry(host)
            .or_default()
            .begins(state.life, effect)
            .map_err(|again| format!("{}: {again}", state.name))?;
        if let Effect::Follow { source, .. } = effect {
            follows_with_nothing_more(hosts, host, host_of(*source))?;
        }
        let kept = state.ledger.accepted.as_ref();
        let decided = |epoch: &Epoch, primary: &dyn Fn(&NodeId) -> bool| {
            self.decided.get(epoch).is_some_and(|(_, record)| primary(&record.primary))
        };
        let lawful = match effect {
            Effect::Promote { epoch, .. } => decided(epoch, &|primary| *primary == state.name),
            Effect::Follow { source, .. } => {
                let source = super::lives::name(host_of(*source));
                kept.is_some_and(|kept| decided(&kept.record.epoch, &|primary| *primary == source))
            }
            // Perhaps not by the newest record: whoever is out of the group since is kept away by its primary.
            Effect::JoinGroup { .. } => kept.and_then(|kept| self.values.get(&kept.ballot)).is_some_and(|value| {
                value.is_decided() && value.record.group().is_some_and(|group| group.members.contains(&state.name))
            }),
            Effect::Drain { .. } => kept.is_some_and(|kept| {
                kept.record.opened && decided(&kept.record.epoch, &|primary| *primary == state.name)
            }),
            Effect::Reclone { step: RecloneStep::Check { .. }, .. } => true,
            Effect::Reclone { .. } => kept.is_some_and(|kept| {
                let member = kept.record.groups.iter().any(|group| group.members.contains(&state.name));
                !member && decided(&kept.record.epoch, &|primary| *primary != state.name)
            }),
            Effect::SetWaitCount { epoch, .. } => decided(epoch, &|primary| *primary == state.name),
            Effect::Look { .. }
            | Effect::ReadFiles { .. }
            | Effect::Fence { .. }
            | Effect::StopReceiving { .. }
            | Effect::CutAcker { .. }
            | Effect::CutStrangers { .. }
            | Effect::LeaveGroup
            | Effect::Archive { .. }
            | Effect::Replicate { .. }
            | Effect::Apply { .. } => true,
        };
        if lawful { Ok(()) } else { Err(format!("db{} begins {effect:?} before its record is decided", host + 1)) }
    }
}

/// Who joins a write group holds nothing that its primary lacks: it may be promoted next.
fn holds_nothing_more(hosts: &[HostState], epoch: &Epoch, node: &NodeId) -> Result<(), String> {
    let primary = hosts.iter().map(|state| &state.server).find(|server| server.reign.as_ref() == Some(epoch));
    let member = hosts.iter().find(|state| state.name == *node).map(|state| &state.server);
    let Some((primary, member)) = primary.filter(|server| server.run.is_some()).zip(member) else { return Ok(()) };
    let has = |gtid: &Gtid| primary.executed.contains_gtid(gtid) || primary.binlog.iter().any(|own| own.gtid == *gtid);
    let more = member.binlog.iter().map(|own| &own.gtid).find(|gtid| !has(gtid));
    more.map_or(Ok(()), |gtid| Err(format!("{node} joins the write group and holds {gtid}, which its primary lacks")))
}

/// Whoever is set to follow holds nothing that its source lacks, or a later failover could bring it back. What a server
/// receives meanwhile, from a source that it still has, nobody can know.
fn follows_with_nothing_more(hosts: &[HostState], host: Host, source: Host) -> Result<(), String> {
    let (own, giver) = (&hosts[host].server, &hosts[source].server);
    if own.channel.as_ref().is_some_and(|channel| channel.connected) {
        return Ok(());
    }
    let more = own.binlog.iter().map(|own| &own.gtid).find(|gtid| !giver.has(gtid));
    let (name, source) = (&hosts[host].name, &hosts[source].name);
    more.map_or(Ok(()), |gtid| Err(format!("{name} is set to follow {source} and holds {gtid}, which that lacks")))
}

/// What a node tells must be on its disk, and done.
pub(crate) fn tells<'a>(state: &HostState, all: impl Iterator<Item = &'a Answers>) -> Result<(), String> {
    let (name, disk, server) = (&state.name, &state.ledger, &state.server);
    for answers in all {
        let Some(ballot) = &answers.ballot else { continue };
        let Some(promise) = &answers.promise else {
            let kept = disk.accepted.as_ref().is_some_and(|kept| kept.ballot >= *ballot);
            if answers.accepted && !kept {
                return Err(format!("{name} tells that it accepted at {ballot}, and its disk does not"));
            }
            if answers.accepted && server.answers() && serves_another(state, ballot) {
                return Err(format!("{name} tells that it accepted at {ballot}, and still serves another reign"));
            }
            continue;
        };
        if disk.promised.as_ref() < Some(ballot) {
            return Err(format!("{name} tells that it promised {ballot}, and its disk does not"));
        }
        let bound = promise.kind == Kind::Failover && disk.failover.as_ref() == Some(ballot);
        let receives = server.channel.as_ref().is_some_and(|channel| channel.connected && channel.acknowledges);
        let fails = matches!(promise.duty, Duty::Failed { .. });
        if bound && !fails && server.run.is_some() && (server.writable || receives) {
            return Err(format!("{name} tells that it promised the failover {ballot}, and still receives or is open"));
        }
    }
    Ok(())
}

/// Whether a server is open, or acknowledges to somebody, though its disk holds that another is named. A ledger that was
/// begun later accepted before it had a vote: that counted for nobody.
fn serves_another(state: &HostState, ballot: &Ballot) -> bool {
    let first = state.ledger.incarnation.0 < LATER_LEDGERS;
    let kept = state.ledger.accepted.as_ref().filter(|kept| first && kept.ballot == *ballot);
    let Some(record) = kept.map(|kept| &kept.record).filter(|record| record.mode == Mode::Armed) else { return false };
    let channel = state.server.channel.as_ref().filter(|channel| channel.connected && channel.acknowledges);
    let follows_another = channel.is_some_and(|channel| super::lives::name(channel.source) != record.primary);
    follows_another || state.server.writable && record.primary != state.name
}

/// Whether a client that writes there now can be told OK.
fn may_acknowledge(hosts: &[HostState], net: &Net, host: Host) -> bool {
    let server = &hosts[host].server;
    let acks = |other: &Host| {
        let replica = &hosts[*other].server;
        let follows = replica
            .channel
            .as_ref()
            .is_some_and(|channel| channel.connected && channel.acknowledges && channel.source == host);
        let refused = server.refused_servers.contains(other) || replica.refused_sources.contains(&host);
        follows && !refused && replica.answers() && net.joined(host, *other)
    };
    let needed = usize::try_from(server.wait_count).unwrap_or(usize::MAX);
    server.answers() && server.writable && (0..hosts.len()).filter(acks).count() >= needed
}

/// A replica deleted what it had received and not read. The server that it follows now has what was acknowledged of it, and
/// of the rest somebody has a copy.
fn keeps(hosts: &[HostState], history: &History, host: Host, gtid: &Gtid, source: Host) -> Result<(), String> {
    let has = |other: usize| hosts[other].server.has(gtid);
    let kept = if history.is_acknowledged(gtid) {
        has(source)
    } else {
        (0..hosts.len()).any(|other| other != host && has(other))
    };
    if kept {
        Ok(())
    } else {
        Err(format!("{} deletes {gtid}, which db{} does not have", hosts[host].name, source + 1))
    }
}
