//! The bus against real Redis servers and real sockets.
//!
//! Needs `redis-server`, or `redis-tools` alone, which carry the same program under another name.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends where something is not as it should be"
)]

mod bulk;
mod carriers;
mod intruders;
mod key;
mod outages;
mod replicas;
mod secured;
mod world;
