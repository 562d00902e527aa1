//! The two ends of a rescue's transfer: a dead server's tail read piece by piece, and a candidate's file of them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tasuki_node_core::{BATCH, Input};
use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{Delivery, Fetch, Piece};
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tokio::sync::Mutex;
use tokio::sync::mpsc::Sender;

use crate::binlog::Stream;

/// Pieces on their way to the disk: more than can be under way at a time.
const PIECES: usize = 64;

/// The tail that was asked for last, so that its files are searched once, also for the attempts that follow. What it was
/// asked for is all that it depends on: the server is dead.
pub type Kept = Mutex<Option<(GtidSet, Option<GtidSet>, Arc<Stream>)>>;

/// Reads the pieces that a Fetch asks for.
pub async fn deliver(index: Option<PathBuf>, flavour: Flavour, kept: &Kept, fetch: Fetch) -> Vec<Delivery> {
    let Fetch { ballot, have, want, piece } = fetch;
    match read(index, flavour, kept, (have, want.map(|want| *want)), piece).await {
        Ok(pieces) => pieces.into_iter().map(|piece| delivery(&ballot, Ok(piece))).collect(),
        Err(note) => vec![delivery(&ballot, Err(note))],
    }
}

fn delivery(ballot: &Ballot, piece: Result<Piece, String>) -> Delivery {
    let note = piece.as_ref().err().cloned().unwrap_or_default();
    Delivery {
        ballot: ballot.clone(),
        transactions: Vec::new(),
        complete: false,
        note,
        piece: piece.ok().map(Box::new),
    }
}

async fn read(
    index: Option<PathBuf>,
    flavour: Flavour,
    kept: &Kept,
    (have, want): (GtidSet, Option<GtidSet>),
    first: u64,
) -> Result<Vec<Piece>, String> {
    let index = index.ok_or("where its binlog lies was never learned; start the server once beside its node")?;
    let mut kept = kept.lock().await;
    let known = kept.as_ref().filter(|(asked, wanted, _)| *asked == have && *wanted == want);
    let known = known.map(|(.., stream)| Arc::clone(stream));
    let reading = tokio::task::spawn_blocking(move || {
        let stream = match known {
            Some(stream) => stream,
            None => Arc::new(Stream::of(&index, flavour, &have, want.as_ref())?),
        };
        let mut pieces = Vec::new();
        for number in first..(first.saturating_add(BATCH)).min(stream.tail().pieces) {
            let tail = (number == 0).then(|| stream.tail().clone());
            pieces.push(Piece { number, content: STANDARD.encode(stream.piece(number)?), tail });
        }
        Ok::<_, crate::binlog::BinlogError>((pieces, (have, want, stream)))
    });
    let (pieces, stream) = reading.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if first == 0 {
        let tail = stream.2.tail();
        tracing::info!(transactions = tail.transactions, bytes = tail.bytes, "the dead server's tail is delivered");
    }
    *kept = Some(stream);
    Ok(pieces)
}

/// A thread that writes the pieces of a tail one after the other into one file, and tells of each.
///
/// # Errors
/// If the system gives no thread.
pub fn spool_thread(path: PathBuf, inputs: Sender<Input>) -> std::io::Result<SyncSender<(Ballot, Piece)>> {
    let (pieces, arrived) = sync_channel::<(Ballot, Piece)>(PIECES);
    std::thread::Builder::new().name("spool".to_owned()).spawn(move || {
        let mut file = None;
        for (ballot, Piece { number, content, .. }) in arrived {
            let kept =
                write(&path, &mut file, number, &content).map_err(|error| format!("{}: {error}", path.display()));
            if inputs.blocking_send(Input::Spooled { ballot, piece: number, kept }).is_err() {
                return;
            }
        }
    })?;
    Ok(pieces)
}

fn write(path: &Path, file: &mut Option<File>, number: u64, content: &str) -> std::io::Result<()> {
    let bytes = STANDARD.decode(content).map_err(std::io::Error::other)?;
    if number == 0 {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        *file = Some(File::create(path)?);
    }
    let file = file.as_mut().ok_or_else(|| std::io::Error::other("its first piece was not kept"))?;
    file.write_all(&bytes)
}
