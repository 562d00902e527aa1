//! Whether the winner of a failover is the one that the forecast named. Only of a primary that dies in a whole cluster,
//! with no other fault before the decision: more than one cannot be foretold.

use std::collections::BTreeSet;

use tasuki_schemas::forecast::Forecast;
use tasuki_schemas::id::NodeId;
use tasuki_schemas::record::Record;

use super::check;
use super::faults::Fault;
use super::world::{MS, World};

/// A cluster was left alone for this long before a fault is called a lone one.
const LEFT_ALONE: u64 = 1500 * MS;
/// A forecast takes so long to say what came of a decision.
const FORESEEN: u64 = 1000 * MS;

/// What was foretold when the last fault struck.
#[derive(Debug, Default)]
pub(crate) struct Foretold {
    last_fault: u64,
    last_decision: u64,
    /// Each coordinator's forecast, and whether the whole host died.
    struck: Option<(Vec<Option<Forecast>>, bool)>,
    /// Failovers that ended as foretold.
    pub(crate) kept: usize,
}

/// A fault is about to strike.
pub(crate) fn strikes(world: &mut World, fault: &Fault) {
    let whole_host = matches!(fault, Fault::KillHost(_));
    let host = if let Fault::Kill(host) | Fault::KillHost(host) = fault { Some(*host) } else { None };
    let lone = host == Some(world.history.last_on)
        && world.now - world.foretold.last_fault > LEFT_ALONE
        && world.now - world.foretold.last_decision > FORESEEN
        && world.net.redis
        && world.net.lossy == 0
        && check::settled(world);
    let forecast = |core: &tasuki_coordinator_core::Coordinator| core.forecast().cloned();
    let forecasts = || world.coordinators.iter().map(|state| state.core.as_ref().and_then(forecast)).collect();
    let struck = lone.then(|| (forecasts(), whole_host));
    world.foretold.struck = struck;
    world.foretold.last_fault = world.now;
}

/// A coordinator decided on a record.
pub(crate) fn decided(world: &mut World, at: usize, record: &Record) {
    world.foretold.last_decision = world.now;
    let Some((forecasts, whole_host)) = world.foretold.struck.clone() else { return };
    let Some(forecast) = forecasts.get(at).and_then(Option::as_ref) else { return };
    if record.opened || record.primary == forecast.primary {
        return;
    }
    let outlook = if whole_host { &forecast.host_loss } else { &forecast.crash };
    let may_win = outlook.may_win();
    // A forecast that names everybody is always right: it must name those alone whom the cluster file ranks first.
    let narrow = world.wishes.is_empty() || may_win == preferred(world, &forecast.primary);
    if outlook.blockers.is_empty() && may_win.contains(&record.primary) && narrow {
        world.foretold.kept += 1;
    } else {
        let text = format!("{} won, and co{} had foretold {outlook:?}", record.primary, at + 1);
        world.history.violation.get_or_insert(text);
    }
    world.foretold.struck = None;
}

/// The servers besides the primary that nobody is rather wished than.
fn preferred<'a>(world: &'a World, primary: &NodeId) -> BTreeSet<&'a NodeId> {
    let others = || world.hosts.iter().zip(&world.wishes).filter(|(host, _)| host.name != *primary);
    let best = others().map(|(_, wish)| wish).min();
    others().filter(|(_, wish)| Some(*wish) == best).map(|(host, _)| &host.name).collect()
}
