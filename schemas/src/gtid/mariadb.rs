//! MariaDB's binlog states as sets: per (domain, server id) the sequences 1..n.
//!
//! Printed like `gtid_binlog_state`. Sound under `gtid_strict_mode`, where the sequences of a domain only grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Gtid, InvalidGtidSet};

/// A stream of transactions: a replication domain and the server that wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// `gtid_domain_id`
    pub domain: u32,
    /// `server_id`
    pub server: u32,
}

/// The last sequence of each stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GtidSet(BTreeMap<Stream, u64>);

impl GtidSet {
    /// Reads a binlog state or a position, e.g. `0-1-5,0-2-7`. Of a stream named twice the larger sequence counts.
    ///
    /// # Errors
    /// [`InvalidGtidSet`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidGtidSet> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.parse::<Gtid>() {
                Ok(Gtid::Mariadb { domain, server, sequence }) => set.insert(domain, server, sequence),
                Ok(Gtid::Mysql { .. }) | Err(_) => {
                    return Err(InvalidGtidSet::new(part, "domain-server-sequence is expected"));
                }
            }
        }
        Ok(set)
    }

    /// Merges a position such as `Gtid_IO_Pos` into a binlog state.
    ///
    /// # Errors
    /// [`InvalidGtidSet`] if the position is malformed.
    pub fn merge_position(&self, position: &str) -> Result<Self, InvalidGtidSet> {
        Ok(self.union(&Self::parse(position)?))
    }

    /// True if it has no transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The streams with their last sequences, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Stream, u64)> + '_ {
        self.0.iter().map(|(stream, last)| (*stream, *last))
    }

    /// Adds a transaction and, as a set is defined, all earlier ones of its stream.
    pub fn insert(&mut self, domain: u32, server: u32, sequence: u64) {
        let last = self.0.entry(Stream { domain, server }).or_default();
        *last = (*last).max(sequence);
    }

    fn last(&self, stream: Stream) -> u64 {
        self.0.get(&stream).copied().unwrap_or(0)
    }

    /// The maximum of each stream.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        for (stream, last) in other.iter() {
            union.insert(stream.domain, stream.server, last);
        }
        union
    }

    /// The minimum of each stream that both know.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let common = self.iter().filter(|(stream, _)| other.0.contains_key(stream));
        Self(common.map(|(stream, last)| (stream, last.min(other.last(stream)))).collect())
    }

    /// Whether no stream of `other` goes further.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(stream, last)| last <= self.last(stream))
    }

    /// Whether the one transaction is in it.
    #[must_use]
    pub fn contains_gtid(&self, gtid: &Gtid) -> bool {
        let Gtid::Mariadb { domain, server, sequence } = gtid else { return false };
        *sequence <= self.last(Stream { domain: *domain, server: *server })
    }

    /// Whether there is a stream that the other side does not know at all.
    #[must_use]
    pub fn knows_more_streams_than(&self, other: &Self) -> bool {
        self.0.keys().any(|stream| !other.0.contains_key(stream))
    }

    /// The streams of some servers, in all domains.
    #[must_use]
    pub fn only(&self, servers: &BTreeSet<u32>) -> Self {
        Self(self.iter().filter(|(stream, _)| servers.contains(&stream.server)).collect())
    }

    /// Of each stream the first and last sequence that the other lacks.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Vec<(Stream, u64, u64)> {
        let lacking = self.iter().map(|(stream, last)| (stream, other.last(stream) + 1, last));
        lacking.filter(|(_, first, last)| first <= last).collect()
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (stream, last)) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}-{}-{last}", stream.domain, stream.server)?;
        }
        Ok(())
    }
}
