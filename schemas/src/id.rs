//! Names and small identifiers, parsed once at the edge and unmixable inside.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that is no legal name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit")]
pub struct InvalidName(String);

/// A text that is no legal sixteen-digit hexadecimal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no identifier: 16 hexadecimal digits are expected")]
pub struct InvalidHex(String);

fn legal_name(text: &str) -> bool {
    let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 63 && text.starts_with(ordinary) && text.chars().all(|c| ordinary(c) || c == '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if legal_name(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                if legal_name(&text) { Ok(Self(text)) } else { Err(InvalidName(text)) }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A cluster: the stem of its file in `clusters.d`.
    ClusterName
}
name! {
    /// A node: a database server with its sidecar, or a witness.
    NodeId
}
name! {
    /// A coordinator.
    CoordinatorId
}
name! {
    /// A token of the feed: whoever shows it goes by this name.
    TokenName
}
name! {
    /// Any program that signs messages: a node or a coordinator. No two of a cluster share a name.
    ProgramId
}

impl From<&NodeId> for ProgramId {
    fn from(node: &NodeId) -> Self {
        Self(node.0.clone())
    }
}

impl From<&CoordinatorId> for ProgramId {
    fn from(coordinator: &CoordinatorId) -> Self {
        Self(coordinator.0.clone())
    }
}

impl From<&ProgramId> for NodeId {
    fn from(program: &ProgramId) -> Self {
        Self(program.0.clone())
    }
}

impl From<&ProgramId> for CoordinatorId {
    fn from(program: &ProgramId) -> Self {
        Self(program.0.clone())
    }
}

macro_rules! hex {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(pub u64);

        impl FromStr for $name {
            type Err = InvalidHex;
            fn from_str(text: &str) -> Result<Self, InvalidHex> {
                if text.len() != 16 {
                    return Err(InvalidHex(text.to_owned()));
                }
                u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidHex(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidHex;
            fn try_from(text: String) -> Result<Self, InvalidHex> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(number: $name) -> Self {
                number.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

hex! {
    /// Random, drawn when a program starts.
    BootId
}
hex! {
    /// Random, drawn once when a ledger is made: a copied or new ledger is another voter.
    Incarnation
}
hex! {
    /// Random, drawn by a coordinator when a failover is called for: an operator's override names it.
    IncidentId
}
hex! {
    /// Random, drawn by a coordinator for a heartbeat or a probe; an answer that echoes it is fresh.
    Nonce
}

/// One run of a program. Later runs of the same state directory compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Boot {
    /// How often the program was started with this state directory.
    pub start: u64,
    /// Tells apart two runs that believe to be the same one.
    pub random: BootId,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.start, self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_lower_case_and_plain() {
        assert!("db1".parse::<NodeId>().is_ok());
        for bad in ["", "DB1", "-a", "a_b", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn identifiers_travel_as_sixteen_hexadecimal_digits() {
        let boot = BootId(0xab);
        assert_eq!(serde_json::to_string(&boot).unwrap(), "\"00000000000000ab\"");
        assert_eq!(boot.to_string().parse::<BootId>().unwrap(), boot);
        assert!("ab".parse::<BootId>().is_err());
    }
}
