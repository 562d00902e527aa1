//! The guard beside a server: it goes on when the node has ended, and kills at its moment.

use tasuki_node_core::{Guarding, Input};

use super::faults::Fault;
use super::server::Host;
use super::world::{Happening, MS, World};

impl World {
    /// The guard holds what it is told, if that run is there, and says so.
    pub(crate) fn guard(&mut self, host: Host, guarding: Option<Guarding>) {
        let state = &mut self.hosts[host];
        state.guard = guarding.filter(|guarding| Some(guarding.run) == state.server.run);
        let held = state.guard;
        self.note(|| format!("the guard of db{} holds {held:?}", host + 1));
        if let Some(until) = held.and_then(|guarding| guarding.until) {
            let at = self.at(host, until);
            self.after(at.saturating_sub(self.now), Happening::LeaseEnds { host });
        }
        self.node_input(host, Input::Guarded(held));
    }

    /// The guard kills what it holds, unless it was given more time meanwhile.
    pub(crate) fn end_lease(&mut self, host: Host) {
        let Some(Guarding { run, until: Some(until) }) = self.hosts[host].guard else { return };
        if until > self.moment(host) || self.hosts[host].server.run != Some(run) {
            return;
        }
        self.note(|| format!("the guard of db{} kills it", host + 1));
        self.hosts[host].guard = None;
        self.hosts[host].server.crash();
        self.after(MS, Happening::Exit { host, run, clean: false });
        // The system's service manager starts it again.
        self.after(1000 * MS, Happening::Fault(Fault::Start(host)));
    }
}
