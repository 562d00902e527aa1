//! The stage of the demo: one guarded cluster on loopback, its writers, and what is heard of it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tasuki_config::{Role, add_token};
use tasuki_schemas::gtid::Flavour;

use super::waterfall;
use crate::lab::config::grant;
use crate::lab::events::Listener;
use crate::lab::net::Kind;
use crate::lab::writer::Writers;
use crate::lab::{Cluster, Lab, Options, drill};

/// Writers, and the acknowledgements a second that they aim at together.
const WRITERS: u32 = 8;
const RATE: u32 = 500;

/// Everything that runs.
pub(super) struct Scene {
    pub(super) writers: Writers,
    pub(super) listener: Listener,
    pub(super) lab: Lab,
}

impl Scene {
    /// Starts it all, and the writing.
    pub(super) async fn start(flavour: Flavour) -> Result<Self> {
        let begun = Instant::now();
        let options = Options { alone: false, ..Options::default() };
        let lab = Lab::start(Kind::Loopback, &[flavour], &options).await?;
        let cluster = lab.clusters.first().context("no cluster")?;
        let listener = lab.listen(cluster)?;
        let writers = cluster.write(WRITERS, RATE)?;
        say(&format!(
            "three {flavour} servers, three nodes, two coordinators, Redis and HAProxy run after {:.1} s; files are in {}",
            begun.elapsed().as_secs_f64(),
            lab.run().folder().display()
        ));
        tell_dashboard(&lab)?;
        Ok(Self { writers, listener, lab })
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> Result<&Cluster> {
        self.lab.clusters.first().context("no cluster")
    }

    /// The cluster, to be broken.
    pub(super) fn cluster_mut(&mut self) -> Result<&mut Cluster> {
        self.lab.clusters.first_mut().context("no cluster")
    }

    /// The waterfall of what followed a fault.
    pub(super) fn waterfall(&self, fault: Instant) -> String {
        let gap = self.gap(fault);
        waterfall::draw(&self.listener.since(fault), &self.writers.since(fault), fault, gap)
    }

    /// The longest silence of the writers around a fault.
    pub(super) fn gap(&self, fault: Instant) -> Option<Duration> {
        drill::gap(&self.writers, fault).ok()
    }
}

/// Where the dashboard is, and a token that may switch over there. Its certificate signs itself.
fn tell_dashboard(lab: &Lab) -> Result<()> {
    let token = format!("{:016x}", getrandom::u64()?);
    add_token(&lab.files().tokens(), &grant("demo", Role::Operator)?, &token)?;
    say(&format!("dashboard  https://{}/", lab.files().feed("co1")?));
    say(&format!("token      {token}"));
    Ok(())
}

/// For people: not part of what programs read.
pub(super) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "demo: {text}"));
}
