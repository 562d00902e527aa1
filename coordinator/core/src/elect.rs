//! Who becomes the primary, and why each other server lost. Sets are compared; no server is asked.

use tasuki_schemas::gtid::{Comparison, GtidSet};
use tasuki_schemas::id::NodeId;

use crate::settings::Promotion;

/// A server that could win.
#[derive(Clone, Debug)]
pub struct Contender<'a> {
    /// The server.
    pub node: &'a NodeId,
    /// The operator's wish.
    pub promotion: Promotion,
    /// Its place in the cluster file.
    pub order: usize,
    /// The old primary itself, alive and holding everything: naming it again undoes the attempt.
    pub incumbent: bool,
    /// Everything that it holds; `None` if that is not known.
    pub received: Option<&'a GtidSet>,
    /// It was chosen a moment ago and did not open: only if nobody else can.
    pub excluded: bool,
    /// What it has applied.
    pub executed: Option<&'a GtidSet>,
    /// Why it must not win, whatever it holds.
    pub barred: Option<String>,
}

/// The result of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The winner, if anybody may win.
    pub winner: Option<NodeId>,
    /// Why it won, and why each other server lost.
    pub reasons: Vec<String>,
}

/// Preference, best first: not chosen in vain a moment ago, the incumbent, the operator's wish, the goal held, no other of `all` holding all of it and
/// more, the goal applied, file order.
fn rank(
    contender: &Contender<'_>,
    all: &[&Contender<'_>],
    goal: &GtidSet,
) -> (bool, bool, Promotion, bool, bool, bool, usize) {
    let holds = |set: Option<&GtidSet>| set.is_some_and(|set| set.contains(goal) == Ok(true));
    let has_more = |other: &&Contender<'_>| match (other.received, contender.received) {
        (Some(theirs), Some(own)) => theirs.compare(own) == Comparison::Superset,
        (Some(_) | None, None) | (None, Some(_)) => false,
    };
    (
        contender.excluded,
        !contender.incumbent,
        contender.promotion,
        !holds(contender.received),
        all.iter().any(has_more),
        !holds(contender.executed),
        contender.order,
    )
}

/// Holds the election.
#[must_use]
pub fn elect(contenders: &[Contender<'_>], goal: &GtidSet) -> Election {
    let barred = |contender: &Contender<'_>| -> Option<String> {
        if let Some(reason) = &contender.barred {
            return Some(reason.clone());
        }
        if contender.promotion == Promotion::Never {
            return Some("the cluster file says `promotion = \"never\"`".to_owned());
        }
        contender.received.is_none().then(|| "what it holds is not known".to_owned())
    };
    let eligible: Vec<&Contender<'_>> = contenders.iter().filter(|contender| barred(contender).is_none()).collect();
    let winner = eligible.iter().min_by_key(|contender| rank(contender, &eligible, goal));
    let reasons = contenders
        .iter()
        .map(|contender| match (barred(contender), winner) {
            (Some(reason), _) => format!("{} cannot win: {reason}", contender.node),
            (None, Some(winner)) if winner.node == contender.node => format!("{} wins", contender.node),
            (None, Some(winner)) => {
                format!("{} lost to {}: {}", contender.node, winner.node, why(contender, winner, &eligible, goal))
            }
            (None, None) => format!("{} did not win", contender.node),
        })
        .collect();
    Election { winner: winner.map(|winner| winner.node.clone()), reasons }
}

fn why(loser: &Contender<'_>, winner: &Contender<'_>, all: &[&Contender<'_>], goal: &GtidSet) -> &'static str {
    let (lost, won) = (rank(loser, all, goal), rank(winner, all, goal));
    if lost.0 != won.0 {
        "it did not open a moment ago, or nobody can write to it"
    } else if lost.1 != won.1 {
        "the old primary is alive and holds everything"
    } else if lost.2 != won.2 {
        "the cluster file prefers the winner"
    } else if (lost.3, lost.4) != (won.3, won.4) {
        "it would have to fetch what the winner holds"
    } else if lost.5 != won.5 {
        "it has more left to apply"
    } else {
        "it comes later in the cluster file"
    }
}
