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

/// A table of a file, with its place; the file as a whole has none.
pub(crate) struct Section<'t, 'a> {
    pub(crate) place: Option<Range<usize>>,
    table: &'t DeTable<'a>,
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
        let line = place.map_or(0, |place| self.line_at(&place));
        self.findings.push(Finding { file: self.file.to_owned(), line, what: what.into() });
    }

    fn line_at(&self, place: &Range<usize>) -> usize {
        self.text.get(..place.start.min(self.text.len())).map_or(0, |before| before.matches('\n').count() + 1)
    }

    /// The line on which a section begins.
    pub(crate) fn line(&self, section: &Section<'_, '_>) -> usize {
        section.place.as_ref().map_or(0, |place| self.line_at(place))
    }

    /// Parses the text; every syntax error is noted.
    pub(crate) fn table(&mut self) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.note(error.span(), error.message());
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// Takes a table to be read key by key, so that a fault in one does not hide those in others. Every key that is not
    /// among `known` is noted.
    fn enter<'t>(&mut self, place: Option<Range<usize>>, table: &'t DeTable<'a>, known: &[&str]) -> Section<'t, 'a> {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name: &str = key.get_ref().as_ref();
            let near = known.iter().min_by_key(|candidate| distance(name, candidate)).copied().unwrap_or_default();
            let hint = if distance(name, near) <= 2 { format!("; is `{near}` meant?") } else { String::new() };
            self.note(Some(key.span()), format!("unknown key `{name}`{hint} (known here: {})", known.join(", ")));
        }
        Section { place, table }
    }

    /// The file as a section.
    pub(crate) fn root<'t>(&mut self, table: &'t DeTable<'a>, known: &[&str]) -> Section<'t, 'a> {
        self.enter(None, table, known)
    }

    /// A section that may be left out.
    pub(crate) fn section<'t>(
        &mut self,
        outer: &Section<'t, 'a>,
        key: &str,
        known: &[&str],
    ) -> Option<Section<'t, 'a>> {
        let value = outer.table.get(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.note(Some(value.span()), format!("`{key}` is no section; write [{key}]"));
            return None;
        };
        Some(self.enter(Some(value.span()), table, known))
    }

    /// A section that must be there.
    pub(crate) fn needed_section<'t>(
        &mut self,
        outer: &Section<'t, 'a>,
        key: &str,
        known: &[&str],
    ) -> Option<Section<'t, 'a>> {
        if outer.table.get(key).is_none() {
            self.note(outer.place.clone(), format!("[{key}] is missing; add it"));
        }
        self.section(outer, key, known)
    }

    /// Sections of one name.
    pub(crate) fn sections<'t>(&mut self, outer: &Section<'t, 'a>, key: &str, known: &[&str]) -> Vec<Section<'t, 'a>> {
        let Some(value) = outer.table.get(key) else { return Vec::new() };
        let mut sections = Vec::new();
        if let DeValue::Array(items) = value.get_ref() {
            for item in items.iter() {
                if let DeValue::Table(table) = item.get_ref() {
                    sections.push(self.enter(Some(item.span()), table, known));
                }
            }
        }
        if sections.is_empty() {
            self.note(Some(value.span()), format!("`{key}` is no list of sections; write [[{key}]]"));
        }
        sections
    }

    /// A value that may be left out.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, section: &Section<'_, 'a>, key: &str) -> Option<Spanned<T>> {
        let value = section.table.get(key)?;
        match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(parsed) => Some(Spanned::new(value.span(), parsed)),
            Err(error) => {
                self.note(Some(value.span()), format!("`{key}`: {}", error.message()));
                None
            }
        }
    }

    /// A value that must be there.
    pub(crate) fn needed<T: DeserializeOwned>(&mut self, section: &Section<'_, 'a>, key: &str) -> Option<Spanned<T>> {
        if section.table.get(key).is_none() {
            self.note(section.place.clone(), format!("`{key}` is missing here; add it"));
        }
        self.optional(section, key)
    }

    /// The value, or all findings: those of this file first, each file's by line.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Findings> {
        let own = self.file;
        self.findings.sort_by(|one, other| {
            let key = |it: &Finding| (it.file != own, it.file.clone(), it.line);
            key(one).cmp(&key(other))
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_is_wrong_missing_or_too_many_is_one_apart() {
        assert_eq!(distance("silence_ms", "silence_ms"), 0);
        for near in ["silense_ms", "silnce_ms", "silencce_ms"] {
            assert_eq!(distance(near, "silence_ms"), 1, "{near}");
        }
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("kitten", "sitting")), (3, 3, 3));
    }
}
