//! The shutdown hook: a command that ends a server or its host, and one that reads back that it is down. Both are told
//! about the server in the words of MHA's `shutdown_script`.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tasuki_config::Shutdown;
use tasuki_coordinator_core::fence::Fenced;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::last_words;

/// So much of what a program prints is kept.
const KEPT: usize = 64 * 1024;
/// Between two looks whether the server is down.
const AGAIN: Duration = Duration::from_millis(300);
/// A program that has ended may have left its output to others; it is not waited for.
const OUTPUT: Duration = Duration::from_millis(200);
/// MHA: the server was stopped, its host runs on.
const STOPPED: i32 = 10;

/// Shuts a server down, and reads it back. The caller sets the limit; whatever runs then is killed with all it started.
pub(super) async fn shut_down(hook: &Shutdown, address: SocketAddr) -> Fenced {
    let (status, output) = run(&hook.command, "stop", address).await?;
    if !status.success() && status.code() != Some(STOPPED) {
        return Err(format!("the command ended with {status}: {}", last_words(&output)));
    }
    let Some(read_back) = &hook.read_back else { return Ok(()) };
    loop {
        let (status, output) = run(read_back, "status", address).await?;
        if status.success() {
            return Ok(());
        }
        tracing::info!(%address, %status, said = last_words(&output), "the server is not down yet");
        sleep(AGAIN).await;
    }
}

/// The group of a program's processes: killed when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }
}

async fn run(command: &[String], act: &str, address: SocketAddr) -> Result<(ExitStatus, Vec<u8>), String> {
    let (program, first) = command.split_first().ok_or("no command is given")?;
    let told = |error: std::io::Error| format!("{program}: {error}");
    let ip = address.ip();
    let mut child = Command::new(program)
        .args(first)
        .arg(format!("--command={act}"))
        .args([format!("--host={ip}"), format!("--ip={ip}"), format!("--port={}", address.port())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(told)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let mut group = Group(pid);
    let outputs = (tokio::spawn(kept(child.stdout.take())), tokio::spawn(kept(child.stderr.take())));
    let status = child.wait().await.map_err(told)?;
    // What it left running on purpose goes on.
    group.0 = None;
    let mut output = Vec::new();
    for stream in [outputs.0, outputs.1] {
        output.extend(timeout(OUTPUT, stream).await.ok().and_then(Result::ok).unwrap_or_default());
    }
    tracing::info!(program, act, %address, %status, said = %String::from_utf8_lossy(&output), "hook");
    Ok((status, output))
}

/// The beginning of a stream, which is read to its end so that its writer is not held up.
async fn kept(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), [0_u8; 4096]);
    let Some(mut stream) = stream else { return all };
    while let Ok(read @ 1..) = stream.read(&mut part).await {
        let room = KEPT.saturating_sub(all.len()).min(read);
        all.extend(part.iter().take(room));
    }
    all
}

#[cfg(test)]
#[path = "hook_tests.rs"]
mod tests;
