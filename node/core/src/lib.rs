//! What a Tasuki node decides. Pure: it is handed what happened and the time, and returns what to do about it.
//!
//! A node answers for one server, or votes alone as a witness. It never makes its server primary by itself; it may only
//! stop it from being one. `admit` takes promises and records, `orders` takes acts that are `lawful`, `report` makes the
//! whole observation that carries every answer.

mod admit;
mod anew;
mod fetching;
mod io;
mod lawful;
mod lease;
mod leaving;
mod memory;
mod node;
mod orders;
mod reclone;
mod refused;
mod report;
mod server;
mod settings;
pub mod statements;
mod strangers;

pub use io::{
    Acknowledging, Effect, EffectId, Ended, Guarding, Input, LISTEN, Output, Progress, Reader, STILL, ServerReport,
};
pub use memory::{Memory, ServerRun};
pub use node::Node;
pub use settings::Settings;
