//! Where the server stands, read on connections of their own, so that a slow one delays nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tasuki_node_core::Input;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::execute::Hands;
use crate::facts;
use crate::server::{Session, Table, options};

/// The sets are answered within this.
const SETS: Duration = Duration::from_millis(500);
/// How long a position waits for the binlog's end.
const PATIENCE: Duration = Duration::from_millis(100);
/// A question that nothing answers for so long is one to a server that answers nobody.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Reads a position each time that one is wanted.
pub async fn read(hands: Arc<Hands>, mut wanted: Receiver<()>) {
    let mut session = Session::new(options(&hands.config));
    let mut end = BinlogEnd::Known(Session::new(options(&hands.config)));
    while wanted.recv().await.is_some() {
        let position = match session.tables(&hands.dialect.sets(), SETS).await {
            Ok(mut tables) => {
                let answer;
                (end, answer) = end.ask(hands.dialect.binlog_end()).await;
                tables.extend(answer);
                facts::position(&hands.me, hands.dialect.0, &tables).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match position {
            Ok(position) => {
                if hands.inputs.send(Input::Positioned(Box::new(position))).await.is_err() {
                    return;
                }
            }
            Err(reason) => {
                session.close();
                tracing::debug!(reason, "the position cannot be read");
            }
        }
    }
}

/// The question for the binlog's end. It may wait for as long as commits wait for acknowledgements, and nothing ends it in
/// the server: so there is one of them, which is not given up.
enum BinlogEnd {
    Known(Session),
    Asked(Pin<Box<dyn Future<Output = (Session, Vec<Table>)> + Send>>),
}

impl BinlogEnd {
    /// Asks, or goes on waiting for the answer to an earlier question; no table if it does not come.
    async fn ask(self, sql: String) -> (Self, Vec<Table>) {
        let mut asked = match self {
            Self::Asked(asked) => asked,
            Self::Known(mut session) => Box::pin(async move {
                let tables = session.tables(&sql, LONGEST).await;
                if tables.is_err() {
                    session.close();
                }
                (session, tables.unwrap_or_default())
            }),
        };
        match timeout(PATIENCE, &mut asked).await {
            Ok((session, tables)) => (Self::Known(session), tables),
            Err(_) => (Self::Asked(asked), Vec::new()),
        }
    }
}
