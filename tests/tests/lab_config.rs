//! Wrong configuration is refused by the programs themselves: every finding with file, line and fix, and exit code 2.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tasuki_schemas::gtid::Flavour;
use tasuki_tests::lab::config::{self, ClusterPlan, CoordinatorPlan, Files, NodePlan, ServerPlan};
use tasuki_tests::lab::net::Kind;
use tasuki_tests::lab::run::Run;
use tasuki_tests::lab::{Lab, Options, Outside, tools};

/// The files of a lawful cluster of three, as the lab and the demo write them.
fn lawful(run: &Run) -> Files {
    let address = |host: u8, port: u16| SocketAddr::from((run.loopback(host), port));
    let nodes = (1..=3).map(|number| NodePlan {
        name: format!("db{number}"),
        mesh: address(number, 7300),
        health: address(number, 7301),
        server: Some(ServerPlan {
            address: address(number, 3306),
            socket: run.folder().join(format!("db{number}.sock")),
            kernel: false,
            ssh: None,
            data_dir: run.folder().join(format!("db{number}/data")),
        }),
    });
    let cluster = ClusterPlan {
        name: "main".into(),
        flavour: Flavour::Mariadb,
        nodes: nodes.collect(),
        vip: None,
        mode: "armed".into(),
        lease_ms: None,
        asynchronous: false,
        outside: Outside { hook: true, ..Outside::default() },
        never: None,
        flap_limit: 1000,
        degraded: None,
        recloning: false,
    };
    let coordinator = |number: u8| CoordinatorPlan { name: format!("co{number}"), feed: address(10 + number, 3000) };
    let redis = ["redis://127.0.0.1:6379".to_owned()];
    config::write(&run.sub("etc").unwrap(), &[cluster], &[coordinator(1), coordinator(2)], &redis, None).unwrap()
}

/// Runs a program's `check`; its exit code and what it said.
fn check(program: &str, config: &Path) -> (Option<i32>, String) {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "10"]).arg(tools::built(program).unwrap());
    let output = command.args(["check", "--config"]).arg(config).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Changes one file, asks both programs, and expects the node's or the coordinator's refusal to name file and line.
fn refused(change: impl Fn(&Files) -> (std::path::PathBuf, usize, &'static str), program: &str) {
    let run = Run::begin(false).unwrap();
    let files = lawful(&run);
    let (file, line, word) = change(&files);
    let config = if program == "tasuki-node" { files.local("db1") } else { files.local("co1") };
    let (code, said) = check(program, &config);
    let place = if line == 0 { file.display().to_string() } else { format!("{}:{line}:", file.display()) };
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&place) && said.contains(word), "{place} … {word} is expected in\n{said}");
}

/// Replaces a text that must be there once at least, and tells the line of its first place.
fn replace(file: &Path, from: &str, to: &str) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let before = text.find(from).unwrap_or_else(|| panic!("{from} is not in\n{text}"));
    fs::write(file, text.replacen(from, to, 1)).unwrap();
    text[..before].lines().count() + usize::from(text[..before].ends_with('\n') || before == 0)
}

#[test]
fn lab_lawful_files_pass() {
    let run = Run::begin(false).unwrap();
    let files = lawful(&run);
    for (program, config) in [("tasuki-node", "db1"), ("tasuki-node", "db3"), ("tasuki-coordinator", "co2")] {
        let (code, said) = check(program, &files.local(config));
        assert_eq!(code, Some(0), "{config}: {said}");
    }
}

#[test]
fn lab_an_unknown_key_is_refused() {
    refused(
        |files| {
            let line = replace(&files.cluster("main"), "[policy]\n", "[policy]\nsilense_ms = 800\n");
            (files.cluster("main"), line + 1, "silense_ms")
        },
        "tasuki-coordinator",
    );
    refused(|files| (files.local("db1"), replace(&files.local("db1"), "health =", "healt ="), "healt"), "tasuki-node");
}

#[test]
fn lab_a_node_that_the_cluster_does_not_name_is_refused() {
    refused(
        |files| (files.local("db1"), replace(&files.local("db1"), "name = \"db1\"", "name = \"db9\""), "db9"),
        "tasuki-node",
    );
}

#[test]
fn lab_a_missing_server_is_refused() {
    refused(
        |files| {
            let text = fs::read_to_string(files.cluster("main")).unwrap();
            let at = |number: usize| text.match_indices("[[server]]").nth(number).unwrap().0;
            let end = text.find("[[coordinator]]").unwrap();
            fs::write(files.cluster("main"), format!("{}{}", &text[..at(1)], &text[end..])).unwrap();
            (files.cluster("main"), 0, "a cluster needs two [[server]] at least; 1 found")
        },
        "tasuki-coordinator",
    );
}

#[test]
fn lab_a_bad_address_is_refused() {
    refused(
        |files| {
            let line = replace(&files.cluster("main"), "mesh = \"127", "mesh = \"somewhere.127");
            (files.cluster("main"), line, "somewhere")
        },
        "tasuki-coordinator",
    );
}

#[test]
fn lab_two_nodes_of_one_name_are_refused() {
    refused(
        |files| (files.cluster("main"), replace(&files.cluster("main"), "name = \"db2\"", "name = \"db1\""), "db1"),
        "tasuki-coordinator",
    );
}

#[test]
fn lab_a_key_file_that_is_gone_or_open_to_others_is_refused() {
    let key = |files: &Files| files.local("db1").with_file_name("db1.key");
    refused(
        |files| {
            fs::remove_file(key(files)).unwrap();
            (key(files), 0, "cannot be read")
        },
        "tasuki-node",
    );
    refused(
        |files| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            fs::set_permissions(key(files), mode).unwrap();
            (key(files), 0, "chmod 0600")
        },
        "tasuki-node",
    );
}

#[test]
fn lab_all_findings_are_told_at_once() {
    let run = Run::begin(false).unwrap();
    let files = lawful(&run);
    let cluster = files.cluster("main");
    let first = replace(&cluster, "name = \"db3\"", "name = \"DB3\"");
    let second = replace(&cluster, "[redis]\n", "[redis]\nport = 6379\n") + 1;
    let (code, said) = check("tasuki-coordinator", &files.local("co1"));
    assert_eq!(code, Some(2), "{said}");
    for line in [first, second] {
        assert!(said.contains(&format!("{}:{line}:", cluster.display())), "line {line} is expected in\n{said}");
    }
}

/// No file says which `server_id` a server has: its node does, and the birth is refused at the server's entry.
#[tokio::test]
async fn lab_servers_with_one_server_id_are_refused_at_birth() {
    for flavour in [Flavour::Mariadb, Flavour::Mysql] {
        let options = Options { born: false, ..Options::default() };
        let mut lab = Lab::start(Kind::Loopback, &[flavour], &options).await.unwrap();
        let cluster = &mut lab.clusters[0];
        cluster.server("db2").unwrap().sql().run("SET GLOBAL server_id = 1").await.unwrap();
        cluster.node_mut("db2").unwrap().kill9().unwrap();
        cluster.node_mut("db2").unwrap().start().unwrap();
        let name = cluster.name.clone();
        let file = lab.files().cluster(&name);
        let text = fs::read_to_string(&file).unwrap();
        let line = text.lines().position(|line| line == "[[server]]").unwrap() + 1;
        let said = lab.coordinators[0].init(&name).await.unwrap_err().to_string();
        let wanted =
            format!("{}:{line}: db1 is not supported: its server_id is also that of db2; give", file.display());
        assert!(said.contains(&wanted), "{wanted} is expected in\n{said}");
    }
}
