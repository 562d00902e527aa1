//! `make bite`: puts each fault of `tests/bite/rows.txt` into a copy of the sources, builds the simulator with it, and
//! expects a violation. A row that nobody notices is a hole in the simulator. `ROW=text,text` runs the rows of such names, `SEEDS=20000` more runs.
#![expect(clippy::print_stdout, reason = "the result is the program's purpose")]

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tasuki_tests::rows::{Row, rows};

/// Runs of the simulator that a fault may survive, and of a scenario that a row names.
const SEEDS: u64 = 4000;
const SCENARIO_SEEDS: u64 = 100;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests have a workspace")?;
    let rows = rows(&fs::read_to_string(root.join("tests/bite/rows.txt"))?)?;
    let only = std::env::var("ROW").unwrap_or_default();
    let wanted: Vec<&str> = only.split(',').collect();
    let work = std::env::temp_dir().join("tasuki-bite");
    copy(root, &work.join("sources"))?;
    reduce(&work.join("sources/tests"))?;
    let mut missed = Vec::new();
    for row in rows.iter().filter(|row| wanted.iter().any(|name| row.name.contains(name))) {
        let (found, told) = match bite(&work, row) {
            Ok(Some(violation)) => (true, violation),
            Ok(None) => (false, "NOT FOUND".to_owned()),
            Err(error) => (false, format!("NOT RUN: {error}")),
        };
        println!("{:<70} {told}", row.name);
        if !found {
            missed.push(row.name.clone());
        }
    }
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    Ok(())
}

/// The sources without what was built from them.
fn copy(root: &Path, sources: &Path) -> Result<()> {
    if sources.exists() {
        fs::remove_dir_all(sources)?;
    }
    fs::create_dir_all(sources)?;
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.ends_with("target") || path.ends_with(".git") {
            continue;
        }
        ensure!(Command::new("cp").arg("-a").arg(&path).arg(sources).status()?.success(), "{}", path.display());
    }
    Ok(())
}

/// Leaves of the tests' package what the simulator needs: every row builds it anew.
fn reduce(tests: &Path) -> Result<()> {
    const KEPT: [&str; 3] = ["tasuki-coordinator-core", "tasuki-node-core", "tasuki-schemas"];
    let manifest = fs::read_to_string(tests.join("Cargo.toml"))?;
    let (head, dependencies) = manifest.split_once("[dependencies]\n").context("no dependencies")?;
    let kept: String = dependencies
        .lines()
        .filter(|line| KEPT.iter().any(|name| line.starts_with(name)))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(tests.join("Cargo.toml"), format!("{head}[dependencies]\n{kept}"))?;
    fs::write(tests.join("src/lib.rs"), "#![allow(dead_code)]\npub mod sim;\n")?;
    fs::remove_dir_all(tests.join("tests"))?;
    Ok(())
}

/// The first violation that the simulator tells, by the row's scenario or by drawn seeds.
fn bite(work: &Path, row: &Row) -> Result<Option<String>> {
    let sources = work.join("sources");
    let path = sources.join(&row.file);
    let text = fs::read_to_string(&path)?;
    let matches = text.matches(&row.from).count();
    ensure!(matches == 1, "what is to be changed stands there {matches} times");
    fs::write(&path, text.replace(&row.from, &row.to))?;
    let target = work.join("target");
    // The profile that builds fastest after a change: most faults are found within some dozen runs.
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--offline", "-p", "tasuki-tests", "--bin", "sim"])
        .current_dir(&sources)
        .env("CARGO_TARGET_DIR", &target)
        .output()?;
    fs::write(&path, text)?;
    ensure!(built.status.success(), "it does not compile: {}", String::from_utf8_lossy(&built.stderr));
    let drawn = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let run = |scenario: Option<&str>| -> Result<Option<String>> {
        let mut command = Command::new(target.join("debug/sim"));
        let seeds = if scenario.is_some() { SCENARIO_SEEDS } else { drawn };
        command.env("STOP", "1").env("SEEDS", seeds.to_string());
        command.envs(scenario.map(|name| ("SCENARIO", name)));
        let output = command.output()?;
        let told = String::from_utf8_lossy(&output.stdout);
        let violation = told.lines().find(|line| line.starts_with("seed ")).map(str::to_owned);
        Ok(violation.map(|line| scenario.map_or_else(|| line.clone(), |name| format!("scenario {name}, {line}"))))
    };
    let by_scenario = row.scenario.as_deref().map(|name| run(Some(name))).transpose()?.flatten();
    by_scenario.map_or_else(|| run(None), |found| Ok(Some(found)))
}
