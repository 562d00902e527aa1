//! The archive of what this server holds and the primary does not: the events as they are, and as text for people.
//!
//! A folder `extra-<milliseconds>` holds binlog files with only these transactions, `transactions.sql` and `gtids.txt`.
//! It appears whole or not at all: it is made under another name, synced, and renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tasuki_node_core::Ended;
use tasuki_schemas::gtid::GtidSet;

use super::steps::{Failed, position};
use super::{Hands, QUICK, archive};
use crate::binlog::{self, Bounds, Column, Extra, Extracted, Shapes};
use crate::probe::lock;
use crate::server::Session;

/// The columns of no more tables are asked for.
const TABLES: usize = 1000;
/// A folder that is not whole yet begins with this.
const UNFINISHED: &str = ".extra-";
const GTIDS: &str = "gtids.txt";
/// In `gtids.txt`, before what no file has any more.
const LOST: &str = "not found in any file: ";

/// Tells the writing thread to stop when the effect is cancelled.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Archives `extra`, unless that was done before.
pub(super) async fn archive(hands: &Hands, session: &mut Session, extra: Extra) -> Ended {
    match keep(hands, session, extra).await {
        Ok(folder) => Ended::Kept(folder.display().to_string()),
        Err(error) => Ended::Failed(error.to_string()),
    }
}

async fn keep(hands: &Hands, session: &mut Session, extra: Extra) -> Result<PathBuf, Failed> {
    let names = extra.holds.subtract(&extra.beyond).map_err(|error| Failed::Other(error.to_string()))?.to_string();
    let (archive, wanted) = (hands.archive.clone(), names.clone());
    if let Some((folder, lost)) = aside(move || found(&archive, &wanted)).await? {
        return whole(folder, &lost);
    }
    let executed = position(hands, session).await?.executed;
    let index = lock(&hands.shared).binlog_index.clone();
    let index = index.ok_or_else(|| Failed::Other("where the server's binlog lies is not known yet".to_owned()))?;
    let basename = session.row(&hands.dialect.relay_log_basename(), QUICK).await?;
    let relay = PathBuf::from(basename.get("basename").map_or("", String::as_str));

    let stop = Stop(Arc::new(AtomicBool::new(false)));
    let work = Work { archive: hands.archive.clone(), names, executed, extra, relay, stop: Arc::clone(&stop.0) };
    let unfinished = work.folder();
    let raw = {
        let (work, unfinished) = (work.clone(), unfinished.clone());
        aside(move || work.raw(&unfinished, &index)).await?
    };
    let mut shapes = Shapes::new();
    for (database, table) in raw.tables.iter().take(TABLES) {
        let columns = session.tables(&hands.dialect.columns(database, table), QUICK).await?;
        let columns = columns.iter().flatten().map(Column::read).collect();
        shapes.insert((database.clone(), table.clone()), columns);
    }
    let (folder, lost) = aside(move || work.finish(&unfinished, &raw, &shapes)).await?;
    tracing::warn!(folder = %folder.display(), "transactions that the primary does not hold are archived");
    whole(folder, &lost)
}

/// Files are not read and written where the node's other tasks run.
async fn aside<T: Send + 'static>(what: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Failed> {
    let done = tokio::task::spawn_blocking(what).await.map_err(|error| Failed::Other(error.to_string()))?;
    done.map_err(Failed::Other)
}

fn whole(folder: PathBuf, lost: &str) -> Result<PathBuf, Failed> {
    if lost.is_empty() {
        return Ok(folder);
    }
    let folder = folder.display();
    Err(Failed::Other(format!("{folder} has what was found, but {lost} is in no binlog file (were they purged?)")))
}

/// An archive of exactly these transactions that is there already: its folder, and what it lacks.
fn found(archive: &Path, names: &str) -> Result<Option<(PathBuf, String)>, String> {
    let entries = match fs::read_dir(archive) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", archive.display())),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(UNFINISHED) {
            // Of a run that was cut short.
            fs::remove_dir_all(entry.path()).map_err(|error| format!("{}: {error}", entry.path().display()))?;
        }
        let text = fs::read_to_string(entry.path().join(GTIDS)).unwrap_or_default();
        let mut lines = text.lines();
        if name.starts_with("extra-") && lines.next() == Some(names) {
            let lost = lines.find_map(|line| line.strip_prefix(LOST)).unwrap_or_default().to_owned();
            return Ok(Some((entry.path(), lost)));
        }
    }
    Ok(None)
}

/// What the writing thread needs.
#[derive(Clone)]
struct Work {
    archive: PathBuf,
    names: String,
    executed: GtidSet,
    extra: Extra,
    relay: PathBuf,
    stop: Arc<AtomicBool>,
}

/// What was found in the binlog.
struct Raw {
    extracted: Extracted,
    tables: std::collections::BTreeSet<(String, String)>,
}

impl Work {
    fn folder(&self) -> PathBuf {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.archive.join(format!("{UNFINISHED}{stamp}"))
    }

    /// The events, into files of their own; what was received and never applied, with the relay files it is in.
    fn raw(&self, unfinished: &Path, index: &Path) -> Result<Raw, String> {
        // The database's own files are not for everybody either.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(unfinished);
        made.map_err(|error| format!("{}: {error}", unfinished.display()))?;
        let mut bounds = Bounds::new(unfinished.to_owned(), Arc::clone(&self.stop));
        let raw = binlog::extract(index, &self.extra, &mut bounds).and_then(|extracted| {
            let mut tables = std::collections::BTreeSet::new();
            for file in &extracted.files {
                tables.extend(binlog::tables(file)?);
            }
            Ok(Raw { extracted, tables })
        });
        raw.map_err(|error| error.to_string()).and_then(|raw| self.keep_relay(unfinished).map(|()| raw)).inspect_err(
            |_| {
                let _ = fs::remove_dir_all(unfinished);
            },
        )
    }

    fn is_unapplied(&self) -> bool {
        let known = self.executed.union(&self.extra.beyond);
        !known.is_ok_and(|known| known.contains(&self.extra.holds) == Ok(true))
    }

    fn keep_relay(&self, unfinished: &Path) -> Result<(), String> {
        if self.is_unapplied() {
            archive::keep(&self.relay, unfinished).map_err(|error| format!("relay files: {error}"))?;
        }
        Ok(())
    }

    /// The text, the list, and the folder's name.
    fn finish(&self, unfinished: &Path, raw: &Raw, shapes: &Shapes) -> Result<(PathBuf, String), String> {
        let mut bounds = Bounds::new(unfinished.to_owned(), Arc::clone(&self.stop));
        let lost = self.lost(&raw.extracted)?;
        let written = self.text(unfinished, raw, shapes, &mut bounds).and_then(|()| {
            self.list(unfinished, raw, &lost).map_err(|error| format!("{GTIDS}: {error}"))?;
            let name = unfinished.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let folder = self.archive.join(name.trim_start_matches('.'));
            let named = fs::rename(unfinished, &folder)
                .and_then(|()| File::open(&self.archive))
                .and_then(|archive| archive.sync_all());
            named.map_err(|error| format!("{}: {error}", folder.display())).map(|()| folder)
        });
        let folder = written.inspect_err(|_| {
            let _ = fs::remove_dir_all(unfinished);
        })?;
        Ok((folder, lost))
    }

    /// What the server executed and no file has any more.
    fn lost(&self, extracted: &Extracted) -> Result<String, String> {
        let lost = || {
            let found = extracted.set.union(&self.extra.beyond)?;
            self.executed.intersect(&self.extra.holds)?.subtract(&found)
        };
        lost().map(|lost| lost.to_string()).map_err(|error| error.to_string())
    }

    fn text(&self, unfinished: &Path, raw: &Raw, shapes: &Shapes, bounds: &mut Bounds) -> Result<(), String> {
        let path = unfinished.join("transactions.sql");
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut out = BufWriter::new(File::create(&path).map_err(failed)?);
        let head = format!(
            "-- Transactions of this server that its cluster's primary does not hold: {}\n\
             -- For people: conditions leave out what cannot be compared by its text (FLOAT, JSON, BINARY and such).\n\
             -- Exactly as they were they stand in the binlog files beside this one; to replay those:\n\
             --   mysqlbinlog extra-* | mysql      (mariadb-binlog and mariadb for MariaDB)\n",
            self.names
        );
        out.write_all(head.as_bytes()).map_err(failed)?;
        let mut unshown = 0;
        for file in &raw.extracted.files {
            unshown += binlog::describe(file, shapes, bounds, &mut out).map_err(|error| error.to_string())?;
        }
        let mut end = format!("\n-- {} transactions; {unshown} events are not shown.\n", raw.extracted.gtids.len());
        if self.is_unapplied() {
            end.push_str(
                "-- More was received and never applied: it is in the relay files in the folder beside this file.\n",
            );
        }
        out.write_all(end.as_bytes()).map_err(failed)?;
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    }

    fn list(&self, unfinished: &Path, raw: &Raw, lost: &str) -> io::Result<()> {
        let mut text = format!("{}\n", self.names);
        if !lost.is_empty() {
            text.push_str(&format!("{LOST}{lost}\n"));
        }
        for gtid in &raw.extracted.gtids {
            text.push_str(&format!("{gtid}\n"));
        }
        let mut file = File::create(unfinished.join(GTIDS))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        File::open(unfinished)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_found_again_by_its_transactions_and_what_was_cut_short_is_removed() {
        let archive = std::env::temp_dir().join(format!("tasuki-extras-{}", std::process::id()));
        assert_eq!(found(&archive, "0-1-7"), Ok(None));
        for (name, list) in [("extra-1", "0-1-6\n0-1-6\n"), ("extra-2", "0-1-7\n"), (".extra-3", "0-1-7\n")] {
            fs::create_dir_all(archive.join(name)).unwrap();
            fs::write(archive.join(name).join(GTIDS), list).unwrap();
        }
        assert_eq!(found(&archive, "0-1-7"), Ok(Some((archive.join("extra-2"), String::new()))));
        assert_eq!(found(&archive, "0-1-8"), Ok(None));
        assert!(!archive.join(".extra-3").exists());
        fs::write(archive.join("extra-2").join(GTIDS), format!("0-1-7\n{LOST}0-1-7\n")).unwrap();
        let (folder, lost) = found(&archive, "0-1-7").unwrap().unwrap();
        assert!(whole(folder, &lost).unwrap_err().to_string().contains("0-1-7 is in no binlog file"));
        fs::remove_dir_all(archive).unwrap();
    }
}
