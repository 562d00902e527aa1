//! Whoever acknowledges without being in the write group: no server has a list of who counts, so that a removed replica or a
//! backup that reads the binlog with semi-sync on could acknowledge what no member has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::CutStrength;

use crate::io::{Effect, EffectId, Reader};
use crate::node::Node;

/// A stranger is told for so long after it was last seen.
const TOLD: Duration = Duration::from_secs(60);
/// So many are told at once.
const MOST: usize = 8;

/// What is remembered of strangers.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    cutting: Option<EffectId>,
    told: Vec<String>,
    seen_at: Option<Moment>,
    /// Addresses of the cluster file from which as many read as have servers there: those do not come from elsewhere.
    at_home: BTreeSet<IpAddr>,
}

impl Strangers {
    /// The sentences about them.
    pub(crate) fn told(&self, now: Moment) -> Vec<String> {
        let lately = self.seen_at.is_some_and(|at| now.since(at) < TOLD);
        if lately { self.told.clone() } else { Vec::new() }
    }

    /// Whether an effect that ended was their cut.
    pub(crate) fn cut(&mut self, id: EffectId) -> bool {
        self.cutting.take_if(|cutting| *cutting == id).is_some()
    }
}

/// Members that may come from an address that the cluster file does not name: a host can have several. Not one of them was
/// seen at its own so far.
struct Away {
    ports: BTreeSet<u16>,
    /// There are no more readers from elsewhere than such members.
    may_be_all: bool,
}

impl Away {
    fn new(members: &BTreeMap<IpAddr, BTreeSet<u16>>, at_home: &BTreeSet<IpAddr>, elsewhere: usize) -> Self {
        let away = members.iter().filter(|(host, _)| !at_home.contains(*host)).flat_map(|(_, ports)| ports);
        let ports: Vec<u16> = away.copied().collect();
        Self { may_be_all: elsewhere <= ports.len(), ports: ports.into_iter().collect() }
    }

    /// Whether a reader from elsewhere is surely none of them.
    fn excludes(&self, reader: &Reader) -> bool {
        let other_port = reader.port.is_some_and(|port| !self.ports.contains(&port));
        self.ports.is_empty() || (!self.may_be_all && other_port)
    }
}

impl Node {
    /// Cuts strangers off, if the round just handed in shows any.
    pub(crate) fn cut_strangers(&mut self, now: Moment) {
        let counts = self.server.facts().filter(|facts| facts.writable && facts.semi_sync.source_enabled);
        let Some(clients) = counts.map(|facts| facts.semi_sync.clients) else { return };
        if !self.is_armed() || !self.is_primary() || !self.serving || self.strangers.cutting.is_some() {
            return;
        }
        let Some(readers) = self.server.report.as_mut().and_then(|report| report.readers.take()) else { return };
        let found = self.strangers_of(&readers, clients);
        if found.is_empty() {
            return;
        }
        let sentences = found.iter().map(|(reader, lasting)| self.sentence(reader, *lasting)).take(MOST).collect();
        (self.strangers.told, self.strangers.seen_at) = (sentences, Some(now));
        self.dirty = true;
        let connections = found.iter().map(|(reader, _)| reader.connection).collect();
        let hosts = found.iter().filter(|(_, lasting)| *lasting).map(|(reader, _)| reader.host).collect();
        self.strangers.cutting = Some(self.execute(Effect::CutStrangers { connections, hosts }));
    }

    /// The strangers, each with whether its host can be kept away in the kernel.
    fn strangers_of<'a>(&mut self, readers: &'a [Reader], clients: u32) -> Vec<(&'a Reader, bool)> {
        let mut members: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
        let group = self.record().and_then(|record| record.group());
        for node in group.iter().flat_map(|group| &group.members).filter(|node| **node != self.settings.me) {
            if let Some(address) = self.settings.servers.get(node) {
                members.entry(address.ip().to_canonical()).or_default().insert(address.port());
            }
        }
        let mut by_host: BTreeMap<IpAddr, Vec<&Reader>> = BTreeMap::new();
        for reader in readers.iter().filter(|reader| reader.acknowledges != Some(false)) {
            by_host.entry(reader.host.to_canonical()).or_default().push(reader);
        }
        let of = |host: &IpAddr| members.get(host).map_or(0, BTreeSet::len);
        let reading = |host: &IpAddr| by_host.get(host).map_or(0, Vec::len);
        self.strangers.at_home.retain(|host| members.contains_key(host));
        self.strangers.at_home.extend(members.keys().filter(|host| reading(host) >= of(host)));
        // Whoever comes from the address of a server outside the group is that server, and no member.
        let outsider = |host: &IpAddr| self.settings.servers.values().any(|own| own.ip().to_canonical() == *host);
        let elsewhere = by_host.keys().filter(|host| of(host) == 0 && !outsider(host)).map(reading).sum();
        let away = Away::new(&members, &self.strangers.at_home, elsewhere);
        // Where nothing tells who acknowledges, the members that read are believed to do so: only what is beyond is strange.
        let known: usize = by_host.keys().map(|host| reading(host).min(of(host))).sum();
        let excess = usize::try_from(clients).unwrap_or(usize::MAX).saturating_sub(known);
        let mut found: Vec<&Reader> = Vec::new();
        for (host, readers) in &by_host {
            if of(host) == 0 {
                let counts = |reader: &&&Reader| reader.acknowledges.is_some() || excess > 0;
                let surely = |reader: &&&Reader| outsider(host) || away.excludes(reader);
                found.extend(readers.iter().filter(counts).filter(surely));
                continue;
            }
            // Among a member's own host only as many as there are too many, and only by what they say of themselves.
            let is_member = |reader: &&&Reader| {
                reader.port.is_some_and(|port| members.get(host).is_some_and(|ports| ports.contains(&port)))
            };
            let strange: Vec<&Reader> = readers.iter().filter(|reader| !is_member(reader)).copied().collect();
            let named = readers.iter().all(|reader| reader.acknowledges.is_some());
            if named && !strange.is_empty() && strange.len() <= readers.len().saturating_sub(of(host)) {
                found.extend(strange);
            }
        }
        let certain = found.iter().all(|reader| reader.acknowledges.is_some()) || found.len() <= excess;
        found.into_iter().map(|reader| (reader, certain && self.can_keep_away(reader.host))).collect()
    }

    /// A host of its own, that no server of the cluster has.
    fn can_keep_away(&self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        let shared = self.settings.servers.values().any(|address| address.ip().to_canonical() == host);
        self.settings.cut == CutStrength::Kernel && !host.is_loopback() && !shared
    }

    fn sentence(&self, reader: &Reader, lasting: bool) -> String {
        let done = if lasting { "its host is kept away for ten minutes" } else { "its connection is ended" };
        format!(
            "{} ({}) acknowledges writes and is not in the write group; {done}; switch its semi-sync replica side off (rpl_semi_sync_slave_enabled or rpl_semi_sync_replica_enabled = 0) and restart its receiver",
            reader.host, reader.user
        )
    }
}
