//! The table of faults that `make bite` puts into the sources.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// One fault.
#[derive(Debug)]
pub struct Row {
    /// What is switched off.
    pub name: String,
    /// What shows it before drawn seeds do.
    pub shown_by: Option<ShownBy>,
    /// All that is changed for it: several places where protections stand for each other.
    pub edits: Vec<Edit>,
}

/// Runs of the simulator that meet a case which drawn seeds meet too seldom.
#[derive(Debug)]
pub enum ShownBy {
    /// Any of a scenario's.
    Scenario(String),
    /// The run of this seed.
    Seed(u64),
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
        let (mut shown_by, mut edits) = (None, Vec::new());
        for edit in rest.split("\nin ") {
            let (file, change) = edit.split_once('\n').context("a row changes something")?;
            let (file, named) = file.split_once(", ").map_or((file, None), |(file, named)| (file, Some(named)));
            if let Some(named) = named {
                shown_by = Some(told_by(named).with_context(|| format!("{name}: {named}"))?);
            }
            let (from, to) = change.split_once("\n=>\n").with_context(|| format!("{name}: no `=>`"))?;
            let trimmed = |text: &str| text.trim_end_matches('\n').to_owned();
            edits.push(Edit { file: file.into(), from: trimmed(from), to: trimmed(to) });
        }
        Ok(Row { name: name.to_owned(), shown_by, edits })
    };
    text.split("\nrow ").skip(1).map(row).collect()
}

fn told_by(text: &str) -> Result<ShownBy> {
    if let Some(name) = text.strip_prefix("scenario ") {
        return Ok(ShownBy::Scenario(name.to_owned()));
    }
    let seed = text.strip_prefix("seed ").context("it is neither a scenario nor a seed")?;
    Ok(ShownBy::Seed(seed.parse()?))
}
