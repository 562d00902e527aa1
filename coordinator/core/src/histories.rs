//! One history, or none: servers whose lawful transactions no server can hold together.

use std::collections::BTreeSet;

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
    let domains = |parts: Vec<(tasuki_schemas::gtid::mariadb::Stream, u64, u64)>| -> BTreeSet<u32> {
        parts.into_iter().map(|(stream, _, _)| stream.domain).collect()
    };
    !domains(one.subtract(other)).is_disjoint(&domains(other.subtract(one)))
}
