//! Writing a dead server's transactions into a living one, under their own GTIDs.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tasuki_schemas::command::Transaction;
use tasuki_schemas::gtid::Flavour;

use super::packets::{format_packet, packets};

/// Why a transaction was not applied. All before it are, nothing of it and after it is.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The transaction cannot be carried out by SQL, or its events are not sound. Nothing of it was sent.
    #[error("{gtid} cannot be applied: {what}")]
    Refused {
        /// The transaction.
        gtid: String,
        /// Why, for people.
        what: String,
    },
    /// The server refused a statement, or went away; the transaction was rolled back.
    #[error("{gtid} was not applied: {source}")]
    Server {
        /// The transaction.
        gtid: String,
        /// The server's word.
        source: mysql_async::Error,
    },
}

/// Applies transactions in order and returns their number. Stops at the first error.
///
/// The server's `super_read_only` must be off; `read_only` may stay on. The session is left as the last transaction
/// needed it, so the connection must not be used for anything else afterwards. There is no deadline inside: the
/// caller sets one, and drops the connection when it has passed.
///
/// # Errors
/// [`ApplyError`]
pub async fn apply(conn: &mut Conn, flavour: Flavour, transactions: &[Transaction]) -> Result<usize, ApplyError> {
    let mut packet = None;
    let mut format = "";
    for transaction in transactions {
        let server = |source| ApplyError::Server { gtid: transaction.gtid.clone(), source };
        let refused = |what| ApplyError::Refused { gtid: transaction.gtid.clone(), what };
        let limit = match packet {
            Some(limit) => limit,
            None => *packet.insert(largest_packet(conn).await.map_err(server)?),
        };
        let statements = packets(flavour, transaction, limit).map_err(refused)?;
        if format != transaction.format {
            conn.query_drop(format_packet(&transaction.format).map_err(refused)?).await.map_err(server)?;
            format = &transaction.format;
        }
        for statement in statements {
            if let Err(source) = conn.query_drop(statement).await {
                undo(conn, flavour).await;
                return Err(server(source));
            }
        }
    }
    Ok(transactions.len())
}

async fn largest_packet(conn: &mut Conn) -> Result<usize, mysql_async::Error> {
    let server: Option<usize> = conn.query_first("SELECT @@max_allowed_packet").await?;
    Ok(server.unwrap_or(1 << 20).min(conn.opts().max_allowed_packet().unwrap_or(usize::MAX)))
}

/// A failed BINLOG that is followed by COMMIT leaves an empty transaction under the GTID: sets are then equal and
/// the data is not. If the connection is gone, the server itself rolls back.
async fn undo(conn: &mut Conn, flavour: Flavour) {
    let statements = match flavour {
        Flavour::Mariadb => "ROLLBACK",
        Flavour::Mysql => "ROLLBACK; SET @@session.gtid_next='AUTOMATIC'",
    };
    if let Err(error) = conn.query_drop(statements).await {
        tracing::debug!(%error, "a failed transaction was not rolled back by statement");
    }
}
