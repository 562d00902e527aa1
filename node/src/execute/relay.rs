//! A tail as a relay file: the server's own applier reads it, several times faster than statements, and while the server
//! stays closed also to privileged sessions. The channel and its files exist for that time only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tasuki_node_core::statements::RESCUE;
use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, GtidSet};

use super::steps::{Failed, position};
use super::{Hands, QUICK, SLOW};
use crate::binlog::write_relay;
use crate::server::{ServerError, Session};

/// Between two looks at how far the applier is.
const LOOK: Duration = Duration::from_millis(2);
/// What is executed is counted within this.
const COUNTED: Duration = Duration::from_millis(500);

type Row = BTreeMap<String, String>;

/// Why a tail was not applied as a relay file.
pub(super) enum Unplaced {
    /// It cannot be put there. Nothing was done, and it may be applied otherwise.
    Elsewhere(String),
    /// It was begun and did not end well.
    Failed(Failed),
}

impl<E: Into<Failed>> From<E> for Unplaced {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Where the channel's files are.
struct Place {
    folder: PathBuf,
    /// Of every file of the channel.
    prefix: String,
    index: PathBuf,
}

impl Place {
    fn first(&self) -> PathBuf {
        self.folder.join(format!("{}.000001", self.prefix))
    }
}

/// Has the server apply the spooled tail. `servers` are those whose transactions it holds.
pub(super) async fn apply(
    hands: &Hands,
    session: &mut Session,
    tail: &Tail,
    servers: &BTreeSet<u32>,
) -> Result<(), Unplaced> {
    end(hands, session).await?;
    let row = session.row(&hands.dialect.relay_places(), QUICK).await?;
    let place =
        place(&row).ok_or_else(|| Unplaced::Elsewhere("the server does not tell where its files are".into()))?;
    if row.get("server_id").and_then(|id| id.parse().ok()).is_some_and(|id| servers.contains(&id)) {
        // An applier skips what bears its own number.
        return Err(Unplaced::Elsewhere("it holds transactions of this server's own number".to_owned()));
    }
    let before = position(hands, session).await?.executed;
    let known = before.intersect(&tail.set).map_err(|error| Failed::Other(error.to_string()))?;
    if hands.dialect.0 == Flavour::Mysql && !known.is_empty() {
        return Err(Failed::Other(format!("{known} of the tail is executed already, by whatever")).into());
    }
    // MariaDB's parallel appliers are set back to what they were.
    let threads = row.get("threads").map_or("", String::as_str);
    if let Err(error) = fs::write(marker(hands), format!("{threads}\n{}", place.first().display())) {
        return Err(Unplaced::Elsewhere(format!("{}: {error}", marker(hands).display())));
    }
    let placed = put(hands, session, &place).await;
    let applied = match placed {
        Ok(()) => until_through(hands, session, tail).await.map_err(Unplaced::Failed),
        Err(error) => Err(error),
    };
    end(hands, session).await?;
    applied
}

fn place(row: &Row) -> Option<Place> {
    let basename = Path::new(row.get("basename")?);
    let folder = basename.parent().filter(|folder| folder.is_absolute())?.to_owned();
    let prefix = format!("{}-{RESCUE}", basename.file_name()?.to_str()?);
    let index = folder.join(row.get("relay_index")?);
    let index = index.with_file_name(format!("{}-{RESCUE}.index", index.file_stem()?.to_str()?));
    Some(Place { folder, prefix, index })
}

/// Makes the channel with the spooled tail as its relay file, and starts its applier.
async fn put(hands: &Hands, session: &mut Session, place: &Place) -> Result<(), Unplaced> {
    let dialect = hands.dialect;
    if dialect.0 == Flavour::Mariadb {
        // The server makes two files and forgets the length of the first.
        session.run(&dialect.make_rescue(), SLOW).await?;
    }
    let (spool, first, index, flavour) = (hands.spool.clone(), place.first(), place.index.clone(), dialect.0);
    let written = tokio::task::spawn_blocking(move || write(&spool, &first, &index, flavour)).await;
    written
        .map_err(|error| Failed::Other(error.to_string()))?
        .map_err(|error| Unplaced::Elsewhere(format!("{}: {error}", place.folder.display())))?;
    let name = place.first();
    let name = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(session.run(&dialect.start_rescue(name), SLOW).await?)
}

/// Files are the server's user's, as those around them.
fn write(spool: &Path, first: &Path, index: &Path, flavour: Flavour) -> io::Result<()> {
    let open = |path: &Path, make: bool| {
        let file = OpenOptions::new().write(true).truncate(true).create(make).mode(0o640).open(path)?;
        let folder = fs::metadata(path.parent().unwrap_or(path))?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (folder.uid(), folder.gid()) {
            fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
        }
        Ok::<File, io::Error>(file)
    };
    match flavour {
        Flavour::Mariadb => write_relay(spool, open(first, false)?, flavour),
        Flavour::Mysql => {
            write_relay(spool, open(first, true)?, flavour)?;
            let name = first.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            io::Write::write_all(&mut open(index, true)?, format!("./{name}\n").as_bytes())
        }
    }
}

/// Waits until everything is executed. The channel's own sets are no evidence; that each transaction was applied follows
/// from the server's executed set, which had none of them, and where the flavour counts them from their number.
async fn until_through(hands: &Hands, session: &mut Session, tail: &Tail) -> Result<(), Failed> {
    let mut counting = None;
    loop {
        let (row, executed) = match progress(hands, session).await {
            // A server that is busy applying may take its time to tell. The caller has a deadline for all of it.
            Err(Failed::Server(ServerError::Silent(_))) => continue,
            other => other?,
        };
        let error = row.get("last_sql_error").map_or("", String::as_str);
        let runs = ["replica_sql_running", "slave_sql_running"].iter().find_map(|name| row.get(*name));
        let runs = runs.is_some_and(|runs| runs == "Yes");
        if executed.contains(&tail.set) == Ok(true) && error.is_empty() {
            let counted = counted(&row, tail);
            // A transaction is counted a moment after it shows.
            let since = *counting.get_or_insert_with(Instant::now);
            if counted.is_ok() || since.elapsed() > COUNTED {
                return counted;
            }
        } else if !error.is_empty() || !runs {
            return Err(Failed::Other(format!("the applier stopped at {executed}: {error}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn progress(hands: &Hands, session: &mut Session) -> Result<(Row, GtidSet), Failed> {
    let executed = position(hands, session).await?.executed;
    let mut tables = session.every_table(&hands.dialect.rescue_progress(), QUICK).await?;
    Ok((tables.first_mut().and_then(Vec::pop).unwrap_or_default(), executed))
}

/// MariaDB's set has only the last number of each server: that all before it were applied is counted.
fn counted(row: &Row, tail: &Tail) -> Result<(), Failed> {
    let groups = ["slave_ddl_groups", "slave_non_transactional_groups", "slave_transactional_groups"];
    let counts: Vec<u64> = groups.iter().filter_map(|name| row.get(*name)?.parse().ok()).collect();
    let sum: u64 = counts.iter().sum();
    if counts.is_empty() || sum == tail.transactions {
        return Ok(());
    }
    Err(Failed::Other(format!("the applier counts {sum} transactions instead of {}", tail.transactions)))
}

fn marker(hands: &Hands) -> PathBuf {
    hands.spool.with_extension("relay")
}

/// Ends a rescue's channel, if there may be one: its applier, itself, and its files.
pub(super) async fn end(hands: &Hands, session: &mut Session) -> Result<(), Failed> {
    let marker = marker(hands);
    let Ok(noted) = fs::read_to_string(&marker) else { return Ok(()) };
    let (threads, first) = noted.split_once('\n').unwrap_or_default();
    const NO_SUCH_CONNECTION: u16 = 1617;
    const NO_SUCH_CHANNEL: u16 = 3074;
    match session.run(&hands.dialect.end_rescue(), SLOW).await {
        Ok(()) | Err(ServerError::Refused { code: NO_SUCH_CONNECTION | NO_SUCH_CHANNEL, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if let Ok(threads) = threads.parse()
        && let Err(error) = session.run(&hands.dialect.restore_appliers(threads), SLOW).await
    {
        tracing::warn!(%error, threads, "slave_parallel_threads was 0 for a rescue and could not be set back; set it");
    }
    let removed = remove(Path::new(first)).and_then(|()| fs::remove_file(&marker));
    removed.map_err(|error| Failed::Other(format!("the files of a rescue beside {first} cannot be removed: {error}")))
}

/// Removes whatever the server left of the channel's files.
fn remove(first: &Path) -> io::Result<()> {
    let (Some(folder), Some(stem)) = (first.parent(), first.file_stem()) else { return Ok(()) };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem() == Some(stem) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
