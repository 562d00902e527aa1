//! A small SQL client of the lab's own, over a Unix socket. Each call is a connection of its own, so that no answer
//! can belong to another question.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Row};
use tokio::time::timeout;

/// The longest that a question of the lab may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A row by column name; NULL is the empty text.
pub type Named = BTreeMap<String, String>;

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Sql(Opts);

impl Sql {
    /// As root through a server's socket.
    #[must_use]
    pub fn socket(path: &Path) -> Self {
        let options = OptsBuilder::default()
            .socket(path.to_str())
            .prefer_socket(false)
            .user(Some("root"))
            .stmt_cache_size(0_usize)
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(28_800));
        Self(options.into())
    }

    /// Runs one or several statements.
    ///
    /// # Errors
    /// The server's error with the statement, or the passed deadline.
    pub async fn run(&self, statements: &str) -> Result<()> {
        let work = async { Conn::new(self.0.clone()).await?.query_drop(statements).await };
        timeout(PATIENCE, work).await.context("no answer")?.with_context(|| format!("in `{statements}`"))
    }

    /// Asks for rows.
    ///
    /// # Errors
    /// The server's error with the statement, or the passed deadline.
    pub async fn rows(&self, statement: &str) -> Result<Vec<Row>> {
        let work = async { Conn::new(self.0.clone()).await?.query(statement).await };
        timeout(PATIENCE, work).await.context("no answer")?.with_context(|| format!("in `{statement}`"))
    }

    /// Asks for rows by name.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub async fn named(&self, statement: &str) -> Result<Vec<Named>> {
        Ok(self.rows(statement).await?.iter().map(name_values).collect())
    }

    /// Asks for one value.
    ///
    /// # Errors
    /// As [`Self::rows`], or when there is no row.
    pub async fn value(&self, statement: &str) -> Result<String> {
        let rows = self.rows(statement).await?;
        let row = rows.first().with_context(|| format!("no row from `{statement}`"))?;
        Ok(text(row, 0))
    }
}

fn name_values(row: &Row) -> Named {
    row.columns_ref()
        .iter()
        .enumerate()
        .map(|(index, column)| (column.name_str().into_owned(), text(row, index)))
        .collect()
}

fn text(row: &Row, index: usize) -> String {
    match row.get_opt::<Option<String>, _>(index) {
        Some(Ok(Some(text))) => text,
        Some(Ok(None) | Err(_)) | None => String::new(),
    }
}
