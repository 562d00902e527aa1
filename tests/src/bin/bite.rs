//! `make bite`: puts each fault of `tests/bite/rows.txt` into a copy of the sources, builds the simulator with it, and
//! expects a violation. A row that nobody notices is a hole in the simulator. `ROW=text,text` runs the rows of such
//! names, `SEEDS=20000` says how many runs a fault may survive.
#![expect(clippy::print_stdout, reason = "the result is the program's purpose")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tasuki_tests::rows::{Edit, Row, ShownBy, rows};

/// Runs of the simulator that a fault may survive, and of a scenario that a row names.
const SEEDS: u64 = 20_000;
const SCENARIO_SEEDS: u64 = 100;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests have a workspace")?;
    let rows = rows(&fs::read_to_string(root.join("tests/bite/rows.txt"))?)?;
    let only = std::env::var("ROW").unwrap_or_default();
    let wanted: Vec<&str> = only.split(',').collect();
    let rows: Vec<&Row> = rows.iter().filter(|row| wanted.iter().any(|name| row.name.contains(name))).collect();
    ensure!(!rows.is_empty(), "no row's name contains {only}");
    let work = root.join("target/bite");
    copy(root, &work.join("sources"))?;
    let (began, mut missed) = (Instant::now(), Vec::new());
    for row in &rows {
        let (found, told) = match bite(&work, row) {
            Ok(Some(violation)) => (true, violation),
            Ok(None) => (false, "NOT FOUND".to_owned()),
            Err(error) => (false, format!("NOT RUN: {error:#}")),
        };
        println!("{:<72} {told}", row.name);
        if !found {
            missed.push(row.name.clone());
        }
    }
    println!("{} of {} rows found in {} s", rows.len() - missed.len(), rows.len(), began.elapsed().as_secs());
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    Ok(())
}

/// The sources that the simulator is built from. A file is written only where it differs: what was built from the others
/// is built no second time, and what was built with a fault is not taken for fresh.
fn copy(root: &Path, sources: &Path) -> Result<()> {
    for part in ["Cargo.toml", "Cargo.lock", "schemas", "node", "coordinator"] {
        mirror(&root.join(part), &sources.join(part))?;
    }
    for part in ["src/sim.rs", "src/sim", "src/bin/sim.rs"] {
        mirror(&root.join("tests").join(part), &sources.join("tests").join(part))?;
    }
    // Of the tests' package what the simulator needs: every row builds it anew.
    const KEPT: [&str; 3] = ["tasuki-coordinator-core", "tasuki-node-core", "tasuki-schemas"];
    let manifest = fs::read_to_string(root.join("tests/Cargo.toml"))?;
    let (head, dependencies) = manifest.split_once("[dependencies]\n").context("no dependencies")?;
    let kept: String = dependencies
        .lines()
        .filter(|line| KEPT.iter().any(|name| line.starts_with(name)))
        .map(|line| format!("{line}\n"))
        .collect();
    write(&sources.join("tests/Cargo.toml"), format!("{head}[dependencies]\n{kept}").as_bytes())?;
    write(&sources.join("tests/src/lib.rs"), b"#![allow(dead_code, missing_docs, unused_imports)]\npub mod sim;\n")
}

fn mirror(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        return write(to, &fs::read(from)?);
    }
    let names = |path: &Path| -> Result<BTreeSet<OsString>> {
        fs::create_dir_all(path)?;
        Ok(fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_, std::io::Error>>()?)
    };
    let kept = names(from)?;
    for name in names(to)?.difference(&kept) {
        let gone = to.join(name);
        if gone.is_dir() { fs::remove_dir_all(gone)? } else { fs::remove_file(gone)? }
    }
    kept.iter().try_for_each(|name| mirror(&from.join(name), &to.join(name)))
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// The first violation that the simulator tells, by the row's scenario or seed, or by drawn seeds.
fn bite(work: &Path, row: &Row) -> Result<Option<String>> {
    let sources = work.join("sources");
    let mut before = Vec::new();
    for Edit { file, from, to } in &row.edits {
        let path = sources.join(file);
        let text = fs::read_to_string(&path)?;
        let matches = text.matches(from.as_str()).count();
        if matches == 1 {
            fs::write(&path, text.replace(from.as_str(), to))?;
        }
        before.push((path, text, matches));
    }
    let whole = before.iter().all(|(.., matches)| *matches == 1);
    let built = whole.then(|| build(work));
    for (path, text, _) in before.iter().rev() {
        fs::write(path, text)?;
    }
    for (path, _, matches) in &before {
        ensure!(*matches == 1, "what is to be changed stands {matches} times in {}", path.display());
    }
    built.transpose()?;
    if let Some(shown_by) = &row.shown_by
        && let Some(found) = run(work, Some(shown_by))?
    {
        return Ok(Some(match shown_by {
            ShownBy::Scenario(name) => format!("scenario {name}, {found}"),
            ShownBy::Seed(_) => found,
        }));
    }
    run(work, None)
}

/// The profile that builds fastest after a change: most faults are found within some dozen runs.
fn build(work: &Path) -> Result<()> {
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--offline", "-p", "tasuki-tests", "--bin", "sim"])
        .current_dir(work.join("sources"))
        .env("CARGO_TARGET_DIR", work.join("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .output()?;
    ensure!(built.status.success(), "it does not compile: {}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}

fn run(work: &Path, shown_by: Option<&ShownBy>) -> Result<Option<String>> {
    let drawn = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let mut command = Command::new(work.join("target/debug/sim"));
    command.env("STOP", "1").env_remove("SEED").env_remove("FROM").env_remove("SCENARIO");
    match shown_by {
        None => command.env("SEEDS", drawn.to_string()),
        Some(ShownBy::Scenario(name)) => command.env("SEEDS", SCENARIO_SEEDS.to_string()).env("SCENARIO", name),
        Some(ShownBy::Seed(seed)) => command.env("SEEDS", "1").env("FROM", seed.to_string()),
    };
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    Ok(told.lines().find(|line| line.starts_with("seed ")).map(str::to_owned))
}
