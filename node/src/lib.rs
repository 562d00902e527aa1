//! The Tasuki sidecar beside every database server: what the program is made of.

pub mod binlog;
pub mod ledger;
pub mod process;
