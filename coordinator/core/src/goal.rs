//! What a new primary must hold: every lawful transaction that any promise showed.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::gtid::{GtidSet, MixedFlavours};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::record::{Record, Reign};

/// What each answering server holds.
pub type Shown<'a> = BTreeMap<&'a NodeId, &'a GtidSet>;

/// The lawful part of one server's set: transactions that originate from servers the record has named, or lie within
/// the set before a reign. Once anybody shows a transaction of a reign, nothing from before it counts that lies beyond its
/// set: that reign's proof showed it to be unacknowledged, and other transactions took its place.
///
/// # Errors
/// [`MixedFlavours`] if a set is of another flavour than the record's.
pub fn lawful(record: &Record, shown: &Shown<'_>, set: &GtidSet) -> Result<GtidSet, MixedFlavours> {
    let evidenced = last_evidenced(record, shown)?;
    let mut lawful = GtidSet::empty(set.flavour());
    for reign in record.reigns.iter().filter(|reign| evidenced.is_none_or(|last| reign.epoch >= last.epoch)) {
        let own = set.only(&BTreeSet::from([reign.origin.clone()]));
        lawful = lawful.union(&set.intersect(&reign.set_before)?)?.union(&own)?;
    }
    Ok(lawful)
}

/// The last reign of which somebody shows a transaction.
fn last_evidenced<'a>(record: &'a Record, shown: &Shown<'_>) -> Result<Option<&'a Reign>, MixedFlavours> {
    let mut found: Option<&Reign> = None;
    for reign in &record.reigns {
        if found.is_none_or(|best| best.epoch < reign.epoch) && evidenced(reign, shown)? {
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

/// The reigns that can still tell what is lawful, oldest first: the last one of each origin, and the first that came after
/// another origin's last one.
///
/// A primary that is named again keeps that first reign: what it wrote then lies within the set before its new reign, and
/// only the old one shows by it that the tail of the primary before was never acknowledged.
#[must_use]
pub fn still_needed(reigns: &[Reign]) -> Vec<Reign> {
    let last = |at: usize, reign: &Reign| reigns.iter().skip(at + 1).all(|later| later.origin != reign.origin);
    let first_after = |at: usize, reign: &Reign| {
        let before = reigns.iter().enumerate().take(at).rev();
        before.take_while(|(_, other)| other.origin != reign.origin).any(|(at, other)| last(at, other))
    };
    let numbered = reigns.iter().enumerate();
    numbered.filter(|(at, reign)| last(*at, reign) || first_after(*at, reign)).map(|(_, reign)| reign.clone()).collect()
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
    use tasuki_schemas::gtid::{Flavour, Origin};
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
            planned: None,
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

    #[test]
    fn what_a_reign_brought_along_goes_with_it_when_a_later_one_began_without() {
        // The second reign would have brought 0-2-105 along and never began; the third began without it.
        let reigns = vec![reign(2, 2, "0-1-100,0-2-105"), reign(3, 1, "0-1-100")];
        let sets = [("db2", "0-1-100,0-2-105"), ("db3", "0-1-101")];
        assert_eq!(goal_of(&record(reigns.clone()), &sets), "0-1-101");
        // As long as nobody shows anything of the third one, it may still be had.
        let sets = [("db2", "0-1-100,0-2-105"), ("db3", "0-1-100")];
        assert_eq!(goal_of(&record(reigns), &sets), "0-1-100,0-2-105");
    }

    fn kept(reigns: Vec<Reign>) -> Vec<u64> {
        still_needed(&reigns).iter().map(|reign| reign.epoch.0.counter).collect()
    }

    #[test]
    fn a_primary_that_is_named_again_still_proves_what_its_first_reign_proved() {
        let reigns = vec![reign(1, 1, ""), reign(2, 2, "0-1-100"), reign(3, 2, "0-1-100,0-2-105")];
        assert_eq!(kept(reigns.clone()), [1, 2, 3]);
        // Nobody shows anything of the third reign, and 0-2-105 was written in the second.
        let sets = [("db1", "0-1-101"), ("db3", "0-1-100,0-2-105")];
        assert_eq!(goal_of(&record(reigns), &sets), "0-1-100,0-2-105");
    }

    #[test]
    fn reigns_do_not_pile_up() {
        let again = |counter| reign(counter, 2, "0-1-100");
        assert_eq!(kept(vec![reign(1, 1, ""), again(2), again(3), again(4)]), [1, 2, 4]);
        assert_eq!(kept(vec![again(1), again(2)]), [2]);
        // The fourth shows what the third primary's tail is worth, the second what the first one's is.
        let away = vec![reign(1, 1, ""), again(2), reign(3, 3, "0-1-100"), again(4), again(5)];
        assert_eq!(kept(away), [1, 2, 3, 4, 5]);
        // Once the first primary is named again, its old tail is nobody's question.
        assert_eq!(kept(vec![reign(1, 1, ""), again(2), again(3), reign(4, 1, "0-1-100")]), [3, 4]);
    }
}
