//! The algebra of GTID sets against a naive model: the transactions themselves, one by one, in a `BTreeSet`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use tasuki_schemas::gtid::{Comparison, Flavour, Gtid, GtidSet, MixedFlavours, Origin, Ranges};

/// Transactions, each as its source (`uuid[:tag]` or `domain-server`) and its number.
type Model = BTreeSet<(String, u64)>;

/// No generated set has a larger number.
const HIGHEST: u64 = 26;

fn uuid(which: usize) -> String {
    format!("3e11fa47-71ca-11e1-9e33-c80aa942956{which}")
}

/// A set in MySQL's syntax, with capitals, blanks, tags between intervals, overlaps and neighbours in any order.
fn mysql() -> impl Strategy<Value = (GtidSet, Model)> {
    let intervals = vec((1u64..20, 0u64..6), 1..4);
    let tag = proptest::option::of(prop_oneof![Just("blue"), Just("_red"), Just("tag_7")]);
    let element = (0usize..3, any::<bool>(), vec((tag, intervals), 1..4));
    let comma = prop_oneof![Just(","), Just(", "), Just(",\n"), Just(" ,\n\n ")];
    (vec(element, 0..5), comma).prop_map(|(elements, comma)| {
        let mut model = Model::new();
        let texts = elements.into_iter().map(|(which, capitals, groups)| {
            let mut text = if capitals { uuid(which).to_uppercase() } else { uuid(which) };
            let mut source = uuid(which);
            for (tag, intervals) in groups {
                if let Some(tag) = tag {
                    source = format!("{}:{tag}", uuid(which));
                    text += &if capitals { format!(":{}", tag.to_uppercase()) } else { format!(" : {tag}") };
                }
                for (first, more) in intervals {
                    text += &if more == 0 { format!(":{first}") } else { format!(":{first}-{}", first + more) };
                    model.extend((first..=first + more).map(|number| (source.clone(), number)));
                }
            }
            text
        });
        let text = texts.collect::<Vec<_>>().join(comma);
        (GtidSet::parse(Flavour::Mysql, &text).unwrap(), model)
    })
}

/// A binlog state with several domains and servers, some of them named twice.
fn mariadb() -> impl Strategy<Value = (GtidSet, Model)> {
    let entries = vec((0u32..3, 1u32..4, 1..=HIGHEST), 0..7);
    let comma = prop_oneof![Just(","), Just(", "), Just(",\n")];
    (entries, comma).prop_map(|(entries, comma)| {
        let text: Vec<String> =
            entries.iter().map(|(domain, server, last)| format!("{domain}-{server}-{last}")).collect();
        let all = entries
            .iter()
            .flat_map(|(domain, server, last)| (1..=*last).map(move |at| (format!("{domain}-{server}"), at)));
        (GtidSet::parse(Flavour::Mariadb, &text.join(comma)).unwrap(), all.collect())
    })
}

/// Any transaction that a generated set may or may not hold.
fn some_gtid(flavour: Flavour) -> impl Strategy<Value = Gtid> {
    let tags = prop_oneof![Just(""), Just(":blue"), Just(":_red"), Just(":tag_7")];
    (0usize..3, tags, 1..=HIGHEST, 0u32..3, 1u32..4).prop_map(move |(which, tag, number, domain, server)| {
        let text = match flavour {
            Flavour::Mysql => format!("{}{tag}:{number}", uuid(which)),
            Flavour::Mariadb => format!("{domain}-{server}-{number}"),
        };
        text.parse().unwrap()
    })
}

/// Origins, of which some wrote nothing and one is of the other flavour.
fn some_origins(flavour: Flavour) -> impl Strategy<Value = BTreeSet<Origin>> {
    btree_set(0usize..5, 0..4).prop_map(move |chosen| {
        let own = chosen.into_iter().map(|which| match flavour {
            Flavour::Mysql => Origin::Mysql(uuid(which)),
            Flavour::Mariadb => Origin::Mariadb(u32::try_from(which).unwrap()),
        });
        let stranger = match flavour {
            Flavour::Mysql => Origin::Mariadb(1),
            Flavour::Mariadb => Origin::Mysql(uuid(1)),
        };
        own.chain([stranger]).collect()
    })
}

fn expand(ranges: &Ranges) -> Model {
    let all = ranges.iter().flat_map(|range| {
        let (first, last): (u64, u64) = (range.first.parse().unwrap(), range.last.parse().unwrap());
        (first..=last).map(|number| (range.source.clone(), number))
    });
    all.collect()
}

fn members(set: &GtidSet) -> Model {
    expand(&set.subtract(&GtidSet::empty(set.flavour())).unwrap())
}

fn sources(model: &Model) -> BTreeSet<&str> {
    model.iter().map(|(source, _)| source.as_str()).collect()
}

fn origin(flavour: Flavour, source: &str) -> Origin {
    match flavour {
        Flavour::Mysql => Origin::Mysql(source.split(':').next().unwrap().to_owned()),
        Flavour::Mariadb => Origin::Mariadb(source.split_once('-').unwrap().1.parse().unwrap()),
    }
}

/// The entry of a transaction in a model, and on MariaDB those of all earlier ones of its stream.
fn entries(gtid: &Gtid) -> Model {
    match gtid {
        Gtid::Mysql { uuid, tag: None, number } => Model::from([(uuid.clone(), *number)]),
        Gtid::Mysql { uuid, tag: Some(tag), number } => Model::from([(format!("{uuid}:{tag}"), *number)]),
        Gtid::Mariadb { domain, server, sequence } => {
            (1..=*sequence).map(|number| (format!("{domain}-{server}"), number)).collect()
        }
    }
}

/// What the server would print: sources in order, the UUID once, numbers in merged intervals.
fn canonical(flavour: Flavour, model: &Model) -> String {
    let mut text = String::new();
    let mut uuid = "";
    for source in sources(model) {
        let numbers: BTreeSet<u64> = model.iter().filter(|(of, _)| of == source).map(|(_, number)| *number).collect();
        let comma = if text.is_empty() { "" } else { "," };
        match (flavour, source.split_once(':')) {
            (Flavour::Mariadb, _) => {
                text += &format!("{comma}{source}-{}", numbers.last().unwrap());
                continue;
            }
            (Flavour::Mysql, Some((same, tag))) if same == uuid => text += &format!(":{tag}"),
            (Flavour::Mysql, _) => text += &format!("{comma}{source}"),
        }
        uuid = source.split(':').next().unwrap();
        for first in numbers.iter().filter(|number| !numbers.contains(&(**number - 1))) {
            let last = (*first..).take_while(|number| numbers.contains(number)).last().unwrap();
            text += &if last == *first { format!(":{first}") } else { format!(":{first}-{last}") };
        }
    }
    text
}

fn expected_comparison(flavour: Flavour, a: &Model, b: &Model) -> Comparison {
    let strangers = !sources(a).is_subset(&sources(b)) && !sources(b).is_subset(&sources(a));
    match (a.is_superset(b), a.is_subset(b)) {
        (true, true) => Comparison::Equal,
        (true, false) => Comparison::Superset,
        (false, true) => Comparison::Subset,
        (false, false) if flavour == Flavour::Mariadb && strangers => Comparison::CannotCompare,
        (false, false) => Comparison::Diverged,
    }
}

macro_rules! laws {
    ($flavour:ident, $set:ident) => {
        mod $set {
            use super::*;

            const FLAVOUR: Flavour = Flavour::$flavour;

            proptest! {
                #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn a_set_holds_what_its_text_names((set, model) in $set()) {
                    prop_assert_eq!(members(&set), model.clone());
                    prop_assert_eq!(set.is_empty(), model.is_empty());
                    prop_assert_eq!(set.to_string(), canonical(FLAVOUR, &model));
                }

                #[test]
                fn a_printed_set_is_read_back_as_itself((set, _) in $set()) {
                    prop_assert_eq!(&GtidSet::parse(FLAVOUR, &set.to_string()).unwrap(), &set);
                    let wire = serde_json::to_string(&set).unwrap();
                    prop_assert_eq!(serde_json::from_str::<GtidSet>(&wire).unwrap(), set);
                }

                #[test]
                fn union_holds_what_either_holds((a, x) in $set(), (b, y) in $set()) {
                    let union = a.union(&b).unwrap();
                    prop_assert_eq!(members(&union), &x | &y);
                    prop_assert_eq!(&b.union(&a).unwrap(), &union);
                    prop_assert!(union.contains(&a).unwrap() && union.contains(&b).unwrap());
                }

                #[test]
                fn intersection_holds_what_both_hold((a, x) in $set(), (b, y) in $set()) {
                    let intersection = a.intersect(&b).unwrap();
                    prop_assert_eq!(members(&intersection), &x & &y);
                    prop_assert_eq!(&b.intersect(&a).unwrap(), &intersection);
                    prop_assert!(a.contains(&intersection).unwrap() && b.contains(&intersection).unwrap());
                }

                #[test]
                fn difference_is_exactly_what_the_other_lacks((a, x) in $set(), (b, y) in $set()) {
                    let difference = a.subtract(&b).unwrap();
                    prop_assert_eq!(expand(&difference), &x - &y);
                    prop_assert_eq!(difference.count(), u64::try_from((&x - &y).len()).unwrap());
                    prop_assert_eq!(difference.is_empty(), b.contains(&a).unwrap());
                    let again: Ranges = serde_json::from_str(&serde_json::to_string(&difference).unwrap()).unwrap();
                    prop_assert_eq!(again, difference);
                }

                #[test]
                fn sets_compare_as_their_transactions_do((a, x) in $set(), (b, y) in $set()) {
                    prop_assert_eq!(a.contains(&b).unwrap(), x.is_superset(&y));
                    prop_assert_eq!(a == b, x == y);
                    prop_assert_eq!(a.compare(&b), expected_comparison(FLAVOUR, &x, &y));
                    prop_assert_eq!(b.compare(&a), expected_comparison(FLAVOUR, &y, &x));
                    let part = a.intersect(&b).unwrap();
                    prop_assert_eq!(part.compare(&a), expected_comparison(FLAVOUR, &(&x & &y), &x));
                }

                #[test]
                fn an_inserted_transaction_is_held((set, model) in $set(), gtid in some_gtid(FLAVOUR)) {
                    let held = model.is_superset(&entries(&gtid));
                    prop_assert_eq!(set.contains_gtid(&gtid), held);
                    let mut more = set.clone();
                    more.insert(&gtid).unwrap();
                    prop_assert!(more.contains_gtid(&gtid));
                    prop_assert_eq!(members(&more), &model | &entries(&gtid));
                    prop_assert_eq!(gtid.to_string().parse::<Gtid>().unwrap(), gtid);
                }

                #[test]
                fn only_keeps_the_transactions_of_some_origins(
                    (set, model) in $set(),
                    chosen in some_origins(FLAVOUR),
                ) {
                    let wrote: BTreeSet<Origin> = model.iter().map(|(source, _)| origin(FLAVOUR, source)).collect();
                    prop_assert_eq!(&set.origins(), &wrote);
                    let kept = set.only(&chosen);
                    let expected = model.into_iter().filter(|(source, _)| chosen.contains(&origin(FLAVOUR, source)));
                    prop_assert_eq!(members(&kept), expected.collect::<Model>());
                    prop_assert_eq!(kept.origins(), &wrote & &chosen);
                    prop_assert_eq!(set.only(&wrote), set);
                }
            }
        }
    };
}

laws!(Mysql, mysql);
laws!(Mariadb, mariadb);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sets_of_two_flavours_are_never_brought_together((a, _) in mysql(), (b, _) in mariadb()) {
        prop_assert_eq!(a.union(&b), Err(MixedFlavours));
        prop_assert_eq!(b.intersect(&a), Err(MixedFlavours));
        prop_assert_eq!(a.contains(&b), Err(MixedFlavours));
        prop_assert_eq!(b.subtract(&a), Err(MixedFlavours));
        prop_assert_eq!(a.compare(&b), Comparison::CannotCompare);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[0-9a-f:,\\- \\n_A-F\u{0}é]{0,80}") {
        for flavour in [Flavour::Mysql, Flavour::Mariadb] {
            if let Ok(set) = GtidSet::parse(flavour, &text) {
                prop_assert_eq!(GtidSet::parse(flavour, &set.to_string()), Ok(set));
            }
        }
    }
}
