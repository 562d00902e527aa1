//! The table of faults that `make bite` puts into the sources.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// One fault.
#[derive(Debug)]
pub struct Row {
    /// What is switched off.
    pub name: String,
    /// The scenario that shows it; drawn seeds where there is none.
    pub scenario: Option<String>,
    /// All that is changed for it.
    pub edits: Vec<Edit>,
}

/// A change of one file.
#[derive(Debug)]
pub struct Edit {
    /// The file, from the root of the sources.
    pub file: PathBuf,
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
    let row = |part: &str| {
        let (name, rest) = part.split_once("\nin ").context("a row names a file")?;
        let (mut scenario, mut edits) = (None, Vec::new());
        for edit in rest.split("\nin ") {
            let (file, change) = edit.split_once('\n').context("a row changes something")?;
            let (file, named) =
                file.split_once(", scenario ").map_or((file, None), |(file, named)| (file, Some(named)));
            scenario = scenario.or_else(|| named.map(str::to_owned));
            let (from, to) = change.split_once("\n=>\n").with_context(|| format!("{name}: no `=>`"))?;
            let trimmed = |text: &str| text.trim_end_matches('\n').to_owned();
            edits.push(Edit { file: file.into(), from: trimmed(from), to: trimmed(to) });
        }
        Ok(Row { name: name.to_owned(), scenario, edits })
    };
    text.split("\nrow ").skip(1).map(row).collect()
}
