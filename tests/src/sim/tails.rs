//! A dead server's tail on its way to a candidate: a few transactions are a piece, so that several pieces are under way, and
//! a long tail is not held up by each one that comes out of turn.

use tasuki_schemas::command::{BATCH, Delivery, Fetch, Piece, Tail};
use tasuki_schemas::gtid::GtidSet;

use super::server::{Server, Transaction};

/// So many transactions are a piece.
const PIECE: usize = 16;

/// What a dead server's node reads from its files.
pub(crate) fn pieces(server: &Server, fetch: Fetch) -> Vec<Delivery> {
    let Fetch { ballot, have, want, piece, .. } = fetch;
    let mut lacking = server.beyond(&have);
    lacking.retain(|it| want.as_ref().is_none_or(|want| want.contains_gtid(&it.gtid)));
    let mut set = GtidSet::empty(server.flavour);
    for transaction in &lacking {
        set.insert(&transaction.gtid).expect("one flavour");
    }
    let count = lacking.len() as u64;
    let contents: Vec<String> = lacking.chunks(PIECE).map(written).collect();
    let tail = Tail { pieces: (contents.len() as u64).max(1), bytes: count, checksum: 0, transactions: count, set };
    let pieces = (piece..tail.pieces.min(piece + BATCH)).map(|number| {
        let content = usize::try_from(number).ok().and_then(|at| contents.get(at)).cloned();
        Piece { number, content: content.unwrap_or_default(), packed: false, tail: (number == 0).then(|| tail.clone()) }
    });
    let delivery = |piece| Delivery {
        ballot: ballot.clone(),
        transactions: Vec::new(),
        complete: false,
        note: String::new(),
        piece: Some(Box::new(piece)),
    };
    pieces.map(delivery).collect()
}

fn written(transactions: &[Transaction]) -> String {
    transactions.iter().map(|it| it.gtid.to_string()).collect::<Vec<_>>().join(" ")
}

/// Writes a piece behind the others.
pub(crate) fn keep(spool: &mut Vec<String>, piece: Piece) {
    if piece.number == 0 {
        spool.clear();
    }
    spool.extend(piece.content.split_whitespace().map(str::to_owned));
}
