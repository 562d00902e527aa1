//! What is said over HTTP under `/api/v1`, beside snapshots and events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Diagnosis, EventId, StageName};
use crate::forecast::Guarantee;
use crate::id::{ClusterName, CoordinatorId, IncidentId, NodeId};
use crate::past::Pause;

/// Why something was not done, with the fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The sentence for people.
    pub error: String,
}

/// A token, shown once for a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The token.
    pub token: String,
}

/// Who asks, as the coordinator knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The token's name.
    pub name: String,
    /// `public`, `viewer`, `operator` or `admin`.
    pub role: String,
    /// The clusters that the token opens here.
    pub clusters: Vec<ClusterName>,
    /// Which coordinator answers.
    pub coordinator: CoordinatorId,
    /// Its version.
    pub version: String,
}

/// One cluster in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The cluster.
    pub cluster: ClusterName,
    /// What is wrong.
    pub diagnosis: Diagnosis,
    /// The same in one sentence.
    pub sentence: String,
    /// The server that clients write to, if there is a record.
    pub primary: Option<NodeId>,
    /// Who leads.
    pub leader: Option<CoordinatorId>,
    /// What the cluster promises, once that is known.
    pub guarantee: Option<Guarantee>,
    /// The failover under way, if any.
    pub stage: Option<StageName>,
    /// No failover begins while it lasts.
    pub pause: Option<Pause>,
    /// Why nothing is done, if so.
    pub holds: Vec<String>,
}

/// Where to connect a viewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// The address.
    pub url: String,
    /// Whose it is.
    pub coordinator: CoordinatorId,
    /// Viewers connected there now.
    pub viewers: u32,
    /// Its version.
    pub version: String,
}

/// Lets the primary hand over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchoverWish {
    /// Who takes over; left out: whoever would win a failover.
    #[serde(default)]
    pub to: Option<NodeId>,
    /// When, as `2026-12-24T03:00:00Z`, at most 31 days ahead; left out: now. It is remembered by the cluster, and begins when
    /// the leader's clock says so, or within the ten minutes after that.
    #[serde(default)]
    pub at: Option<String>,
    /// Why, for everybody who wonders: 1 to 200 characters.
    pub reason: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Gives up the switchover that is planned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelSwitchoverWish {}

/// Lets a failover that is held go on, by the operator's word. It counts for this incident alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideWish {
    /// The incident that is answered for, as the hold and the snapshot name it.
    pub incident: IncidentId,
    /// The server that somebody has made sure serves nobody, e.g. by switching its host off.
    #[serde(default)]
    pub fenced: Option<NodeId>,
    /// What only the replaced server has may be lost.
    #[serde(default)]
    pub accept_loss: bool,
    /// Why, for everybody who wonders: 1 to 200 characters.
    pub reason: String,
    /// Only say whether it would count.
    #[serde(default)]
    pub dry_run: bool,
}

/// Lets a failover begin that is called for, and that a pause or earlier failovers of the same server hold back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailoverWish {
    /// Why, for everybody who wonders: 1 to 200 characters.
    pub reason: String,
    /// Only say whether it would begin.
    #[serde(default)]
    pub dry_run: bool,
}

/// Brings a server home on a copy of another's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecloneWish {
    /// The server.
    pub node: NodeId,
    /// Why, for everybody who wonders: 1 to 200 characters.
    pub reason: String,
    /// Only say whether it could be done, and from whom.
    #[serde(default)]
    pub dry_run: bool,
}

/// Begins no failover for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseWish {
    /// For how many seconds, at most a day.
    pub for_s: u64,
    /// Why, for everybody who wonders: 1 to 200 characters.
    pub reason: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Lets failovers go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeWish {
    /// Why, if that is worth a word: at most 200 characters.
    #[serde(default)]
    pub reason: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of a wish that was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Granted {
    /// What was done, or would be, in lines for people.
    pub lines: Vec<String>,
}

/// Says something to everybody who watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteWish {
    /// What, in plain text: 1 to 500 characters.
    pub text: String,
}

/// A note that is in history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Noted {
    /// Where it is.
    pub id: EventId,
}

/// Something that was wrong for a while: from the first diagnosis to the healthy one after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Its first event: history after it is the rest.
    pub id: Option<EventId>,
    /// When it began, in milliseconds since 1970 by the teller's wall clock.
    pub from_ms: u64,
    /// When it was over; `None` while it goes on.
    pub to_ms: Option<u64>,
    /// What was wrong first.
    pub sentence: String,
    /// Who was replaced, if anybody.
    pub old: Option<NodeId>,
    /// Who took over, if anybody.
    pub new: Option<NodeId>,
    /// Events of it that were kept.
    pub events: u64,
}
