//! What a proof leads to: the goal, the winner, where it gets what it lacks, and the record that would name it.

use std::collections::BTreeSet;

use tasuki_schemas::answer::Duty;
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::CatchUpHow;
use tasuki_schemas::grounds::Grounds;
use tasuki_schemas::gtid::{GtidSet, MixedFlavours, Origin};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{CutStrength, Leaving};
use tasuki_schemas::past::Cause;
use tasuki_schemas::record::{Record, Reign, WriteGroup};

use crate::elect::{Contender, Doubts, elect};
use crate::flapping;
use crate::goal::{Shown, goal, lawful, still_needed};
use crate::histories::torn;
use crate::loss;
use crate::promises::Promises;
use crate::proof::Proof;
use crate::sentence::names;
use crate::settings::{Degraded, Settings};
use crate::version::Version;
use crate::view::View;

/// A plan leaves no choice for its execution.
#[derive(Clone, Debug)]
pub struct Plan {
    base: Record,
    /// The candidate.
    pub winner: NodeId,
    /// Why it won, and why the others lost.
    pub reasons: Vec<String>,
    /// What it must hold.
    pub goal: GtidSet,
    /// From whom it gets what it lacks next, and everything of the goal which that one has: nobody can be asked to
    /// deliver more. `None` once it holds the goal.
    pub donor: Option<(NodeId, CatchUpHow, GtidSet)>,
    /// Whose files the leader has read.
    read: BTreeSet<NodeId>,
    /// Donors that remain after that one.
    later: Vec<(NodeId, CatchUpHow, GtidSet)>,
    /// The tail was never acknowledged: the proof holds without it.
    pub tail_optional: bool,
    origin: Origin,
    group: WriteGroup,
    /// Who follows in the same breath: the group, or without acknowledgements whoever could be in one. The fewer moments only
    /// one server has what is acknowledged, the better.
    pub followers: BTreeSet<NodeId>,
    /// What may be lost, and who accepts it.
    grounds: Vec<Grounds>,
}

/// Why there is no plan, with the fix for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplanned(pub Vec<String>);

impl From<MixedFlavours> for Unplanned {
    fn from(mixed: MixedFlavours) -> Self {
        Self(vec![mixed.to_string()])
    }
}

/// Plans from a proof.
///
/// # Errors
/// [`Unplanned`] says what stands in the way.
pub fn plan(
    settings: &Settings,
    view: &View,
    promises: &Promises,
    proof: &Proof,
    doubts: &Doubts,
    without_tail: bool,
    now: Moment,
) -> Result<Plan, Unplanned> {
    let base = proof.base();
    let gone: BTreeSet<NodeId> = promises
        .iter()
        .filter(|(_, promise)| promise.duty == Duty::ProcessExited)
        .map(|(node, _)| node.clone())
        .chain(proof.read().keys().cloned())
        .collect();
    let tail_optional = proof.holds_without(&gone);
    let spared = |node: &NodeId| without_tail && tail_optional && gone.contains(node);
    let shown: Shown<'_> = promises
        .iter()
        .filter(|(node, _)| !spared(node))
        .filter_map(|(node, _)| promises.holding(node).map(|set| (node, set)))
        .chain(proof.lost().next().iter().flat_map(|_| promises.kept_by_the_dead()))
        .chain(proof.read().iter().filter(|(node, _)| !spared(node)))
        .collect();
    if let Some(reason) = torn(base, &shown)? {
        let spared = tail_optional && !gone.is_empty();
        // What only a dead server's tail holds was acknowledged to nobody: it is left for quarantine.
        return if spared && !without_tail {
            plan(settings, view, promises, proof, doubts, true, now)
        } else {
            Err(Unplanned(vec![reason]))
        };
    }
    let goal = goal(base, &shown)?.ok_or_else(|| Unplanned(vec!["nobody shows what it holds".to_owned()]))?;
    let contenders = contenders(settings, view, promises, base, &goal, doubts, now)?;
    let election = elect(&contenders, &goal);
    let Some(winner) = election.winner else {
        return Err(Unplanned(election.reasons));
    };
    let identity =
        view.server(&winner, settings.policy.stage_patience, now).and_then(|server| server.identity.as_ref());
    let Some(identity) = identity else {
        return Err(Unplanned(vec![format!("the identity of {winner} is not known yet")]));
    };
    let able = can_acknowledge(promises, doubts);
    let (mut group, followers) = group(settings, view, &able, base, &winner, &goal, now)?;
    if group.acks > 0 {
        group.members.extend(unsilenced(settings, view, promises, base, &winner, now));
    }
    let mut reasons = election.reasons;
    let grounds = loss::grounds(view, promises, proof, &goal, now)?;
    reasons.extend(grounds.iter().map(loss::sentence));
    reasons.extend(loss::unread(promises).filter(|_| !grounds.is_empty()));
    let mut plan = Plan {
        base: base.clone(),
        reasons,
        donor: None,
        later: donors(promises, proof, &shown, &winner)?,
        read: proof.read().keys().cloned().collect(),
        tail_optional,
        origin: identity.origin.clone(),
        group,
        followers,
        goal,
        grounds,
        winner,
    };
    let received = promises.holding(&plan.winner).cloned();
    if !received.is_some_and(|received| plan.caught_up(&received)) {
        return Err(Unplanned(vec![format!("nobody who can deliver it holds all that {} lacks", plan.winner)]));
    }
    Ok(plan)
}

/// The promisers, as contenders. A server whose receiver stopped may win; so may an old primary that is alive.
fn contenders<'a>(
    settings: &Settings,
    view: &View,
    promises: &'a Promises,
    base: &Record,
    goal: &GtidSet,
    doubts: &'a Doubts,
    now: Moment,
) -> Result<Vec<Contender<'a>>, MixedFlavours> {
    let mut contenders = Vec::new();
    for (node, promise) in promises.iter() {
        let Some(server) = settings.servers.get(node) else { continue };
        let received = promises.holding(node);
        let excess = received.map(|set| set.subtract(goal)).transpose()?.filter(|excess| !excess.is_empty());
        let barred = match &promise.duty {
            Duty::Nothing => Some("its receiver was not stopped".to_owned()),
            Duty::ProcessExited => Some("its server does not run".to_owned()),
            Duty::Failed { reason } => Some(reason.clone()),
            // What a replica must be fit for says nothing of a primary that is alive.
            Duty::ReceiverStopped | Duty::Fenced => excess
                .map(|excess| format!("it holds transactions that no named server had acknowledged: {excess}"))
                .or_else(|| stops(settings, view, node, now))
                .or_else(|| unfit(settings, view, node, now).filter(|_| promise.duty != Duty::Fenced)),
        };
        contenders.push(Contender {
            node,
            promotion: server.promotion,
            order: server.order,
            incumbent: promise.duty == Duty::Fenced
                && *node == base.primary
                && received.is_some_and(|set| set.contains(goal) == Ok(true)),
            broken: doubts.broken.get(node).map(String::as_str),
            excluded: doubts.failed.contains(node),
            chosen: doubts.chosen.as_ref() == Some(node),
            elsewhere: settings.are_apart(node, &base.primary),
            version: version(settings, view, node, now).filter(|_| promise.duty != Duty::ProcessExited),
            received,
            executed: promise.holdings.as_ref().map(|holdings| &holdings.executed),
            barred,
        });
    }
    Ok(contenders)
}

/// Why a server must neither win nor be in a write group, by what its node last reported.
pub(crate) fn unfit(settings: &Settings, view: &View, node: &NodeId, now: Moment) -> Option<String> {
    let facts = view.facts(node, settings.policy.stage_patience, now)?;
    if facts.replication.as_ref().is_some_and(|replication| replication.filtered) {
        return Some("it filters or delays replication".to_owned());
    }
    if let Some(disk) = &facts.disk {
        return Some(disk.clone());
    }
    let logs = |setting: &str| ["log_slave_updates", "log_replica_updates"].contains(&setting);
    let gate = facts.failing_gates.iter().find(|gate| logs(&gate.setting))?;
    Some(format!("its binlog lacks what it replicated; set {}", gate.fix))
}

/// Why a server must not win now, though it may acknowledge until it is stopped.
pub(crate) fn stops(settings: &Settings, view: &View, node: &NodeId, now: Moment) -> Option<String> {
    let server = view.server(node, settings.policy.stage_patience, now)?;
    (server.leaving == Some(Leaving::Stops)).then(|| "it is about to be stopped".to_owned())
}

/// The version of a server that was heard lately.
pub(crate) fn version(settings: &Settings, view: &View, node: &NodeId, now: Moment) -> Option<Version> {
    let identity = view.server(node, settings.policy.stage_patience, now)?.identity.as_ref()?;
    Version::parse(&identity.version)
}

/// Who showed what it holds and could follow at once: servers whose receivers are stopped, and a primary that hands over.
/// One that is replaced for a fault comes back later, if it can.
fn can_acknowledge<'a>(promises: &'a Promises, doubts: &Doubts) -> Vec<(&'a NodeId, &'a GtidSet)> {
    let can = |duty: &Duty| match duty {
        Duty::ReceiverStopped => true,
        Duty::Fenced => doubts.chosen.is_some(),
        Duty::Nothing | Duty::ProcessExited | Duty::Failed { .. } => false,
    };
    let able = promises.iter().filter(|(_, promise)| can(&promise.duty));
    able.filter_map(|(node, _)| Some((node, promises.holding(node)?))).collect()
}

/// The candidate, and of those who could follow it at once all that hold nothing beyond the goal.
fn group(
    settings: &Settings,
    view: &View,
    able: &[(&NodeId, &GtidSet)],
    base: &Record,
    winner: &NodeId,
    goal: &GtidSet,
    now: Moment,
) -> Result<(WriteGroup, BTreeSet<NodeId>), Unplanned> {
    let mut members = BTreeSet::from([winner.clone()]);
    for (node, holding) in able {
        let known = goal.contains(holding) == Ok(true);
        let wanted = settings.servers.get(*node).is_some_and(|server| {
            server.promotion != crate::settings::Promotion::Never
                || base.group().is_some_and(|group| group.members.contains(*node))
        });
        if known && wanted && unfit(settings, view, node, now).is_none() {
            members.insert((*node).clone());
        }
    }
    let followers: BTreeSet<NodeId> = members.iter().filter(|node| *node != winner).cloned().collect();
    let acks = base.wanted.min(u32::try_from(members.len().saturating_sub(1)).unwrap_or(u32::MAX));
    if acks == 0 {
        if base.wanted > 0 && settings.policy.degraded == Degraded::Hold {
            return Err(Unplanned(vec![format!(
                "with {} alone nobody is left to acknowledge, and the cluster file says `degraded = \"hold\"`; bring a replica back",
                names(&members)
            )]));
        }
        members = BTreeSet::from([winner.clone()]);
    }
    let leased = acks == 0 && settings.policy.lease.is_some();
    Ok((WriteGroup { primary: winner.clone(), members, acks, leased }, followers))
}

/// Members that may acknowledge a primary that is named again: they did not stop, and its node has no kernel rules to keep
/// them away. What they acknowledge counts on the server, so that it has to count in the record.
fn unsilenced(
    settings: &Settings,
    view: &View,
    promises: &Promises,
    base: &Record,
    winner: &NodeId,
    now: Moment,
) -> BTreeSet<NodeId> {
    let server = view.server(winner, settings.policy.stage_patience, now);
    if server.is_some_and(|server| server.cut == CutStrength::Kernel) {
        return BTreeSet::new();
    }
    let stopped = |node: &NodeId| match promises.get(node).map(|promise| &promise.duty) {
        Some(Duty::ReceiverStopped | Duty::Fenced | Duty::ProcessExited) => true,
        Some(Duty::Nothing | Duty::Failed { .. }) | None => false,
    };
    let own = base.groups.iter().filter(|group| group.primary == *winner);
    own.flat_map(|group| &group.members).filter(|node| !stopped(node)).cloned().collect()
}

/// Who can deliver what: living servers first, by replication; then dead ones, by their binlog's tail.
fn donors(
    promises: &Promises,
    proof: &Proof,
    shown: &Shown<'_>,
    winner: &NodeId,
) -> Result<Vec<(NodeId, CatchUpHow, GtidSet)>, MixedFlavours> {
    let mut donors = Vec::new();
    for (node, set) in shown.iter().filter(|(node, _)| **node != winner) {
        let how = match promises.get(node).map(|promise| &promise.duty) {
            Some(Duty::ReceiverStopped | Duty::Fenced) => CatchUpHow::Replicate,
            Some(Duty::ProcessExited) => CatchUpHow::Tail,
            Some(Duty::Nothing | Duty::Failed { .. }) | None if proof.read().contains_key(*node) => CatchUpHow::Tail,
            Some(Duty::Nothing | Duty::Failed { .. }) | None => continue,
        };
        donors.push(((*node).clone(), how, lawful(proof.base(), shown, set)?));
    }
    donors.sort_by_key(|(_, how, _)| match how {
        CatchUpHow::Replicate => 0,
        CatchUpHow::Tail => 1,
    });
    Ok(donors)
}

impl Plan {
    /// Whether the leader delivers what a server holds.
    pub(crate) fn is_read(&self, node: &NodeId) -> bool {
        self.read.contains(node)
    }

    /// Chooses the next donor for a winner that holds `received`; false if nobody can deliver what is missing.
    pub(crate) fn caught_up(&mut self, received: &GtidSet) -> bool {
        self.donor = None;
        if received.contains(&self.goal) == Ok(true) {
            return true;
        }
        while !self.later.is_empty() {
            let (node, how, set) = self.later.remove(0);
            if received.contains(&set) == Ok(false) {
                self.donor = Some((node, how, set));
                return true;
            }
        }
        false
    }

    /// The record that names the winner at `ballot`.
    #[must_use]
    pub fn record(&self, ballot: &Ballot, cause: Cause) -> Record {
        let mut record = self.base.clone();
        let epoch = Epoch(ballot.clone());
        record.recent = flapping::remembered(&self.base, &epoch, &self.winner, cause, &self.grounds);
        record.epoch = epoch.clone();
        record.primary = self.winner.clone();
        record.opened = false;
        record.planned = None;
        record.groups.push(self.group.clone());
        record.reigns.push(Reign {
            epoch,
            node: self.winner.clone(),
            origin: self.origin.clone(),
            set_before: self.goal.clone(),
        });
        record.reigns = still_needed(&record.reigns);
        record
    }
}
