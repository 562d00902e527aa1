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

#[cfg(test)]
mod tests {
    use tasuki_schemas::ballot::{Ballot, Epoch};
    use tasuki_schemas::gtid::Flavour;
    use tasuki_schemas::id::BootId;
    use tasuki_schemas::record::Mode;

    use super::*;

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(Flavour::Mariadb, text).unwrap()
    }

    fn reign(counter: u64, server: u32, before: &str) -> Reign {
        let ballot = Ballot { counter, coordinator: "co1".parse().unwrap(), boot: BootId(1) };
        let node = format!("db{server}").parse().unwrap();
        Reign { epoch: Epoch(ballot), node, origin: Origin::Mariadb(server), set_before: set(before) }
    }

    fn record(reigns: Vec<Reign>) -> Record {
        let last = reigns.last().unwrap().clone();
        Record {
            epoch: last.epoch,
            primary: last.node,
            opened: true,
            groups: Vec::new(),
            reigns,
            voters: BTreeMap::new(),
            mode: Mode::Armed,
            wanted: 1,
            recent: Vec::new(),
            voters_before: None,
            pause: None,
        }
    }

    fn goal_of(record: &Record, sets: &[(&str, &str)]) -> String {
        let owned: Vec<(NodeId, GtidSet)> =
            sets.iter().map(|(node, text)| (node.parse().unwrap(), set(text))).collect();
        let shown: Shown<'_> = owned.iter().map(|(node, set)| (node, set)).collect();
        goal(record, &shown).unwrap().unwrap().to_string()
    }

    #[test]
    fn the_goal_is_the_union_of_what_everybody_shows() {
        let record = record(vec![reign(1, 1, "")]);
        assert_eq!(goal_of(&record, &[("db2", "0-1-7"), ("db3", "0-1-9")]), "0-1-9");
    }

    #[test]
    fn transactions_of_servers_never_named_are_errant() {
        let record = record(vec![reign(1, 1, "0-9-4")]);
        assert_eq!(goal_of(&record, &[("db2", "0-1-7,0-2-8,0-9-4"), ("db3", "0-1-9,0-9-5")]), "0-1-9,0-9-4");
    }

    #[test]
    fn a_former_primary_may_not_bring_back_what_a_later_reign_proved_unacknowledged() {
        let record = record(vec![reign(1, 1, ""), reign(2, 2, "0-1-100")]);
        // Somebody holds a transaction of the second reign, so 0-1-101 was never acknowledged.
        assert_eq!(goal_of(&record, &[("db1", "0-1-101"), ("db3", "0-1-100,0-2-102")]), "0-1-100,0-2-102");
    }

    #[test]
    fn a_later_reign_that_nobody_shows_proves_nothing_yet() {
        let record = record(vec![reign(1, 1, ""), reign(2, 2, "0-1-100")]);
        assert_eq!(goal_of(&record, &[("db1", "0-1-101"), ("db3", "0-1-100")]), "0-1-101");
    }
}
