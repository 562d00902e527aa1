//! A replica that nobody hears leaves the write group. Of five servers, so that the three that remain beside the primary are
//! a majority when its host is lost.

use crate::sim::faults::{Fault, Snare, Trap};
use crate::sim::world::MS;

pub(super) const SERVERS: usize = 5;
/// The replica that leaves.
const LOST: usize = 4;
/// By then it has left, whatever the patience of the run.
const LEFT: u64 = 6000;

/// The coordinators do not hear it, nor it them; the primary does.
fn unheard() -> Vec<(u64, Fault)> {
    [SERVERS, SERVERS + 1].map(|coordinator| (1500, Fault::Part(LOST, coordinator))).to_vec()
}

fn others() -> impl Iterator<Item = usize> {
    1..LOST
}

fn ends(at: u64) -> Vec<(u64, Fault)> {
    vec![(at, Fault::Mend), (at, Fault::StartNode(0)), (at + 500, Fault::Start(0))]
}

/// It has left. Then the others receive nothing for a while, and the primary's host is lost.
pub(super) fn outsider() -> Vec<(u64, Fault)> {
    let mut faults = unheard();
    faults.extend(others().map(|host| (LEFT, Fault::Lag(host, 3000 * MS))));
    faults.push((LEFT + 400, Fault::KillHost(0)));
    faults.extend(ends(LEFT + 4000));
    faults
}

/// The others receive nothing while it is to leave: only it has what is acknowledged.
pub(super) fn uncovered() -> Vec<(u64, Fault)> {
    let mut faults = unheard();
    faults.extend(others().map(|host| (1600, Fault::Lag(host, 8000 * MS))));
    faults.push((LEFT, Fault::KillHost(0)));
    faults.extend(ends(LEFT + 4000));
    faults
}

/// A client with semi-sync on comes to the primary, and is cut off. Then the replicas receive nothing for a while, and the
/// primary's host is lost.
pub(super) fn stranger() -> Vec<(u64, Fault)> {
    let mut faults = vec![(1500, Fault::Stranger(0)), (3400, Fault::KillHost(0))];
    faults.extend((1..SERVERS).map(|host| (3000, Fault::Lag(host, 2000 * MS))));
    faults.extend(ends(7000));
    faults
}

/// A replica that receives nothing has left, by its own node as well. It has caught up and acknowledges nobody's writes when
/// it is no longer heard, and somebody writes on it. When it returns it follows, and holds what its primary lacks.
pub(super) fn errant() -> Vec<(u64, Fault)> {
    let mut faults = vec![(1500, Fault::Lag(LOST, 4000 * MS))];
    faults.extend([SERVERS, SERVERS + 1].map(|coordinator| (5000, Fault::Part(LOST, coordinator))));
    faults.extend([(LEFT, Fault::Errant(LOST)), (LEFT + 100, Fault::Mend)]);
    faults
}

/// It returns. Its node stands still while it is to stop acknowledging.
pub(super) fn returning() -> Vec<(u64, Fault)> {
    let mut faults = unheard();
    faults.push((LEFT, Fault::Mend));
    faults.extend(ends(LEFT + 6000));
    faults
}

pub(super) fn while_leaving() -> Vec<Trap> {
    let trap = |delay, fault| Trap { effect: "LeaveGroup", skip: 0, delay: delay * MS, snare: Snare::Other(fault) };
    let mut traps = vec![trap(0, Fault::PauseNode(LOST, 4000 * MS)), trap(500, Fault::KillHost(0))];
    traps.extend(others().map(|host| trap(50, Fault::Lag(host, 3000 * MS))));
    traps
}
