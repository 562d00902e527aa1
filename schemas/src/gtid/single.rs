//! One transaction's name, and who wrote it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mysql;

/// The name of one transaction: `0-1-5` on MariaDB, `uuid[:tag]:5` on MySQL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Gtid {
    /// MySQL
    Mysql {
        /// The server's UUID, lower case.
        uuid: String,
        /// The tag, if any.
        tag: Option<String>,
        /// From 1 on.
        number: u64,
    },
    /// MariaDB
    Mariadb {
        /// `gtid_domain_id`
        domain: u32,
        /// `server_id`
        server: u32,
        /// From 1 on.
        sequence: u64,
    },
}

/// A text that names no transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no GTID: domain-server-sequence (MariaDB) or uuid[:tag]:number (MySQL) is expected")]
pub struct InvalidGtid(String);

impl FromStr for Gtid {
    type Err = InvalidGtid;
    fn from_str(text: &str) -> Result<Self, InvalidGtid> {
        mariadb(text).or_else(|| mysql(text)).ok_or_else(|| InvalidGtid(text.to_owned()))
    }
}

fn plain<T: FromStr>(text: &str) -> Option<T> {
    text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn mariadb(text: &str) -> Option<Gtid> {
    let mut parts = text.split('-');
    let gtid =
        Gtid::Mariadb { domain: plain(parts.next()?)?, server: plain(parts.next()?)?, sequence: plain(parts.next()?)? };
    parts.next().is_none().then_some(gtid)
}

fn mysql(text: &str) -> Option<Gtid> {
    let mut parts = text.split(':');
    let uuid = mysql::uuid(parts.next()?)?;
    let (second, third) = (parts.next()?, parts.next());
    let (tag, number) = match third {
        Some(number) => (Some(mysql::tag(second)?), number),
        None => (None, second),
    };
    let number = plain(number).filter(|number| *number > 0)?;
    parts.next().is_none().then_some(Gtid::Mysql { uuid, tag, number })
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql { uuid, tag: None, number } => write!(f, "{uuid}:{number}"),
            Self::Mysql { uuid, tag: Some(tag), number } => write!(f, "{uuid}:{tag}:{number}"),
            Self::Mariadb { domain, server, sequence } => write!(f, "{domain}-{server}-{sequence}"),
        }
    }
}

impl TryFrom<String> for Gtid {
    type Error = InvalidGtid;
    fn try_from(text: String) -> Result<Self, InvalidGtid> {
        text.parse()
    }
}

impl From<Gtid> for String {
    fn from(gtid: Gtid) -> Self {
        gtid.to_string()
    }
}

/// Who wrote a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `server_uuid`, lower case.
    Mysql(String),
    /// `server_id`
    Mariadb(u32),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql(uuid) => f.write_str(uuid),
            Self::Mariadb(server) => write!(f, "server_id {server}"),
        }
    }
}
