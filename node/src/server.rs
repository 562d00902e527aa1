//! The connection to the node's own server. Every statement has a deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use tasuki_config::{Reach, ServerConfig};
use tasuki_node_core::statements::RESCUE;
use tokio::time::timeout;

/// Rows by column name. NULL is absent.
pub type Table = Vec<BTreeMap<String, String>>;

/// Why a statement has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Nobody listens.
    #[error("nobody listens: {0}")]
    Closed(String),
    /// The server answered with an error.
    #[error("error {code}: {text}")]
    Refused {
        /// Its number.
        code: u16,
        /// Its text.
        text: String,
    },
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The connection broke while it was used.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl ServerError {
    /// Whether the table, or its database, is still to be made.
    #[must_use]
    pub const fn has_no_table(&self) -> bool {
        const NO_SUCH_DATABASE: u16 = 1049;
        const NO_SUCH_TABLE: u16 = 1146;
        matches!(self, Self::Refused { code: NO_SUCH_DATABASE | NO_SUCH_TABLE, .. })
    }

    /// Whether the connection or thread that was to be killed has ended already.
    #[must_use]
    pub const fn has_no_thread(&self) -> bool {
        const NO_SUCH_THREAD: u16 = 1094;
        matches!(self, Self::Refused { code: NO_SUCH_THREAD, .. })
    }
}

impl From<mysql_async::Error> for ServerError {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(error) => Self::Refused { code: error.code, text: error.message },
            other @ (mysql_async::Error::Driver(_)
            | mysql_async::Error::Io(_)
            | mysql_async::Error::Other(_)
            | mysql_async::Error::Url(_)) => Self::Broken(other.to_string()),
        }
    }
}

/// How to reach a server.
#[must_use]
pub fn options(server: &ServerConfig) -> Opts {
    let builder = OptsBuilder::default()
        .user(Some(server.user.clone()))
        .pass(Some(server.password.expose().to_owned()).filter(|password| !password.is_empty()))
        .prefer_socket(false)
        .stmt_cache_size(0_usize)
        .max_allowed_packet(Some(64 << 20))
        .wait_timeout(Some(28800));
    match &server.reach {
        Reach::Socket(socket) => builder.socket(Some(socket.display().to_string())).into(),
        Reach::Tcp(address, _) => builder.ip_or_hostname(address.ip().to_string()).tcp_port(address.port()).into(),
    }
}

/// One connection, opened when it is needed. After a missed deadline it is thrown away: its next answer would belong to
/// the question before.
#[derive(Debug)]
pub struct Session {
    options: Opts,
    conn: Option<Conn>,
    id: Arc<AtomicU64>,
}

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(options: Opts) -> Self {
        Self { options, conn: None, id: Arc::new(AtomicU64::new(0)) }
    }

    /// The server's number of the connection, 0 while there is none. Shared, so that a session in use can be killed.
    #[must_use]
    pub fn id(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.id)
    }

    /// True if a connection is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.conn.is_some()
    }

    /// Opens the connection if there is none.
    ///
    /// # Errors
    /// [`ServerError`] by what is known of the server then.
    pub async fn open(&mut self, deadline: Duration) -> Result<(), ServerError> {
        if self.conn.is_some() {
            return Ok(());
        }
        let conn =
            timeout(deadline, Conn::new(self.options.clone())).await.map_err(|_| ServerError::Silent(deadline))?;
        let conn = conn.map_err(|error| match ServerError::from(error) {
            ServerError::Broken(text) => ServerError::Closed(text),
            other @ (ServerError::Closed(_) | ServerError::Refused { .. } | ServerError::Silent(_)) => other,
        })?;
        self.id.store(u64::from(conn.id()), Ordering::Release);
        self.conn = Some(conn);
        Ok(())
    }

    /// Runs statements and returns one table each.
    ///
    /// # Errors
    /// [`ServerError`]. After an error of the server the connection lives; after any other it is gone.
    pub async fn tables(&mut self, sql: &str, deadline: Duration) -> Result<Vec<Table>, ServerError> {
        let mut tables = self.every_table(sql, deadline).await?;
        for table in &mut tables {
            // A rescue's channel follows nobody and goes away: to whoever asks about replication there is none.
            table.retain(|row| !["connection_name", "channel_name"].iter().any(|name| is_rescue(row.get(*name))));
        }
        Ok(tables)
    }

    /// The same with what a rescue's channel tells.
    ///
    /// # Errors
    /// As [`Session::tables`].
    pub async fn every_table(&mut self, sql: &str, deadline: Duration) -> Result<Vec<Table>, ServerError> {
        self.open(deadline).await?;
        let Some(mut conn) = self.conn.take() else { return Err(ServerError::Closed(String::new())) };
        let answered = timeout(deadline, read_all(&mut conn, sql)).await;
        match answered {
            Ok(Ok(tables)) => {
                self.conn = Some(conn);
                Ok(tables)
            }
            Ok(Err(error)) => {
                let error = ServerError::from(error);
                if matches!(error, ServerError::Refused { .. }) {
                    self.conn = Some(conn);
                } else {
                    self.id.store(0, Ordering::Release);
                }
                Err(error)
            }
            Err(_) => Err(ServerError::Silent(deadline)),
        }
    }

    /// Runs statements whose results do not matter.
    ///
    /// # Errors
    /// As [`Session::tables`].
    pub async fn run(&mut self, sql: &str, deadline: Duration) -> Result<(), ServerError> {
        self.tables(sql, deadline).await.map(drop)
    }

    /// Runs statements that nobody ends: until they have an answer the session has no number by which it could be killed.
    /// For commits that clients' commits may wait with. What has no answer by the deadline goes on in the server.
    ///
    /// # Errors
    /// As [`Session::tables`].
    pub async fn run_to_the_end(&mut self, sql: &str, deadline: Duration) -> Result<(), ServerError> {
        self.open(deadline).await?;
        let id = self.id.swap(0, Ordering::AcqRel);
        let ran = self.run(sql, deadline).await;
        if self.conn.is_some() {
            self.id.store(id, Ordering::Release);
        }
        ran
    }

    /// Runs one statement and returns its first row.
    ///
    /// # Errors
    /// As [`Session::tables`].
    pub async fn row(&mut self, sql: &str, deadline: Duration) -> Result<BTreeMap<String, String>, ServerError> {
        let tables = self.tables(sql, deadline).await?;
        Ok(tables.into_iter().flatten().next().unwrap_or_default())
    }

    /// Lends the bare connection, which is thrown away afterwards unless it is given back.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn lend(&mut self, deadline: Duration) -> Result<Conn, ServerError> {
        self.open(deadline).await?;
        self.conn.take().ok_or_else(|| ServerError::Closed(String::new()))
    }

    /// Throws the connection away.
    pub fn close(&mut self) {
        self.conn = None;
        self.id.store(0, Ordering::Release);
    }
}

fn is_rescue(channel: Option<&String>) -> bool {
    channel.is_some_and(|channel| channel == RESCUE)
}

async fn read_all(conn: &mut Conn, sql: &str) -> Result<Vec<Table>, mysql_async::Error> {
    let mut result = conn.query_iter(sql).await?;
    let mut tables = Vec::new();
    while !result.is_empty() {
        let rows: Vec<Row> = result.collect().await?;
        tables.push(rows.iter().map(named).collect());
    }
    // An error of any statement but the first is kept for whoever asks next; to `is_empty` it is the end.
    result.drop_result().await?;
    Ok(tables)
}

fn named(row: &Row) -> BTreeMap<String, String> {
    let columns = row.columns_ref().iter().enumerate();
    columns
        .filter_map(|(at, column)| {
            let value = match row.as_ref(at)? {
                Value::NULL => return None,
                Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other @ (Value::Int(_)
                | Value::UInt(_)
                | Value::Float(_)
                | Value::Double(_)
                | Value::Date(..)
                | Value::Time(..)) => other.as_sql(true),
            };
            Some((column.name_str().to_ascii_lowercase(), value))
        })
        .collect()
}
