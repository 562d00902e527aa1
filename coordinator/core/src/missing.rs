//! Why there is no proof yet, and what operators can do about it.

use std::time::Duration;

use tasuki_schemas::id::{ClusterName, IncidentId, NodeId};

use crate::settings::Policy;

/// Why there is no proof (yet).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// No majority of the record's voters promised.
    #[error("no majority of the record's voters promised")]
    NoMajority,
    /// Writes were acknowledged without replicas (k = 0), and nothing shows that their server is silent.
    #[error("{primary} acknowledged writes without replicas (k = 0), and nothing shows that it is silent{}", tried.as_ref().map(|tried| format!(": {tried}")).unwrap_or_default())]
    Alone {
        /// The server.
        primary: NodeId,
        /// The fences from outside, and what came of them.
        tried: Option<String>,
    },
    /// A server is silent for good, what it alone holds would be lost, and nobody accepts that.
    #[error(
        "{primary} does not show what it holds: its last writes may be on its disk alone, and their loss is not accepted (`max_loss`)"
    )]
    Unaccepted {
        /// The server.
        primary: NodeId,
        /// It has yet to be fenced.
        serves: bool,
    },
    /// It was ended through ssh, its host answers, and its files cannot be read.
    #[error("{primary} was ended through ssh, and what it holds cannot be read: {reason}")]
    Unreadable {
        /// The server.
        primary: NodeId,
        /// The file, what is wrong with it, and the fix.
        reason: String,
    },
    /// Its lease must have ended before anybody else may acknowledge.
    #[error("{primary} may acknowledge writes for as long as its lease lasts; its end is awaited")]
    Leased {
        /// The server.
        primary: NodeId,
        /// How long that takes.
        rest: Duration,
    },
    /// Too few members of a group showed what they hold.
    #[error(
        "of the write group {group} with {acks} acknowledgements, {needed} must show what they hold; {shown} did ({by})"
    )]
    TooFew {
        /// The server that writes were acknowledged by.
        primary: NodeId,
        /// The group's members.
        group: String,
        /// k
        acks: u32,
        /// n − k
        needed: usize,
        /// How many did.
        shown: usize,
        /// Who did.
        by: String,
        /// Who did not.
        others: String,
    },
}

impl NoProof {
    /// The whole sentence: what is missing, and what would mend it.
    #[must_use]
    pub fn sentence(
        &self,
        policy: &Policy,
        cluster: &ClusterName,
        incident: Option<IncidentId>,
        voters: &str,
    ) -> String {
        let by_hand = policy.fences.is_empty();
        let fix = match self {
            Self::Leased { .. } => return self.to_string(),
            // All answered, some with ledgers that have no vote.
            Self::NoMajority if voters.is_empty() => {
                format!("`tasuki-coordinator admit {cluster} NODE` gives a new ledger its vote on your word")
            }
            Self::NoMajority => format!("start the nodes of {voters}"),
            Self::Alone { primary, .. } => {
                let means = if by_hand { " ([ssh] or [shutdown] in the cluster file would)" } else { "" };
                let command = command(cluster, incident, Some(primary), !policy.accepts_tail(false));
                format!("bring it back; or make sure that it serves nobody{means}, then {command}")
            }
            Self::Unaccepted { primary, serves } => {
                let command = command(cluster, incident, Some(primary).filter(|_| *serves && by_hand), true);
                format!("bring it back; or accept the loss by {command}")
            }
            Self::Unreadable { .. } => {
                format!("it is tried again; or accept the loss by {}", command(cluster, incident, None, true))
            }
            Self::TooFew { primary, others, .. } => {
                let command = command(cluster, incident, Some(primary).filter(|_| by_hand), true);
                let end = if by_hand { format!("make sure that {primary} serves nobody, and ") } else { String::new() };
                format!("bring {others} back; or {end}accept the loss of what only they have by {command}")
            }
        };
        format!("{self}; {fix}")
    }
}

/// The command by which an operator answers for what nothing proves.
fn command(cluster: &ClusterName, incident: Option<IncidentId>, fenced: Option<&NodeId>, accept_loss: bool) -> String {
    let incident = incident.map_or_else(|| "ID".to_owned(), |incident| incident.to_string());
    let fenced = fenced.map(|node| format!(" --fenced {node}")).unwrap_or_default();
    let loss = if accept_loss { " --accept-loss" } else { "" };
    format!("`tasuki-coordinator override {cluster} --incident {incident}{fenced}{loss} --by WHO --reason WHY`")
}
