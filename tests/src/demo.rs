//! `make demo`: a cluster on loopback, a writer, and a primary that dies. By keys, or by itself with `AUTO=1`.

pub mod auto;
pub mod interactive;
pub mod report;
pub mod settings;

mod keys;
mod scene;
mod waterfall;
