//! One history, or none: servers whose lawful transactions no server can hold together.

use std::collections::BTreeSet;

use tasuki_schemas::gtid::mariadb::Stream;
use tasuki_schemas::gtid::{GtidSet, MixedFlavours};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::record::Record;

use crate::goal::{Shown, lawful};

/// Two histories that cannot be brought together, shown side by side; `None` if all can be.
///
/// On MySQL whatever one server lacks can be fetched. On MariaDB the sequences of a domain only grow: when each of two
/// servers has transactions of one domain that the other lacks, neither can take what the other has.
///
/// # Errors
/// [`MixedFlavours`] if a set is of another flavour than the record's.
pub fn torn(record: &Record, shown: &Shown<'_>) -> Result<Option<String>, MixedFlavours> {
    let mut sets: Vec<(&NodeId, GtidSet)> = Vec::new();
    for (node, set) in shown {
        sets.push((node, lawful(record, shown, set)?));
    }
    for (at, (one, ones)) in sets.iter().enumerate() {
        for (other, others) in sets.iter().skip(at + 1) {
            if clash(ones, others) {
                return Ok(Some(format!(
                    "{one} and {other} hold different histories, which no server can hold together: {one} alone has {}, \
                     {other} alone has {}; re-clone the one that is wrong",
                    ones.subtract(others)?,
                    others.subtract(ones)?
                )));
            }
        }
    }
    Ok(None)
}

fn clash(one: &GtidSet, other: &GtidSet) -> bool {
    let (GtidSet::Mariadb(one), GtidSet::Mariadb(other)) = (one, other) else { return false };
    let domains = |parts: Vec<(Stream, u64, u64)>| -> BTreeSet<u32> {
        parts.into_iter().map(|(stream, _, _)| stream.domain).collect()
    };
    !domains(one.subtract(other)).is_disjoint(&domains(other.subtract(one)))
}

#[cfg(test)]
mod tests {
    use tasuki_schemas::gtid::Flavour;

    use super::*;

    fn clashes(flavour: Flavour, one: &str, other: &str) -> bool {
        let set = |text: &str| GtidSet::parse(flavour, text).unwrap();
        clash(&set(one), &set(other))
    }

    #[test]
    fn on_mariadb_two_servers_ahead_of_each_other_in_one_domain_cannot_be_united() {
        assert!(clashes(Flavour::Mariadb, "0-1-100,0-2-105", "0-1-104"));
        assert!(!clashes(Flavour::Mariadb, "0-1-100,0-2-105", "0-1-100"));
        assert!(!clashes(Flavour::Mariadb, "0-1-100,5-1-7", "0-1-99,5-1-8"));
    }

    #[test]
    fn on_mysql_whatever_is_missing_can_be_fetched() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert!(!clashes(Flavour::Mysql, &format!("{uuid}:1-5:8"), &format!("{uuid}:1-7")));
    }
}
