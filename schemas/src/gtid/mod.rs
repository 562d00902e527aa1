//! GTID sets of both flavours, with the algebra that elections are made of. No server is asked.

pub mod interval;
pub mod mariadb;
pub mod mysql;
mod ranges;
mod set;
mod single;

pub use ranges::{Range, Ranges};
pub use set::{Comparison, Flavour, GtidSet, InvalidGtidSet, MixedFlavours};
pub use single::{Gtid, InvalidGtid, Origin};
