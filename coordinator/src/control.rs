//! How `init` and what operators wish of a born cluster reach the running coordinator: a socket in its state directory. A
//! second program under the same key would look to the nodes like a later run of the first, and silence it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tasuki_coordinator_core::pause::Wish;
use tasuki_coordinator_core::reclone::Reclone;
use tasuki_coordinator_core::switchover::Switchover;
use tasuki_schemas::grounds::Override;
use tasuki_schemas::id::NodeId;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A request is one short line.
const LINE: u64 = 4096;
/// A birth or a vote ends within its own patience; this is more.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lines for the operator, or why it was not done.
pub type Reply = Result<Vec<String>, String>;

/// What an operator asks of one cluster. It travels as one line: its word, the cluster, then fields between tabs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its birth.
    Init,
    /// A change that a running cluster decides.
    Wish(Wish),
}

/// A request to the driver of one cluster.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub act: Act,
    /// Who waits for what comes of it.
    pub reply: oneshot::Sender<Reply>,
}

impl Act {
    /// The line that asks for it.
    #[must_use]
    pub fn line(&self, name: &str) -> String {
        match self {
            Self::Init => format!("init {name}"),
            Self::Wish(Wish::Resume) => format!("resume {name}"),
            Self::Wish(Wish::CancelSwitchover) => format!("cancel-switchover {name}"),
            Self::Wish(Wish::Plan { switchover, at }) => {
                format!("plan {name}\t{}\t{}", plain(at), switching(switchover))
            }
            Self::Wish(Wish::Failover { dry_run }) => {
                format!("failover {name}\t{}", if *dry_run { "dry" } else { "-" })
            }
            Self::Wish(Wish::Override(word)) => format!("override {name}\t{}", overriding(word)),
            Self::Wish(Wish::TryOverride(word)) => format!("try-override {name}\t{}", overriding(word)),
            Self::Wish(Wish::Switchover(wish)) => format!("switchover {name}\t{}", switching(wish)),
            Self::Wish(Wish::Reclone(wish)) => format!("reclone {name}\t{}", recloning(wish)),
            Self::Wish(Wish::Admit { node }) => format!("admit {name}\t{node}"),
            Self::Wish(Wish::Pause { owner, reason, length }) => {
                format!("pause {name}\t{}\t{}\t{}", length.as_millis(), plain(owner), plain(reason))
            }
        }
    }

    /// Reads a line: the cluster, and what is asked of it.
    #[must_use]
    pub fn parse(line: &str) -> Option<(String, Self)> {
        let (word, rest) = line.trim_end_matches('\n').split_once(' ')?;
        let mut fields = rest.split('\t');
        let name = fields.next()?.trim().to_owned();
        let act = match word {
            "init" => Self::Init,
            "resume" => Self::Wish(Wish::Resume),
            "cancel-switchover" => Self::Wish(Wish::CancelSwitchover),
            "plan" => {
                let at = fields.next()?.to_owned();
                Self::Wish(Wish::Plan { at, switchover: switched(&mut fields)? })
            }
            "failover" => Self::Wish(Wish::Failover { dry_run: said(fields.next()?, "dry")? }),
            "admit" => Self::Wish(Wish::Admit { node: fields.next()?.parse().ok()? }),
            "pause" => {
                let length = Duration::from_millis(fields.next()?.parse().ok()?);
                let (owner, reason) = (fields.next()?.to_owned(), fields.next()?.to_owned());
                Self::Wish(Wish::Pause { owner, reason, length })
            }
            "switchover" => Self::Wish(Wish::Switchover(switched(&mut fields)?)),
            "reclone" => Self::Wish(Wish::Reclone(recloned(&mut fields)?)),
            "override" => Self::Wish(Wish::Override(overridden(&mut fields)?)),
            "try-override" => Self::Wish(Wish::TryOverride(overridden(&mut fields)?)),
            _ => return None,
        };
        fields.next().is_none().then_some((name, act))
    }
}

/// A text in one field.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A server, or `-` for none.
fn server(field: &str) -> Option<Option<NodeId>> {
    if field == "-" { Some(None) } else { field.parse().ok().map(Some) }
}

/// Whether a word was said, or `-` instead.
fn said(field: &str, word: &str) -> Option<bool> {
    (field == word || field == "-").then_some(field == word)
}

/// The fields of an override: incident, server (or `-`), `loss` (or `-`), who, why.
fn overriding(word: &Override) -> String {
    let fenced = word.fenced.as_ref().map_or("-", |node| node.as_str());
    let loss = if word.accept_loss { "loss" } else { "-" };
    format!("{}\t{fenced}\t{loss}\t{}\t{}", word.incident, plain(&word.by), plain(&word.reason))
}

fn overridden<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Override> {
    let incident = fields.next()?.parse().ok()?;
    let (fenced, accept_loss) = (server(fields.next()?)?, said(fields.next()?, "loss")?);
    let (by, reason) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    Some(Override { incident, fenced, accept_loss, by, reason })
}

/// The fields of a switchover: server (or `-`), `dry` (or `-`), who, why.
fn switching(wish: &Switchover) -> String {
    let to = wish.to.as_ref().map_or("-", |node| node.as_str());
    let dry = if wish.dry_run { "dry" } else { "-" };
    format!("{to}\t{dry}\t{}\t{}", plain(&wish.by), plain(&wish.reason))
}

fn switched<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Switchover> {
    let (to, dry_run) = (server(fields.next()?)?, said(fields.next()?, "dry")?);
    let (by, reason) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    Some(Switchover { to, dry_run, by, reason })
}

/// The fields of a re-clone: server, `dry` (or `-`), who, why.
fn recloning(wish: &Reclone) -> String {
    let dry = if wish.dry_run { "dry" } else { "-" };
    format!("{}\t{dry}\t{}\t{}", wish.node, plain(&wish.by), plain(&wish.reason))
}

fn recloned<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Reclone> {
    let (node, dry_run) = (fields.next()?.parse().ok()?, said(fields.next()?, "dry")?);
    let (by, reason) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    Some(Reclone { node, dry_run, by, reason })
}

/// The socket of a state directory.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Listens for requests; refuses to when another coordinator runs with this state directory.
///
/// # Errors
/// The system's, or that another coordinator answers.
pub async fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    let path = path(state_dir);
    if UnixStream::connect(&path).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another coordinator runs with this state directory"));
    }
    UnixListener::from_std(tasuki_bus::local::listen(&path, 0o600)?)
}

/// Hands requests to the clusters' drivers, for ever.
pub async fn serve(listener: UnixListener, clusters: BTreeMap<String, mpsc::Sender<Request>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let clusters = clusters.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(PATIENCE, answer(stream, &clusters)).await {
                tracing::debug!(%error, "a request on the control socket was not answered");
            }
        });
    }
}

async fn answer(stream: UnixStream, clusters: &BTreeMap<String, mpsc::Sender<Request>>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE)).read_line(&mut line).await?;
    let reply = match Act::parse(&line) {
        Some((name, act)) => hand_over(&name, act, clusters).await,
        None => Err(format!("{:?} is no request; `init NAME` is", line.trim())),
    };
    let text = match reply {
        Ok(lines) => format!("done\n{}", lines.join("\n")),
        Err(reason) => format!("refused\n{reason}"),
    };
    write.write_all(text.as_bytes()).await
}

/// Hands one request to the driver of its cluster, and waits for what comes of it.
pub(crate) async fn hand_over(name: &str, act: Act, clusters: &BTreeMap<String, mpsc::Sender<Request>>) -> Reply {
    let driver =
        clusters.get(name).ok_or_else(|| format!("the running coordinator has no cluster {name}; restart it"))?;
    let (reply, told) = oneshot::channel();
    driver.send(Request { act, reply }).await.map_err(|_| "the cluster's loop has ended".to_owned())?;
    told.await.map_err(|_| "the cluster's loop has ended, or somebody asked for something else meanwhile".to_owned())?
}

/// Asks the running coordinator; `None` if none runs.
///
/// # Errors
/// The system's, while the request is made.
pub async fn ask(state_dir: &Path, name: &str, act: &Act) -> io::Result<Option<Reply>> {
    let Ok(mut stream) = UnixStream::connect(path(state_dir)).await else { return Ok(None) };
    stream.write_all(format!("{}\n", act.line(name)).as_bytes()).await?;
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await??;
    let (word, rest) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(Some(match word {
        "done" => Ok(rest.lines().map(str::to_owned).collect()),
        _ => Err(rest.to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_arrives_as_it_was_meant() {
        let pause = Wish::Pause {
            owner: "ann of the night shift".to_owned(),
            reason: "new disks, rack 4".to_owned(),
            length: Duration::from_secs(1800),
        };
        let admit = Wish::Admit { node: "db3".parse().unwrap() };
        let fenced = Wish::Override(Override {
            incident: "00c0ffee00c0ffee".parse().unwrap(),
            fenced: Some("db1".parse().unwrap()),
            accept_loss: false,
            by: "ann".to_owned(),
            reason: "the plug is out".to_owned(),
        });
        let Wish::Override(word) = fenced.clone() else { unreachable!() };
        let lost = Wish::TryOverride(Override { fenced: None, accept_loss: true, ..word });
        let (by, reason) = ("ann".to_owned(), "new kernel".to_owned());
        let best = Switchover { to: None, dry_run: true, by, reason };
        let named = Switchover { to: Some("db2".parse().unwrap()), dry_run: false, ..best.clone() };
        let (node, by, reason) = ("db3".parse().unwrap(), "ann".to_owned(), "its disk was replaced".to_owned());
        let reclone = Wish::Reclone(Reclone { node, dry_run: true, by, reason });
        let plan = Wish::Plan { switchover: named.clone(), at: "2026-12-24T03:00:00Z".to_owned() };
        let switches = [Wish::Switchover(best), Wish::Switchover(named), plan, Wish::CancelSwitchover];
        let failovers = [true, false].map(|dry_run| Wish::Failover { dry_run });
        let wishes = [Wish::Resume, pause, fenced, lost, admit, reclone];
        for act in wishes
            .into_iter()
            .chain(switches)
            .chain(failovers)
            .collect::<Vec<_>>()
            .into_iter()
            .map(Act::Wish)
            .chain([Act::Init])
        {
            let line = act.line("main");
            assert_eq!(Act::parse(&format!("{line}\n")), Some(("main".to_owned(), act)));
        }
        for wrong in [
            "",
            "init",
            "pause main",
            "pause main\tsoon\tann\tdisks",
            "resume main\tnow",
            "failover main",
            "stop main",
            "admit main",
            "switchover main\tdb2\tperhaps\tann\twhy",
            "reclone main\t-\tdry\tann\twhy",
            "override main\tx\t-\tloss\tann\twhy",
        ] {
            assert_eq!(Act::parse(wrong), None, "{wrong}");
        }
    }
}
