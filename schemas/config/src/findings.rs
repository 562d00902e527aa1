//! What is wrong with a file: all of it, with places and fixes.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1 on; 0 if the file as a whole is meant.
    pub line: usize,
    /// What is wrong, and how to mend it.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

/// Everything that is wrong. As an error it is never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.0.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

impl Findings {
    /// One finding about a file as a whole.
    #[must_use]
    pub fn one(file: &Path, what: String) -> Self {
        Self(vec![Finding { file: file.to_owned(), line: 0, what }])
    }
}

/// A file being read: collects findings with their lines.
pub(crate) struct Reader<'a> {
    pub(crate) file: &'a Path,
    text: &'a str,
    pub(crate) findings: Vec<Finding>,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, findings: Vec::new() }
    }

    /// Notes something wrong at a place of the text.
    pub(crate) fn note(&mut self, place: Option<Range<usize>>, what: impl Into<String>) {
        let line = place.map_or(0, |place| {
            self.text.get(..place.start.min(self.text.len())).map_or(0, |before| before.matches('\n').count() + 1)
        });
        self.findings.push(Finding { file: self.file.to_owned(), line, what: what.into() });
    }

    /// Parses the text; every syntax error is noted.
    pub(crate) fn table(&mut self) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.note(error.span(), error.message());
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// Notes every key that is not among `known`.
    pub(crate) fn only_known(&mut self, table: &DeTable<'a>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name: &str = key.get_ref().as_ref();
            let near = known.iter().min_by_key(|candidate| distance(name, candidate)).copied().unwrap_or_default();
            let hint = if distance(name, near) <= 2 { format!("; is `{near}` meant?") } else { String::new() };
            self.note(Some(key.span()), format!("unknown key `{name}`{hint} (known here: {})", known.join(", ")));
        }
    }

    /// One key of a table, read by itself, so that a fault in one does not hide those in others.
    pub(crate) fn section<T: DeserializeOwned>(&mut self, table: &DeTable<'a>, key: &str) -> Option<Spanned<T>> {
        let value = table.get(key)?;
        self.value(value)
    }

    /// A key that must be there.
    pub(crate) fn needed<T: DeserializeOwned>(&mut self, table: &DeTable<'a>, key: &str) -> Option<Spanned<T>> {
        if table.get(key).is_none() {
            self.note(None, format!("`{key}` is missing; add it"));
        }
        self.section(table, key)
    }

    /// An array of tables, each read by itself.
    pub(crate) fn list<T: DeserializeOwned>(&mut self, table: &DeTable<'a>, key: &str) -> Vec<Spanned<T>> {
        match table.get(key).map(|value| (value.span(), value.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(items))) => items.iter().filter_map(|item| self.value(item)).collect(),
            Some((place, _)) => {
                self.note(Some(place), format!("`{key}` is no list; write [[{key}]]"));
                Vec::new()
            }
        }
    }

    fn value<T: DeserializeOwned>(&mut self, value: &Spanned<DeValue<'a>>) -> Option<Spanned<T>> {
        match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(parsed) => Some(Spanned::new(value.span(), parsed)),
            Err(error) => {
                self.note(error.span().or_else(|| Some(value.span())), error.message());
                None
            }
        }
    }

    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Findings> {
        match value {
            Some(value) if self.findings.is_empty() => Ok(value),
            Some(_) | None => Err(Findings(self.findings)),
        }
    }
}

/// How many letters differ (Levenshtein, 1965), for guesses.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.chars().enumerate() {
        let mut next = vec![at + 1];
        for ((o, above_left), above) in other.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or_default();
            next.push((above_left + usize::from(*o != c)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
