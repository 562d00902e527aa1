//! Writing a dead server's transactions into a living one, under their own GTIDs.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tasuki_schemas::gtid::Flavour;

use super::Transaction;
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

/// Applies transactions one after the other.
///
/// The server's `super_read_only` must be off; `read_only` may stay on. The session is left as the last transaction
/// needed it, so the connection must not be used for anything else afterwards. There is no deadline inside: the
/// caller sets one, and drops the connection when it has passed.
#[derive(Debug)]
pub struct Applier {
    conn: Conn,
    flavour: Flavour,
    /// The largest packet that the server takes.
    packet: Option<usize>,
    /// What the session was told last of the events that follow.
    format: Vec<u8>,
}

impl Applier {
    /// Applies through a connection of its own.
    #[must_use]
    pub const fn new(conn: Conn, flavour: Flavour) -> Self {
        Self { conn, flavour, packet: None, format: Vec::new() }
    }

    /// Applies one transaction, wholly or not at all. After an error nothing more must be applied.
    ///
    /// # Errors
    /// [`ApplyError`]
    pub async fn apply(&mut self, transaction: &Transaction) -> Result<(), ApplyError> {
        let server = |source| ApplyError::Server { gtid: transaction.gtid.clone(), source };
        let refused = |what| ApplyError::Refused { gtid: transaction.gtid.clone(), what };
        let limit = match self.packet {
            Some(limit) => limit,
            None => *self.packet.insert(largest_packet(&mut self.conn).await.map_err(server)?),
        };
        let statements = packets(self.flavour, transaction, limit).map_err(refused)?;
        if self.format != transaction.format {
            self.conn.query_drop(format_packet(&transaction.format).map_err(refused)?).await.map_err(server)?;
            self.format.clone_from(&transaction.format);
        }
        for statement in statements {
            if let Err(source) = self.conn.query_drop(statement).await {
                undo(&mut self.conn, self.flavour).await;
                return Err(server(source));
            }
        }
        Ok(())
    }
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
