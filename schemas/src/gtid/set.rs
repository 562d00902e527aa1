//! A set of transactions of either flavour.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Gtid, Origin, Ranges, mariadb, mysql};

/// The dialect of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// MariaDB 10.5 and newer.
    Mariadb,
    /// MySQL 8.0 and newer.
    Mysql,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mariadb => "mariadb",
            Self::Mysql => "mysql",
        })
    }
}

/// A set of transactions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Wire", into = "Wire")]
#[schemars(with = "Wire")]
pub enum GtidSet {
    /// MySQL's.
    Mysql(mysql::GtidSet),
    /// MariaDB's.
    Mariadb(mariadb::GtidSet),
}

/// The wire form: numbers are 64 bits wide, so a set travels as text.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Wire {
    /// Whose syntax the text has.
    flavour: Flavour,
    /// The set in the server's own syntax.
    set: String,
}

/// A text that is no GTID set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is no part of a GTID set: {expected}")]
pub struct InvalidGtidSet {
    part: String,
    expected: String,
}

impl InvalidGtidSet {
    pub(super) fn new(part: &str, expected: &str) -> Self {
        Self { part: part.to_owned(), expected: expected.to_owned() }
    }
}

/// Sets of MySQL and MariaDB cannot be brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a GTID set of MySQL and one of MariaDB cannot be compared: a cluster has one flavour")]
pub struct MixedFlavours;

/// How two sets lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same transactions.
    Equal,
    /// All of the first are in the second, which has more.
    Subset,
    /// All of the second are in the first, which has more.
    Superset,
    /// Each has some that the other lacks.
    Diverged,
    /// Each has origins unknown to the other, or they are of different flavours.
    CannotCompare,
}

impl GtidSet {
    /// No transaction.
    #[must_use]
    pub fn empty(flavour: Flavour) -> Self {
        match flavour {
            Flavour::Mysql => Self::Mysql(mysql::GtidSet::default()),
            Flavour::Mariadb => Self::Mariadb(mariadb::GtidSet::default()),
        }
    }

    /// Reads the server's own syntax.
    ///
    /// # Errors
    /// [`InvalidGtidSet`] names the part that is wrong.
    pub fn parse(flavour: Flavour, text: &str) -> Result<Self, InvalidGtidSet> {
        match flavour {
            Flavour::Mysql => mysql::GtidSet::parse(text).map(Self::Mysql),
            Flavour::Mariadb => mariadb::GtidSet::parse(text).map(Self::Mariadb),
        }
    }

    /// Whose set it is.
    #[must_use]
    pub const fn flavour(&self) -> Flavour {
        match self {
            Self::Mysql(_) => Flavour::Mysql,
            Self::Mariadb(_) => Flavour::Mariadb,
        }
    }

    /// True if it has no transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Mysql(set) => set.is_empty(),
            Self::Mariadb(set) => set.is_empty(),
        }
    }

    /// Transactions in either.
    ///
    /// # Errors
    /// [`MixedFlavours`]
    pub fn union(&self, other: &Self) -> Result<Self, MixedFlavours> {
        match (self, other) {
            (Self::Mysql(a), Self::Mysql(b)) => Ok(Self::Mysql(a.union(b))),
            (Self::Mariadb(a), Self::Mariadb(b)) => Ok(Self::Mariadb(a.union(b))),
            (Self::Mysql(_), Self::Mariadb(_)) | (Self::Mariadb(_), Self::Mysql(_)) => Err(MixedFlavours),
        }
    }

    /// Transactions in both.
    ///
    /// # Errors
    /// [`MixedFlavours`]
    pub fn intersect(&self, other: &Self) -> Result<Self, MixedFlavours> {
        match (self, other) {
            (Self::Mysql(a), Self::Mysql(b)) => Ok(Self::Mysql(a.intersect(b))),
            (Self::Mariadb(a), Self::Mariadb(b)) => Ok(Self::Mariadb(a.intersect(b))),
            (Self::Mysql(_), Self::Mariadb(_)) | (Self::Mariadb(_), Self::Mysql(_)) => Err(MixedFlavours),
        }
    }

    /// Whether all of `other` is in `self`.
    ///
    /// # Errors
    /// [`MixedFlavours`]
    pub fn contains(&self, other: &Self) -> Result<bool, MixedFlavours> {
        match (self, other) {
            (Self::Mysql(a), Self::Mysql(b)) => Ok(a.contains(b)),
            (Self::Mariadb(a), Self::Mariadb(b)) => Ok(a.contains(b)),
            (Self::Mysql(_), Self::Mariadb(_)) | (Self::Mariadb(_), Self::Mysql(_)) => Err(MixedFlavours),
        }
    }

    /// Exactly what `other` lacks.
    ///
    /// # Errors
    /// [`MixedFlavours`]
    pub fn subtract(&self, other: &Self) -> Result<Ranges, MixedFlavours> {
        let mut ranges = Ranges::default();
        match (self, other) {
            (Self::Mysql(a), Self::Mysql(b)) => {
                for (source, intervals) in a.subtract(b).iter() {
                    let colon = if source.tag.is_empty() { "" } else { ":" };
                    for (first, last) in intervals.iter() {
                        ranges.push(format!("{}{colon}{}", source.uuid, source.tag), first, last);
                    }
                }
            }
            (Self::Mariadb(a), Self::Mariadb(b)) => {
                for (stream, first, last) in a.subtract(b) {
                    ranges.push(format!("{}-{}", stream.domain, stream.server), first, last);
                }
            }
            (Self::Mysql(_), Self::Mariadb(_)) | (Self::Mariadb(_), Self::Mysql(_)) => return Err(MixedFlavours),
        }
        Ok(ranges)
    }

    /// How `self` lies to `other`.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Comparison {
        if let (Self::Mariadb(a), Self::Mariadb(b)) = (self, other)
            && a.knows_more_streams_than(b)
            && b.knows_more_streams_than(a)
        {
            return Comparison::CannotCompare;
        }
        match (self.contains(other), other.contains(self)) {
            (Ok(true), Ok(true)) => Comparison::Equal,
            (Ok(true), Ok(false)) => Comparison::Superset,
            (Ok(false), Ok(true)) => Comparison::Subset,
            (Ok(false), Ok(false)) => Comparison::Diverged,
            (Err(MixedFlavours), _) | (_, Err(MixedFlavours)) => Comparison::CannotCompare,
        }
    }

    /// Whether one transaction is in it.
    #[must_use]
    pub fn contains_gtid(&self, gtid: &Gtid) -> bool {
        match self {
            Self::Mysql(set) => set.contains_gtid(gtid),
            Self::Mariadb(set) => set.contains_gtid(gtid),
        }
    }

    /// Adds one transaction.
    ///
    /// # Errors
    /// [`MixedFlavours`]
    pub fn insert(&mut self, gtid: &Gtid) -> Result<(), MixedFlavours> {
        match (self, gtid) {
            (Self::Mysql(set), Gtid::Mysql { uuid, tag, number }) => {
                set.insert(uuid, tag.as_deref().unwrap_or(""), *number);
                Ok(())
            }
            (Self::Mariadb(set), Gtid::Mariadb { domain, server, sequence }) => {
                set.insert(*domain, *server, *sequence);
                Ok(())
            }
            (Self::Mysql(_), Gtid::Mariadb { .. }) | (Self::Mariadb(_), Gtid::Mysql { .. }) => Err(MixedFlavours),
        }
    }

    /// Who wrote its transactions.
    #[must_use]
    pub fn origins(&self) -> BTreeSet<Origin> {
        match self {
            Self::Mysql(set) => set.iter().map(|(source, _)| Origin::Mysql(source.uuid.clone())).collect(),
            Self::Mariadb(set) => set.iter().map(|(stream, _)| Origin::Mariadb(stream.server)).collect(),
        }
    }

    /// The transactions of some origins alone.
    #[must_use]
    pub fn only(&self, origins: &BTreeSet<Origin>) -> Self {
        match self {
            Self::Mysql(set) => {
                let uuids = origins.iter().filter_map(|origin| match origin {
                    Origin::Mysql(uuid) => Some(uuid.as_str()),
                    Origin::Mariadb(_) => None,
                });
                Self::Mysql(set.only(&uuids.collect()))
            }
            Self::Mariadb(set) => {
                let servers = origins.iter().filter_map(|origin| match origin {
                    Origin::Mariadb(server) => Some(*server),
                    Origin::Mysql(_) => None,
                });
                Self::Mariadb(set.only(&servers.collect()))
            }
        }
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql(set) => set.fmt(f),
            Self::Mariadb(set) => set.fmt(f),
        }
    }
}

impl TryFrom<Wire> for GtidSet {
    type Error = InvalidGtidSet;
    fn try_from(wire: Wire) -> Result<Self, InvalidGtidSet> {
        Self::parse(wire.flavour, &wire.set)
    }
}

impl From<GtidSet> for Wire {
    fn from(set: GtidSet) -> Self {
        Self { flavour: set.flavour(), set: set.to_string() }
    }
}
