//! Bad files, and exactly what is said about each.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

#[path = "findings/world.rs"]
mod world;

use std::path::Path;
use std::time::Duration;

use tasuki_config::{ClusterFile, PlannedStop, Promotion, Rejoin};
use tasuki_schemas::gtid::Flavour;
use tasuki_schemas::record::Mode;

use world::{KEYS, cluster_text, line_of, public};

const ADDRESS: &str = "is no address that others reach; write IP:port, an IPv6 address in brackets (no host names: they \
                       fail when they are needed)";

/// Changes the first place of a text in the lawful cluster file, and compares every finding with what is expected. The
/// line of a finding is that of the last place of the first text; with an empty one the whole file is meant.
fn said(from: &str, to: &str, expected: &[(&str, &str)]) {
    let lawful = cluster_text();
    assert!(lawful.contains(from), "{from:?} is not in the lawful file");
    let text = lawful.replacen(from, to, 1);
    let findings = ClusterFile::parse(Path::new("main.toml"), &text).unwrap_err().0;
    let found: Vec<String> = findings.iter().map(|finding| finding.to_string()).collect();
    let expected: Vec<String> = expected
        .iter()
        .map(|(place, what)| match *place {
            "" => format!("main.toml: {what}"),
            place => format!("main.toml:{}: {what}", line_of(&text, place)),
        })
        .collect();
    assert_eq!(found, expected, "{to:?} instead of {from:?}");
}

#[test]
fn a_lawful_file_is_read_whole() {
    let file = ClusterFile::parse(Path::new("/etc/tasuki/clusters.d/main.toml"), &cluster_text()).unwrap();
    assert_eq!(file.name.as_str(), "main");
    assert_eq!((file.digest.len(), file.flavour), (64, Flavour::Mariadb));
    assert_eq!(file.servers.iter().map(|it| it.promotion).collect::<Vec<_>>(), [Promotion::Prefer, Promotion::Neutral]);
    assert_eq!(file.servers.iter().map(|it| it.site.as_deref()).collect::<Vec<_>>(), [Some("east"), None]);
    assert_eq!((file.policy.stable_window, file.policy.flap_limit), (Duration::from_secs(45), 3));
    assert_eq!(file.servers[1].address, "[fd00::2]:3306".parse().unwrap());
    assert_eq!(file.nodes().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["db1", "db2", "w1"]);
    assert_eq!(file.coordinators.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["co1", "co2"]);
    assert_eq!(file.keys().len(), KEYS.len());
    assert!(file.server(&"db2".parse().unwrap()).is_some() && file.server(&"w1".parse().unwrap()).is_none());
    assert_eq!(file.vip.unwrap().interface, "eth0");
    let policy = (file.policy.mode, file.policy.heartbeat, file.policy.silence, file.policy.tail_patience);
    assert_eq!(
        policy,
        (Mode::Observe, Duration::from_millis(250), Duration::from_millis(900), Duration::from_millis(50))
    );
}

#[test]
fn what_may_be_left_out_has_a_default() {
    let text = cluster_text();
    let short = text.split("[vip]").next().unwrap();
    let file = ClusterFile::parse(Path::new("main.toml"), short).unwrap();
    assert_eq!(file.vip, None);
    let policy = (file.policy.mode, file.policy.heartbeat, file.policy.silence, file.policy.tail_patience);
    assert_eq!(
        policy,
        (Mode::Armed, Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(100))
    );
}

#[test]
fn another_byte_is_another_digest() {
    let digest = |text: &str| ClusterFile::parse(Path::new("main.toml"), text).unwrap().digest;
    assert_ne!(digest(&cluster_text()), digest(&(cluster_text() + "\n")));
}

#[test]
fn what_is_misspelt_is_told_with_a_guess() {
    said(
        "tail_patience_ms",
        "tail_patence_ms",
        &[(
            "tail_patence_ms",
            "unknown key `tail_patence_ms`; is `tail_patience_ms` meant? (known here: mode, heartbeat_ms, silence_ms, \
             tail_patience_ms, lease_ms, pausable, degraded, stable_window_ms, flap_limit, planned_stop, \
             planned_stop_wait_s, max_loss, rejoin)",
        )],
    );
    said(
        "[redis]\n",
        "[redis]\npool = 3\n",
        &[("pool", "unknown key `pool` (known here: urls, subscribe_urls, ca_file)")],
    );
    let known = "(known here: flavour, server, witness, coordinator, redis, replication, vip, policy, ssh, shutdown)";
    let what = format!("unknown key `witnes`; is `witness` meant? {known}");
    said("[[witness]]", "[[witnes]]", &[("[[witnes]]", &what)]);
}

#[test]
fn what_is_missing_is_told_at_its_section() {
    said("flavour = \"mariadb\"\n", "", &[("", "`flavour` is missing here; add it")]);
    said("user = \"repl\"\n", "", &[("[replication]", "`user` is missing here; add it")]);
    said("address = \"[fd00::2]:3306\"\n", "", &[("[[server]]", "`address` is missing here; add it")]);
    let text = cluster_text();
    let redis = &text[text.find("[redis]").unwrap()..text.find("[replication]").unwrap()];
    said(redis, "", &[("", "[redis] is missing; add it")]);
    let second = &text[text.rfind("[[server]]").unwrap()..text.find("[[witness]]").unwrap()];
    said(second, "", &[("", "a cluster needs two [[server]] at least; 1 found")]);
    let coordinators = &text[text.find("[[coordinator]]").unwrap()..text.find("[redis]").unwrap()];
    said(coordinators, "", &[("", "a cluster needs a [[coordinator]] at least")]);
    said(
        coordinators,
        "[coordinator]\n",
        &[("[coordinator]", "`coordinator` is no list of sections; write [[coordinator]]")],
    );
}

#[test]
fn a_value_of_another_kind_is_told_with_what_is_expected() {
    let what = "`flavour`: unknown variant `postgres`, expected `mariadb` or `mysql`";
    said("\"mariadb\"", "\"postgres\"", &[("postgres", what)]);
    let what = "`site` is empty; name the place, or leave the line out";
    said("\"east\"", "\" \"", &[("\" \"", what)]);
    let what = "`promotion`: unknown variant `always`, expected one of `prefer`, `neutral`, `avoid`, `never`";
    said("\"prefer\"", "\"always\"", &[("always", what)]);
    said("\"observe\"", "\"watch\"", &[("watch", "`mode`: unknown variant `watch`, expected `observe` or `armed`")]);
    said("= 250", "= \"fast\"", &[("fast", "`heartbeat_ms`: invalid type: string \"fast\", expected u64")]);
    said("[vip]\n", "[[vip]]\n", &[("[[vip]]", "`vip` is no section; write [vip]")]);
}

#[test]
fn patience_has_bounds() {
    said("= 250", "= 49", &[("= 49", "`heartbeat_ms` must lie between 50 and 2000")]);
    said("= 900", "= 749", &[("= 749", "`silence_ms` must lie between 750 and 60000")]);
    said(
        "tail_patience_ms = 50",
        "tail_patience_ms = 10001",
        &[("10001", "`tail_patience_ms` must lie between 0 and 10000")],
    );
    said("= 45000", "= 999", &[("= 999", "`stable_window_ms` must lie between 1000 and 86400000")]);
    said("flap_limit = 3", "flap_limit = 0", &[("= 0", "`flap_limit` must lie between 1 and 1000000")]);
    // The bound of one value is not computed from another that is out of bounds.
    said("= 250", "= 30000", &[("= 30000", "`heartbeat_ms` must lie between 50 and 2000")]);
}

#[test]
fn who_is_ahead_is_left_to_people_unless_the_file_says_otherwise() {
    let wish = |setting: &str| {
        let text = cluster_text().replace("[policy]\n", &format!("[policy]\n{setting}"));
        ClusterFile::parse(Path::new("main.toml"), &text).map(|file| file.policy.rejoin)
    };
    assert_eq!(wish("").unwrap(), Rejoin::Leave);
    assert_eq!(wish("rejoin = \"leave\"\n").unwrap(), Rejoin::Leave);
    assert_eq!(wish("rejoin = \"clone\"\n").unwrap(), Rejoin::Clone);
    assert!(wish("rejoin = \"perhaps\"\n").unwrap_err().to_string().contains("rejoin"));
}

#[test]
fn a_planned_stop_is_handed_over_or_waited_for() {
    let wish = |lines: &str| {
        let text = cluster_text().replacen("[policy]\n", &format!("[policy]\n{lines}"), 1);
        ClusterFile::parse(Path::new("main.toml"), &text).unwrap().policy.planned_stop
    };
    assert_eq!(wish(""), PlannedStop::HandOver);
    assert_eq!(wish("planned_stop = \"hand_over\"\n"), PlannedStop::HandOver);
    assert_eq!(wish("planned_stop = \"wait\"\n"), PlannedStop::Wait(Duration::from_secs(30)));
    let five = "planned_stop = \"wait\"\nplanned_stop_wait_s = 5\n";
    assert_eq!(wish(five), PlannedStop::Wait(Duration::from_secs(5)));
    said(
        "[policy]\n",
        "[policy]\nplanned_stop_wait_s = 5\n",
        &[(
            "planned_stop_wait_s = 5",
            "`planned_stop_wait_s` says nothing without `planned_stop = \"wait\"`; add that, or leave this out",
        )],
    );
    for nonsense in ["0", "3601"] {
        let lines = format!("[policy]\nplanned_stop = \"wait\"\nplanned_stop_wait_s = {nonsense}\n");
        said("[policy]\n", &lines, &[("planned_stop_wait_s =", "`planned_stop_wait_s` must lie between 1 and 3600")]);
    }
    let what = "`planned_stop`: unknown variant `never`, expected `hand_over` or `wait`";
    said("[policy]\n", "[policy]\nplanned_stop = \"never\"\n", &[("planned_stop =", what)]);
}

#[test]
fn an_address_is_one_that_others_reach() {
    for wrong in ["db1:7300", "10.77.0.1", "10.77.0.1:0", "0.0.0.0:7300", "fd00::2:7300", "[::]:7300"] {
        let text = format!("mesh = \"{wrong}\"");
        said("mesh = \"10.77.0.1:7300\"", &text, &[(&text, &format!("{wrong:?} {ADDRESS}"))]);
    }
    let what = "\"10.77.0.100\" is no address with a prefix; write e.g. 10.0.0.9/24";
    said("10.77.0.100/24", "10.77.0.100", &[("10.77.0.100\"", what)]);
    for wrong in ["10.77.0.100/33", "fd00::1/129", "host/24", "10.77.0.100/"] {
        let what = format!("{wrong:?} is no address with a prefix; write e.g. 10.0.0.9/24");
        said("10.77.0.100/24", wrong, &[(wrong, &what)]);
    }
    for wrong in ["", "eth 0", "a/b", "sixteen-letters-"] {
        let text = format!("interface = {wrong:?}");
        said(
            "interface = \"eth0\"",
            &text,
            &[(&text, &format!("{wrong:?} is no network interface; `ip link` lists them"))],
        );
    }
}

#[test]
fn names_addresses_and_keys_are_used_once() {
    let twice = |field: &str, text: &str| format!("{field} {text:?} is used twice; each needs its own");
    said("name = \"db2\"", "name = \"db1\"", &[("name = \"db1\"", &twice("name", "db1"))]);
    said("name = \"co1\"", "name = \"w1\"", &[("name = \"w1\"", &twice("name", "w1"))]);
    said("[fd00::2]:3306", "10.77.0.1:3306", &[("10.77.0.1:3306", &twice("address", "10.77.0.1:3306"))]);
    said("10.77.0.9:7300", "10.77.0.1:7300", &[("10.77.0.1:7300", &twice("mesh", "10.77.0.1:7300"))]);
    said("10.77.0.9:7300", "10.77.0.1:3306", &[("10.77.0.1:3306", &twice("mesh", "10.77.0.1:3306"))]);
    said(&public("co2"), &public("db1"), &[(&public("db1"), &twice("key", &public("db1")))]);
}

#[test]
fn names_and_keys_have_a_form() {
    let what = "\"DB1\" is no name: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit";
    said("name = \"db1\"", "name = \"DB1\"", &[("DB1", what)]);
    let what = "\"AAAA\" is no public key: 32 bytes in base64 are expected, as a key file's owner prints them";
    said(&public("db1"), "AAAA", &[("AAAA", what)]);
    let error = ClusterFile::parse(Path::new("My Cluster.toml"), &cluster_text()).unwrap_err().to_string();
    assert!(error.starts_with("My Cluster.toml: the file's name: \"My Cluster\" is no name"), "{error}");
}

#[test]
fn a_redis_url_is_refused_without_being_told() {
    let fix = "write redis://user:password@address:port";
    let what = format!("the Redis URL number 1 cannot be used: it begins with neither redis:// nor rediss://; {fix}");
    said("redis://127", "http://u:hidden@127", &[("http", &what)]);
    let what = format!("the Redis URL number 2 cannot be used: Redis URL did not parse - InvalidClientConfig; {fix}");
    said("hidden@10.77.0.8:6380", "hidden@10.77.0.8:638000", &[("638000", &what)]);
}

#[test]
fn there_is_one_place_to_subscribe_for_each_redis_server() {
    let what = "it names 1, and urls 2; write of each server a replica, or the server itself";
    said("[redis]\n", "[redis]\nsubscribe_urls = [\"redis://10.77.0.9:1\"]\n", &[("[\"redis://10.77.0.9:1", what)]);
    let fix = "write redis://user:password@address:port";
    let what = format!("the Redis URL number 2 cannot be used: it begins with neither redis:// nor rediss://; {fix}");
    let places = "[redis]\nsubscribe_urls = [\"redis://h:x@10.77.0.9:1\", \"replica\"]\n";
    said("[redis]\n", places, &[("\"replica", &what)]);
    let text = cluster_text().replacen("[redis]\n", &places.replace("replica", "rediss://10.77.0.9:2"), 1);
    let file = ClusterFile::parse(Path::new("main.toml"), &text).unwrap();
    let places: Vec<&str> = file.redis_subscribe_urls.iter().map(|url| url.expose()).collect();
    assert_eq!(places, ["redis://h:x@10.77.0.9:1", "rediss://10.77.0.9:2"]);
}

#[test]
fn no_password_is_in_debug_output() {
    let file = ClusterFile::parse(Path::new("main.toml"), &cluster_text()).unwrap();
    assert!(file.redis_urls.iter().any(|url| url.expose().contains("hidden")));
    assert!(!format!("{file:?}").contains("hidden"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_in_the_order_of_the_lines() {
    let text = cluster_text()
        .replacen("name = \"db2\"\n", "nam = \"db2\"\nrank = 3\n", 1)
        .replacen("10.77.0.9:7300", "w1:7300", 1)
        .replacen("urls = [\"redis:", "urls = [\"http:", 1)
        .replacen("10.77.0.100/24", "vip", 1)
        .replacen("heartbeat_ms = 250\nsilence_ms = 900", "heartbeat_ms = 1\nsilence_ms = \"long\"", 1);
    let findings = ClusterFile::parse(Path::new("main.toml"), &text).unwrap_err().0;
    let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
    let places = ["[[server]]", "nam =", "rank =", "w1:7300", "http:", "\"vip\"", "heartbeat_ms = 1", "\"long\""];
    assert_eq!(lines, places.map(|place| line_of(&text, place)), "{findings:#?}");
}

#[test]
fn every_syntax_error_is_told() {
    let text = "flavour = \n[redis\nurls = [1\n[vip]\naddress == 3\n";
    let findings = ClusterFile::parse(Path::new("main.toml"), text).unwrap_err().0;
    let lines: std::collections::BTreeSet<usize> = findings.iter().map(|finding| finding.line).collect();
    assert!(lines.contains(&1) && lines.contains(&2) && lines.contains(&5), "{findings:#?}");
    assert!(!lines.contains(&0), "{findings:#?}");
}

#[test]
fn nothing_that_is_typed_makes_it_panic() {
    let text = cluster_text();
    for at in 0..text.len() {
        for spoilt in [
            text[..at].to_owned(),
            format!("{}{}", &text[..at], &text[at + 1..]),
            format!("{}\u{e4}{}", &text[..at], &text[at..]),
        ] {
            drop(ClusterFile::parse(Path::new("main.toml"), &spoilt));
        }
    }
}
