//! What a node remembers across restarts: the payload of its ledger.

use serde::{Deserialize, Serialize};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::id::Incarnation;
use tasuki_schemas::observation::LedgerView;
use tasuki_schemas::record::Accepted;

/// One run of the database server's process: a pid alone is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRun {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub started: u64,
}

/// A voter's memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Random, made once with the ledger.
    pub incarnation: Incarnation,
    /// Counts durable writes.
    pub sequence: u64,
    /// The highest ballot ever promised; nothing below it is obeyed again.
    pub promised: Option<Ballot>,
    /// The highest failover promise that was not ended by accepting a record of at least its ballot.
    pub failover: Option<Ballot>,
    /// The record last accepted.
    pub accepted: Option<Accepted>,
    /// The run of the server that was opened as primary under the accepted record.
    pub opened: Option<ServerRun>,
    /// The server was opened as primary and has received nothing since: its binlog is all that it holds. One that was
    /// named and died before it opened may hold more in its relay files.
    #[serde(default)]
    pub whole: bool,
    /// The machine that this ledger belongs to: on another one it is a copy, and nobody's vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Why this ledger does not go on from an earlier one, until an accepted record names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anew: Option<String>,
}

impl Memory {
    /// A new voter's.
    #[must_use]
    pub const fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            sequence: 0,
            promised: None,
            failover: None,
            accepted: None,
            opened: None,
            whole: false,
            machine: None,
            anew: None,
        }
    }

    /// What others may know of it. `durable` is the sequence that the disk holds: what a crash may still take back is
    /// not told, or the ledger would seem to have been rolled back.
    #[must_use]
    pub fn view(&self, durable: u64) -> LedgerView {
        LedgerView {
            incarnation: self.incarnation,
            sequence: durable,
            promised: self.promised.clone(),
            failover: self.failover.clone(),
            accepted: self.accepted.clone(),
            anew: self.anew.clone(),
        }
    }
}
