//! The fault matrix: each fault of a table is made on real servers, and what came of it is compared with what the table
//! says: the diagnosis that was told, the outcome, the gap, and what became of every acknowledged write.

pub mod judge;
pub mod row;
pub mod rows;
pub mod run;
pub mod scene;
pub mod table;
pub mod told;

mod crash;
mod heal;
pub mod mute;
mod network;
mod others;
mod planned;
mod power;
mod replicas;
mod rescue;
