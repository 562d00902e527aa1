//! What the files of a server hold together.

use std::fs;
use std::path::{Path, PathBuf};

use tasuki_schemas::gtid::{Flavour, GtidSet};

use super::BinlogError;
use super::reader::Reader;

/// All whole transactions of a server, read from the newest files of its binlog `index`. Blocks.
///
/// # Errors
/// [`BinlogError`] names the file and the offset.
pub fn executed(index: &Path, flavour: Flavour) -> Result<GtidSet, BinlogError> {
    let mut executed = None;
    let mut newest = Vec::new();
    for path in files(index)?.into_iter().rev() {
        executed = Reader::open(&path, flavour)?.before().cloned();
        newest.push(path);
        // A file torn before it tells what came before it has no transactions: the file before it is the newest.
        if executed.is_some() {
            break;
        }
    }
    let mut executed = executed.ok_or_else(|| untold(index))?;
    for path in newest.into_iter().rev() {
        let mut reader = Reader::open(&path, flavour)?;
        while let Some(whole) = reader.next(|_, _| {})? {
            executed.insert(&whole.gtid)?;
        }
    }
    Ok(executed)
}

/// All transactions before a file; `None` if it is torn before it tells them, and so has none itself. Blocks.
///
/// # Errors
/// [`BinlogError`] names the file and the offset.
pub fn before(path: &Path, flavour: Flavour) -> Result<Option<GtidSet>, BinlogError> {
    Ok(Reader::open(path, flavour)?.before().cloned())
}

/// All whole transactions of a server, each of the files that `index` names read to its end. Blocks.
///
/// # Errors
/// [`BinlogError`] names the file and the offset.
pub fn read_to_end(index: &Path, flavour: Flavour) -> Result<GtidSet, BinlogError> {
    let mut executed: Option<GtidSet> = None;
    for path in files(index)? {
        let mut reader = Reader::open(&path, flavour)?;
        executed = executed.or_else(|| reader.before().cloned());
        while let Some(whole) = reader.next(|_, _| {})? {
            if let Some(executed) = &mut executed {
                executed.insert(&whole.gtid)?;
            }
        }
    }
    executed.ok_or_else(|| untold(index))
}

fn untold(index: &Path) -> BinlogError {
    BinlogError::Damaged { path: index.to_owned(), offset: 0, what: "no file tells its earlier GTIDs" }
}

/// The newest files back to the first before which nothing is missing, oldest first.
pub(super) fn since(index: &Path, flavour: Flavour, have: &GtidSet) -> Result<Vec<PathBuf>, BinlogError> {
    let mut paths = Vec::new();
    for path in files(index)?.into_iter().rev() {
        let reader = Reader::open(&path, flavour)?;
        paths.push(path);
        if let Some(before) = reader.before()
            && have.contains(before)?
        {
            paths.reverse();
            return Ok(paths);
        }
    }
    Err(BinlogError::Unsupported {
        path: index.to_owned(),
        offset: 0,
        what: "transactions that are missing elsewhere are in files that were purged".to_owned(),
    })
}

/// The files an index names, oldest first. Relative names are relative to the server's data directory, where the
/// index then is as well.
pub(super) fn files(index: &Path) -> Result<Vec<PathBuf>, BinlogError> {
    let text = fs::read_to_string(index).map_err(|source| BinlogError::Io { path: index.to_owned(), source })?;
    let folder = index.parent().unwrap_or_else(|| Path::new(""));
    let files: Vec<PathBuf> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| folder.join(line)).collect();
    if files.is_empty() {
        return Err(BinlogError::Damaged { path: index.to_owned(), offset: 0, what: "the index names no file" });
    }
    Ok(files)
}
