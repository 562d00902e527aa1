//! A story: what happens to a cluster, and what its coordinator then says and does.
//!
//! ```text
//! # a sentence that is the law
//! record db1 leads db1 db2 db3 acks 1          the record that everybody accepted before
//! db1 0-1-100                                   what a server holds: executed, or executed/received
//! at 1s db1 exits                               something happens
//! ----
//! (what the coordinator told and ordered, with virtual milliseconds)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_coordinator_core::pause::Wish;
use tasuki_coordinator_core::settings::{Policy, Promotion, Server as Configured, Settings};
use tasuki_coordinator_core::{Coordinator, Input, Output};
use tasuki_schemas::ballot::{Ballot, Epoch};
use tasuki_schemas::command::{Order, Request};
use tasuki_schemas::event::EventBody;
use tasuki_schemas::gtid::{Flavour, GtidSet, Origin};
use tasuki_schemas::id::{Boot, BootId, NodeId};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::FailingGate;
use tasuki_schemas::record::{Mode, Record, Reign, WriteGroup};

use crate::puppet::{Puppet, Server};

const STEP_MS: u64 = 1;
const BEAT_MS: u64 = 200;

pub(crate) struct Story {
    settings: Settings,
    core: Coordinator,
    puppets: BTreeMap<NodeId, Puppet>,
    acts: Vec<(u64, String)>,
    until_ms: u64,
    told: Vec<String>,
    said: BTreeSet<String>,
    inbox: Vec<(NodeId, Request)>,
    changed: BTreeSet<NodeId>,
    sequence: u64,
    /// Whether forecasts are told.
    foretells: bool,
}

fn set(text: &str) -> GtidSet {
    GtidSet::parse(Flavour::Mariadb, text).unwrap()
}

fn port(number: usize) -> u16 {
    3306 + u16::try_from(number).unwrap()
}

fn millis(text: &str) -> u64 {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().unwrap(),
        None => text.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1000,
    }
}

impl Story {
    pub(crate) fn parse(text: &str) -> Self {
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let names: Vec<NodeId> = (1..=3).map(|number| format!("db{number}").parse().unwrap()).collect();
        let servers = names.iter().enumerate().map(|(order, name)| {
            let address = format!("10.0.0.1:{}", port(order)).parse().unwrap();
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
            acts: Vec::new(),
            until_ms: 5000,
            told: Vec::new(),
            said: BTreeSet::new(),
            inbox: Vec::new(),
            changed: BTreeSet::new(),
            sequence: 0,
            foretells: false,
        };
        for (number, name) in names.iter().enumerate() {
            let server = Server {
                id: u32::try_from(number).unwrap() + 1,
                port: port(number),
                running: true,
                writable: false,
                follows: Some(port(0)),
                quiet_ms: 0,
                executed: set(""),
                received: set(""),
                semi_sync: true,
                wait_count: 1,
                refuses: None,
                version: "10.11".to_owned(),
                applier_error: None,
                filtered: false,
                failing_gates: Vec::new(),
            };
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
            ["show", "forecast"] => self.foretells = true,
            ["site", name, place] => {
                settings.servers.get_mut(&name.parse().unwrap()).unwrap().site = Some((*place).to_owned());
            }
            ["version", name, version] => self.server(name).version = (*version).to_owned(),
            ["stable", "window", time] => settings.policy.stable_window = Duration::from_millis(millis(time)),
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

    fn server(&mut self, name: &str) -> &mut Server {
        self.puppets.get_mut(&name.parse::<NodeId>().unwrap()).unwrap().server.as_mut().unwrap()
    }

    /// `record db1 leads db1 db2 db3 acks 1 [wanted 1] [observed] [succeeds db2 before SET]`: opened, accepted by everybody.
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
        let record = Record {
            epoch: epoch.clone(),
            opened: true,
            groups: vec![WriteGroup { primary: primary.clone(), members, acks, leased: false }],
            reigns: self.reigns(&primary, &epoch, rest),
            primary,
            voters: self.puppets.iter().map(|(name, puppet)| (name.clone(), puppet.incarnation())).collect(),
            mode: if rest.contains(&"observed") { Mode::Observe } else { Mode::Armed },
            wanted,
            recent: Vec::new(),
            pause: None,
        };
        for puppet in self.puppets.values_mut() {
            puppet.accept(&ballot, &record);
        }
    }

    /// One reign; with `succeeds db2 before 0-2-104` an earlier one before it.
    fn reigns(&mut self, primary: &NodeId, epoch: &Epoch, rest: &[&str]) -> Vec<Reign> {
        let mut reign = |node: NodeId, counter: u64, before: &str| {
            let origin = Origin::Mariadb(self.server(node.as_str()).id);
            let epoch = Epoch(Ballot { counter, ..epoch.0.clone() });
            Reign { epoch, node, origin, set_before: set(before) }
        };
        let at = rest.iter().position(|word| *word == "succeeds");
        let Some(at) = at else { return vec![reign(primary.clone(), epoch.0.counter, "")] };
        vec![reign(rest[at + 1].parse().unwrap(), 0, ""), reign(primary.clone(), epoch.0.counter, rest[at + 3])]
    }

    /// Runs to the end and returns what was told and ordered.
    pub(crate) fn run(mut self) -> String {
        let mut acts = std::mem::take(&mut self.acts);
        acts.reverse();
        for now_ms in (0..self.until_ms).step_by(usize::try_from(STEP_MS).unwrap()) {
            while acts.last().is_some_and(|(at, _)| *at <= now_ms) {
                let (_, act) = acts.pop().unwrap();
                self.told.push(format!("{now_ms:>5}  happens    {act}"));
                self.act(&act, now_ms);
            }
            self.tick(now_ms);
        }
        self.told.join("\n") + "\n"
    }

    fn act(&mut self, act: &str, now_ms: u64) {
        let words: Vec<&str> = act.split_whitespace().collect();
        if words[0] == "co1" {
            return self.operate(&words[1..], now_ms);
        }
        let name: NodeId = words[0].parse().unwrap();
        match &words[1..] {
            ["exits"] => self.server(words[0]).running = false,
            ["returns", "closed"] => {
                let server = self.server(words[0]);
                (server.running, server.writable, server.follows, server.semi_sync) = (true, false, None, false);
            }
            ["host", "is", "lost"] => {
                self.puppets.get_mut(&name).unwrap().reachable = false;
                for puppet in self.puppets.values_mut() {
                    if let Some(server) = &mut puppet.server {
                        server.quiet_ms = 900;
                    }
                }
            }
            ["node", "is", "silent"] => self.puppets.get_mut(&name).unwrap().reachable = false,
            ["greets", "everybody"] => self.puppets.values_mut().for_each(|puppet| puppet.primary_greets = true),
            ["refuses", text @ ..] => self.server(words[0]).refuses = Some(text.join(" ")),
            ["filters"] => self.server(words[0]).filtered = true,
            ["applier", "stops", text @ ..] => self.server(words[0]).applier_error = Some(text.join(" ")),
            ["lacks", setting] => {
                let fix = format!("{setting} = ON");
                let gate = FailingGate { setting: (*setting).to_owned(), found: "OFF".to_owned(), fix };
                self.server(words[0]).failing_gates.push(gate);
            }
            ["hears", "nothing"] => self.server(words[0]).quiet_ms = 900,
            ["holds", sets] => {
                let server = self.server(words[0]);
                let (executed, received) = sets.split_once('/').unwrap_or((sets, sets));
                (server.executed, server.received) = (set(executed), set(received));
            }
            other => panic!("no such act: {other:?}"),
        }
        self.changed.insert(name);
    }

    /// What happens to the coordinator: a restart forgets everything, as a change of the leader does.
    fn operate(&mut self, words: &[&str], now_ms: u64) {
        let now = Moment::from_nanos(now_ms * 1_000_000);
        match words {
            ["restarts"] => {
                self.settings.boot = BootId(self.settings.boot.0 + 1);
                self.core = Coordinator::new(self.settings.clone(), now);
                self.said.clear();
            }
            ["is", "asked", "by", owner, "to", "pause", time, reason @ ..] => {
                let (owner, length) = ((*owner).to_owned(), Duration::from_millis(millis(time)));
                self.core.ask(Wish::Pause { owner, reason: reason.join(" "), length }, now);
            }
            ["is", "asked", "to", "resume"] => self.core.ask(Wish::Resume, now),
            other => panic!("no such act: {other:?}"),
        }
    }

    fn tick(&mut self, now_ms: u64) {
        let now = Moment::from_nanos(now_ms * 1_000_000);
        let ports: BTreeMap<NodeId, u16> = self
            .puppets
            .values()
            .filter_map(|puppet| Some((puppet.name.clone(), puppet.server.as_ref()?.port)))
            .collect();
        for (to, request) in std::mem::take(&mut self.inbox) {
            let puppet = self.puppets.get_mut(&to).unwrap();
            if puppet.reachable {
                puppet.take(&self.settings.me, &request, &ports);
                self.changed.insert(to);
            }
        }
        let mut inputs = vec![Input::Woke];
        let beat = now_ms.is_multiple_of(BEAT_MS);
        let changed = std::mem::take(&mut self.changed);
        for puppet in self.puppets.values().filter(|puppet| puppet.reachable) {
            self.sequence += 1;
            let stamp = (Boot { start: 1, random: BootId(1) }, self.sequence);
            if beat || changed.contains(&puppet.name) {
                inputs.push(Input::Observed(Box::new(puppet.observation()), stamp));
                inputs.extend(puppet.position().map(|position| Input::Positioned(Box::new(position), stamp)));
            }
        }
        for input in inputs {
            for output in self.core.handle(input, now) {
                self.perform(output, now_ms);
            }
        }
        if let Some(answer) = self.core.answer() {
            let line = answer.unwrap_or_else(|why| format!("refused: {why}"));
            self.told.push(format!("{now_ms:>5}  answer     {line}"));
        }
        let wake = self.core.next_wake(now);
        assert!(wake > now && wake.since(now) <= Duration::from_secs(1), "the next wake lies ahead");
    }

    fn perform(&mut self, output: Output, now_ms: u64) {
        match output {
            Output::Beat(heartbeat) => {
                for puppet in self.puppets.values_mut().filter(|puppet| puppet.reachable) {
                    puppet.hear(&heartbeat.coordinator, heartbeat.nonce);
                }
            }
            Output::Send { to, request } => {
                if let Some(line) = spoken(&to, &request)
                    && self.said.insert(line.clone())
                {
                    self.told.push(format!("{now_ms:>5}  {line}"));
                }
                self.inbox.push((to, request));
            }
            Output::Tell(body) if body.name() == "forecast" && !self.foretells => {}
            Output::Tell(body) => self.told.extend(told(&body).map(|line| format!("{now_ms:>5}  {line}"))),
        }
    }
}

/// A request in a DBA's words; repetitions are told once.
fn spoken(to: &NodeId, request: &Request) -> Option<String> {
    match request {
        Request::Report => None,
        Request::Probe { primary, .. } => Some(format!("probe      {to}: look at {primary}")),
        Request::Prepare { ballot, kind, .. } => Some(format!("prepare    {to}: {kind:?} at {}", ballot.counter)),
        Request::Accept { ballot, record } => {
            let opened = if record.opened { "opened" } else { "named" };
            Some(format!("accept     {to}: {} {opened}, at {}", record.primary, ballot.counter))
        }
        Request::Order { order, .. } => Some(format!("order      {to}: {}", ordered(order))),
    }
}

fn ordered(order: &Order) -> String {
    match order {
        Order::CatchUp { goal, from, how } => format!("catch up to {goal} from {from} ({how:?})"),
        Order::Promote { goal, .. } => format!("promote, once {goal} is applied"),
        Order::Follow { record } => format!("follow {}", record.primary),
        Order::JoinGroup { .. } => "join the group".to_owned(),
        Order::SetWaitCount { acks, .. } => format!("wait for {acks} acknowledgements"),
    }
}

fn told(body: &EventBody) -> Option<String> {
    match body {
        EventBody::Diagnosis { sentence, .. } => Some(format!("diagnosis  {sentence}")),
        EventBody::Stage { stage, candidate, reasons, .. } => {
            let candidate = candidate.as_ref().map_or(String::new(), |candidate| format!(" {candidate}"));
            let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
            Some(format!("stage      {stage:?}{candidate}{reasons}"))
        }
        EventBody::Hold { reasons } => Some(format!("hold       {}", reasons.join("; "))),
        EventBody::WouldHave { sentence, .. } => Some(format!("would      {sentence}")),
        EventBody::Forecast { sentence, .. } => Some(format!("forecast   {sentence}")),
        EventBody::Pause { sentence, .. } => Some(format!("pause      {sentence}")),
        EventBody::Repair { node, sentence } => Some(format!("repair     {node} {sentence}")),
        EventBody::Decided { ballot, record } => {
            let groups: Vec<String> = record
                .groups
                .iter()
                .map(|group| {
                    let members: Vec<&str> = group.members.iter().map(NodeId::as_str).collect();
                    format!("[{} k={}]", members.join(" "), group.acks)
                })
                .collect();
            let opened = if record.opened { ", opened" } else { "" };
            Some(format!("decided    at {}: {} {}{opened}", ballot.counter, record.primary, groups.join(" ")))
        }
        EventBody::Leader { leader } => {
            Some(format!("leader     {}", leader.as_ref().map_or("nobody", |leader| leader.as_str())))
        }
        EventBody::Health { .. } | EventBody::Position { .. } => None,
    }
}
