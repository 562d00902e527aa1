//! What a Tasuki coordinator decides. Pure: it is handed what happened and the time, and returns what to do about it.
//!
//! The lap of an observation: [`view`] keeps it if it is fresh, [`diagnose`] names the one thing that is wrong,
//! [`coordinator`] rests, holds with reasons, or begins; [`failover`] asks the voters; their promises become a
//! [`proof`], or not; [`elect`] compares GTID sets; the record is decided; orders go out; their outcomes are part of
//! the next observations.

pub mod annals;
pub mod birth;
pub mod chain;
pub mod coordinator;
pub mod diagnose;
pub mod elect;
pub mod failover;
pub mod fence;
pub mod flapping;
pub mod forecast;
pub mod goal;
pub mod group;
pub mod histories;
pub mod leading;
mod leaving;
pub mod narrow;
pub mod pause;
pub mod plan;
pub mod planned;
pub mod promises;
pub mod proof;
pub mod propose;
pub mod reading;
pub mod reclone;
pub mod repair;
pub mod sentence;
pub mod settings;
pub mod switchover;
pub mod version;
pub mod view;
pub mod voters;

mod admission;
mod archive;
mod attempting;
mod awake;
mod calling;
mod cover;
mod donor;
mod doubts;
#[cfg(test)]
mod fixtures;
mod foresight;
mod headway;
mod input;
mod lag;
mod loss;
mod missing;
mod opinions;
mod outbox;
mod overrule;
mod random;
mod refusing;
mod telling;
mod verdict;
mod waking;

pub use coordinator::Coordinator;
pub use input::Input;
pub use outbox::Output;
