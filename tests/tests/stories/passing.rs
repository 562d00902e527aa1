//! How a story passes: one virtual millisecond after the other, until its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tasuki_coordinator_core::{Input, Output};
use tasuki_schemas::command::Heartbeat;
use tasuki_schemas::event::EventBody;
use tasuki_schemas::id::{Boot, BootId, NodeId, Nonce};
use tasuki_schemas::moment::Moment;

use crate::script::Story;
use crate::server::{Life, Server};
use crate::words::{spoken, told};

const STEP_MS: u64 = 1;
const BEAT_MS: u64 = 200;

impl Story {
    /// Runs to the end and returns what was told and ordered.
    pub(crate) fn run(&mut self) -> String {
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

    fn tick(&mut self, now_ms: u64) {
        let now = Moment::from_nanos(now_ms * 1_000_000);
        let ports: BTreeMap<NodeId, u16> = self
            .puppets
            .values()
            .filter_map(|puppet| Some((puppet.name.clone(), puppet.server.as_ref()?.port)))
            .collect();
        for (to, request) in std::mem::take(&mut self.inbox) {
            let greeted = self.is_greeted(&to);
            let puppet = self.puppets.get_mut(&to).unwrap();
            if puppet.reachable {
                puppet.take(&self.settings.me, &request, &ports, greeted);
                self.changed.insert(to);
            }
        }
        self.pass_heartbeats(now_ms);
        let mut inputs = if self.sleeps && now < self.wake_at { Vec::new() } else { vec![Input::Woke] };
        for (node, done, input) in self.hands.due(now_ms) {
            if done {
                self.server(node.as_str()).life = Life::Gone { clean: false };
            }
            inputs.push(input);
        }
        if let Some((coordinator, leading)) = self.other.clone().filter(|_| now_ms.is_multiple_of(100)) {
            let nonce = Nonce(now_ms + 1);
            self.puppets.values_mut().for_each(|puppet| puppet.hear(&coordinator, nonce));
            inputs.push(Input::Beaten(Heartbeat { coordinator, nonce, leading, seat: None }));
        }
        let beat = now_ms.is_multiple_of(BEAT_MS);
        let changed = std::mem::take(&mut self.changed);
        for puppet in self.puppets.values().filter(|puppet| puppet.reachable) {
            self.sequence += 1;
            let stamp = (Boot { start: 1, random: BootId(1) }, self.sequence);
            if beat || changed.contains(&puppet.name) {
                inputs.push(Input::Observed(Box::new(puppet.observation(now_ms)), stamp));
                inputs.extend(puppet.position().map(|position| Input::Positioned(Box::new(position), stamp)));
            }
        }
        if let Some((planned, late)) = self.core.planned().zip(self.plan_due.take()) {
            inputs.push(Input::PlanDue { set_at: planned.set_at.clone(), late });
        }
        if now_ms < self.frozen_until_ms {
            self.unread.extend(inputs.into_iter().filter(|input| !matches!(input, Input::Woke)));
            return;
        }
        // Its clock wakes it before it has read anything.
        let unread = std::mem::take(&mut self.unread);
        inputs.splice(inputs.len().min(1)..inputs.len().min(1), unread);
        let handled = !inputs.is_empty();
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
        self.wake_at = if handled { wake } else { self.wake_at.min(wake) };
    }

    /// Replicas hear their source as long as that lives, nothing is cut, and their receiver runs.
    fn pass_heartbeats(&mut self, now_ms: u64) {
        let reach: BTreeMap<u16, (bool, bool)> = self
            .puppets
            .values()
            .filter_map(|puppet| {
                let server = puppet.server.as_ref()?;
                let ended = !puppet.walled_off && (!server.is_running() || server.life == Life::Stopping);
                Some((server.port, (server.feeds_replicas() && !puppet.walled_off, ended)))
            })
            .collect();
        let refusing: BTreeMap<u16, BTreeSet<NodeId>> = self
            .puppets
            .values()
            .filter_map(|puppet| puppet.server.as_ref().map(|server| (server.port, server.refused.clone())))
            .collect();
        for puppet in self.puppets.values_mut() {
            let walled_off = puppet.walled_off;
            let Some(server) = &mut puppet.server else { continue };
            if server.follows.is_some_and(|port| refusing.get(&port).is_some_and(|nodes| nodes.contains(&puppet.name)))
            {
                server.disconnected = true;
                continue;
            }
            let Some((serves, ended)) = server.follows.and_then(|port| reach.get(&port)) else { continue };
            if *serves && !server.deaf && !walled_off && server.receives && server.receiver_error.is_none() {
                (server.heard_ms, server.disconnected) = (now_ms, false);
            } else if *ended {
                server.disconnected = true;
            }
        }
    }

    /// What a look at the primary shows from a node.
    fn is_greeted(&self, by: &NodeId) -> bool {
        let looker = self.puppets.get(by).unwrap();
        let Some(accepted) = &looker.accepted else { return false };
        let primary = self.puppets.get(&accepted.record.primary).unwrap();
        let serves = primary.server.as_ref().is_some_and(Server::greets);
        looker.primary_greets || serves && !primary.walled_off && !looker.walled_off
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
            Output::Fence { ballot, node, how, .. } => self.hands.begin(ballot, node, how, now_ms),
            Output::Read { ballot, node, .. } => {
                let executed = self.server(node.as_str()).executed.clone();
                self.hands.read_files(ballot, node, executed, now_ms);
            }
            Output::Tell(body) if body.name() == "forecast" && !self.foretells => {}
            Output::Tell(body) => {
                if let EventBody::Diagnosis { diagnosis, .. } = &*body {
                    let tagged = serde_json::to_value(diagnosis).unwrap();
                    self.diagnoses.insert(tagged["diagnosis"].as_str().unwrap().to_owned());
                }
                self.told.extend(told(&body).map(|line| format!("{now_ms:>5}  {line}")));
            }
        }
    }
}
