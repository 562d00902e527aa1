//! Real programs on one machine: on loopback addresses (no root needed), or in network namespaces (root).
//!
//! Everything that a [`Lab`] starts is ended when it is dropped, also after a panic; and the kernel ends it when the
//! test itself is killed. Every wait has a deadline and says what it waited for.

pub mod config;
pub mod disk;
pub mod drill;
pub mod events;
pub mod hands;
pub mod haproxy;
pub mod health;
pub mod history;
pub mod namespaces;
pub mod net;
pub mod npm;
pub mod process;
pub mod programs;
pub mod redis;
pub mod run;
pub mod server;
pub mod sql;
pub mod tail;
pub mod template;
pub mod tools;
pub mod waiting;
pub mod wire;
pub mod writer;

mod clocks;
mod cluster;
mod outside;
mod sshd;
mod start;

pub use cluster::{Cluster, Lab};
pub use outside::Outside;
pub use start::{Options, trio};
