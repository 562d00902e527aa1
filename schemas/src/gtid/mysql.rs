//! MySQL's GTID sets: per server UUID and tag, intervals of transaction numbers.
//!
//! Syntax as in the MySQL manual, "GTID Sets": `uuid[:tag]:interval[:interval]…[,…]`, where a tag may appear between
//! intervals and governs those that follow it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::interval::{Intervals, LARGEST};
use super::{Gtid, InvalidGtidSet};

/// A source: a server UUID with an optional tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// 32 hexadecimal digits in five groups, lower case.
    pub uuid: String,
    /// The tag; empty if there is none.
    pub tag: String,
}

/// Transactions of any number of sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GtidSet(BTreeMap<Source, Intervals>);

/// Normalises a UUID to lower case, or refuses it.
pub(super) fn uuid(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hex = groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()));
    (lengths == [8, 4, 4, 4, 12] && hex).then(|| text.to_ascii_lowercase())
}

/// Normalises a tag, or refuses it: 1 to 32 letters, digits and underscores, not beginning with a digit.
pub(super) fn tag(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let begins = lower.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let legal = lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (begins && legal && lower.len() <= 32).then_some(lower)
}

/// Reads a number of a transaction, or refuses it: digits alone, from 1 to [`LARGEST`].
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| (1..=LARGEST).contains(number))
}

fn interval(text: &str) -> Option<(u64, u64)> {
    match text.split_once('-') {
        Some((first, last)) => Some((number(first.trim())?, number(last.trim())?)),
        None => number(text).map(|only| (only, only)),
    }
}

impl GtidSet {
    /// Reads the text form. Empty text is the empty set; blanks and line breaks are ignored.
    ///
    /// # Errors
    /// [`InvalidGtidSet`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidGtidSet> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = |what: &str| InvalidGtidSet::new(part, what);
            let mut pieces = part.split(':').map(str::trim);
            let uuid = pieces.next().and_then(uuid).ok_or_else(|| wrong("a server UUID is expected first"))?;
            let mut source = Source { uuid, tag: String::new() };
            let mut any = false;
            for piece in pieces {
                if let Some(tag) = tag(piece) {
                    source.tag = tag;
                    any = false;
                } else {
                    let (first, last) = interval(piece)
                        .ok_or_else(|| wrong("a number, an interval or a tag is expected after each colon"))?;
                    set.0.entry(source.clone()).or_default().add(first, last);
                    any = true;
                }
            }
            if !any {
                return Err(wrong("an interval is expected at the end"));
            }
        }
        set.0.retain(|_, intervals| !intervals.is_empty());
        Ok(set)
    }

    /// True if it has no transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its sources with their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Source, &Intervals)> {
        self.0.iter()
    }

    /// Adds one transaction.
    pub fn insert(&mut self, uuid: &str, tag: &str, number: u64) {
        let source = Source { uuid: uuid.to_owned(), tag: tag.to_owned() };
        self.0.entry(source).or_default().add(number, number);
    }

    fn merge(&self, other: &Self, each: impl Fn(&Intervals, &Intervals) -> Intervals) -> Self {
        let none = Intervals::new();
        let sources: BTreeSet<&Source> = self.0.keys().chain(other.0.keys()).collect();
        let merged = sources.into_iter().map(|source| {
            let (ours, theirs) = (self.0.get(source).unwrap_or(&none), other.0.get(source).unwrap_or(&none));
            (source.clone(), each(ours, theirs))
        });
        Self(merged.filter(|(_, intervals)| !intervals.is_empty()).collect())
    }

    /// Transactions in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.merge(other, Intervals::union)
    }

    /// Transactions in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        self.merge(other, Intervals::intersect)
    }

    /// Transactions that the other lacks.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        self.merge(other, Intervals::subtract)
    }

    /// Whether all of `other` is in `self`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(source, theirs)| self.0.get(source).is_some_and(|ours| ours.contains(theirs)))
    }

    /// Whether the one transaction is in it.
    #[must_use]
    pub fn contains_gtid(&self, gtid: &Gtid) -> bool {
        let Gtid::Mysql { uuid, tag, number } = gtid else { return false };
        let source = Source { uuid: uuid.clone(), tag: tag.clone().unwrap_or_default() };
        let mut one = Intervals::new();
        one.add(*number, *number);
        self.0.get(&source).is_some_and(|intervals| intervals.contains(&one))
    }

    /// The transactions of some servers, whatever their tags.
    #[must_use]
    pub fn only(&self, uuids: &BTreeSet<&str>) -> Self {
        let kept = self.0.iter().filter(|(source, _)| uuids.contains(source.uuid.as_str()));
        Self(kept.map(|(source, intervals)| (source.clone(), intervals.clone())).collect())
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<&str> = None;
        for (source, intervals) in &self.0 {
            if last == Some(source.uuid.as_str()) {
                write!(f, ":{}", source.tag)?;
            } else {
                let comma = if last.is_some() { "," } else { "" };
                write!(f, "{comma}{}", source.uuid)?;
                if !source.tag.is_empty() {
                    write!(f, ":{}", source.tag)?;
                }
            }
            for (first, end) in intervals.iter() {
                if first == end {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{end}")?;
                }
            }
            last = Some(&source.uuid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(rest: &str) -> GtidSet {
        GtidSet::parse(&format!("{UUID}{rest}")).unwrap()
    }

    #[test]
    fn empty_text_is_the_empty_set() {
        for text in ["", " \n", ","] {
            assert_eq!(GtidSet::parse(text).unwrap(), GtidSet::default(), "{text:?}");
        }
    }

    #[test]
    fn intervals_are_merged_and_sorted() {
        assert_eq!(set(":9-12:7:1-5:6").to_string(), format!("{UUID}:1-7:9-12"));
        assert_eq!(set(":1-5:3-9:5").to_string(), format!("{UUID}:1-9"));
    }

    #[test]
    fn capitals_blanks_and_line_breaks_do_not_matter() {
        let loose = format!(" {} : 1 - 3 : TAG_A : 4 ,\n\n{UUID}:4 ", UUID.to_uppercase());
        assert_eq!(GtidSet::parse(&loose).unwrap().to_string(), format!("{UUID}:1-4:tag_a:4"));
    }

    #[test]
    fn a_tag_governs_the_intervals_after_it() {
        let tagged = set(":1-3:tag_a:1-2:_b:5");
        assert_eq!(tagged.to_string(), format!("{UUID}:1-3:_b:5:tag_a:1-2"));
        assert_eq!(tagged, set(&format!(":_b:5,{UUID}:tag_a:1-2,{UUID}:1-3")));
        assert!(!tagged.contains(&set(":5")));
    }

    #[test]
    fn an_interval_that_runs_backwards_is_empty() {
        assert_eq!(set(":5-1"), GtidSet::default());
    }

    #[test]
    fn numbers_end_at_the_largest() {
        let all = set(":1-9223372036854775806");
        assert!(all.contains(&set(":9223372036854775806")));
        assert_eq!(all.subtract(&set(":2-9223372036854775806")), set(":1"));
        assert!(all.subtract(&all).is_empty());
    }

    #[test]
    fn what_is_no_set_is_refused_with_the_offending_text() {
        let long_tag = format!("{UUID}:{}:1", "a".repeat(33));
        let wrong = [
            "3e11fa47:1",
            "3e11fa47-71ca-11e1-9e33-c80aa942956g:1",
            "3e11fa4771ca-11e1-9e33-c80aa9429562-:1",
            "0-1-5",
            &long_tag,
        ];
        let tails = [
            "",
            ":",
            ":1:",
            ":0",
            ":-1",
            ":1-",
            ":1-2-3",
            ":+1",
            ":tag",
            ":1:tag",
            ":7tag:1",
            ":1\0",
            ":9223372036854775807",
        ];
        let tails = tails.map(|tail| format!("{UUID}{tail}"));
        for text in wrong.into_iter().chain(tails.iter().map(String::as_str)) {
            let said = GtidSet::parse(&format!("{UUID}:1,{text}")).unwrap_err().to_string();
            assert!(said.contains(&format!("{text:?}")) && said.contains("expected"), "{said}");
        }
    }
}
