//! A dead server's tail, read piece by piece for whoever asks.

use std::path::PathBuf;
use std::sync::Arc;

use tasuki_schemas::ballot::Ballot;
use tasuki_schemas::command::{BATCH, Delivery, Fetch, Piece};
use tasuki_schemas::gtid::{Flavour, GtidSet};
use tokio::sync::Mutex;

use crate::{BinlogError, Stream, packing};

/// The tail that was asked for last, so that its files are searched once, also for the attempts that follow. What it was
/// asked for is all that it depends on: the server is dead.
pub type Kept = Mutex<Option<(GtidSet, Option<GtidSet>, Arc<Stream>)>>;

/// Reads the pieces that a Fetch asks for.
pub async fn deliver(index: Option<PathBuf>, flavour: Flavour, kept: &Kept, fetch: Fetch) -> Vec<Delivery> {
    let Fetch { ballot, have, want, piece, packed } = fetch;
    match read(index, flavour, kept, (have, want.map(|want| *want)), (piece, packed)).await {
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
    (first, may_pack): (u64, bool),
) -> Result<Vec<Piece>, String> {
    let index = index.ok_or("where its binlog lies was never learned; start the server once beside its node")?;
    let mut kept = kept.lock().await;
    let known = kept.as_ref().filter(|(asked, wanted, _)| *asked == have && *wanted == want);
    let known = known.map(|(.., stream)| Arc::clone(stream));
    let reading = tokio::task::spawn_blocking(move || {
        let stream = match known {
            Some(stream) => stream,
            None => {
                let stream = Stream::of(&index, flavour, &have, want.as_ref());
                Arc::new(stream.map_err(|error: BinlogError| error.to_string())?)
            }
        };
        let mut pieces = Vec::new();
        for number in first..(first.saturating_add(BATCH)).min(stream.tail().pieces) {
            let tail = (number == 0).then(|| stream.tail().clone());
            let bytes = stream.piece(number).map_err(|error| error.to_string())?;
            let piece = packing::pack(number, &bytes, may_pack).map_err(|error| error.to_string())?;
            pieces.push(Piece { tail, ..piece });
        }
        Ok::<_, String>((pieces, (have, want, stream)))
    });
    let (pieces, stream) = reading.await.map_err(|error| error.to_string())??;
    if first == 0 {
        let tail = stream.2.tail();
        tracing::info!(transactions = tail.transactions, bytes = tail.bytes, "the dead server's tail is delivered");
    }
    *kept = Some(stream);
    Ok(pieces)
}
