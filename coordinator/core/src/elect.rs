//! Who becomes the primary, and why each other server lost. Sets are compared; no server is asked.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_schemas::gtid::{Comparison, GtidSet};
use tasuki_schemas::id::NodeId;

use crate::settings::Promotion;
use crate::version::Version;

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
    /// Its applier had failed before the failover began, with this error: only if nobody else can.
    pub broken: Option<&'a str>,
    /// It was chosen a moment ago and did not open: only if nobody else can.
    pub excluded: bool,
    /// The primary hands over to it.
    pub chosen: bool,
    /// It stands at another site than the old primary.
    pub elsewhere: bool,
    /// Its version; `None` if that is not known or it does not run.
    pub version: Option<Version>,
    /// What it has applied.
    pub executed: Option<&'a GtidSet>,
    /// Why it must not win, whatever it holds.
    pub barred: Option<String>,
}

/// Servers that are chosen only if nobody else can be.
#[derive(Clone, Debug, Default)]
pub struct Doubts {
    /// They won a moment ago and did not open.
    pub failed: BTreeSet<NodeId>,
    /// Their appliers had failed before the failover began, with these errors.
    pub broken: BTreeMap<NodeId, String>,
    /// Whom the primary hands over to, in a switchover.
    pub chosen: Option<NodeId>,
}

/// The result of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The winner, if anybody may win.
    pub winner: Option<NodeId>,
    /// Servers whose wish, site and version equal the winner's: it beat them by what each holds, or by file order.
    pub equals: Vec<NodeId>,
    /// Why it won, and why each other server lost.
    pub reasons: Vec<String>,
}

/// Preference, best first: nothing that only serves for want of others, whom a switchover is to, the operator's wish, the
/// place, the version; then what is held; then the file's order. Compared field by field, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    standing: Standing,
    /// It lacks a part of the goal.
    lacks: bool,
    /// Another holds all of what it holds, and more.
    behind: bool,
    /// How much of the goal it has still to apply, in powers of two: one that is hundreds behind would cost a failover its
    /// time, and a few transactions more or less are nobody's reason.
    left: u32,
    order: usize,
}

/// What does not change with each transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    broken: bool,
    excluded: bool,
    passed_over: bool,
    challenger: bool,
    promotion: Promotion,
    elsewhere: bool,
    newer: bool,
}

struct Ballots<'a> {
    all: &'a [Contender<'a>],
    eligible: Vec<&'a Contender<'a>>,
    goal: &'a GtidSet,
}

impl Ballots<'_> {
    fn rank(&self, contender: &Contender<'_>) -> Rank {
        let holds = |set: Option<&GtidSet>| set.is_some_and(|set| set.contains(self.goal) == Ok(true));
        let has_more = |other: &&Contender<'_>| match (other.received, contender.received) {
            (Some(theirs), Some(own)) => theirs.compare(own) == Comparison::Superset,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        Rank {
            standing: Standing {
                broken: contender.broken.is_some(),
                excluded: contender.excluded,
                passed_over: !contender.chosen,
                challenger: !contender.incumbent,
                promotion: contender.promotion,
                elsewhere: contender.elsewhere,
                newer: self.older_than(contender).is_some(),
            },
            lacks: !holds(contender.received),
            behind: self.eligible.iter().any(has_more),
            left: contender.executed.map_or(u32::MAX, |executed| left(self.goal, executed)),
            order: contender.order,
        }
    }

    /// A remaining server of an older version, which could not be relied on to follow.
    fn older_than(&self, contender: &Contender<'_>) -> Option<&NodeId> {
        let own = contender.version?;
        let older = |other: &&Contender<'_>| other.version.is_some_and(|version| version < own);
        self.all.iter().find(older).map(|other| other.node)
    }

    fn why(&self, loser: &Contender<'_>, winner: &Contender<'_>) -> String {
        let (lost, won) = (self.rank(loser), self.rank(winner));
        let (of, to) = (lost.standing, won.standing);
        if of.broken != to.broken {
            return format!("its applier had failed before: {}", loser.broken.unwrap_or_default());
        }
        let reason = if of.excluded != to.excluded {
            "it did not open a moment ago, or nobody can write to it"
        } else if of.passed_over != to.passed_over {
            "the switchover is to the winner"
        } else if of.challenger != to.challenger {
            "the old primary is alive and holds everything"
        } else if of.promotion != to.promotion {
            "the cluster file prefers the winner"
        } else if of.elsewhere != to.elsewhere {
            "it stands at another site than the old primary"
        } else if of.newer != to.newer {
            let older = self.older_than(loser).map_or("another server", NodeId::as_str);
            return format!("its version is newer than that of {older}, which could not follow it");
        } else if (lost.lacks, lost.behind) != (won.lacks, won.behind) {
            "it would have to fetch what the winner holds"
        } else if lost.left != won.left {
            "it has more left to apply"
        } else {
            "it comes later in the cluster file"
        };
        reason.to_owned()
    }
}

/// The bits of the number of the goal's transactions that are not applied yet.
fn left(goal: &GtidSet, executed: &GtidSet) -> u32 {
    goal.subtract(executed).map_or(u32::MAX, |missing| u64::BITS - missing.count().leading_zeros())
}

/// Why a contender may not win at all.
fn barred(contender: &Contender<'_>) -> Option<String> {
    if let Some(reason) = &contender.barred {
        return Some(reason.clone());
    }
    if contender.promotion == Promotion::Never {
        return Some("the cluster file says `promotion = \"never\"`".to_owned());
    }
    contender.received.is_none().then(|| "what it holds is not known".to_owned())
}

/// Holds the election.
#[must_use]
pub fn elect(contenders: &[Contender<'_>], goal: &GtidSet) -> Election {
    let eligible = contenders.iter().filter(|contender| barred(contender).is_none()).collect();
    let ballots = Ballots { all: contenders, eligible, goal };
    let winner = ballots.eligible.iter().min_by_key(|contender| ballots.rank(contender)).copied();
    let reasons = contenders
        .iter()
        .map(|contender| match (barred(contender), winner) {
            (Some(reason), _) => format!("{} cannot win: {reason}", contender.node),
            (None, Some(winner)) if winner.node == contender.node => format!("{} wins", contender.node),
            (None, Some(winner)) => {
                format!("{} lost to {}: {}", contender.node, winner.node, ballots.why(contender, winner))
            }
            (None, None) => format!("{} did not win", contender.node),
        })
        .collect();
    let equals = winner.map_or_else(Vec::new, |winner| {
        let standing = ballots.rank(winner).standing;
        let others = ballots.eligible.iter().filter(|other| other.node != winner.node);
        others.filter(|other| ballots.rank(other).standing == standing).map(|other| other.node.clone()).collect()
    });
    Election { winner: winner.map(|winner| winner.node.clone()), equals, reasons }
}

#[cfg(test)]
#[path = "elect_tests.rs"]
mod tests;
