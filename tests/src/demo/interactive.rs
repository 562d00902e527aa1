//! The demo at a terminal: a live picture, and keys that break things.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tasuki_schemas::gtid::Flavour;
use tokio::time::{sleep, timeout};

use super::keys::Keys;
use super::scene::{Scene, say};
use super::settings::Settings;
use crate::lab::server::Server;
use crate::lab::{history, wire};

/// Between two pictures.
const PICTURE: Duration = Duration::from_millis(300);
/// How long after writing goes on the waterfall is drawn: the last stages are told by then.
const SETTLED: Duration = Duration::from_millis(700);
/// The longest wait of a clean stop for running commits.
const CLOSE: Duration = Duration::from_secs(2);

const HELP: &str = "[k] kill -9 the primary   [s] stop it cleanly   [b] bring stopped servers back   [q] quit";

/// Plays until the key q.
///
/// # Errors
/// When something does not start, or there is no terminal.
pub async fn play(settings: Settings) -> Result<()> {
    let mut keys = Keys::take()?;
    let mut scene = Scene::start(settings.flavour).await?;
    say(HELP);
    let mut picture = Picture::default();
    let mut fault = None;
    loop {
        match timeout(PICTURE, keys.next()).await {
            Ok(Some(b'k')) => fault = break_primary(&mut scene, &mut picture, Fault::Kill).await?.or(fault),
            Ok(Some(b's')) => fault = break_primary(&mut scene, &mut picture, Fault::Stop).await?.or(fault),
            Ok(Some(b'b')) => bring_back(&mut scene, &mut picture)?,
            Ok(Some(b'q') | None) => return Ok(()),
            Ok(Some(_)) => picture.leave(HELP),
            Err(_) => picture.show(&scene).await?,
        }
        if let Some(since) = fault.filter(|since| is_over(&scene, *since)) {
            sleep(SETTLED).await;
            picture.leave(&format!("the waterfall\n{}", scene.waterfall(since)));
            fault = None;
        }
    }
}

#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Stop,
}

async fn break_primary(scene: &mut Scene, picture: &mut Picture, fault: Fault) -> Result<Option<Instant>> {
    let Ok(primary) = scene.cluster()?.primary().await else {
        picture.leave("there is no primary now");
        return Ok(None);
    };
    let server = scene.cluster_mut()?.server_mut(&primary)?;
    let moment = match fault {
        Fault::Kill => server.kill9()?,
        Fault::Stop => stop(server).await?,
    };
    let done = match fault {
        Fault::Kill => "kill -9 of",
        Fault::Stop => "stopped",
    };
    picture.leave(&format!("{done} {primary}"));
    Ok(Some(moment))
}

/// Closes a server before it stops: a bare SIGTERM would let MySQL acknowledge commits that no replica has.
async fn stop(server: &mut Server) -> Result<Instant> {
    let moment = Instant::now();
    let close = match server.flavour() {
        Flavour::Mariadb => "SET GLOBAL read_only=1",
        Flavour::Mysql => "SET GLOBAL super_read_only=1",
    };
    match timeout(CLOSE, server.sql().run(close)).await {
        Ok(Ok(())) => server.stop().await?,
        Ok(Err(_)) | Err(_) => drop(server.kill9()),
    }
    Ok(moment)
}

fn bring_back(scene: &mut Scene, picture: &mut Picture) -> Result<()> {
    let stopped: Vec<&mut Server> =
        scene.cluster_mut()?.servers.iter_mut().filter_map(|server| (!server.is_running()).then_some(server)).collect();
    if stopped.is_empty() {
        picture.leave("all servers run");
    }
    for server in stopped {
        server.start()?;
        picture.leave(&format!("{} starts again, closed", server.name()));
    }
    Ok(())
}

/// Writing goes on: a write that began after the fault was acknowledged.
fn is_over(scene: &Scene, fault: Instant) -> bool {
    scene.writers.since(fault + SETTLED).iter().any(|attempt| attempt.acknowledged && attempt.start > fault + SETTLED)
}

/// The lines that are drawn again and again in the same place.
#[derive(Default)]
struct Picture {
    lines: usize,
}

impl Picture {
    async fn show(&mut self, scene: &Scene) -> Result<()> {
        let cluster = scene.cluster()?;
        let primary = cluster.primary().await.unwrap_or_default();
        let mut text = String::new();
        for server in &cluster.servers {
            writeln!(text, "  {:<5} {}", server.name(), line(server, &primary, &cluster.servers).await)?;
        }
        let now = Instant::now();
        let second = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let rate = history::rate(&scene.writers.since(second), second, now);
        let (acknowledged, failed) = (scene.writers.acknowledged(), scene.writers.failed());
        writeln!(text, "  writers {rate:>5.0} writes/s   {acknowledged} acknowledged   {failed} failed")?;
        self.clear()?;
        self.lines = text.lines().count();
        write!(std::io::stdout(), "{text}").context("the terminal is gone")
    }

    /// Prints something that stays, above the picture.
    fn leave(&mut self, text: &str) {
        drop(self.clear());
        say(text);
    }

    fn clear(&mut self) -> Result<()> {
        let mut out = std::io::stdout();
        if self.lines > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.lines)?;
            out.flush()?;
        }
        self.lines = 0;
        Ok(())
    }
}

/// A server's role and position in one line.
async fn line(server: &Server, primary: &str, all: &[Server]) -> String {
    let question = match server.flavour() {
        Flavour::Mariadb => "SELECT CONCAT(IF(@@read_only, 'read-only', 'writable'), ' ', @@gtid_binlog_pos)",
        Flavour::Mysql => {
            "SELECT CONCAT(IF(@@read_only, 'read-only', 'writable'), ' ', REPLACE(@@gtid_executed, '\\n', ''))"
        }
    };
    let Ok(Ok(answer)) = timeout(PICTURE, server.sql().value(question)).await else { return "down".to_owned() };
    let (open, position) = answer.split_once(' ').unwrap_or(("", ""));
    let role = match timeout(PICTURE, wire::channel(server)).await {
        _ if server.name() == primary => "PRIMARY".to_owned(),
        Ok(Ok(Some(channel))) if channel.runs => {
            let source = all.iter().find(|source| source.address().to_string() == channel.source);
            format!("replica of {}", source.map_or("a stranger", Server::name))
        }
        Ok(_) | Err(_) => "not replicating".to_owned(),
    };
    format!("{role:<16} {open:<9}  {}", shorten(position))
}

/// MySQL's sets are long: the first digits of UUIDs tell them apart.
fn shorten(position: &str) -> String {
    let parts = position.split(',').map(|part| match part.split_once(':') {
        Some((uuid, rest)) => format!("{}…:{rest}", uuid.get(..4).unwrap_or(uuid)),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(" ")
}
