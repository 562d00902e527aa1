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
        /// From 1 to 2^63 − 2.
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

/// Reads MariaDB's domain, server id and sequence, which may be 0 in a position but names no transaction then.
pub(super) fn triple(text: &str) -> Option<(u32, u32, u64)> {
    let mut parts = text.split('-');
    let triple = (plain(parts.next()?)?, plain(parts.next()?)?, plain(parts.next()?)?);
    parts.next().is_none().then_some(triple)
}

fn mariadb(text: &str) -> Option<Gtid> {
    let (domain, server, sequence) = triple(text)?;
    (sequence > 0).then_some(Gtid::Mariadb { domain, server, sequence })
}

fn mysql(text: &str) -> Option<Gtid> {
    let mut parts = text.split(':');
    let uuid = mysql::uuid(parts.next()?)?;
    let (second, third) = (parts.next()?, parts.next());
    let (tag, number) = match third {
        Some(number) => (Some(mysql::tag(second)?), number),
        None => (None, second),
    };
    let number = mysql::number(number)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printed_as_they_are_read() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        for text in ["0-1-5", &format!("{uuid}:5"), &format!("{uuid}:tag_a:9223372036854775806")] {
            let gtid: Gtid = text.parse().unwrap();
            assert_eq!(gtid.to_string(), text);
            assert_eq!(serde_json::to_string(&gtid).unwrap(), format!("{text:?}"));
        }
        assert_eq!(
            format!("{}:TAG:5", uuid.to_uppercase()).parse::<Gtid>().unwrap().to_string(),
            format!("{uuid}:tag:5")
        );
    }

    #[test]
    fn what_names_no_transaction_is_refused() {
        let tails = ["", ":", ":0", ":1-2", ":tag", ":tag:", ":7tag:1", ":tag:1:2", ":9223372036854775807"];
        let tails = tails.map(|tail| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562{tail}"));
        for text in
            ["", "0-1", "0-1-0", "0-1-5-6", "0-1-", "0-1-5,0-2-7"].into_iter().chain(tails.iter().map(String::as_str))
        {
            let said = text.parse::<Gtid>().unwrap_err().to_string();
            assert!(said.contains(&format!("{text:?}")), "{said}");
        }
    }
}
