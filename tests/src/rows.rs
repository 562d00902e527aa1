//! The table of faults that `make bite` puts into the sources.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// One fault.
#[derive(Debug)]
pub struct Row {
    /// What is switched off.
    pub name: String,
    /// The file that is changed, from the root of the sources.
    pub file: PathBuf,
    /// The scenario that shows it; drawn seeds where there is none.
    pub scenario: Option<String>,
    /// What stands there, once.
    pub from: String,
    /// What it becomes.
    pub to: String,
}

/// Reads the table.
///
/// # Errors
/// When a row is not written as the table's head says.
pub fn rows(text: &str) -> Result<Vec<Row>> {
    let text: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let parts = text.split("\nrow ").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part.split_once("\nin ").context("a row names a file")?;
            let (file, rest) = rest.split_once('\n').context("a row changes something")?;
            let (file, scenario) =
                file.split_once(", scenario ").map_or((file, None), |(a, b)| (a, Some(b.to_owned())));
            let (from, to) = rest.split_once("\n=>\n").with_context(|| format!("{name}: no `=>`"))?;
            let trimmed = |text: &str| text.trim_end_matches('\n').to_owned();
            Ok(Row { name: name.to_owned(), file: file.into(), scenario, from: trimmed(from), to: trimmed(to) })
        })
        .collect()
}
