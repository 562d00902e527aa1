//! Many healthy clusters at one coordinator: what an observation a second of each server costs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ed25519_dalek::SigningKey;
use tasuki_coordinator_core::settings::Policy;
use tasuki_coordinator_core::{Coordinator, Input, Output};
use tasuki_schemas::envelope::{Opener, Sealer};
use tasuki_schemas::id::{Boot, BootId, ClusterName, CoordinatorId, Nonce, ProgramId};
use tasuki_schemas::message::{Message, Role};
use tasuki_schemas::moment::Moment;
use tasuki_schemas::observation::Observation;

use super::cpu;
use crate::sim::leader;

/// Between two reports of a cluster that arrive.
const APART: Duration = Duration::from_millis(50);
/// No positions are told here: replicas do not count as lagging for want of them.
const UNTOLD: Duration = Duration::from_secs(3600);
/// Each node reports so often.
const REPORTS: Duration = Duration::from_secs(1);
/// Reports come once a second here, so silence is no sooner.
const SILENCE: Duration = Duration::from_secs(3);

/// Processor seconds for each second of the clusters' time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Opening the envelopes, which came over the mesh: whoever sent them proved its key there.
    pub open: f64,
    /// Opening and verifying them, as one has to where Redis alone carries them.
    pub verify: f64,
    /// The core: observations and wakes.
    pub handle: f64,
    /// Sealing the coordinator's own heartbeats and requests.
    pub seal: f64,
    /// What the nodes spend on sealing their reports; elsewhere.
    pub nodes: f64,
    /// Wakes per second, of all clusters.
    pub wakes: f64,
    /// Heartbeats and requests sealed per second.
    pub sealed: f64,
}

impl Cost {
    /// What the coordinator's process spends.
    #[must_use]
    pub fn coordinator(&self) -> f64 {
        self.open + self.handle + self.seal
    }
}

struct Cluster {
    core: Coordinator,
    now: Moment,
    reports: Vec<Observation>,
    sealers: Vec<Sealer>,
    opener: Opener,
    own: Sealer,
    me: CoordinatorId,
    nonce: Nonce,
    envelopes: Vec<String>,
    spoken: Vec<(Option<ProgramId>, Message)>,
}

impl Cluster {
    fn new(number: u64, servers: usize) -> Result<Self> {
        let (core, reports, now) =
            leader(number, servers, Policy { silence: SILENCE, lag: UNTOLD, ..Policy::paced(REPORTS) });
        let name: ClusterName = format!("c{number}").parse()?;
        let (digest, me) = ("0".repeat(64), "co1");
        let key = |at: u8| {
            let mut seed = [at; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            SigningKey::from_bytes(&seed)
        };
        let mut keys = BTreeMap::new();
        let mut sealers = Vec::new();
        for (at, (report, sequence)) in (1..).zip(&reports) {
            let program = ProgramId::from(&report.node);
            // Later than whatever the core was told already.
            let boot = Boot { start: 1_000_000 + sequence, random: BootId(u64::from(at)) };
            keys.insert(program.clone(), (Role::Node, key(at).verifying_key()));
            sealers.push(Sealer::new(key(at), name.clone(), digest.clone(), program, boot));
        }
        let program: ProgramId = me.parse()?;
        keys.insert(program.clone(), (Role::Coordinator, key(0).verifying_key()));
        let boot = Boot { start: 1, random: BootId(0) };
        let own = Sealer::new(key(0), name.clone(), digest.clone(), program.clone(), boot);
        let opener = Opener::new(name, digest, program, keys);
        let reports = reports.into_iter().map(|(report, _)| report).collect();
        let (me, nonce) = (me.parse()?, Nonce(0));
        Ok(Self { core, now, reports, sealers, opener, own, me, nonce, envelopes: Vec::new(), spoken: Vec::new() })
    }

    /// Every node says once how it is, having heard the coordinator last.
    fn report(&mut self) -> Result<()> {
        self.envelopes.clear();
        for (report, sealer) in self.reports.iter_mut().zip(&mut self.sealers) {
            report.heard.insert(self.me.clone(), self.nonce);
            self.envelopes.push(sealer.seal(None, &Message::Observation(Box::new(report.clone())))?);
        }
        Ok(())
    }

    fn open(&self, over_mesh: bool) -> Result<Vec<Input>> {
        let open = |(text, report): (&String, &Observation)| {
            let peer = ProgramId::from(&report.node);
            let opened = self.opener.open_from(over_mesh.then_some(&peer), text)?;
            let stamp = (opened.boot, opened.sequence);
            let Message::Observation(observation) = opened.message else {
                anyhow::bail!("{:?} is no observation", opened.message);
            };
            Ok(Input::Observed(observation, stamp))
        };
        self.envelopes.iter().zip(&self.reports).map(open).collect()
    }

    /// A second passes: the reports arrive, and the core is woken when it asks for it. Returns how often.
    fn second(&mut self, inputs: Vec<Input>) -> usize {
        let (mut wakes, end) = (0, self.now + REPORTS);
        let mut at = self.now;
        // All echo the heartbeat that was the last when the second began: later they would be stale.
        let mut arrivals = inputs.into_iter().map(|input| {
            at = at + APART;
            (at, input)
        });
        let mut arrival = arrivals.next();
        loop {
            let wake = self.core.next_wake(self.now);
            let input = match arrival.take_if(|(at, _)| *at <= wake) {
                Some((at, input)) => {
                    (self.now, arrival) = (at, arrivals.next());
                    input
                }
                None if wake > end => break,
                None => {
                    (self.now, wakes) = (wake, wakes + 1);
                    Input::Woke
                }
            };
            for output in self.core.handle(input, self.now) {
                match output {
                    Output::Beat(heartbeat) => {
                        self.nonce = heartbeat.nonce;
                        self.spoken.push((None, Message::Heartbeat(heartbeat)));
                    }
                    Output::Send { to, request } => {
                        self.spoken.push((Some(ProgramId::from(&to)), Message::Request(request)));
                    }
                    Output::Tell(_) | Output::Fence { .. } | Output::Read { .. } => {}
                }
            }
        }
        self.now = end;
        wakes
    }

    fn speak(&mut self) -> Result<()> {
        let run = Some(Boot { start: 1_000_000, random: BootId(1) });
        for (target, message) in self.spoken.drain(..) {
            self.own.seal(target.as_ref().map(|target| (target, run)), &message)?;
        }
        Ok(())
    }
}

/// Measures so many clusters over so many seconds of theirs.
///
/// # Errors
/// When a message cannot be sealed or opened, or a cluster is not led.
pub fn cost(clusters: u64, servers: usize, seconds: u32) -> Result<Cost> {
    let made = (1..=clusters).map(|number| Cluster::new(number, servers)).collect::<Result<Vec<Cluster>>>();
    let mut clusters = made.context("a cluster")?;
    let mut cost = Cost::default();
    for second in 0..=seconds {
        let (mut before, mut spent) = (cpu::seconds()?, Cost::default());
        let mut lap = |into: &mut f64| -> Result<()> {
            let now = cpu::seconds()?;
            *into += now - std::mem::replace(&mut before, now);
            Ok(())
        };
        clusters.iter_mut().try_for_each(Cluster::report)?;
        lap(&mut spent.nodes)?;
        drop(clusters.iter().map(|cluster| cluster.open(false)).collect::<Result<Vec<_>>>()?);
        lap(&mut spent.verify)?;
        let inputs = clusters.iter().map(|cluster| cluster.open(true)).collect::<Result<Vec<_>>>()?;
        lap(&mut spent.open)?;
        for (cluster, inputs) in clusters.iter_mut().zip(inputs) {
            spent.wakes += cluster.second(inputs) as f64;
        }
        lap(&mut spent.handle)?;
        spent.sealed = clusters.iter().map(|cluster| cluster.spoken.len() as f64).sum();
        clusters.iter_mut().try_for_each(Cluster::speak)?;
        lap(&mut spent.seal)?;
        // The first second only warms up, and gives the nodes a nonce to echo.
        if second > 0 {
            let share = 1.0 / f64::from(seconds);
            cost.nodes += spent.nodes * share;
            cost.open += spent.open * share;
            cost.verify += spent.verify * share;
            cost.handle += spent.handle * share;
            cost.seal += spent.seal * share;
            cost.wakes += spent.wakes * share;
            cost.sealed += spent.sealed * share;
        }
    }
    let healthy = clusters.iter().filter(|cluster| cluster.core.snapshot(cluster.now).leader.is_some()).count();
    anyhow::ensure!(healthy == clusters.len(), "only {healthy} of {} clusters are led", clusters.len());
    Ok(cost)
}
