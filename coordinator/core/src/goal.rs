//! What a new primary must hold: every lawful transaction that any promise showed.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::gtid::{GtidSet, MixedFlavours, Origin};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::record::{Record, Reign};

/// What each answering server holds.
pub type Shown<'a> = BTreeMap<&'a NodeId, &'a GtidSet>;

/// The lawful part of one server's set: transactions that originate from servers the record has named, or lie within
/// the set before a reign; and of a former primary nothing beyond the set before a later reign of which anybody shows
/// a transaction, since that reign's proof showed it to be unacknowledged.
///
/// # Errors
/// [`MixedFlavours`] if a set is of another flavour than the record's.
pub fn lawful(record: &Record, shown: &Shown<'_>, set: &GtidSet) -> Result<GtidSet, MixedFlavours> {
    let mut lawful = GtidSet::empty(set.flavour());
    for reign in &record.reigns {
        lawful = lawful.union(&set.intersect(&reign.set_before)?)?;
    }
    for origin in record.named_origins() {
        let own = set.only(&BTreeSet::from([origin.clone()]));
        let within = match later_evidenced(record, shown, &origin)? {
            Some(reign) => own.intersect(&reign.set_before)?,
            None => own,
        };
        lawful = lawful.union(&within)?;
    }
    Ok(lawful)
}

/// The last reign that came after `origin`'s own last one and of which somebody shows a transaction.
fn later_evidenced<'a>(
    record: &'a Record,
    shown: &Shown<'_>,
    origin: &Origin,
) -> Result<Option<&'a Reign>, MixedFlavours> {
    let Some(last) = record.reigns.iter().filter(|reign| reign.origin == *origin).map(|reign| &reign.epoch).max()
    else {
        return Ok(None);
    };
    let mut found: Option<&Reign> = None;
    for reign in record.reigns.iter().filter(|reign| reign.epoch > *last && reign.origin != *origin) {
        let newer = found.is_none_or(|best| best.epoch < reign.epoch);
        if newer && evidenced(reign, shown)? {
            found = Some(reign);
        }
    }
    Ok(found)
}

fn evidenced(reign: &Reign, shown: &Shown<'_>) -> Result<bool, MixedFlavours> {
    let origin = BTreeSet::from([reign.origin.clone()]);
    for set in shown.values() {
        if !reign.set_before.contains(&set.only(&origin))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The union of all lawful sets.
///
/// # Errors
/// [`MixedFlavours`] if the sets are of different flavours.
pub fn goal(record: &Record, shown: &Shown<'_>) -> Result<Option<GtidSet>, MixedFlavours> {
    let mut goal: Option<GtidSet> = None;
    for set in shown.values() {
        let part = lawful(record, shown, set)?;
        goal = Some(match goal {
            Some(union) => union.union(&part)?,
            None => part,
        });
    }
    Ok(goal)
}
