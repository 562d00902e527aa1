//! The house rules that a machine can see.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file that git tracks and that ends so.
fn tracked(ending: &str) -> Vec<(String, String)> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<(String, String)> = names
        .split('\0')
        .filter(|name| name.ends_with(ending))
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root().join(name)).ok()?)))
        .collect();
    assert!(!files.is_empty(), "no file ends with {ending}");
    files
}

#[test]
fn a_core_depends_on_nothing_that_does_io() {
    for package in ["tasuki-schemas", "tasuki-node-core", "tasuki-coordinator-core"] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--package", package])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        assert!(tree.lines().count() > 5, "{tree}");
        for banned in ["tokio", "redis", "mysql_async", "openssh", "rustix", "socket2", "mio", "rustls", "axum"] {
            let found = tree.lines().find(|line| line.split(' ').next() == Some(banned));
            assert_eq!(found, None, "{package} depends on {banned}");
        }
    }
}

#[test]
fn each_core_builds_alone() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
    for package in ["tasuki-node-core", "tasuki-coordinator-core"] {
        let built = Command::new(env!("CARGO"))
            .args(["check", "--locked", "--offline", "--quiet", "--package", package, "--target-dir"])
            .arg(&folder)
            .current_dir(root())
            .output()
            .unwrap();
        // A child that was killed from outside writes nothing: its status tells it apart from a core that does not build.
        assert!(built.status.success(), "{package}: {}: {}", built.status, String::from_utf8_lossy(&built.stderr));
    }
}

#[test]
fn the_cores_ban_the_world_by_lint() {
    for core in ["node/core", "coordinator/core"] {
        let text = fs::read_to_string(root().join(core).join(".clippy.toml")).unwrap();
        for banned in
            ["Instant::now", "SystemTime::now", "thread::sleep", "env::var", "HashMap", "fs::File", "TcpStream"]
        {
            assert!(text.contains(banned), "{core}/.clippy.toml does not ban {banned}");
        }
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for (name, text) in tracked("Cargo.toml").into_iter().filter(|(name, _)| name != "Cargo.toml") {
        assert!(text.contains("[lints]\nworkspace = true"), "{name}");
    }
}

#[test]
fn files_are_short_and_nothing_is_left_over() {
    // Written so that this file does not find itself.
    let leftovers = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["to", "do!("],
        ["unimple", "mented!("],
        ["#[ig", "nore"],
        ["/wo", "rk/"],
        ["/ro", "ot/"],
    ];
    for (name, text) in tracked(".rs") {
        let lines = text.lines().count();
        assert!(lines <= 600, "{name} has {lines} lines: is it still one subject?");
        for parts in leftovers {
            let word = parts.concat();
            assert!(!text.contains(&word), "{name} holds {word}");
        }
    }
}

#[test]
fn sql_stands_in_the_statements_alone() {
    let allowed = ["node/core/src/statements/", "node/binlog/", "node/tests/", "tests/", "schemas/"];
    let begins =
        ["SELECT ", "SET ", "CHANGE ", "SHOW ", "STOP ", "START ", "INSERT ", "REPLACE ", "KILL ", "CREATE ", "RESET "];
    for (name, text) in tracked(".rs").into_iter().filter(|(name, _)| !allowed.iter().any(|it| name.starts_with(it))) {
        for word in begins {
            assert!(!text.contains(&format!("\"{word}")), "{name} holds SQL: \"{word}…");
        }
    }
}

#[test]
fn servers_are_primaries_and_replicas_but_for_old_sql() {
    let allowed = [
        "node/core/src/statements/",
        "node/binlog/",
        "node/src/facts.rs",
        "node/src/execute/",
        "node/tests/",
        "tests/",
    ];
    for (name, text) in tracked(".rs").into_iter().filter(|(name, _)| !allowed.iter().any(|it| name.starts_with(it))) {
        for line in text.lines().map(str::to_ascii_lowercase) {
            // MySQL's own name of a thread state, and of a setting, may be explained.
            let words = ["master", "slave"];
            let explained = line.contains("skip-slave")
                || line.contains("`slave_io")
                || line.contains("slave_")
                || line.contains("master_");
            assert!(explained || !words.iter().any(|word| line.contains(word)), "{name}: {line}");
        }
    }
}

/// A fault that fits no more would be put in nowhere, and `make bite` runs too long to be run with every change.
#[test]
fn every_fault_of_bite_fits_the_sources() {
    let rows = tasuki_tests::rows::rows(&fs::read_to_string(root().join("tests/bite/rows.txt")).unwrap()).unwrap();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    for row in rows {
        for edit in &row.edits {
            let text = fs::read_to_string(root().join(&edit.file)).unwrap();
            let found = text.matches(&edit.from).count();
            assert_eq!(found, 1, "row {}: it stands {found} times in {}", row.name, edit.file.display());
        }
        if let Some(tasuki_tests::rows::ShownBy::Scenario(name)) = row.shown_by {
            assert!(tasuki_tests::sim::SCENARIOS.contains(&name.as_str()), "row {}: no scenario {name}", row.name);
        }
    }
}
