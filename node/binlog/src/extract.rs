//! Some transactions of a server's binlog in files of their own, event by event as they are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tasuki_schemas::gtid::{Flavour, GtidSet};

use super::BinlogError;
use super::history::files;
use super::reader::{Reader, Whole};

/// So much of a disk is left free, as a part of it and in bytes at most: a full disk would stop the server.
const PART_LEFT_FREE: u64 = 20;
const MOST_LEFT_FREE: u64 = 1 << 30;
/// The disk is looked at again after so many bytes.
const LOOK_EVERY: u64 = 4 << 20;

/// Which transactions are meant: those of `holds` that `beyond` lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// What the server held.
    pub holds: GtidSet,
    /// What others hold.
    pub beyond: GtidSet,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// The files, each a binlog file with the name of the one it was taken from and `extra-` before it.
    pub files: Vec<PathBuf>,
    /// The transactions in them, in order.
    pub gtids: Vec<String>,
    /// The same as a set.
    pub set: GtidSet,
}

/// Bounds what is written: it ends when its disk becomes full or nobody waits for it any more.
#[derive(Clone, Debug)]
pub struct Bounds {
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    unseen: u64,
}

impl Bounds {
    /// Bounds for files in `folder`, which exists.
    #[must_use]
    pub const fn new(folder: PathBuf, stop: Arc<AtomicBool>) -> Self {
        Self { folder, stop, unseen: LOOK_EVERY }
    }

    /// To be called before so many bytes are written.
    ///
    /// # Errors
    /// When it was cancelled, or the disk is as good as full.
    pub fn spend(&mut self, bytes: usize) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "it was cancelled"));
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.unseen = self.unseen.saturating_add(bytes);
        if self.unseen < LOOK_EVERY {
            return Ok(());
        }
        self.unseen = 0;
        let disk = rustix::fs::statvfs(&self.folder)?;
        let left_free = (disk.f_blocks.saturating_mul(disk.f_frsize) / PART_LEFT_FREE).min(MOST_LEFT_FREE);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < left_free.saturating_add(LOOK_EVERY).saturating_add(bytes) {
            let text = format!(
                "only {} MiB are free, and {} MiB are left to the server; make room",
                free >> 20,
                left_free >> 20
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        Ok(())
    }
}

/// Copies the extra transactions of the server whose binlog `index` is into `folder`. Blocks.
///
/// Transactions that no file has any more are missing in the result, which is no error here.
///
/// # Errors
/// [`BinlogError`] names the file and the offset.
pub fn extract(index: &Path, extra: &Extra, bounds: &mut Bounds) -> Result<Extracted, BinlogError> {
    let flavour = extra.holds.flavour();
    let mut extracted = Extracted { files: Vec::new(), gtids: Vec::new(), set: GtidSet::empty(flavour) };
    for path in since(index, flavour, &extra.beyond)? {
        copy_file(&path, flavour, extra, bounds, &mut extracted)?;
    }
    Ok(extracted)
}

/// The newest files back to the first before which nothing extra happened; all, if the oldest were purged.
fn since(index: &Path, flavour: Flavour, beyond: &GtidSet) -> Result<Vec<PathBuf>, BinlogError> {
    let mut paths = Vec::new();
    for path in files(index)?.into_iter().rev() {
        let reader = Reader::open(&path, flavour)?;
        paths.push(path);
        if let Some(before) = reader.before()
            && beyond.contains(before)?
        {
            break;
        }
    }
    paths.reverse();
    Ok(paths)
}

fn copy_file(
    path: &Path,
    flavour: Flavour,
    extra: &Extra,
    bounds: &mut Bounds,
    extracted: &mut Extracted,
) -> Result<(), BinlogError> {
    let mut reader = Reader::open(path, flavour)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let target = bounds.folder.join(format!("extra-{name}"));
    let failed = |source| BinlogError::Io { path: target.clone(), source };
    let mut output: Option<BufWriter<File>> = None;
    let (mut written, mut whole) = (0_u64, 0_u64);
    let head = [b"\xfebin".as_slice(), reader.format(), reader.list()].concat();
    let wanted =
        |gtid: &tasuki_schemas::gtid::Gtid| extra.holds.contains_gtid(gtid) && !extra.beyond.contains_gtid(gtid);
    loop {
        let next = reader.copy_next(|gtid, bytes| {
            if !wanted(gtid) {
                return Ok(());
            }
            let output = match &mut output {
                Some(output) => output,
                None => {
                    let file = File::create(&target).map_err(failed)?;
                    let mut created = BufWriter::new(file);
                    created.write_all(&head).map_err(failed)?;
                    (written, whole) = (head.len() as u64, head.len() as u64);
                    output.insert(created)
                }
            };
            bounds.spend(bytes.len()).map_err(failed)?;
            written += bytes.len() as u64;
            output.write_all(bytes).map_err(failed)
        })?;
        match next {
            Some(Whole { gtid, .. }) if wanted(&gtid) => {
                whole = written;
                extracted.gtids.push(gtid.to_string());
                extracted.set.insert(&gtid)?;
            }
            Some(_) => {}
            None => break,
        }
    }
    if let Some(output) = output {
        let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
        // The beginning of a transaction that is still being written.
        file.set_len(whole).and_then(|()| file.sync_all()).map_err(failed)?;
        if whole == head.len() as u64 {
            fs::remove_file(&target).map_err(failed)?;
        } else {
            extracted.files.push(target);
        }
    }
    Ok(())
}

/// The tables that the events of a binlog file change, as (database, table).
///
/// # Errors
/// [`BinlogError`] names the file and the offset.
pub fn tables(path: &Path) -> Result<BTreeSet<(String, String)>, BinlogError> {
    let mut tables = BTreeSet::new();
    super::readable::walk(path, &mut |event| {
        if event.kind == super::event::kind::TABLE_MAP
            && let Some(table) = super::table::Table::parse(event)
        {
            tables.insert((table.database, table.name));
        }
        Ok(())
    })?;
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_ends_when_it_was_cancelled_or_its_disk_is_as_good_as_full() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut bounds = Bounds::new(std::env::temp_dir(), Arc::clone(&stop));
        bounds.spend(1).unwrap();
        let error = bounds.spend(usize::MAX / 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("make room"), "{error}");
        bounds.spend(1).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(bounds.spend(1).unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
