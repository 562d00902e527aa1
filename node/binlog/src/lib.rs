//! The server's binlog files, read without the server, and written into another server by SQL.
//!
//! A dead primary often holds transactions that no replica received. Its node reads them here from the files, and
//! the candidate's node applies them before it opens. The framing is our own: files may be torn or damaged, and a
//! general decoder that trusts them can be made to panic or to loop. Nothing inside an event is looked at before
//! its checksum was found right.

mod apply;
mod closed;
mod deliver;
mod event;
mod extract;
mod frame;
mod gtid;
mod history;
#[cfg(test)]
mod hostile;
mod moment;
mod packets;
mod packing;
mod payload;
mod query;
mod readable;
mod reader;
mod relay;
mod rows;
mod spool;
mod stream;
mod table;
mod value;

use std::io;
use std::path::PathBuf;

pub use apply::{Applier, ApplyError};
pub use closed::was_closed;
pub use deliver::{Kept, deliver};
pub use extract::{Bounds, Extra, Extracted, extract, tables};
pub use history::{before, executed, read_to_end};
pub use packing::unpack;
pub use readable::{Shapes, describe, utc};
pub use relay::{Unapplied, unapplied};
pub use rows::Column;
pub use spool::{Spooled, check, write_relay};
pub use stream::{PIECE, Stream};

/// One whole transaction in the events of its binlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its GTID, in the flavour's text form.
    pub gtid: String,
    /// The format description event of its file.
    pub format: Vec<u8>,
    /// Its events in order, the GTID event first, each with its header and checksum.
    pub events: Vec<Vec<u8>>,
}

/// Why binlog files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BinlogError {
    /// The system refuses to show a file.
    #[error("cannot read {path}: {source}; the node must be able to read the server's binlog")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file is encrypted: only its server can read it.
    #[error(
        "{path} is encrypted: a rescue from files needs an unencrypted binlog (encrypt_binlog or binlog_encryption off)"
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something that is not understood and must not be skipped.
    #[error("{path} at {offset}: {what}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Where the event begins, in bytes.
        offset: u64,
        /// What is found there.
        what: String,
    },
    /// The file is damaged in a way that a crash at its end does not explain.
    #[error("{path} is damaged at {offset}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the event begins, in bytes.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The sets compared are of different flavours.
    #[error(transparent)]
    Mixed(#[from] tasuki_schemas::gtid::MixedFlavours),
}
