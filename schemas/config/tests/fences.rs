//! `[ssh]`, `[shutdown]` and `max_loss`: what they mean, and what is said about bad ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "findings/world.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod world;

use std::path::Path;
use std::time::Duration;

use tasuki_config::{ClusterFile, Fences, MaxLoss, Shutdown, Ssh};

use world::{cluster_text, line_of};

fn parse(text: &str) -> ClusterFile {
    ClusterFile::parse(Path::new("main.toml"), text).unwrap()
}

/// Every finding about the lawful file with one text in place of another, and the line of `place` in it.
fn said(from: &str, to: &str, place: &str) -> (Vec<String>, usize) {
    let lawful = cluster_text();
    assert!(lawful.contains(from), "{from:?} is not in the lawful file");
    let text = lawful.replacen(from, to, 1);
    let findings = ClusterFile::parse(Path::new("main.toml"), &text).unwrap_err().0;
    (findings.iter().map(|finding| finding.to_string()).collect(), line_of(&text, place))
}

fn refused(from: &str, to: &str, place: &str, what: &str) {
    let (found, line) = said(from, to, place);
    assert_eq!(found, [format!("main.toml:{line}: {what}")], "{to:?} instead of {from:?}");
}

#[test]
fn everything_that_is_said_is_read() {
    let file = parse(&cluster_text());
    let ssh = Ssh {
        user: "fencer".to_owned(),
        key_file: "/etc/tasuki/fence.key".into(),
        known_hosts_file: "/etc/tasuki/known_hosts".into(),
        limit: Duration::from_secs(4),
        read_limit: Duration::from_secs(300),
    };
    let words = |last: &str| vec!["/usr/local/bin/power".to_owned(), last.to_owned()];
    let limit = Duration::from_secs(20);
    let shutdown = Shutdown { command: words("off"), read_back: Some(words("is-off")), limit };
    assert_eq!(file.fences, Fences { ssh: Some(ssh), shutdown: Some(shutdown) });
    assert_eq!(file.policy.max_loss, Some(MaxLoss::UnreceivedTail));
    let server = &file.servers[0];
    assert_eq!(
        (server.ssh, server.data_dir.as_deref(), server.binlog_index.as_deref()),
        ("10.99.0.1:2222".parse().ok(), Some(Path::new("/var/lib/mysql")), Some(Path::new("/var/log/mysql/bin.index")))
    );
    assert_eq!(file.servers[1].ssh, None);
}

#[test]
fn without_a_word_nothing_is_fenced_and_the_loss_is_the_lease_s_matter() {
    let text = cluster_text();
    let short = text.split("[ssh]").next().unwrap().replace("max_loss = \"unreceived_tail\"\n", "");
    let file = parse(&short);
    assert_eq!((file.fences, file.policy.max_loss), (Fences::default(), None));
    let text = cluster_text()
        .replace("user = \"fencer\"\n", "")
        .replace("limit_ms = 4000\n", "")
        .replace("read_limit_s = 300\n", "");
    let ssh = parse(&text).fences.ssh.unwrap();
    let (limit, read_limit) = (Duration::from_secs(5), Duration::from_secs(120));
    assert_eq!((ssh.user.as_str(), ssh.limit, ssh.read_limit), ("root", limit, read_limit));
}

#[test]
fn what_ssh_needs_is_asked_for() {
    refused("key_file = \"/etc/tasuki/fence.key\"\n", "", "[ssh]", "`key_file` is missing here; add it");
    let what = "`known_hosts_file` must be a whole path, beginning with /";
    refused("\"/etc/tasuki/known_hosts\"", "\"known_hosts\"", "known_hosts_file", what);
    let what = "[ssh] ends the server whose data directory it is told, and [[server]] db2 has no `data_dir`; add it";
    refused("data_dir = \"/srv/db2\"\n", "", "[ssh]", what);
    refused("\"/srv/db2\"", "\"db2\"", "data_dir", "`data_dir` must be a whole path, beginning with /");
    refused("limit_ms = 4000", "limit_ms = 4", "limit_ms", "`limit_ms` must lie between 1000 and 60000");
    refused("read_limit_s = 300", "read_limit_s = 1", "read_limit_s", "`read_limit_s` must lie between 5 and 3600");
    let what = "`binlog_index` must be a whole path, beginning with /";
    refused("\"/var/log/mysql/bin.index\"", "\"bin.index\"", "binlog_index", what);
    refused("\"fencer\"", "\"-oX\"", "user = \"-oX", "\"-oX\" is no account; leave the line out for root");
    let (found, _) = said("\"10.99.0.1:2222\"", "\"db1.example\"", "ssh =");
    assert!(found.len() == 1 && found[0].contains("is no address that others reach"), "{found:?}");
}

#[test]
fn a_shutdown_is_read_back_or_its_exit_code_trusted_and_not_both() {
    let read_back = "read_back = [\"/usr/local/bin/power\", \"is-off\"]\n";
    let what = "what the command did must be read back: add `read_back`, a command that ends with 0 only when the server is \
                down; or write `trust_exit_code = true` if 0 of the command itself means that";
    refused(read_back, "", "[shutdown]", what);
    refused(read_back, "trust_exit_code = false\n", "[shutdown]", what);
    let what = "`read_back` and `trust_exit_code = true` contradict each other; leave one out";
    refused(read_back, &format!("{read_back}trust_exit_code = true\n"), "read_back", what);
    let trusting = cluster_text().replacen(read_back, "trust_exit_code = true\n", 1);
    assert_eq!(parse(&trusting).fences.shutdown.unwrap().read_back, None);
    let what = "`command` is a program's whole path and its first arguments, as [\"/usr/local/bin/off\"]";
    refused("[\"/usr/local/bin/power\", \"off\"]", "[\"power\"]", "command", what);
    refused("[\"/usr/local/bin/power\", \"off\"]", "[]", "command", what);
    refused("limit_s = 20", "limit_s = 900", "limit_s", "`limit_s` must lie between 1 and 300");
}

#[test]
fn max_loss_has_two_values_and_unknown_keys_are_told() {
    let what = "`max_loss`: unknown variant `some`, expected `none` or `unreceived_tail`";
    refused("\"unreceived_tail\"", "\"some\"", "max_loss", what);
    let none = parse(&cluster_text().replacen("\"unreceived_tail\"", "\"none\"", 1));
    assert_eq!(none.policy.max_loss, Some(MaxLoss::None));
    let known = "(known here: user, key_file, known_hosts_file, limit_ms, read_limit_s)";
    refused("limit_ms", "limit_s", "limit_s = 4000", &format!("unknown key `limit_s`; is `limit_ms` meant? {known}"));
}
