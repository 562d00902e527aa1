//! A story: what happens to a cluster, and what its coordinator then says and does.
//!
//! ```text
//! # a sentence that is the law
//! servers 2 | witness w1 | coordinator co2      who there is, besides db1 db2 db3 and co1
//! newcomer w1 | struck off w1                   the record's voters lack it; or the cluster file does
//! promotion db3 never | policy planned_stop wait 3s
//! record db1 leads db1 db2 db3 acks 1          the record that everybody accepted before
//! db1 0-1-100                                   what a server holds: executed, or executed/received
//! at 1s db1 exits                               something happens: see `acts`
//! ----
//! (what the coordinator told and ordered, with virtual milliseconds)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tasuki_coordinator_core::fence::Means;
use tasuki_coordinator_core::pause::Wish;
use tasuki_coordinator_core::reclone::Reclone;
use tasuki_coordinator_core::settings::{
    Degraded, MaxLoss, PlannedStop, Policy, Promotion, Server as Configured, Settings,
};
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_coordinator_core::{Coordinator, Input};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::Request;
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tasuki_schemas::id::{BootId, CoordinatorId, NodeId};
use tasuki_schemas::lease::LeaseTerms;
use tasuki_schemas::moment::Moment;
use tasuki_schemas::record::{Mode, Record, Reign, WriteGroup};

use crate::hands::{Hands, overriding};
use crate::puppet::Puppet;
use crate::server::Server;

pub(crate) struct Story {
    pub(crate) settings: Settings,
    pub(crate) core: Coordinator,
    pub(crate) puppets: BTreeMap<NodeId, Puppet>,
    /// Another coordinator, with the ballot that it leads with.
    pub(crate) other: Option<(CoordinatorId, Option<Ballot>)>,
    pub(crate) acts: Vec<(u64, String)>,
    pub(crate) until_ms: u64,
    pub(crate) told: Vec<String>,
    pub(crate) said: BTreeSet<String>,
    /// The diagnoses told, by their tags.
    pub(crate) diagnoses: BTreeSet<String>,
    pub(crate) inbox: Vec<(NodeId, Request)>,
    pub(crate) changed: BTreeSet<NodeId>,
    pub(crate) sequence: u64,
    pub(crate) newcomers: BTreeSet<NodeId>,
    /// Whether forecasts are told.
    pub(crate) foretells: bool,
    /// What fences from outside will lead to.
    pub(crate) hands: Hands,
    /// The coordinator is woken when it asks for it, and not all the time.
    pub(crate) sleeps: bool,
    pub(crate) wake_at: Moment,
    /// The time of the planned switchover has come, or is over.
    pub(crate) plan_due: Option<bool>,
    /// The coordinator's process is frozen until then, and what reaches it lies unread.
    pub(crate) frozen_until_ms: u64,
    pub(crate) unread: Vec<Input>,
}

/// A set that is not empty shows by its form whose it is.
pub(crate) fn set(text: &str) -> GtidSet {
    let flavour = if text.contains(':') { Flavour::Mysql } else { Flavour::Mariadb };
    GtidSet::parse(flavour, text).unwrap()
}

fn names() -> impl Iterator<Item = NodeId> {
    (1..=3).map(|number| format!("db{number}").parse().unwrap())
}

fn port(number: usize) -> u16 {
    3306 + u16::try_from(number).unwrap()
}

/// Every server has a host of its own.
pub(crate) fn address(port: u16) -> SocketAddr {
    let host = u8::try_from(port.saturating_sub(3305)).unwrap_or(1);
    SocketAddr::from(([10, 0, 0, host], port))
}

pub(crate) fn millis(text: &str) -> u64 {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().unwrap(),
        None => text.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1000,
    }
}

fn policy(policy: &mut Policy, setting: &[&str]) {
    let length = |text: &str| Duration::from_millis(millis(text));
    match setting {
        ["planned_stop", "wait", time] => policy.planned_stop = PlannedStop::Wait(length(time)),
        ["degraded", "hold"] => policy.degraded = Degraded::Hold,
        ["narrow_patience", time] => policy.narrow_patience = length(time),
        ["lag", time] => policy.lag = length(time),
        ["fence", "ssh", time] => drop(policy.fences.insert(Means::Ssh, length(time))),
        ["fence", "hook", time] => drop(policy.fences.insert(Means::Hook, length(time))),
        ["rejoin", "clone"] => policy.recloning = true,
        ["max_loss", "none"] => policy.max_loss = Some(MaxLoss::Nothing),
        ["max_loss", "unreceived_tail"] => policy.max_loss = Some(MaxLoss::UnreceivedTail),
        ["lease", time] => policy.lease = LeaseTerms::new(length(time), Duration::from_millis(200)).ok(),
        other => panic!("no such policy: {other:?}"),
    }
}

impl Story {
    pub(crate) fn parse(text: &str) -> Self {
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let names: Vec<NodeId> = names().collect();
        let servers = names.iter().enumerate().map(|(order, name)| {
            let address = address(port(order));
            (name.clone(), Configured { address, promotion: Promotion::Neutral, site: None, order })
        });
        let mut settings = Settings {
            me: "co1".parse().unwrap(),
            boot: BootId(7),
            cluster: "main".parse().unwrap(),
            flavour: Flavour::Mariadb,
            servers: servers.collect(),
            witnesses: Vec::new(),
            coordinators: vec!["co1".parse().unwrap()],
            mode: Mode::Armed,
            policy: Policy::default(),
            seed: 1,
        };
        let mut story = Self {
            core: Coordinator::new(settings.clone(), Moment::from_nanos(0)),
            settings: settings.clone(),
            puppets: BTreeMap::new(),
            other: None,
            acts: Vec::new(),
            until_ms: 5000,
            told: Vec::new(),
            said: BTreeSet::new(),
            diagnoses: BTreeSet::new(),
            inbox: Vec::new(),
            changed: BTreeSet::new(),
            sequence: 0,
            newcomers: BTreeSet::new(),
            foretells: false,
            hands: Hands::default(),
            sleeps: false,
            plan_due: None,
            frozen_until_ms: 0,
            unread: Vec::new(),
            wake_at: Moment::from_nanos(0),
        };
        for (number, name) in names.iter().enumerate() {
            let server = Server::new(u32::try_from(number).unwrap() + 1, port(number), port(0));
            story.puppets.insert(name.clone(), Puppet::new(name.clone(), server.id, Some(server)));
        }
        for line in lines {
            story.read(line, &mut settings);
        }
        story.settings = settings.clone();
        story.core = Coordinator::new(settings, Moment::from_nanos(0));
        story
    }

    fn read(&mut self, line: &str, settings: &mut Settings) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["witness", name] => {
                let name: NodeId = name.parse().unwrap();
                settings.witnesses.push(name.clone());
                self.puppets.insert(name.clone(), Puppet::new(name, 9, None));
            }
            ["promotion", name, wish] => {
                let wish = match *wish {
                    "prefer" => Promotion::Prefer,
                    "neutral" => Promotion::Neutral,
                    "avoid" => Promotion::Avoid,
                    "never" => Promotion::Never,
                    other => panic!("no promotion {other}"),
                };
                settings.servers.get_mut(&name.parse().unwrap()).unwrap().promotion = wish;
            }
            // A node of the cluster file that the record does not have as a voter, or the other way round.
            ["newcomer", name] => {
                self.newcomers.insert(name.parse().unwrap());
            }
            ["struck", "off", name] => {
                let name: NodeId = name.parse().unwrap();
                settings.witnesses.retain(|witness| *witness != name);
                settings.servers.remove(&name);
            }
            ["servers", number] => {
                for name in names().skip(number.parse().unwrap()) {
                    settings.servers.remove(&name);
                    self.puppets.remove(&name);
                }
            }
            ["flavour", "mysql"] => {
                settings.flavour = Flavour::Mysql;
                self.puppets.values_mut().filter_map(|puppet| puppet.server.as_mut()).for_each(Server::become_mysql);
            }
            ["show", "forecast"] => self.foretells = true,
            ["site", name, place] => {
                settings.servers.get_mut(&name.parse().unwrap()).unwrap().site = Some((*place).to_owned());
            }
            ["version", name, version] => self.server(name).version = (*version).to_owned(),
            ["stable", "window", time] => settings.policy.stable_window = Duration::from_millis(millis(time)),
            ["coordinator", name] => settings.coordinators.push(name.parse().unwrap()),
            ["policy", setting @ ..] => policy(&mut settings.policy, setting),
            ["until", time] => self.until_ms = millis(time),
            ["record", primary, "leads", rest @ ..] => self.record(primary, rest),
            ["at", time, rest @ ..] => self.acts.push((millis(time), rest.join(" "))),
            [name, sets] => {
                let server = self.server(name);
                let (executed, received) = sets.split_once('/').unwrap_or((sets, sets));
                (server.executed, server.received) = (set(executed), set(received));
            }
            other => panic!("no such line: {other:?}"),
        }
    }

    pub(crate) fn server(&mut self, name: &str) -> &mut Server {
        self.puppets.get_mut(&name.parse::<NodeId>().unwrap()).unwrap().server.as_mut().unwrap()
    }

    /// `record db1 leads db1 db2 db3 acks 1 [wanted 1] [leased] [observed] [succeeds db2 before SET]`: opened, accepted by
    /// everybody.
    fn record(&mut self, primary: &str, rest: &[&str]) {
        let at = rest.iter().position(|word| *word == "acks").unwrap();
        let members: BTreeSet<NodeId> = rest[..at].iter().map(|name| name.parse().unwrap()).collect();
        let ballot = Ballot { counter: 1, coordinator: "co1".parse().unwrap(), boot: BootId(1) };
        let epoch = Epoch(ballot.clone());
        let primary: NodeId = primary.parse().unwrap();
        self.server(primary.as_str()).writable = true;
        self.server(primary.as_str()).follows = None;
        let acks: u32 = rest[at + 1].parse().unwrap();
        let wanted = rest.iter().position(|word| *word == "wanted").map_or(acks, |at| rest[at + 1].parse().unwrap());
        self.server(primary.as_str()).wait_count = acks;
        let leased = rest.contains(&"leased");
        let record = Record {
            epoch: epoch.clone(),
            opened: true,
            groups: vec![WriteGroup { primary: primary.clone(), members, acks, leased }],
            reigns: self.reigns(&primary, &epoch, rest),
            primary,
            voters: self
                .puppets
                .iter()
                .filter(|(name, _)| !self.newcomers.contains(*name))
                .map(|(name, puppet)| (name.clone(), puppet.incarnation))
                .collect(),
            mode: if rest.contains(&"observed") { Mode::Observe } else { Mode::Armed },
            wanted,
            recent: Vec::new(),
            voters_before: None,
            pause: None,
            planned: None,
        };
        for puppet in self.puppets.values_mut().filter(|puppet| !self.newcomers.contains(&puppet.name)) {
            puppet.accept(&ballot, &record);
        }
    }

    /// One reign; with `succeeds db2 before 0-2-104` an earlier one before it.
    fn reigns(&mut self, primary: &NodeId, epoch: &Epoch, rest: &[&str]) -> Vec<Reign> {
        let mut reign = |node: NodeId, counter: u64, before: &str| {
            let server = self.server(node.as_str());
            let set_before = if before.is_empty() { GtidSet::empty(server.flavour) } else { set(before) };
            let origin = server.origin();
            Reign { epoch: Epoch(Ballot { counter, ..epoch.0.clone() }), node, origin, set_before }
        };
        let at = rest.iter().position(|word| *word == "succeeds");
        let Some(at) = at else { return vec![reign(primary.clone(), epoch.0.counter, "")] };
        vec![reign(rest[at + 1].parse().unwrap(), 0, ""), reign(primary.clone(), epoch.0.counter, rest[at + 3])]
    }

    /// What happens to the coordinator: a restart forgets everything, as a change of the leader does.
    pub(crate) fn operate(&mut self, words: &[&str], now_ms: u64) {
        let now = Moment::from_nanos(now_ms * 1_000_000);
        match words {
            ["restarts"] => {
                self.settings.boot = BootId(self.settings.boot.0 + 1);
                self.core = Coordinator::new(self.settings.clone(), now);
                self.said.clear();
            }
            ["is", "frozen", "for", time] => self.frozen_until_ms = now_ms + millis(time),
            ["is", "asked", "by", owner, "to", "pause", time, reason @ ..] => {
                let (owner, length) = ((*owner).to_owned(), Duration::from_millis(millis(time)));
                self.core.ask(Wish::Pause { owner, reason: reason.join(" "), length }, now);
            }
            ["is", "asked", "by", by, "to", "re-clone", node, reason @ ..] => {
                let dry_run = reason.first() == Some(&"dry");
                let (node, by, reason) = (node.parse().unwrap(), (*by).to_owned(), reason.join(" "));
                self.core.ask(Wish::Reclone(Reclone { node, dry_run, by, reason }), now);
            }
            ["is", "asked", "by", by, "to", "switch", "to", to, reason @ ..] => {
                let to = (*to != "anybody").then(|| to.parse().unwrap());
                let dry_run = reason.first() == Some(&"dry");
                let (by, reason) = ((*by).to_owned(), reason.join(" "));
                self.core.ask(Wish::Switchover(Switchover { to, dry_run, by, reason }), now);
            }
            ["is", "asked", "by", by, "to", "plan", "a", "switch", "to", to, "at", at, reason @ ..] => {
                let (by, reason, at) = ((*by).to_owned(), reason.join(" "), (*at).to_owned());
                let to = (*to != "anybody").then(|| to.parse().unwrap());
                self.core.ask(Wish::Plan { switchover: Switchover { to, dry_run: false, by, reason }, at }, now);
            }
            ["is", "asked", "to", "give", "up", "the", "plan"] => self.core.ask(Wish::CancelSwitchover, now),
            ["finds", "the", "plan", late @ ("due" | "overdue")] => self.plan_due = Some(*late == "overdue"),
            ["is", "asked", "to", "resume"] => self.core.ask(Wish::Resume, now),
            ["is", "asked", "to", "fail", "over", dry @ ..] => {
                self.core.ask(Wish::Failover { dry_run: dry == ["dry"] }, now)
            }
            ["is", "asked", "by", by, "to", "override", claims @ ..] => {
                let open = self.core.snapshot(now).incident;
                self.core.ask(Wish::Override(overriding(by, claims, open)), now);
            }
            ["is", "asked", "to", "admit", node] => self.core.ask(Wish::Admit { node: node.parse().unwrap() }, now),
            other => panic!("no such act: {other:?}"),
        }
    }
}
