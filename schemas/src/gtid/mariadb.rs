//! MariaDB's binlog states as sets: per (domain, server id) the sequences 1..n.
//!
//! Printed like `gtid_binlog_state`. Sound under `gtid_strict_mode`, where the sequences of a domain only grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Gtid, InvalidGtidSet, single};

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
        if text.trim().is_empty() {
            return Ok(set);
        }
        // Between commas nothing may lack: a text that was cut off would pass for a shorter history.
        for part in text.split(',').map(str::trim) {
            let (domain, server, sequence) =
                single::triple(part).ok_or_else(|| InvalidGtidSet::new(part, "domain-server-sequence is expected"))?;
            set.insert(domain, server, sequence);
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

    /// Adds a transaction and, as a set is defined, all earlier ones of its stream. Sequence 0 adds nothing: an
    /// operator may set a position to `0-1-0`, and the server prints it, but it stands before the first transaction.
    pub fn insert(&mut self, domain: u32, server: u32, sequence: u64) {
        if sequence == 0 {
            return;
        }
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
        (1..=self.last(Stream { domain: *domain, server: *server })).contains(sequence)
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
        let further = self.iter().filter(|(stream, last)| other.last(*stream) < *last);
        further.map(|(stream, last)| (stream, other.last(stream) + 1, last)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(text).unwrap()
    }

    #[test]
    fn empty_text_is_the_empty_set() {
        assert!(set("").is_empty() && set(" \n").is_empty());
    }

    #[test]
    fn a_state_is_printed_by_domain_and_server() {
        assert_eq!(set("1-1-3, 0-2-7,\n0-1-5").to_string(), "0-1-5,0-2-7,1-1-3");
    }

    #[test]
    fn of_a_stream_named_twice_the_larger_sequence_counts() {
        assert_eq!(set("0-1-5,0-1-9,0-1-7").to_string(), "0-1-9");
    }

    #[test]
    fn a_received_position_extends_the_binlog_state() {
        let state = set("0-1-5,0-2-7");
        assert_eq!(state.merge_position("0-2-9").unwrap().to_string(), "0-1-5,0-2-9");
        assert_eq!(state.merge_position("0-2-6").unwrap(), state);
        assert_eq!(state.merge_position("").unwrap(), state);
        assert!(state.merge_position("0-2").is_err());
    }

    #[test]
    fn sequence_zero_is_no_transaction() {
        assert!(set("0-1-0").is_empty());
        let zero = Gtid::Mariadb { domain: 0, server: 1, sequence: 0 };
        assert!(!set("0-1-5").contains_gtid(&zero) && !set("").contains_gtid(&zero));
        assert!("0-1-0".parse::<Gtid>().is_err());
    }

    #[test]
    fn the_largest_sequence_is_like_any_other() {
        let most = set("0-1-18446744073709551615");
        assert!(most.subtract(&most).is_empty());
        assert_eq!(most.subtract(&set("0-1-5")), [(Stream { domain: 0, server: 1 }, 6, u64::MAX)]);
        assert!(set("0-1-5").subtract(&most).is_empty());
    }

    #[test]
    fn what_is_no_state_is_refused_with_the_offending_text() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1";
        let wrong = [
            "0",
            "0-1",
            "0-1-",
            "0-1-5-6",
            "-1-1-5",
            "0--1-5",
            "0-1-x",
            "0 - 1 - 5",
            "+0-1-5",
            "4294967296-1-5",
            "0-4294967296-5",
            "0-1-18446744073709551616",
            "0-1-5\0",
            uuid,
        ];
        for text in wrong {
            let said = GtidSet::parse(&format!("0-1-5,{text}")).unwrap_err().to_string();
            assert!(said.contains(&format!("{text:?}")) && said.contains("expected"), "{said}");
        }
    }

    #[test]
    fn a_state_that_was_cut_off_is_refused() {
        for text in ["0-1-5,", ",0-1-5", "0-1-5,,0-2-7", ","] {
            assert!(GtidSet::parse(text).is_err(), "{text:?}");
        }
    }
}
