//! What a reading is worth.

use std::collections::BTreeSet;

use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::id::{Boot, BootId, Nonce};
use tasuki_schemas::observation::FailingGate;

use super::*;
use crate::fixtures::{NOW, me, node, observation};

const LIMIT: Duration = Duration::from_secs(10);
/// The server was heard last so long before it is read.
const UNHEARD: Duration = Duration::from_secs(5);

fn set(text: &str) -> GtidSet {
    GtidSet::parse(Flavour::Mariadb, text).unwrap()
}

/// A coordinator that heard the server's node last when it ran, with or without `sync_binlog` = 1.
fn heard(synced: bool) -> View {
    let mut view = View::new(me(), NOW);
    view.sent_nonce(Nonce(1));
    let mut report = observation(&node(0), true, false);
    let gate = FailingGate { setting: "sync_binlog".to_owned(), found: "0".to_owned(), fix: "1".to_owned() };
    let facts = report.server.as_mut().and_then(|server| server.facts.as_mut()).unwrap();
    facts.failing_gates.extend((!synced).then_some(gate));
    assert!(view.observed(report, (Boot { start: 1, random: BootId(1) }, 1), NOW));
    view
}

/// Whether what was read is all that the server acknowledged.
fn whole(view: &View, up: Duration) -> bool {
    let mut readings = Readings::default();
    assert!(readings.ask(&node(0), set("0-1-98"), LIMIT, NOW));
    let files = Files { executed: set("0-1-100"), up };
    let told = readings.hear(view, &node(0), Ok(files), NOW + UNHEARD).unwrap();
    assert!(told.contains("0-1-99..100") && told.contains("not 1") != readings.is_whole(&node(0)), "{told}");
    assert_eq!(readings.shown().map(|(_, set)| set.to_string()).collect::<Vec<_>>(), ["0-1-100"]);
    readings.is_whole(&node(0))
}

#[test]
fn what_was_never_written_to_the_disk_is_gone_with_a_host_that_was_started_again() {
    let (long, short) = (UNHEARD * 2, UNHEARD);
    assert!(whole(&heard(false), long), "the kernel keeps what a killed process wrote");
    assert!(!whole(&heard(false), short), "up for as long as unheard may be a moment less");
    assert!(whole(&heard(true), short), "each commit is on the disk");
    assert!(!whole(&View::new(me(), NOW), long), "nobody knows what it wrote, and when");
}

#[test]
fn a_reading_is_asked_for_once_awaited_within_its_limit_and_counts_once() {
    let (view, mut readings) = (heard(true), Readings::default());
    assert_eq!(readings.hear(&view, &node(0), Err(Unread::Unreached("gone".to_owned())), NOW), None);
    assert!(readings.ask(&node(0), set(""), LIMIT, NOW) && !readings.ask(&node(0), set(""), LIMIT, NOW));
    assert!(readings.is_awaited(&node(0), NOW + LIMIT) && readings.are_awaited(NOW + LIMIT));
    assert!(!readings.are_awaited(NOW + LIMIT * 2) && !readings.is_awaited(&node(1), NOW));
    let unreadable = Err(Unread::Unreadable("bin.000007 is damaged at 4711".to_owned()));
    assert!(readings.hear(&view, &node(0), unreadable, NOW).unwrap().contains("damaged at 4711"));
    let files = Files { executed: set("0-1-1"), up: LIMIT };
    assert_eq!(readings.hear(&view, &node(0), Ok(files), NOW), None, "the first result stays");
    assert_eq!(readings.unreadable(&node(0)), Some("bin.000007 is damaged at 4711"));
    assert!(!readings.are_awaited(NOW) && readings.shown().next().is_none() && !readings.is_whole(&node(0)));
    let nodes: BTreeSet<NodeId> = readings.0.into_keys().collect();
    assert_eq!(nodes, BTreeSet::from([node(0)]));
}
