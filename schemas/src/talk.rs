//! What is said over Socket.IO beside snapshots and events: what a viewer shows, asks and is answered, and why it is refused
//! or let go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::EventId;

/// What a viewer shows when it connects, as `auth`. Clients of 2.x show it in the query, `since` as `CLUSTER:ID,…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// Its token, unless a header or a session shows it.
    pub token: Option<String>,
    /// The one cluster that it wants to see; left out: all that the token opens.
    pub cluster: Option<String>,
    /// The last incident that it got of each cluster: it is told what came after.
    #[serde(default)]
    pub since: BTreeMap<String, String>,
}

/// Why a viewer is not let in: what `connect_error` is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Denial {
    /// Code, sentence and fix in one line.
    pub message: String,
    /// The same in parts: the official clients show it as `error.data`.
    pub data: Why,
}

/// A refusal in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// For programs: `unauthorized`, `unknown_cluster`, `forbidden` or `bad_since`.
    pub code: String,
    /// What is wrong, for people.
    pub sentence: String,
    /// What to do about it.
    pub fix: String,
}

/// Why the feed closes a connection, told right before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Closing {
    /// For programs: `revoked`, or something after which the viewer may connect again.
    pub code: String,
    /// The sentence for people, with the fix.
    pub why: String,
    /// Where to go on, if the coordinator is about to stop and knows another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A note to everybody who watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoteAsked {
    /// Of which cluster.
    pub cluster: String,
    /// What, in plain text: 1 to 500 characters.
    pub text: String,
}

/// What an asker is acknowledged with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Answer {
    /// A note is in history.
    Kept {
        /// True.
        ok: bool,
        /// Where it is.
        id: EventId,
    },
    /// An act was done, or would be.
    Done {
        /// True.
        ok: bool,
        /// What was done, in lines for people.
        lines: Vec<String>,
    },
    /// Neither.
    Refused {
        /// False.
        ok: bool,
        /// A code, what is wrong, and the fix.
        error: String,
    },
}
