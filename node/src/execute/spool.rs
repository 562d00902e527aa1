//! The candidate's end of a rescue's transfer: its file of the pieces that arrive.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use tasuki_node_core::Input;
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::Piece;
use tokio::sync::mpsc::Sender;

use crate::binlog::unpack;

/// Pieces on their way to the disk: more than can be under way at a time.
const PIECES: usize = 64;

/// A thread that writes the pieces of a tail one after the other into one file, and tells of each.
///
/// # Errors
/// If the system gives no thread.
pub fn spool_thread(path: PathBuf, inputs: Sender<Input>) -> std::io::Result<SyncSender<(Ballot, Piece)>> {
    let (pieces, arrived) = sync_channel::<(Ballot, Piece)>(PIECES);
    std::thread::Builder::new().name("spool".to_owned()).spawn(move || {
        let mut file = None;
        for (ballot, piece) in arrived {
            let kept = write(&path, &mut file, &piece).map_err(|error| format!("{}: {error}", path.display()));
            if inputs.blocking_send(Input::Spooled { ballot, piece: piece.number, kept }).is_err() {
                return;
            }
        }
    })?;
    Ok(pieces)
}

fn write(path: &Path, file: &mut Option<File>, piece: &Piece) -> std::io::Result<()> {
    let bytes = unpack(piece)?;
    if piece.number == 0 {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        *file = Some(File::create(path)?);
    }
    let file = file.as_mut().ok_or_else(|| std::io::Error::other("its first piece was not kept"))?;
    file.write_all(&bytes)
}
