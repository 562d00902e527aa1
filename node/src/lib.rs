//! The Tasuki sidecar beside every database server: what the program is made of.

pub mod ledger;
pub mod process;
