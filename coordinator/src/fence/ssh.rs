//! Ending a server through ssh: its process alone, by SIGKILL. The host's key must be known.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use openssh::{KnownHosts, Session, SessionBuilder};
use tasuki_config::Ssh;

use super::{Target, last_words};

/// Kills, looks whether the process is gone and nobody listens any more, and keeps the server from starting for a while.
const SCRIPT: &str = concat!(include_str!("servers.sh"), include_str!("kill.sh"));
/// For how many seconds: longer than any attempt that could rest on this fence, unless its files are read, which prolongs it.
pub(super) const KEPT: u64 = 60;
const CONNECT: Duration = Duration::from_secs(3);
/// A host that falls silent meanwhile is noticed by this; the limit of the whole stands above it.
const ALIVE: Duration = Duration::from_secs(1);

/// A connection to a server's host. Dropped, it ends.
pub(super) async fn connect(ssh: &Ssh, target: &Target) -> Result<Session, String> {
    let mut builder = SessionBuilder::default();
    builder
        .user(ssh.user.clone())
        .port(target.ssh.port())
        .keyfile(&ssh.key_file)
        // The account's own configuration is none of the cluster's.
        .config_file("/dev/null")
        .known_hosts_check(KnownHosts::Strict)
        .user_known_hosts_file(&ssh.known_hosts_file)
        .connect_timeout(CONNECT)
        .server_alive_interval(ALIVE)
        .control_directory(std::env::temp_dir());
    builder.connect_mux(target.ssh.ip().to_string()).await.map_err(|error| told(&error))
}

/// Ends the server, and reads back that it is gone. With `only_readable` it is ended only if its binlog's files, whose list is
/// at `index` if that is known, are there to be read.
pub(super) async fn kill(
    session: &Session,
    target: &Target,
    only_readable: bool,
    index: Option<&str>,
) -> Result<(), String> {
    let data_dir = target.data_dir.as_ref().ok_or("the cluster file does not name its data directory")?;
    let mut command = session.command("sh");
    command.arg("-c").arg(SCRIPT).arg("tasuki-fence").arg(data_dir.to_string_lossy());
    command.arg(KEPT.to_string()).arg(listening(target.address));
    command.arg(if only_readable { "readable" } else { "" }).arg(index.unwrap_or_default());
    let output = command.output().await.map_err(|error| told(&error))?;
    tracing::info!(host = %target.ssh, said = %String::from_utf8_lossy(&output.stdout), "ssh");
    let words = last_words(&output.stdout);
    if output.status.success() && words == "gone" { Ok(()) } else { Err(words) }
}

/// An error with what caused it: the outermost text alone says little.
pub(super) fn told(error: &openssh::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    last_words(text.replace('\n', " ").as_bytes())
}

/// The pattern of a line in `/proc/net/tcp` or `tcp6` that shows somebody listening at an address, or at all of them.
fn listening(address: SocketAddr) -> String {
    // The kernel prints words of four bytes in the host's order.
    let word = |bytes: &[u8]| -> String { bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect() };
    let own = match address.ip() {
        IpAddr::V4(ip) => {
            let ip = word(&ip.octets());
            format!("{ip}|0000000000000000FFFF0000{ip}|00000000")
        }
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    };
    format!(": ({own}|{}):{:04X} [0-9A-F]+:[0-9A-F]+ 0A ", "0".repeat(32), address.port())
}

#[cfg(test)]
#[path = "ssh_tests.rs"]
mod tests;
