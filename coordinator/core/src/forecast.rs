//! If the primary died now: who would win, what could be lost, how long it would take, and what stands in the way. Made
//! from ambient reports by the same election and the same arithmetic of groups as a failover; it proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_schemas::forecast::{Blocker, Forecast, Guarantee, Loss, Outlook};
use tasuki_schemas::gtid::{GtidSet, MixedFlavours};
use tasuki_schemas::id::NodeId;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::{Connection, Thread};
use tasuki_schemas::record::{Record, WriteGroup};

use crate::elect::{Contender, Election, elect};
use crate::goal::{Shown, goal};
use crate::histories::torn;
use crate::plan::{stops, unfit, version};
use crate::sentence::names;
use crate::settings::{Degraded, Promotion, Settings};
use crate::view::View;

/// From the first word of a death to clients writing again, before anything was measured.
const SWIFT: Duration = Duration::from_millis(100);
/// How long voters look at a silent primary themselves.
const LOOK: Duration = Duration::from_millis(100);

/// What a forecast rests on besides the view.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// How long the last failover of this run took, from its begin to its opening.
    pub measured: Option<Duration>,
    /// Servers whose appliers have failed, with their errors.
    pub broken: BTreeMap<NodeId, String>,
    /// Why no failover would begin after a crash.
    pub after_crash: Vec<Blocker>,
    /// Why no failover would begin after the loss of the host.
    pub after_host_loss: Vec<Blocker>,
}

/// The primary's death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its process ends; its node reads its files.
    Crash,
    /// Its host is gone with everything on it.
    HostLoss,
}

struct Seer<'a> {
    settings: &'a Settings,
    view: &'a View,
    record: &'a Record,
    standing: &'a Standing,
    now: Moment,
}

/// The forecast for an opened record. Positions may be a second old.
#[must_use]
pub fn forecast(settings: &Settings, view: &View, record: &Record, standing: &Standing, now: Moment) -> Forecast {
    let seer = Seer { settings, view, record, standing, now };
    let (guarantee, lacking) = seer.guarantee();
    Forecast {
        primary: record.primary.clone(),
        guarantee,
        lacking,
        crash: seer.outlook(Death::Crash, guarantee),
        host_loss: seer.outlook(Death::HostLoss, guarantee),
    }
}

fn blocker(what: impl Into<String>, fix: impl Into<String>) -> Blocker {
    Blocker { what: what.into(), fix: fix.into() }
}

impl Seer<'_> {
    /// What the cluster promises, and why not more. Here, and only here, it is decided whether it is leased.
    fn guarantee(&self) -> (Guarantee, Vec<Blocker>) {
        let primary = &self.record.primary;
        let mut lacking = Vec::new();
        if self.record.groups.iter().any(|group| group.acks == 0) {
            let fix = if self.record.wanted > 0 {
                "bring a replica back"
            } else {
                "let commits wait for a replica (semi-sync)"
            };
            lacking.push(blocker(format!("{primary} acknowledges writes that no replica has (k = 0)"), fix));
        }
        if let Some(facts) = self.view.facts(primary, self.settings.policy.silence, self.now) {
            let gates = facts.failing_gates.iter();
            lacking.extend(gates.map(|gate| {
                blocker(format!("on {primary}, {} is {}", gate.setting, gate.found), format!("set {}", gate.fix))
            }));
        }
        let alone: Vec<&WriteGroup> = self.record.groups.iter().filter(|group| group.acks == 0).collect();
        let guarantee = match (lacking.is_empty(), alone.is_empty()) {
            (true, _) => Guarantee::Lossless,
            (false, false) if alone.iter().all(|group| group.leased) => Guarantee::Leased,
            (false, _) => Guarantee::Manual,
        };
        (guarantee, lacking)
    }

    fn outlook(&self, death: Death, guarantee: Guarantee) -> Outlook {
        let answering = self.answering();
        let mut blockers = match death {
            Death::Crash => self.standing.after_crash.clone(),
            Death::HostLoss => self.standing.after_host_loss.clone(),
        };
        blockers.extend(self.too_few_voters(death));
        blockers
            .extend(self.record.groups.iter().filter_map(|group| self.uncovered(group, &answering, death, guarantee)));
        let election = self.election(&answering).unwrap_or_else(|reason| {
            blockers.push(blocker(reason, "see `/health` of the nodes"));
            Election { winner: None, equals: Vec::new(), reasons: Vec::new() }
        });
        match &election.winner {
            None if answering.is_empty() => {
                let others = self.settings.servers.keys().filter(|node| **node != self.record.primary);
                blockers.push(blocker("no other server answers", format!("bring {} back", names(others))));
            }
            None => blockers.push(blocker("no server may be promoted", "see the reason of each")),
            Some(winner) => blockers.extend(self.alone(winner, &answering)),
        }
        let lossless = guarantee == Guarantee::Lossless
            || (death == Death::Crash && self.record.groups.iter().all(|group| group.acks == 0));
        let measured = self.standing.measured.unwrap_or(SWIFT);
        let expected = match death {
            Death::Crash => measured,
            Death::HostLoss => self.settings.policy.silence + LOOK + measured,
        };
        let flows = |node: &NodeId| {
            self.view.facts(node, self.settings.policy.silence, self.now).is_some_and(|facts| {
                facts
                    .replication
                    .as_ref()
                    .is_some_and(|own| (own.receiver, own.applier) == (Thread::Running, Thread::Running))
            })
        };
        Outlook {
            or: election.equals.into_iter().filter(|node| flows(node)).collect(),
            winner: election.winner,
            reasons: election.reasons,
            loss: if lossless { Loss::Nothing } else { Loss::LastMoments },
            expected_ms: blockers.is_empty().then(|| u64::try_from(expected.as_millis()).unwrap_or(u64::MAX)),
            blockers,
        }
    }

    /// The servers besides the primary that would promise and show what they hold.
    fn answering(&self) -> BTreeSet<&NodeId> {
        let answers = |node: &&NodeId| {
            let server = self.view.server(node, self.settings.policy.silence, self.now);
            server.is_some_and(|server| server.connection == Connection::Answering && server.facts.is_some())
        };
        self.settings.servers.keys().filter(|node| **node != self.record.primary).filter(answers).collect()
    }

    fn hears(&self, node: &NodeId, death: Death) -> bool {
        let lost = death == Death::HostLoss && *node == self.record.primary;
        !lost && self.view.node(node, self.settings.policy.silence, self.now).is_some()
    }

    fn too_few_voters(&self, death: Death) -> Option<Blocker> {
        let votes = |node: &NodeId, incarnation| self.hears(node, death) && self.view.votes_with(node, incarnation);
        if self.record.has_quorum(votes) {
            return None;
        }
        let voters = &self.record.voters;
        let voting = voters.iter().filter(|(node, incarnation)| votes(node, **incarnation)).count();
        let silent =
            |node: &&NodeId| !self.hears(node, death) && (death == Death::Crash || **node != self.record.primary);
        let back: Vec<&NodeId> = voters.keys().filter(silent).collect();
        let fix = if !back.is_empty() {
            format!("start the nodes of {}", names(back))
        } else if voters.iter().any(|(node, incarnation)| self.hears(node, death) && !votes(node, *incarnation)) {
            "let new ledgers vote (`tasuki-coordinator admit`)".to_owned()
        } else {
            "add a witness".to_owned()
        };
        let (all, needed) = (voters.len(), self.record.majority());
        Some(blocker(format!("{voting} of {all} voters would vote, {needed} are needed"), fix))
    }

    /// Why a group's acknowledged writes could not be shown.
    fn uncovered(
        &self,
        group: &WriteGroup,
        answering: &BTreeSet<&NodeId>,
        death: Death,
        guarantee: Guarantee,
    ) -> Option<Blocker> {
        let shows = |node: &NodeId| {
            let known =
                |node| self.view.position(node).is_some_and(|(position, _)| position.received.known().is_some());
            if *node == self.record.primary { self.hears(node, death) } else { answering.contains(node) && known(node) }
        };
        if group.acks == 0 {
            if shows(&group.primary) {
                return None;
            }
            let policy = &self.settings.policy;
            let muted = death == Death::HostLoss && (guarantee == Guarantee::Leased || !policy.fences.is_empty());
            if !muted {
                let what = format!("{} acknowledges writes that only its own host can show (k = 0)", group.primary);
                return Some(blocker(what, "bring a replica back into the write group"));
            }
            return (!policy.accepts_tail(group.leased)).then(|| {
                let what =
                    format!("what only {} has would be lost, and `max_loss` does not accept that", group.primary);
                blocker(what, "bring a replica back into the write group")
            });
        }
        let (shown, missing): (Vec<&NodeId>, Vec<&NodeId>) = group.members.iter().partition(|node| shows(node));
        let needed = group.needed_promises();
        (shown.len() < needed && !shows(&group.primary)).then(|| {
            let what = format!(
                "of the write group {} with {} acknowledgements, {needed} must show what they hold; {} could",
                names(&group.members),
                group.acks,
                shown.len()
            );
            let missing = missing.into_iter().filter(|node| **node != self.record.primary);
            blocker(what, format!("bring {} back", names(missing)))
        })
    }

    fn election(&self, answering: &BTreeSet<&NodeId>) -> Result<Election, String> {
        let position = |node: &NodeId| self.view.position(node).map(|(position, _)| position);
        let shown: Shown<'_> =
            answering.iter().filter_map(|node| Some((*node, position(node)?.received.known()?))).collect();
        let mixed = |mixed: MixedFlavours| mixed.to_string();
        if let Some(reason) = torn(self.record, &shown).map_err(mixed)? {
            return Err(reason);
        }
        let empty = || GtidSet::empty(self.settings.flavour);
        let goal = goal(self.record, &shown).map_err(mixed)?.unwrap_or_else(empty);
        // Positions are of different moments: how much is left to apply would be another word each time.
        let applied = |node: &NodeId| {
            let executed = position(node).map(|position| &position.executed);
            executed.filter(|executed| executed.contains(&goal) == Ok(true))
        };
        let mut contenders: Vec<Contender<'_>> = Vec::new();
        for node in answering {
            let Some(server) = self.settings.servers.get(*node) else { continue };
            let received = shown.get(node).copied();
            let excess = received.map(|set| set.subtract(&goal)).transpose().map_err(mixed)?;
            let barred = excess.filter(|excess| !excess.is_empty()).map_or_else(
                || {
                    let stops = stops(self.settings, self.view, node, self.now);
                    stops.or_else(|| unfit(self.settings, self.view, node, self.now))
                },
                |excess| Some(format!("it holds transactions that no named server had acknowledged: {excess}")),
            );
            contenders.push(Contender {
                node,
                promotion: server.promotion,
                order: server.order,
                incumbent: false,
                received,
                broken: self.standing.broken.get(*node).map(String::as_str),
                chosen: false,
                excluded: false,
                elsewhere: self.settings.are_apart(node, &self.record.primary),
                version: version(self.settings, self.view, node, self.now),
                executed: applied(node),
                barred,
            });
        }
        Ok(elect(&contenders, &goal))
    }

    /// Whether the winner would have nobody to acknowledge, and the cluster file forbids that.
    fn alone(&self, winner: &NodeId, answering: &BTreeSet<&NodeId>) -> Option<Blocker> {
        let acks = |node: &&&NodeId| {
            let never = self.settings.servers.get(**node).is_none_or(|server| server.promotion == Promotion::Never);
            let member = self.record.group().is_some_and(|group| group.members.contains(**node));
            ***node != *winner && (!never || member) && unfit(self.settings, self.view, node, self.now).is_none()
        };
        let holds = self.record.wanted > 0 && self.settings.policy.degraded == Degraded::Hold;
        (holds && answering.iter().find(acks).is_none()).then(|| {
            blocker(
                format!("{winner} would have nobody to acknowledge its writes, and the cluster file says `degraded = \"hold\"`"),
                "bring a replica back",
            )
        })
    }
}

/// The forecast in one sentence.
#[must_use]
pub fn sentence(forecast: &Forecast) -> String {
    let outlook = |outlook: &Outlook| {
        let winner = outlook.winner.as_ref().map_or("nobody", NodeId::as_str).to_owned();
        let or: String = outlook.or.iter().map(|node| format!(" or {node}")).collect();
        let loss = match outlook.loss {
            Loss::Nothing => "nothing lost",
            Loss::LastMoments => "the last moments may be lost",
        };
        match (outlook.expected_ms, outlook.blockers.first()) {
            (Some(ms), None) => {
                let tenths = ms.div_ceil(100);
                format!("{winner}{or} in {}.{} s, {loss}", tenths / 10, tenths % 10)
            }
            (Some(_) | None, _) => {
                let blockers: Vec<String> =
                    outlook.blockers.iter().map(|blocker| format!("{} – {}", blocker.what, blocker.fix)).collect();
                let to = if outlook.winner.is_some() { format!(" to {winner}{or}") } else { String::new() };
                format!("no failover{to}: {}", blockers.join("; "))
            }
        }
    };
    let guarantee = match forecast.guarantee {
        Guarantee::Lossless => "lossless",
        Guarantee::Leased => "leased",
        Guarantee::Manual => "manual",
    };
    let lacking: Vec<String> =
        forecast.lacking.iter().map(|blocker| format!("{} – {}", blocker.what, blocker.fix)).collect();
    let since = if lacking.is_empty() { String::new() } else { format!(", since {}", lacking.join("; ")) };
    format!(
        "{guarantee}{since}; if {primary} crashed now: {}; if its host were lost: {}",
        outlook(&forecast.crash),
        outlook(&forecast.host_loss),
        primary = forecast.primary
    )
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
