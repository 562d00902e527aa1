//! `tasuki-node`: the sidecar beside a database server, or a witness.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tasuki_node::{leave, pace, start};

#[derive(Parser)]
#[command(name = "tasuki-node", version, about = "The Tasuki sidecar beside a database server, or a witness")]
struct Arguments {
    #[command(subcommand)]
    act: Option<Act>,
    /// The node's own file.
    #[arg(long, global = true, default_value = "/etc/tasuki/node.toml")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Act {
    /// Make a key file (mode 0600) and print its public key for the cluster file.
    Key {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// End a server when its lease ends. Started by the node itself; it goes on when the node is gone.
    #[command(hide = true)]
    Guard {
        /// Where the node finds it.
        socket: PathBuf,
    },
    /// Before this host's server is stopped: let another server take over if it is the primary, and close it if nobody does,
    /// so that no client is told OK for what could be lost. For a unit's ExecStop; the running node does it.
    HandOver {
        /// For how long another server may take over, e.g. 10s.
        #[arg(long, value_parser = length, default_value = "10s")]
        within: Duration,
    },
    /// Read all files, say everything that is wrong with them, and time the disk that is to hold this voter's memory.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.act {
        Some(Act::Key { file }) => make_key(file),
        Some(Act::Guard { socket }) => guard(socket),
        Some(Act::Check) => check(&arguments.config).and_then(|config| time_disk(&config)),
        Some(Act::HandOver { within }) => hand_over(&arguments.config, *within),
        None => run(&arguments.config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            if error.is::<tasuki_config::Findings>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

#[expect(clippy::print_stderr, reason = "what an operator typed is answered on the terminal")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the key is the command's result")]
fn make_key(file: &Path) -> anyhow::Result<()> {
    let key = tasuki_bus::key::create(file)?;
    println!("{}", tasuki_bus::key::public_base64(&key.verifying_key()));
    Ok(())
}

fn check(file: &Path) -> anyhow::Result<tasuki_config::NodeConfig> {
    Ok(tasuki_config::NodeConfig::load(file)?)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn time_disk(config: &tasuki_config::NodeConfig) -> anyhow::Result<()> {
    let pace = pace::measure(&config.state_dir)?.checked()?;
    let [median, p99] = [pace.median, pace.p99].map(|time| time.as_secs_f64() * 1e3);
    println!("a promise is durable in {median:.2} ms, in 99 of 100 cases in {p99:.2} ms");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn hand_over(file: &Path, within: Duration) -> anyhow::Result<()> {
    let config = check(file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(leave::ask(&config.state_dir, within))?;
    let told = told.with_context(|| {
        let place = config.state_dir.display();
        format!("no node runs with the state directory {place}, so that its server is as it was; start it first")
    })?;
    println!("{}", told.map_err(anyhow::Error::msg)?);
    Ok(())
}

/// How long another server may take to take over.
fn length(text: &str) -> Result<Duration, String> {
    tasuki_config::length(text, leave::LONGEST)
}

fn guard(socket: &Path) -> anyhow::Result<()> {
    log();
    Ok(tasuki_node::guard::run(socket)?)
}

fn log() {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("TASUKI_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

fn run(file: &Path) -> anyhow::Result<()> {
    let config = check(file)?;
    log();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed before"))?;
    // One thread is enough for so few messages, and wakes nobody else; what blocks has threads of its own.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime does not start")?;
    runtime.block_on(start::run(Arc::new(config)))
}
