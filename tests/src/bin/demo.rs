//! The first of the README's two commands; see `tasuki_tests::demo`. Started by `make demo`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use tasuki_tests::demo::settings::Settings;
use tasuki_tests::demo::{auto, interactive};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,tasuki_tests=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .without_time()
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever ends first, everything that was started ends with it: the lab is dropped here.
async fn run() -> Result<bool> {
    let settings = Settings::read()?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let play = async {
        if settings.auto { auto::play(settings).await } else { interactive::play(settings).await.map(|()| true) }
    };
    tokio::select! {
        ended = play => ended,
        _ = tokio::signal::ctrl_c() => bail!("interrupted: everything is stopped"),
        _ = terminated.recv() => bail!("terminated: everything is stopped"),
        _ = hung_up.recv() => bail!("the terminal is gone: everything is stopped"),
    }
}
