//! Both carriers of Tasuki's messages behind one interface, always used beside each other.
//!
//! A message is sealed once; the same text goes to every Redis server and over the mesh's links. Whatever arrives is
//! verified, taken once, and handed on through one channel. Publishing never waits: each carrier has a bounded queue that
//! drops the oldest. A carrier that is lost, slow, replaying or lying can delay a message, and nothing else.
//!
//! ```no_run
//! # async fn run(config: tasuki_bus::BusConfig, heartbeat: tasuki_schemas::message::Message) -> Result<(), Box<dyn std::error::Error>> {
//! use tasuki_bus::{Arrived, Bus};
//! use tasuki_schemas::channel::Channel;
//!
//! let (bus, mut arrived) = Bus::start(config)?;
//! while let Some(arrived) = arrived.recv().await {
//!     match arrived {
//!         Arrived::Message(opened) => drop(opened.message),
//!         Arrived::Resumed => bus.publish(&Channel::Coordinator, &heartbeat)?,
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod boot;
mod bulk;
mod bus;
pub mod clock;
mod config;
mod counters;
mod inbox;
mod jitter;
pub mod key;
mod known;
pub mod local;
mod mesh;
mod outbox;
mod queue;
mod redis;
mod stream;
mod window;

pub use bulk::{BulkDialler, BulkStream};
pub use bus::{Bus, Carriers, Gauge};
pub use config::{BusConfig, BusError, Peer};
pub use counters::{Counters, Reason};
pub use inbox::Arrived;
pub use redis::check_redis_url;
pub use stream::{Announcer, Connected, Mark, Sealed, Stream, StreamError};
