//! Who acknowledges, for how long not, and what the group needs then.

use tasuki_schemas::id::{Boot, BootId, Nonce};
use tasuki_schemas::observation::{Observation, Replication};

use super::*;
use crate::fixtures::{NOW, me, node, observation, record, settings};

/// A cluster of three whose replicas acknowledge, at a moment, after a change.
struct Group {
    settings: Settings,
    record: Record,
    servers: Vec<Observation>,
    caught_up: BTreeSet<NodeId>,
    ackers: Ackers,
}

impl Group {
    fn new(acks: u32) -> Self {
        let settings = settings(3);
        let source = settings.servers.get(&node(0)).unwrap().address;
        let server = |number: usize| {
            let mut seen = observation(&node(number), number == 0, false);
            let facts = seen.server.as_mut().unwrap().facts.as_mut().unwrap();
            if number == 0 {
                (facts.semi_sync.source_enabled, facts.semi_sync.wait_count) = (acks > 0, acks);
            } else {
                facts.semi_sync.replica_enabled = true;
                facts.replication = Some(Replication {
                    source: source.into(),
                    receiver: Thread::Running,
                    applier: Thread::Running,
                    quiet_ms: 0,
                    error: String::new(),
                    filtered: false,
                });
            }
            seen
        };
        let (record, servers) = (record(&settings, acks), (0..3).map(server).collect());
        let caught_up = [node(1), node(2)].into();
        Self { settings, record, servers, caught_up, ackers: Ackers::default() }
    }

    fn facts(&mut self, number: usize) -> &mut tasuki_schemas::observation::Facts {
        self.servers.get_mut(number).unwrap().server.as_mut().unwrap().facts.as_mut().unwrap()
    }

    /// It lives, and acknowledges nothing.
    fn mute(&mut self, number: usize) {
        self.facts(number).semi_sync.replica_enabled = false;
    }

    fn look(&mut self, after_ms: u64) -> Finding {
        let now = NOW + Duration::from_millis(after_ms);
        let mut view = View::new(me(), NOW);
        view.sent_nonce(Nonce(1));
        for seen in &self.servers {
            assert!(view.observed(seen.clone(), (Boot { start: 1, random: BootId(1) }, 1), now));
        }
        self.ackers.look(&self.settings, &view, &self.record, &self.caught_up, now)
    }
}

#[test]
fn nothing_is_remembered_of_a_group_that_is_as_it_should_be() {
    let mut group = Group::new(1);
    assert_eq!(group.look(0), Finding::Well);
    assert!(group.ackers.are_calm());
    // As many as are required are enough.
    let mut enough = Group::new(2);
    assert_eq!((enough.look(0), enough.look(60_000)), (Finding::Well, Finding::Well));
    assert!(enough.ackers.are_calm());
}

#[test]
fn whatever_a_patience_runs_for_keeps_it_awake() {
    let mut mute = Group::new(1);
    mute.mute(2);
    assert_eq!(mute.look(0), Finding::Well);
    assert!(!mute.ackers.are_calm(), "a member is mute, though one acknowledgement is enough");
    let mut behind = Group::new(1);
    (behind.record.wanted, behind.caught_up) = (2, BTreeSet::new());
    assert_eq!(behind.look(0), Finding::Well);
    assert!(!behind.ackers.are_calm(), "another acknowledgement is soon required again");
    let mut short = Group::new(2);
    short.mute(2);
    assert_eq!(short.look(0), Finding::Well);
    assert!(!short.ackers.are_calm(), "writing waits");
}

#[test]
fn one_that_hangs_is_waited_for_no_longer_than_one_that_is_gone() {
    for hangs in [true, false] {
        let mut group = Group::new(2);
        let server = group.servers.get_mut(2).unwrap().server.as_mut().unwrap();
        if hangs {
            server.connection = Connection::Silent { for_ms: 500 };
        } else {
            server.process = tasuki_schemas::observation::Process::Exited { clean: false };
        }
        let patience = u64::try_from(group.settings.policy.acker_patience.as_millis()).unwrap();
        assert_eq!((group.look(0), group.look(patience - 1)), (Finding::Well, Finding::Well));
        assert_eq!(group.look(patience), Finding::Lower(1), "hangs: {hangs}");
    }
}

#[test]
fn one_that_lives_has_time_to_connect() {
    let mut group = Group::new(2);
    group.mute(2);
    assert_eq!((group.look(0), group.look(999), group.look(1000)), (Finding::Well, Finding::Well, Finding::Lower(1)));
}

#[test]
fn an_observed_cluster_and_one_without_acknowledgements_are_left_as_they_are() {
    let mut observed = Group::new(1);
    observed.record.mode = Mode::Observe;
    observed.facts(0).semi_sync.wait_count = 2;
    assert_eq!(observed.look(0), Finding::Well);
    let mut asynchronous = Group::new(0);
    asynchronous.facts(0).semi_sync.source_enabled = true;
    assert_eq!(asynchronous.look(0), Finding::Well);
    let mut acknowledged = Group::new(1);
    acknowledged.facts(0).semi_sync.wait_count = 2;
    assert_eq!(acknowledged.look(0), Finding::SetWaitCount(1), "and this one is not");
}

#[test]
fn more_is_required_of_those_that_have_caught_up_and_at_last_of_the_others_as_well() {
    let mut group = Group::new(0);
    group.record.wanted = 2;
    group.caught_up = [node(1)].into();
    assert_eq!(group.look(0), Finding::SetWaitCount(1), "the other is behind");
    group.caught_up.clear();
    assert_eq!(group.look(100), Finding::SetWaitCount(1), "the server has been told");
    let mut on = Group::new(1);
    (on.record.wanted, on.ackers, on.caught_up) = (2, group.ackers.clone(), [node(1), node(2)].into());
    assert_eq!(on.look(150), Finding::SetWaitCount(2), "the record has followed, and the other has caught up");
    group.mute(1);
    group.mute(2);
    assert_eq!(group.look(200), Finding::Well, "nobody is there to acknowledge");
    let mut behind = Group::new(0);
    (behind.record.wanted, behind.caught_up) = (2, BTreeSet::new());
    assert_eq!((behind.look(0), behind.look(9999)), (Finding::Well, Finding::Well));
    assert_eq!(behind.look(10_000), Finding::SetWaitCount(2));
}

#[test]
fn what_failed_is_tried_again_after_a_pause() {
    let mut group = Group::new(0);
    group.record.wanted = 1;
    assert_eq!(group.look(0), Finding::SetWaitCount(1));
    group.ackers.failed(NOW + Duration::from_millis(700));
    assert_eq!((group.look(701), group.look(10_699)), (Finding::Well, Finding::Well));
    assert_eq!(group.look(10_700), Finding::SetWaitCount(1));
}
