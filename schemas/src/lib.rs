//! Tasuki's wire vocabulary: pure types, shared by nodes, coordinators and viewers.
//!
//! A word means the same in code, on the wire, in logs and in documents. Nothing here does I/O.

pub mod answer;
pub mod api;
pub mod ballot;
pub mod channel;
pub mod command;
pub mod envelope;
pub mod errand;
pub mod event;
pub mod forecast;
pub mod grounds;
pub mod gtid;
pub mod id;
pub mod lease;
pub mod message;
pub mod moment;
pub mod observation;
pub mod past;
pub mod reclone;
pub mod record;
pub mod talk;
