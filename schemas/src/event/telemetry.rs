//! Telemetry as viewers get it: together, so that a viewer of many servers is not sent a message for each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, PublicEvent};
use crate::id::ClusterName;

/// Events of a cluster that are kept nowhere, at most one heartbeat old: the message `telemetry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Telemetry {
    /// The cluster.
    pub cluster: ClusterName,
    /// `health` and `position`, in the order in which they were told.
    pub events: Vec<Event>,
}

/// The same as the public sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublicTelemetry {
    /// The cluster.
    pub cluster: ClusterName,
    /// `health`, in the order in which they were told.
    pub events: Vec<PublicEvent>,
}

impl Telemetry {
    /// Its name at viewers.
    pub const NAME: &str = "telemetry";

    /// What the public sees of it; `None` if nothing is left.
    #[must_use]
    pub fn public(&self) -> Option<PublicTelemetry> {
        let events: Vec<PublicEvent> = self.events.iter().filter_map(Event::public).collect();
        (!events.is_empty()).then(|| PublicTelemetry { cluster: self.cluster.clone(), events })
    }
}
