//! What the kernel says about the table.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::State;

/// A listing of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// What the sets hold.
    pub(super) state: State,
    /// How many rules there are.
    pub(super) rules: usize,
}

impl Listing {
    /// Reads the JSON of `list table`; `None` if it is no listing of ours.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let listing: Value = serde_json::from_slice(json).ok()?;
        let mut state = State::default();
        let mut rules = 0;
        for item in listing.get("nftables")?.as_array()? {
            if item.get("rule").is_some() {
                rules += 1;
            }
            let Some(set) = item.get("set") else { continue };
            let elements = set.get("elem").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for element in elements {
                match set.get("name")?.as_str()? {
                    "shut" => state.closed = true,
                    "letin4" | "letin6" => drop(state.let_in.insert(address(element)?)),
                    "sources4" | "sources6" => drop(state.refused_sources.insert(source(element)?)),
                    "servers4" | "servers6" => drop(state.refused_servers.insert(address(element)?)),
                    _ => return None,
                }
            }
        }
        Some(Self { state, rules })
    }
}

fn address(element: &Value) -> Option<IpAddr> {
    element.as_str()?.parse().ok()
}

fn source(element: &Value) -> Option<SocketAddr> {
    match element.get("concat")?.as_array()?.as_slice() {
        [ip, port] => Some(SocketAddr::new(address(ip)?, u16::try_from(port.as_u64()?).ok()?)),
        _ => None,
    }
}
