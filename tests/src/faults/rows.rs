//! The rows of the matrix, in groups. What they expect was written before they were run.

use tasuki_schemas::gtid::Flavour;

use super::row::Outcome::{FailsOver, GoesOn, Holds, WritesAgain};
use super::row::Row;
use super::{crash, network, others, planned, power, replicas, rescue};
use crate::lab::Options;
use crate::lab::net::Kind::{Ipv6, Loopback, Namespaces};

const CRASHED: &[&str] = &["primary_crashed"];
const HOST_LOST: &[&str] = &["primary_host_lost"];
/// What a lost host looks like while its last words and its replicas' are of different moments.
const HOST_LOST_FIRST: &[&str] = &["replication_only_partition", "sidecar_lost", "primary_overloaded"];

/// Nobody is heard at first.
const BLIND: &[&str] = &["coordinator_blind"];
/// What hosts look like while they start, one after the other.
const STARTING: &[&str] =
    &["primary_host_lost", "primary_closed", "primary_stopped", "primary_crashed", "replication_only_partition"];

/// A crash: median and most.
const CRASH: [u64; 2] = [400, 500];
const CRASH_MEDIAN: [u64; 2] = [80, 100];
/// A crash with another program gone that would have helped.
const CRASH_AND_MORE: [u64; 2] = [2500, 2500];
/// The loss of a host.
const HOST: [u64; 2] = [2500, 2500];
const HOST_MEDIAN: [u64; 2] = [1500, 1500];
/// What hangs is believed after 2 s.
const HANG: [u64; 2] = [3000, 3000];
/// A long tail, besides applying it.
const RESCUED: [u64; 2] = [3000, 3000];
/// Hardly felt.
const LITTLE: [u64; 2] = [1000, 1000];
/// Writing again after a power cut.
const POWER: [u64; 2] = [10_000, 10_000];

fn own_disks() -> Options {
    Options { disk_mb: Some(400), ..Options::default() }
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row::new("kill-9", Loopback, crash::kill, FailsOver, CRASH).told(CRASHED).median(CRASH_MEDIAN),
    Row::new("kill-9-in-large-transaction", Loopback, crash::kill_in_large_transaction, FailsOver, [3000, 5000])
        .told(CRASHED)
        .quarantines()
        .quick(),
    // MySQL takes ten seconds to end while its replicas are connected; it has two of them, and then its node ends it.
    Row::new("clean-stop", Loopback, crash::stop, FailsOver, [2500, 3000])
        .told(&["primary_stopped"])
        .may_tell(CRASHED)
        .quick(),
    // What it had written and not sent when it stopped, nobody has.
    Row::new("sigstop", Loopback, crash::freeze, FailsOver, HANG)
        .told(&["primary_hung"])
        .may_tell(CRASHED)
        .quarantines()
        .quick(),
    Row::new("hung-disk", Loopback, crash::hang_disk, FailsOver, HANG)
        .told(&["primary_hung"])
        .may_tell(&["primary_closed", "primary_crashed"])
        .with(own_disks)
        .quarantines(),
    // A full disk is believed after 2 s, and looked for every 2 s. The server lives, and is closed before the record says so.
    Row::new("disk-full", Loopback, crash::fill_disk, FailsOver, [6000, 6000])
        .told(&["disk_full"])
        .may_tell(&["primary_closed", "primary_hung", "primary_crashed"])
        .with(own_disks)
        .quarantines(),
    Row::new("too-many-connections", Loopback, crash::take_all_connections, GoesOn, LITTLE)
        .with(crash::few_connections),
    Row::new("old-primary-returns-mid-failover", Loopback, crash::kill_and_return, FailsOver, [3000, 5000])
        .told(CRASHED)
        .may_tell(&["primary_closed"])
        .quarantines()
        .quick(),
    Row::new("second-primary-dies-before-opened", Loopback, crash::kill_twice_before_opened, FailsOver, CRASH_AND_MORE)
        .told(CRASHED)
        .quarantines(),
    Row::new("second-primary-dies-after-opened", Loopback, crash::kill_twice_after_opened, FailsOver, CRASH_AND_MORE)
        .told(CRASHED)
        .quarantines(),
    Row::new("three-primaries-die-in-a-row", Loopback, crash::kill_all_in_a_row, Holds("cannot win"), POWER)
        .told(CRASHED)
        .may_tell(&["primary_closed"]),
    Row::new("kill-9-waits-for-two", Loopback, crash::kill, FailsOver, CRASH)
        .told(CRASHED)
        .with(crash::wait_for_two)
        .only(Flavour::Mysql),
    Row::new("replica-lost-waits-for-two", Loopback, replicas::kill_one, GoesOn, LITTLE)
        .with(crash::wait_for_two)
        .only(Flavour::Mysql),
    Row::new("clocks-jump", Loopback, crash::clocks_jump, GoesOn, CRASH).with(crash::clocks),
    Row::new("clocks-jump-then-kill-9", Loopback, crash::clocks_jump_and_kill, FailsOver, CRASH)
        .told(CRASHED)
        .with(crash::clocks),
    Row::new("primary-flaps", Loopback, crash::flap, Holds("was failed over 2 times"), POWER)
        .told(CRASHED)
        .with(crash::take_turns),
    // The network.
    Row::new("kill-9-by-ipv6", Ipv6, crash::kill, FailsOver, CRASH_AND_MORE).told(CRASHED),
    Row::new("host-lost-by-ipv6", Ipv6, network::lose_host, FailsOver, HOST)
        .told(HOST_LOST)
        .may_tell(HOST_LOST_FIRST)
        .quarantines(),
    Row::new("host-lost", Namespaces, network::lose_host, FailsOver, HOST)
        .told(HOST_LOST)
        .may_tell(HOST_LOST_FIRST)
        .median(HOST_MEDIAN)
        .quarantines()
        .quick(),
    Row::new("host-lost-with-a-coordinator", Namespaces, network::lose_host_and_coordinator, FailsOver, [4000, 4000])
        .told(HOST_LOST)
        .may_tell(HOST_LOST_FIRST)
        .quarantines(),
    Row::new("isolated-with-its-clients", Namespaces, network::isolate, FailsOver, [3000, 3000])
        .told(HOST_LOST)
        .may_tell(HOST_LOST_FIRST)
        .quarantines(),
    Row::new("isolated-sidecar-stopped", Namespaces, network::isolate_without_sidecar, FailsOver, [3000, 3000])
        .told(HOST_LOST)
        .may_tell(HOST_LOST_FIRST)
        .quarantines()
        .quick(),
    Row::new("primary-sends-nothing", Namespaces, network::cut_outgoing, FailsOver, [3000, 3000])
        .told(HOST_LOST)
        .may_tell(HOST_LOST_FIRST)
        .quarantines()
        .quick(),
    Row::new("primary-hears-nothing", Namespaces, network::cut_incoming, FailsOver, [3000, 3000])
        .may_tell(&["primary_host_lost", "primary_isolated", "replication_only_partition", "sidecar_lost"])
        .quarantines(),
    Row::new("coordinators-cut-off", Namespaces, network::part_from_coordinators, GoesOn, LITTLE),
    Row::new("coordinators-and-bus-cut-off", Namespaces, network::part_from_coordinators_and_redis, GoesOn, LITTLE)
        .may_tell(&["primary_unseen", "sidecar_lost"]),
    Row::new("coordinators-parted", Namespaces, network::part_coordinators, GoesOn, LITTLE),
    Row::new("all-replicas-cut-off", Namespaces, network::cut_replication, FailsOver, [5000, 4000])
        .told(&["replication_only_partition", "primary_isolated"])
        .may_tell(&["primary_closed", "primary_stopped", "primary_crashed"])
        .quarantines(),
    Row::new("one-replica-cut-off", Namespaces, network::part_from_one_replica, GoesOn, LITTLE),
    Row::new("replica-host-lost", Namespaces, network::lose_replica_host, GoesOn, LITTLE),
    // Replicas.
    Row::new("replica-lost", Loopback, replicas::kill_one, GoesOn, LITTLE),
    Row::new("last-replica-lost", Loopback, replicas::kill_both, GoesOn, LITTLE).told(&["degraded"]),
    Row::new("last-replica-lost-hold", Loopback, replicas::kill_both, Holds("degraded"), POWER).with(replicas::hold),
    Row::new(
        "replicas-lost-with-what-waits",
        Loopback,
        replicas::kill_one_and_then_the_other,
        Holds("degraded"),
        POWER,
    )
    .with(replicas::hold_for_two)
    .only(Flavour::Mysql),
    Row::new("replica-restarted-then-kill-9", Loopback, replicas::restart_one_then_kill, FailsOver, CRASH_AND_MORE)
        .told(CRASHED),
    Row::new("kill-9-while-replica-restarts", Loopback, replicas::kill_while_one_restarts, FailsOver, CRASH_AND_MORE)
        .told(CRASHED),
    Row::new("replica-host-lost-then-kill-9", Loopback, replicas::lose_one_then_kill, FailsOver, CRASH_AND_MORE)
        .told(CRASHED),
    Row::new("kill-9-one-candidate-lags", Loopback, replicas::kill_while_one_lags, FailsOver, CRASH_AND_MORE)
        .told(CRASHED)
        .only(Flavour::Mariadb),
    Row::new("kill-9-most-advanced-is-never", Namespaces, replicas::kill_with_never_ahead, FailsOver, CRASH_AND_MORE)
        .told(CRASHED)
        .with(replicas::never_db2),
    Row::new("kill-9-errant-on-a-candidate", Loopback, replicas::kill_with_errant, FailsOver, CRASH_AND_MORE)
        .told(CRASHED)
        .quarantines(),
    Row::new("kill-9-a-candidate-filters", Loopback, replicas::kill_with_filter, FailsOver, CRASH).told(CRASHED),
    Row::new("witness-lost", Loopback, replicas::kill_witness, GoesOn, LITTLE).with(network::witnessed),
    Row::new("witness-lost-then-kill-9", Loopback, replicas::kill_witness_and_primary, FailsOver, CRASH)
        .told(CRASHED)
        .with(network::witnessed),
    // Redis, coordinators, sidecars.
    Row::new("redis-lost", Loopback, others::kill_redis, GoesOn, LITTLE),
    Row::new("redis-lost-then-kill-9", Loopback, others::kill_redis_and_primary, FailsOver, CRASH_AND_MORE)
        .told(CRASHED)
        .quick(),
    Row::new("redis-hangs-and-kill-9", Loopback, others::freeze_redis_and_kill_primary, FailsOver, CRASH_AND_MORE)
        .told(CRASHED),
    Row::new("leader-lost", Loopback, others::kill_leader, GoesOn, LITTLE),
    Row::new("leader-lost-recruiting", Loopback, others::kill_leader_recruiting, FailsOver, CRASH_AND_MORE)
        .told(CRASHED)
        .quick(),
    Row::new("leader-lost-catching-up", Loopback, others::kill_leader_catching_up, FailsOver, CRASH_AND_MORE)
        .told(CRASHED),
    Row::new("leader-lost-promoting", Loopback, others::kill_leader_promoting, FailsOver, CRASH_AND_MORE).told(CRASHED),
    Row::new("leader-lost-opened", Loopback, others::kill_leader_opened, FailsOver, CRASH_AND_MORE).told(CRASHED),
    Row::new("leader-hangs-in-a-failover", Loopback, others::freeze_leader_promoting, FailsOver, CRASH_AND_MORE)
        .told(CRASHED),
    Row::new("sidecar-lost", Loopback, others::kill_sidecar, GoesOn, LITTLE).told(&["sidecar_lost"]).local(),
    Row::new("sidecar-restarted", Loopback, others::restart_sidecar, GoesOn, LITTLE).local(),
    Row::new("sidecar-lost-then-kill-9", Loopback, others::kill_sidecar_then_server, FailsOver, [4000, 4000])
        .told(HOST_LOST)
        .may_tell(&["sidecar_lost"])
        .local()
        .quarantines(),
    // The node dies a moment before its server stands still or is out of reach.
    Row::new("ssh-hangs", Namespaces, others::hang_ssh, Holds("ssh"), POWER)
        .told(HOST_LOST)
        .may_tell(&["sidecar_lost"])
        .with(others::by_ssh),
    Row::new("fenced-by-ssh", Namespaces, others::reach_by_ssh, FailsOver, [3000, 3000])
        .told(HOST_LOST)
        .may_tell(&["sidecar_lost"])
        .with(others::by_ssh)
        .quarantines()
        .only(Flavour::Mariadb),
    Row::new("rescued", Loopback, rescue::kill_with_long_tail, FailsOver, RESCUED)
        .told(CRASHED)
        .with(rescue::alone)
        .applies(),
    Row::new("rescued-through-ssh", Loopback, rescue::kill_with_sidecar_and_long_tail, FailsOver, RESCUED)
        .told(HOST_LOST)
        .applies()
        .may_tell(&["sidecar_lost", "replication_only_partition", "coordinator_blind", "attempt_unfinished"])
        .with(rescue::by_ssh_alone)
        .quarantines(),
    // Planned stops. A coordinator that does not lead sees the drained primary closed before it hears why.
    Row::new("package-upgraded", Loopback, planned::upgrade, FailsOver, CRASH)
        .told(&["switchover"])
        .may_tell(&["primary_closed"])
        .quick(),
    Row::new("primary-host-rebooted-in-order", Namespaces, planned::reboot, FailsOver, CRASH)
        .told(&["switchover"])
        .may_tell(&["primary_closed"]),
    // The replicas were killed before: their host's write group waits for them.
    Row::new("stopped-by-its-unit-while-blocked", Loopback, planned::stop_blocked, Holds("was stopped"), POWER)
        .told(&["primary_stopped"])
        .with(replicas::hold),
    // Power.
    Row::new("primary-host-rebooted", Namespaces, power::reboot_primary, FailsOver, HOST)
        .told(HOST_LOST)
        .may_tell(HOST_LOST_FIRST)
        .quarantines(),
    Row::new("power-cut-primary-first", Loopback, power::cut_power_primary_first, WritesAgain, POWER)
        .told(BLIND)
        .may_tell(STARTING),
    Row::new("power-cut-primary-last", Loopback, power::cut_power_primary_last, WritesAgain, POWER)
        .told(BLIND)
        .may_tell(STARTING)
        // The replicas read what they had received, and need not wait for the primary and its last, unacknowledged write.
        .quarantines()
        .quick(),
    Row::new("power-cut-primary-missing", Loopback, power::cut_power_primary_missing, WritesAgain, POWER)
        .told(BLIND)
        .may_tell(STARTING)
        // What it wrote last was acknowledged to nobody, and others have written since.
        .quarantines(),
    Row::new("power-cut-replica-missing", Loopback, power::cut_power_replica_missing, WritesAgain, POWER)
        .told(BLIND)
        .may_tell(STARTING),
    Row::new("power-cut-two-missing", Loopback, power::cut_power_two_missing, Holds("hears only"), POWER),
];
