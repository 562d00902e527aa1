//! A dead server's tail without the nodes that carry it.

use std::path::Path;

use mysql_async::Conn;
use tasuki_node::binlog::{Applier, ApplyError, PIECE, Spooled, Stream, Transaction, check};
use tasuki_schemas::command::Tail;
use tasuki_schemas::gtid::{Flavour, GtidSet};

/// What a server has beyond `have`, taken in pieces through a file and checked.
pub(crate) fn delivered(index: &Path, flavour: Flavour, have: &GtidSet, spool: &Path) -> (Tail, Vec<Transaction>) {
    let stream = Stream::of(index, flavour, have, None).unwrap();
    let pieces: Vec<Vec<u8>> = (0..stream.tail().pieces).map(|number| stream.piece(number).unwrap()).collect();
    assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() as u64 == PIECE));
    std::fs::write(spool, pieces.concat()).unwrap();
    if stream.tail().transactions == 0 {
        assert_eq!(stream.tail().bytes, 0);
        return (stream.tail().clone(), Vec::new());
    }
    check(spool, have, stream.tail()).unwrap();
    let transactions: Vec<Transaction> = Spooled::open(spool).unwrap().map(Result::unwrap).collect();
    assert_eq!(transactions.len() as u64, stream.tail().transactions);
    (stream.tail().clone(), transactions)
}

/// Applies transactions one after the other.
pub(crate) async fn applied(conn: Conn, flavour: Flavour, transactions: &[Transaction]) -> Result<(), ApplyError> {
    let mut applier = Applier::new(conn, flavour);
    for transaction in transactions {
        applier.apply(transaction).await?;
    }
    Ok(())
}
