//! What tells incidents apart and orders them: the ballot of the leader that told them, and their number under it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ballot::Ballot;
use crate::id::{BootId, CoordinatorId};

/// An incident's place in its cluster's history. Travels as text, `7.co1.00c0ffee00c0ffee-12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct EventId {
    /// Of the leader that tells.
    pub ballot: Ballot,
    /// Counts what it tells under this ballot, from 1 on.
    pub number: u64,
}

/// A text that is no event's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event's id; use the `id` of an event or a snapshot as it came")]
pub struct InvalidEventId(String);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ballot, self.number)
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;
    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let parse = || {
            let (ballot, number) = text.rsplit_once('-')?;
            let (counter, rest) = ballot.split_once('.')?;
            let (coordinator, boot) = rest.split_once('.')?;
            let (counter, coordinator) = (counter.parse().ok()?, coordinator.parse::<CoordinatorId>().ok()?);
            let ballot = Ballot { counter, coordinator, boot: boot.parse().ok()? };
            Some(Self { ballot, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidEventId(text.to_owned()))
    }
}

impl TryFrom<String> for EventId {
    type Error = InvalidEventId;
    fn try_from(text: String) -> Result<Self, InvalidEventId> {
        text.parse()
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}

/// The same without the coordinator's name, as the public has it: `7.00c0ffee00c0ffee-12`. It finds an event; it does not
/// order two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PublicId {
    /// The ballot's counter.
    pub counter: u64,
    /// The ballot's run.
    pub boot: BootId,
    /// The event's number.
    pub number: u64,
}

impl From<&EventId> for PublicId {
    fn from(id: &EventId) -> Self {
        Self { counter: id.ballot.counter, boot: id.ballot.boot, number: id.number }
    }
}

impl PublicId {
    /// Whether an event was told under the same ballot.
    #[must_use]
    pub fn same_ballot(&self, id: &EventId) -> bool {
        (self.counter, self.boot) == (id.ballot.counter, id.ballot.boot)
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-{}", self.counter, self.boot, self.number)
    }
}

impl FromStr for PublicId {
    type Err = InvalidEventId;
    /// Reads either form.
    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        if let Ok(whole) = text.parse::<EventId>() {
            return Ok(Self::from(&whole));
        }
        let parse = || {
            let (ballot, number) = text.rsplit_once('-')?;
            let (counter, boot) = ballot.split_once('.')?;
            Some(Self { counter: counter.parse().ok()?, boot: boot.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidEventId(text.to_owned()))
    }
}

impl TryFrom<String> for PublicId {
    type Error = InvalidEventId;
    fn try_from(text: String) -> Result<Self, InvalidEventId> {
        text.parse()
    }
}

impl From<PublicId> for String {
    fn from(id: PublicId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let ballot = Ballot { counter: 7, coordinator: "co-1".parse().unwrap(), boot: BootId(0xc0ffee) };
        let id = EventId { ballot, number: 12 };
        assert_eq!(id.to_string(), "7.co-1.0000000000c0ffee-12");
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        let public = PublicId::from(&id);
        assert_eq!(public.to_string(), "7.0000000000c0ffee-12");
        for text in [id.to_string(), public.to_string()] {
            assert_eq!(text.parse(), Ok(public), "{text}");
        }
        for wrong in
            ["", "7", "7.co-1-12", "7.co-1.c0ffee-12", "x.co-1.0000000000c0ffee-12", "7.co-1.0000000000c0ffee-"]
        {
            assert!(wrong.parse::<EventId>().is_err() && wrong.parse::<PublicId>().is_err(), "{wrong}");
        }
    }
}
