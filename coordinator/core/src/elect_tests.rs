//! Who wins, and by which tie-breaker.

use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::NodeId;

use super::*;

fn set(text: &str) -> GtidSet {
    GtidSet::parse(Flavour::Mariadb, text).unwrap()
}

fn contender<'a>(node: &'a NodeId, order: usize, held: &'a GtidSet) -> Contender<'a> {
    Contender {
        node,
        promotion: Promotion::Neutral,
        order,
        incumbent: false,
        received: Some(held),
        broken: None,
        chosen: false,
        excluded: false,
        elsewhere: false,
        version: Version::parse("10.11.19-MariaDB"),
        executed: Some(held),
        barred: None,
    }
}

/// Two servers that are equal in everything but file order, each then changed a little.
fn election(held: [&str; 2], change: impl Fn(&mut Contender<'_>, &mut Contender<'_>)) -> Election {
    let goal = set(held[0]).union(&set(held[1])).unwrap();
    applied(held, held, &goal, change)
}

/// The same with what each has applied of what it holds.
fn applied(
    held: [&str; 2],
    applied: [&str; 2],
    goal: &GtidSet,
    change: impl Fn(&mut Contender<'_>, &mut Contender<'_>),
) -> Election {
    let names: [NodeId; 2] = ["db2", "db3"].map(|name| name.parse().unwrap());
    let (held, applied) = (held.map(set), applied.map(set));
    let (mut one, mut other) = (contender(&names[0], 0, &held[0]), contender(&names[1], 1, &held[1]));
    (one.executed, other.executed) = (Some(&applied[0]), Some(&applied[1]));
    change(&mut one, &mut other);
    elect(&[one, other], goal)
}

fn reasons(election: &Election) -> String {
    election.reasons.join("; ")
}

#[test]
fn of_equals_the_first_of_the_file_wins_and_the_reason_says_so() {
    let election = election(["0-1-9", "0-1-9"], |_, _| {});
    assert_eq!(reasons(&election), "db2 wins; db3 lost to db2: it comes later in the cluster file");
    assert_eq!(election.equals.len(), 1);
}

#[test]
fn the_more_advanced_wins_over_file_order() {
    let election = election(["0-1-8", "0-1-9"], |_, _| {});
    assert_eq!(reasons(&election), "db2 lost to db3: it would have to fetch what the winner holds; db3 wins");
}

#[test]
fn a_newer_server_loses_to_one_that_the_other_can_follow_though_it_is_ahead() {
    let election = election(["0-1-9", "0-1-8"], |one, _| one.version = Version::parse("11.4.2-MariaDB"));
    let told = "db2 lost to db3: its version is newer than that of db3, which could not follow it; db3 wins";
    assert_eq!(reasons(&election), told);
    assert!(election.equals.is_empty());
}

#[test]
fn the_old_primarys_site_counts_more_than_the_version_and_less_than_the_wish() {
    let near = |one: &mut Contender<'_>, other: &mut Contender<'_>| {
        one.elsewhere = true;
        other.version = Version::parse("11.4.2-MariaDB");
    };
    let by_site = election(["0-1-9", "0-1-9"], near);
    assert_eq!(reasons(&by_site), "db2 lost to db3: it stands at another site than the old primary; db3 wins");
    let by_wish = election(["0-1-9", "0-1-9"], |one, other| {
        near(one, other);
        one.promotion = Promotion::Prefer;
    });
    assert_eq!(reasons(&by_wish), "db2 wins; db3 lost to db2: the cluster file prefers the winner");
}

#[test]
fn a_broken_applier_never_wins_while_another_can() {
    let break_it = |one: &mut Contender<'_>| {
        one.promotion = Promotion::Prefer;
        one.broken = Some("Duplicate entry '7'");
    };
    let among_two = election(["0-1-9", "0-1-8"], |one, _| break_it(one));
    let told = "db2 lost to db3: its applier had failed before: Duplicate entry '7'; db3 wins";
    assert_eq!(reasons(&among_two), told);
    let alone = election(["0-1-9", "0-1-8"], |one, other| {
        break_it(one);
        other.barred = Some("it filters or delays replication".to_owned());
    });
    assert_eq!(alone.winner.unwrap().as_str(), "db2");
}

#[test]
fn whom_a_switchover_is_to_wins_over_the_wish_of_the_cluster_file() {
    let election = election(["0-1-9", "0-1-9"], |one, other| {
        one.promotion = Promotion::Prefer;
        other.chosen = true;
    });
    assert_eq!(reasons(&election), "db2 lost to db3: the switchover is to the winner; db3 wins");
}

/// The dead primary's tail is on nobody, so that nobody has applied all of the goal.
#[test]
fn of_two_that_lack_the_same_tail_the_one_with_less_left_to_apply_wins() {
    let of = |sets: [&str; 2]| reasons(&applied(["0-1-900"; 2], sets, &set("0-1-902"), |_, _| {}));
    assert_eq!(of(["0-1-500", "0-1-900"]), "db2 lost to db3: it has more left to apply; db3 wins");
    assert_eq!(of(["0-1-899", "0-1-900"]), "db2 wins; db3 lost to db2: it comes later in the cluster file");
}
