//! `tasuki-coordinator`: watches clusters, decides on failover, and feeds viewers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tasuki_config::{Clusters, CoordinatorConfig, FeedConfig, Findings, Grant, Role, add_token};
use tasuki_coordinator::start;
use tasuki_coordinator::wishes::words;
use tasuki_coordinator_core::pause::{LONGEST, Wish};
use tasuki_coordinator_core::reclone::Reclone;
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::{IncidentId, NodeId, TokenName};

#[derive(Parser)]
#[command(name = "tasuki-coordinator", version, about = "Watches clusters, decides on failover, and feeds viewers")]
struct Arguments {
    #[command(subcommand)]
    act: Option<Act>,
    /// The coordinator's own file.
    #[arg(long, global = true, default_value = "/etc/tasuki/coordinator.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Act {
    /// Give birth to a cluster, once: every configured voter must answer, and none may hold a record.
    Init {
        /// The cluster: the stem of its file.
        name: String,
    },
    /// Begin no failover for a while: everything is observed and told as before, and a failover under way is finished.
    Pause {
        /// The cluster.
        name: String,
        /// For how long, e.g. 90s, 30m or 2h; at most 24h.
        #[arg(long = "for", value_parser = length)]
        length: Duration,
        /// Why, for everybody who wonders.
        #[arg(long, value_parser = words)]
        reason: String,
        /// Who asks.
        #[arg(long, value_parser = words)]
        owner: String,
    },
    /// Let failovers go on before a pause has expired, or after flapping was looked into.
    Resume {
        /// The cluster.
        name: String,
    },
    /// Give up the switchover that is planned.
    CancelSwitchover {
        /// The cluster.
        name: String,
    },
    /// Let a failover begin now that is called for, and that a pause or earlier failovers of the same server hold back. A
    /// primary that serves is moved by `switchover`.
    Failover {
        /// The cluster.
        name: String,
        /// Only say whether it would begin.
        #[arg(long)]
        dry_run: bool,
    },
    /// Answer for a failover that is held: it goes on by your word. It is told and recorded, and counts for this incident
    /// alone.
    Override {
        /// The cluster.
        name: String,
        /// The incident, as the hold names it.
        #[arg(long)]
        incident: IncidentId,
        /// The server that you have made sure serves nobody, e.g. by switching its host off.
        #[arg(long, required_unless_present = "accept_loss")]
        fenced: Option<NodeId>,
        /// What only the replaced server has may be lost.
        #[arg(long)]
        accept_loss: bool,
        /// Only say whether it would count.
        #[arg(long)]
        dry_run: bool,
        /// Who answers for it.
        #[arg(long, value_parser = words)]
        by: String,
        /// Why, for everybody who wonders.
        #[arg(long, value_parser = words)]
        reason: String,
    },
    /// Let a voter whose ledger is lost vote with its new one, though no majority is left to decide that. What the lost
    /// ledger had helped to decide may be forgotten: make sure that no other voter which knows more can come back first.
    Admit {
        /// The cluster.
        name: String,
        /// The voter.
        node: NodeId,
    },
    /// Let the primary hand over: it finishes what is being written, then another server is the primary and it follows. What
    /// goes wrong on the way is undone.
    Switchover {
        /// The cluster.
        name: String,
        /// Who takes over; without it whoever would win a failover.
        #[arg(long)]
        to: Option<NodeId>,
        /// When, as 2026-12-24T03:00:00Z, at most 31 days ahead; without it now. The cluster remembers it: whoever leads then
        /// begins it, or within the ten minutes after that.
        #[arg(long, value_parser = stated)]
        at: Option<String>,
        /// Only say who would take over, or why nobody can.
        #[arg(long)]
        dry_run: bool,
        /// Who asks.
        #[arg(long, value_parser = words)]
        by: String,
        /// Why, for everybody who wonders.
        #[arg(long, value_parser = words)]
        reason: String,
    },
    /// Bring a server home whose data cannot go on: copy a healthy server's data beside its own, then let the two change
    /// places. Its own data is kept aside. It leaves the write group first.
    Reclone {
        /// The cluster.
        name: String,
        /// The server.
        node: NodeId,
        /// Only say whether it could be done, and from whom.
        #[arg(long)]
        dry_run: bool,
        /// Who asks.
        #[arg(long, value_parser = words)]
        by: String,
        /// Why, for everybody who wonders.
        #[arg(long, value_parser = words)]
        reason: String,
    },
    /// Make a token for the live feed: its hash joins the token file (mode 0600), which counts within a second; the token
    /// itself is printed once. Whoever's line is taken out of the file is disconnected.
    Token {
        /// Whose token it is: it stands beside notes and acts.
        name: TokenName,
        /// What it opens: public, viewer, operator or admin.
        #[arg(long)]
        role: Role,
        /// For which clusters: main,shop or * for all.
        #[arg(long)]
        clusters: Clusters,
    },
    /// Make a key file (mode 0600) and print its public key for the cluster file.
    Key {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Read all files, say everything that is wrong with them, and change nothing.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.act {
        Some(Act::Key { file }) => make_key(file),
        Some(Act::Token { name, role, clusters }) => {
            let grant = Grant { name: name.clone(), role: *role, clusters: clusters.clone() };
            make_token(&arguments.config, &grant)
        }
        Some(Act::Check) => check(&arguments.config).map(|config| advise(&config)),
        Some(Act::Init { name }) => init(&arguments.config, name),
        Some(Act::Pause { name, length, reason, owner }) => {
            let (owner, reason) = (owner.clone(), reason.clone());
            wish(&arguments.config, name, Wish::Pause { owner, reason, length: *length })
        }
        Some(Act::Override { name, incident, fenced, accept_loss, dry_run, by, reason }) => {
            let (incident, fenced, accept_loss) = (*incident, fenced.clone(), *accept_loss);
            let word = Override { incident, fenced, accept_loss, by: by.clone(), reason: reason.clone() };
            wish(&arguments.config, name, if *dry_run { Wish::TryOverride(word) } else { Wish::Override(word) })
        }
        Some(Act::Switchover { name, to, at, dry_run, by, reason }) => {
            let (to, by, reason) = (to.clone(), by.clone(), reason.clone());
            let switchover = Switchover { to, dry_run: *dry_run, by, reason };
            let asked = match at.clone() {
                None => Wish::Switchover(switchover),
                Some(at) => Wish::Plan { switchover, at },
            };
            wish(&arguments.config, name, asked)
        }
        Some(Act::CancelSwitchover { name }) => wish(&arguments.config, name, Wish::CancelSwitchover),
        Some(Act::Reclone { name, node, dry_run, by, reason }) => {
            let (node, by, reason) = (node.clone(), by.clone(), reason.clone());
            wish(&arguments.config, name, Wish::Reclone(Reclone { node, dry_run: *dry_run, by, reason }))
        }
        Some(Act::Admit { name, node }) => wish(&arguments.config, name, Wish::Admit { node: node.clone() }),
        Some(Act::Resume { name }) => wish(&arguments.config, name, Wish::Resume),
        Some(Act::Failover { name, dry_run }) => wish(&arguments.config, name, Wish::Failover { dry_run: *dry_run }),
        None => check(&arguments.config).and_then(run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            if error.is::<Findings>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

#[expect(clippy::print_stderr, reason = "what an operator typed is answered on the terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn say(text: &str) {
    println!("{text}");
}

fn make_key(file: &Path) -> anyhow::Result<()> {
    let key = tasuki_bus::key::create(file)?;
    say(&tasuki_bus::key::public_base64(&key.verifying_key()));
    Ok(())
}

fn make_token(config: &Path, grant: &Grant) -> anyhow::Result<()> {
    let file = FeedConfig::token_file_of(config)?;
    let mut token = String::new();
    for _ in 0..4 {
        write!(token, "{:016x}", tasuki_bus::boot::random()?)?;
    }
    add_token(&file, grant, &token).with_context(|| format!("{} cannot be written", file.display()))?;
    say(&token);
    Ok(())
}

/// All files, or all findings of all of them.
fn check(file: &Path) -> anyhow::Result<CoordinatorConfig> {
    let config = CoordinatorConfig::load(file)?;
    let broken: Vec<_> = config
        .clusters
        .iter()
        .filter_map(|cluster| cluster.as_ref().err())
        .flat_map(|findings| findings.0.clone())
        .collect();
    if broken.is_empty() { Ok(config) } else { Err(Findings(broken).into()) }
}

/// What is lawful and still unwise.
fn advise(config: &CoordinatorConfig) {
    for cluster in config.clusters.iter().flatten() {
        if cluster.servers.len() + cluster.witnesses.len() == 2 {
            say(&format!(
                "{}: with two voters the loss of either host leaves no majority: nothing can be decided until it is back; \
                 add a [[witness]] on a third host",
                cluster.name
            ));
        }
    }
}

fn run(config: CoordinatorConfig) -> anyhow::Result<()> {
    let (drivers, viewers) = (runtime()?, start::viewers_runtime()?);
    let done = drivers.block_on(start::run(config, viewers.handle()));
    viewers.shutdown_background();
    done
}

fn init(file: &Path, name: &str) -> anyhow::Result<()> {
    let config = check(file)?;
    for line in runtime()?.block_on(start::init(&config, name))? {
        say(&line);
    }
    Ok(())
}

fn wish(file: &Path, name: &str, wish: Wish) -> anyhow::Result<()> {
    let config = check(file)?;
    for line in runtime()?.block_on(start::wish(&config, name, wish))? {
        say(&line);
    }
    Ok(())
}

fn stated(text: &str) -> Result<String, String> {
    tasuki_coordinator::planned::stated(text, tasuki_bus::clock::wall_ms())
}

/// How long a pause may be.
fn length(text: &str) -> Result<Duration, String> {
    tasuki_config::length(text, LONGEST)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TASUKI_LOG");
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed before"))?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime does not start")
}
