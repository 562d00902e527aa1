//! `tasuki-coordinator`: watches clusters, decides on failover, and feeds viewers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tasuki_config::{CoordinatorConfig, Findings};
use tasuki_coordinator::start;

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
        Some(Act::Check) => check(&arguments.config).map(drop),
        Some(Act::Init { name }) => init(&arguments.config, name),
        None => check(&arguments.config).and_then(|config| runtime()?.block_on(start::run(config))),
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

fn init(file: &Path, name: &str) -> anyhow::Result<()> {
    let config = check(file)?;
    for line in runtime()?.block_on(start::init(&config, name))? {
        say(&line);
    }
    Ok(())
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
