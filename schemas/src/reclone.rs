//! A re-clone as its node tells it, and what the nodes of its two servers say to each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gtid::GtidSet;
use crate::id::NodeId;

/// A copy of another server's data that takes the place of a server's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recloning {
    /// Whose data is copied.
    pub donor: NodeId,
    /// How far it is.
    #[serde(flatten)]
    pub stage: RecloneStage,
}

/// How far a re-clone is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum RecloneStage {
    /// Bytes arrive. The server itself goes on as it is.
    Copying {
        /// So many have arrived.
        bytes: u64,
        /// So many are expected, about.
        expected: u64,
    },
    /// All have arrived; the copy is made consistent.
    Preparing,
    /// The copy is whole and waits to take the server's place.
    Copied,
    /// The server is stopped, the directories change places, and it is started again.
    Exchanging {
        /// The step under way, for people.
        step: String,
    },
    /// The server runs on the copy.
    Done {
        /// The directory with the data from before.
        aside: String,
        /// Milliseconds since then.
        ago_ms: u64,
    },
    /// The server runs, or lies, on its own data as before.
    Failed {
        /// Why, for people.
        reason: String,
        /// Milliseconds since then.
        ago_ms: u64,
    },
}

impl RecloneStage {
    /// Whether it goes on.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        match self {
            Self::Copying { .. } | Self::Preparing | Self::Copied | Self::Exchanging { .. } => true,
            Self::Done { .. } | Self::Failed { .. } => false,
        }
    }

    /// Whether the server is being taken away or brought back: nothing can be asked of it.
    #[must_use]
    pub const fn is_exchanging(&self) -> bool {
        match self {
            Self::Exchanging { .. } => true,
            Self::Copying { .. } | Self::Preparing | Self::Copied | Self::Done { .. } | Self::Failed { .. } => false,
        }
    }

    /// The same, so long after it was told.
    #[must_use]
    pub fn aged(&self, ms: u64) -> Self {
        let mut aged = self.clone();
        match &mut aged {
            Self::Done { ago_ms, .. } | Self::Failed { ago_ms, .. } => *ago_ms = ago_ms.saturating_add(ms),
            Self::Copying { .. } | Self::Preparing | Self::Copied | Self::Exchanging { .. } => {}
        }
        aged
    }
}

/// What a server's node asks of its donor's node, on a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum DonorAsk {
    /// What would be copied. Answered by an offer.
    Offer,
    /// A backup as a stream. Answered by an offer, the bytes, and an end.
    Backup,
}

/// What a donor has to give, or why nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DonorOffer {
    /// Its server's version, as that prints it.
    pub version: String,
    /// Bytes of data, without binlogs and relay files.
    pub bytes: u64,
    /// What its server has executed.
    pub executed: GtidSet,
    /// Why it gives no copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// The end of a backup's stream: without it the stream was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DonorEnd {
    /// What the server had executed when the backup was over.
    pub executed: GtidSet,
    /// Why the backup is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
