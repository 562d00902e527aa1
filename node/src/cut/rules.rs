//! The text of the rules.

use std::fmt::{Display, Write};
use std::net::IpAddr;

use super::State;
use super::listing::Listing;

/// The table of one server.
#[derive(Debug)]
pub(super) struct Rules {
    table: String,
    port: u16,
    /// The rules of both chains, which never change.
    input: Vec<String>,
    output: Vec<String>,
}

impl Rules {
    pub(super) fn new(name: &str, port: u16) -> Self {
        Self { table: format!("tasuki_{name}"), port, input: input(port), output: output(port) }
    }

    /// The table's name.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// One line that brings the sets to a state. It fails as a whole if the table is not there.
    pub(super) fn sets(&self, state: &State) -> String {
        let sets = self.elements(state);
        let mut line = String::new();
        for (set, elements) in sets {
            let table = &self.table;
            _ = write!(line, "flush set inet {table} {set};");
            if !elements.is_empty() {
                _ = write!(line, "add element inet {table} {set} {{ {} }};", elements.join(", "));
            }
        }
        line
    }

    /// One line that writes the whole table anew, sets filled, whatever was there.
    pub(super) fn whole(&self, state: &State) -> String {
        let table = &self.table;
        let chain = |hook: &str, rules: &[String]| {
            let rules = rules.join("; ");
            format!("chain {hook} {{ type filter hook {hook} priority -10; policy accept; {rules}; }};")
        };
        let sets = [
            ("shut", "inet_service"),
            ("letin4", "ipv4_addr"),
            ("letin6", "ipv6_addr"),
            ("sources4", "ipv4_addr . inet_service"),
            ("sources6", "ipv6_addr . inet_service"),
            ("servers4", "ipv4_addr"),
            ("servers6", "ipv6_addr"),
        ];
        let sets: String = sets.iter().map(|(set, kind)| format!("set {set} {{ type {kind}; }};")).collect();
        let (input, output) = (chain("input", &self.input), chain("output", &self.output));
        let fill = self.sets(state);
        format!(
            "add table inet {table}; delete table inet {table}; table inet {table} {{ {sets} {input} {output} }}; {fill}"
        )
    }

    /// Whether a listing shows the state and all rules.
    pub(super) fn shown(&self, listing: &Listing, state: &State) -> bool {
        listing.state == *state && listing.rules == self.input.len() + self.output.len()
    }

    fn elements(&self, state: &State) -> Vec<(&'static str, Vec<String>)> {
        let version = |ip: &IpAddr| if ip.is_ipv4() { 4 } else { 6 };
        let of = |addresses: &std::collections::BTreeSet<IpAddr>, wanted| {
            texts(addresses.iter().filter(|ip| version(ip) == wanted))
        };
        let sources = |wanted| {
            let sources = state.refused_sources.iter().filter(|source| version(&source.ip()) == wanted);
            texts(sources.map(|source| format!("{} . {}", source.ip(), source.port())))
        };
        vec![
            ("shut", texts(state.closed.then_some(self.port))),
            ("letin4", of(&state.let_in, 4)),
            ("letin6", of(&state.let_in, 6)),
            ("sources4", sources(4)),
            ("sources6", sources(6)),
            ("servers4", of(&state.refused_servers, 4)),
            ("servers6", of(&state.refused_servers, 6)),
        ]
    }
}

fn texts(items: impl IntoIterator<Item = impl Display>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

fn input(port: u16) -> Vec<String> {
    let mut rules = vec!["iif lo accept".to_owned()];
    for (family, version) in [("ip", 4), ("ip6", 6)] {
        rules.push(format!("{family} saddr . tcp sport @sources{version} reject with tcp reset"));
        rules.push(format!("tcp dport {port} {family} saddr @servers{version} reject with tcp reset"));
        rules.push(format!("tcp dport @shut {family} saddr != @letin{version} reject with tcp reset"));
    }
    rules
}

/// What leaves the host decides. Resets, and ends of connections without a payload, carry no answer of the server:
/// they pass, so that a client learns at once when its server dies, and a refused source that it is refused.
fn output(port: u16) -> Vec<String> {
    let mut rules = vec!["oif lo accept".to_owned(), "tcp flags & rst == rst accept".to_owned()];
    // A TCP header has 5 to 15 words; without a payload, the packet ends with it.
    for words in 5..=15 {
        for (version, header) in [("ipv4", 20), ("ipv6", 40)] {
            let length = header + 4 * words;
            let empty = format!("meta nfproto {version} tcp doff {words} meta length {length}");
            rules.push(format!("tcp flags & fin == fin {empty} accept"));
        }
    }
    for (family, version) in [("ip", 4), ("ip6", 6)] {
        rules.push(format!("{family} daddr . tcp dport @sources{version} reject with tcp reset"));
        rules.push(format!("tcp sport {port} {family} daddr @servers{version} drop"));
        rules.push(format!("tcp sport @shut {family} daddr != @letin{version} drop"));
    }
    rules
}
