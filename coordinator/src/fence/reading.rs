//! What a server that was ended through ssh holds: its binlog's newest files are copied through the same connection, back to
//! the first before which others lack nothing, and read here to their end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use openssh::{Session, Stdio};
use tasuki_binlog::{BinlogError, Bounds, before, read_to_end};
use tasuki_coordinator_core::reading::{Files, Unread};
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::copies::Folder;
use super::ssh::{KEPT, told};
use super::{Target, last_words, millis};

/// Lists the files, and keeps the server from starting.
const LIST: &str = concat!(include_str!("servers.sh"), include_str!("list.sh"));
/// The list is told within this.
const LISTED: Duration = Duration::from_secs(10);
/// A copy of which nothing came for so long is given up: the host is lost.
const STALLED: Duration = Duration::from_secs(4);
/// A candidate applies what was read within 20 s and a second more for each of so many bytes, and has to get it before and to
/// open afterwards: for longer than all that the server is kept from starting.
const BYTES_A_SECOND: u64 = 1 << 20;
const OPENED: u64 = 40;
const BUFFER: usize = 256 << 10;

/// What has to be read.
pub(super) struct Wanted<'a> {
    pub(super) target: &'a Target,
    /// The list of the binlog's files, if it is known.
    pub(super) index: Option<String>,
    pub(super) flavour: Flavour,
    /// What others hold together.
    pub(super) have: GtidSet,
}

/// Copies into `folder`, and reads what was copied. What was copied is as it was on the host before and after, when no process
/// of the server was there; from then on it is kept from starting for as long as an attempt with so many bytes can last.
pub(super) async fn read(session: &Session, wanted: &Wanted<'_>, folder: &Folder) -> Result<Files, Unread> {
    let first = list(session, wanted, KEPT).await?;
    let mut copies = Copied { bytes: 0, places: BTreeMap::new(), lines: Vec::new() };
    let mut reached = false;
    for file in first.files.iter().rev() {
        let copy = copy(session, file, folder, &mut copies).await?;
        let (have, flavour) = (wanted.have.clone(), wanted.flavour);
        let known = blocking(move || {
            let before = before(&copy, flavour)?;
            before.map(|before| have.contains(&before)).transpose().map_err(BinlogError::from)
        });
        reached = known.await.map_err(|reason| copies.on_its_host(&reason))? == Some(true);
        if reached {
            break;
        }
    }
    if !reached {
        let what = "transactions that are missing elsewhere are in files that were purged";
        return Err(Unread::Unreadable(format!("{}: {what}", first.list)));
    }
    let index = folder.index();
    copies.lines.reverse();
    std::fs::write(&index, copies.lines.concat()).map_err(|error| unkept(&index, &error))?;
    let flavour = wanted.flavour;
    let executed = blocking(move || read_to_end(&index, flavour)).await;
    let executed = executed.map_err(|reason| copies.on_its_host(&reason))?;
    let kept = KEPT.max(OPENED + copies.bytes / BYTES_A_SECOND);
    let last = list(session, wanted, kept).await?;
    if last.files != first.files || last.list != first.list {
        let what = "its files changed while they were read: something starts it again and again; disable its unit";
        return Err(Unread::Unreadable(format!("{}: {what}", first.list)));
    }
    Ok(Files { executed, up: last.up })
}

/// Work on files, beside the loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BinlogError> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// What was copied so far, newest first.
struct Copied {
    bytes: u64,
    /// Each copy, and what it is a copy of.
    places: BTreeMap<String, String>,
    lines: Vec<String>,
}

impl Copied {
    /// A finding about a copy, told of the file that people have.
    fn on_its_host(&self, reason: &str) -> Unread {
        let places = self.places.iter().rev();
        Unread::Unreadable(places.fold(reason.to_owned(), |text, (copy, file)| text.replace(copy, file)))
    }
}

/// The files as a host tells them.
struct Listing {
    list: String,
    up: Duration,
    files: Vec<Listed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    path: String,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    There { size: u64, changed: String },
    Missing,
    Refused,
}

async fn list(session: &Session, wanted: &Wanted<'_>, kept: u64) -> Result<Listing, Unread> {
    let data_dir = wanted.target.data_dir.as_ref();
    let data_dir =
        data_dir.ok_or_else(|| Unread::Unreadable("the cluster file does not name its data directory".to_owned()))?;
    let mut command = session.command("sh");
    command.arg("-c").arg(LIST).arg("tasuki-list").arg(data_dir.to_string_lossy());
    command.arg(wanted.index.as_deref().unwrap_or_default()).arg(kept.to_string());
    let output = timeout(LISTED, command.output()).await;
    let output = output.map_err(|_| lost("its files were not listed in time"))?.map_err(|error| lost(&told(&error)))?;
    let words = last_words(&output.stdout);
    if !output.status.success() || words != "listed" {
        return Err(Unread::Unreadable(words));
    }
    listing(&output.stdout).ok_or_else(|| Unread::Unreadable("its files have names that cannot be read".to_owned()))
}

/// Reads what `list.sh` prints.
fn listing(printed: &[u8]) -> Option<Listing> {
    let (mut list, mut up, mut files) = (None, None, Vec::new());
    for line in std::str::from_utf8(printed).ok()?.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let state = match kind {
            "list" => {
                list = Some(rest.to_owned());
                continue;
            }
            "up" => {
                up = Some(Duration::from_secs(rest.parse().ok()?));
                continue;
            }
            "missing" => State::Missing,
            "refused" => State::Refused,
            "file" => {
                let mut words = rest.splitn(3, ' ');
                let state = State::There { size: words.next()?.parse().ok()?, changed: words.next()?.to_owned() };
                files.push(Listed { path: words.next()?.to_owned(), state });
                continue;
            }
            "listed" => break,
            _ => return None,
        };
        files.push(Listed { path: rest.to_owned(), state });
    }
    Some(Listing { list: list?, up: up?, files })
}

/// Copies one file whole.
async fn copy(session: &Session, file: &Listed, folder: &Folder, copies: &mut Copied) -> Result<PathBuf, Unread> {
    let Listed { path, state } = file;
    let size = match state {
        State::There { size, .. } => *size,
        State::Missing => {
            return Err(Unread::Unreadable(format!("{path}: No such file; the list of the binlog names it")));
        }
        State::Refused => {
            let what = "cannot be read: let the account that [ssh] logs in as read it";
            return Err(Unread::Unreadable(format!("{path} {what}")));
        }
    };
    let copy = folder.copy_of(copies.lines.len(), path);
    copies.places.insert(copy.display().to_string(), path.clone());
    copies.lines.push(format!("{}\n", copy.display()));
    copies.bytes += size;
    let began = Instant::now();
    let came = transfer(session, path, &copy, folder).await?;
    if came == size {
        tracing::info!(path, bytes = size, took_ms = millis(began), "a binlog file was copied through ssh");
        return Ok(copy);
    }
    Err(Unread::Unreadable(format!("{path} had {size} bytes, and {came} of them came")))
}

async fn transfer(session: &Session, path: &str, copy: &PathBuf, folder: &Folder) -> Result<u64, Unread> {
    let failed = |error: &std::io::Error| unkept(copy, error);
    let mut command = session.command("cat");
    command.arg("--").arg(path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let spawned = timeout(STALLED, command.spawn()).await.map_err(|_| lost("it answers no more"))?;
    let mut child = spawned.map_err(|error| lost(&told(&error)))?;
    let mut stdout = child.stdout().take().ok_or_else(|| lost("nothing is heard of it"))?;
    let mut bounds = Bounds::new(folder.path().to_owned(), Arc::new(AtomicBool::new(false)));
    let mut output = tokio::fs::File::create(copy).await.map_err(|error| failed(&error))?;
    let (mut came, mut buffer) = (0, vec![0; BUFFER]);
    loop {
        let read = timeout(STALLED, stdout.read(&mut buffer)).await;
        let read = read.map_err(|_| lost(&format!("nothing more came of {path} for {} s", STALLED.as_secs())))?;
        let part = match read.map_err(|error| lost(&error.to_string()))? {
            0 => break,
            read => buffer.get(..read).unwrap_or_default(),
        };
        bounds.spend(part.len()).map_err(|error| failed(&error))?;
        output.write_all(part).await.map_err(|error| failed(&error))?;
        came += part.len() as u64;
    }
    output.flush().await.map_err(|error| failed(&error))?;
    let ended = timeout(STALLED, child.wait_with_output()).await.map_err(|_| lost("it answers no more"))?;
    let ended = ended.map_err(|error| lost(&told(&error)))?;
    if ended.status.success() { Ok(came) } else { Err(Unread::Unreadable(last_words(&ended.stderr))) }
}

fn lost(reason: &str) -> Unread {
    Unread::Unreached(reason.to_owned())
}

fn unkept(copy: &std::path::Path, error: &std::io::Error) -> Unread {
    Unread::Unreadable(format!("its copy {} cannot be kept on the coordinator's host: {error}", copy.display()))
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
