//! The Tasuki sidecar beside every database server: what the program is made of.

pub mod cut;
pub mod dial;
pub mod disk;
pub mod driver;
pub mod events;
pub mod execute;
pub mod facts;
pub mod guard;
pub mod health;
pub mod home;
pub mod leave;
pub mod ledger;
pub mod pace;
pub mod positions;
pub mod probe;
pub mod process;
pub mod reclone;
pub mod server;
pub mod serving;
pub mod start;
pub mod support;
pub mod vip;

pub use tasuki_binlog as binlog;
