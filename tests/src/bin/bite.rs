//! `make bite`: puts each fault of `tests/bite/rows.txt` into a copy of the sources, builds the simulator with it, and
//! expects a violation. A row that nobody notices is a hole in the simulator.
#![expect(clippy::print_stdout, reason = "the result is the program's purpose")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// Runs of the simulator that a fault may survive.
const SEEDS: &str = "4000";

struct Row {
    name: String,
    file: PathBuf,
    from: String,
    to: String,
}

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests have a workspace")?;
    let rows = rows(&fs::read_to_string(root.join("tests/bite/rows.txt"))?)?;
    let only = std::env::var("ROW").unwrap_or_default();
    let work = std::env::temp_dir().join("tasuki-bite");
    copy(root, &work.join("sources"))?;
    let mut missed = Vec::new();
    for row in rows.iter().filter(|row| row.name.contains(&only)) {
        let found = bite(&work, row)?;
        println!("{:<70} {}", row.name, found.as_deref().unwrap_or("NOT FOUND"));
        if found.is_none() {
            missed.push(row.name.clone());
        }
    }
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    Ok(())
}

fn rows(text: &str) -> Result<Vec<Row>> {
    let text: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let parts = text.split("\nrow ").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part.split_once("\nin ").context("a row names a file")?;
            let (file, rest) = rest.split_once('\n').context("a row changes something")?;
            let (from, to) = rest.split_once("\n=>\n").with_context(|| format!("{name}: no `=>`"))?;
            let trimmed = |text: &str| text.trim_end_matches('\n').to_owned();
            Ok(Row { name: name.to_owned(), file: PathBuf::from(file), from: trimmed(from), to: trimmed(to) })
        })
        .collect()
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

/// The first violation that the simulator tells.
fn bite(work: &Path, row: &Row) -> Result<Option<String>> {
    let sources = work.join("sources");
    let path = sources.join(&row.file);
    let text = fs::read_to_string(&path)?;
    ensure!(text.matches(&row.from).count() == 1, "{}: what is to be changed must stand there once", row.name);
    fs::write(&path, text.replace(&row.from, &row.to))?;
    let target = work.join("target");
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--release", "-p", "tasuki-tests", "--bin", "sim"])
        .current_dir(&sources)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-Awarnings")
        .status()?;
    fs::write(&path, text)?;
    if !built.success() {
        bail!("{}: does not compile", row.name);
    }
    let output = Command::new(target.join("release/sim")).env("SEEDS", SEEDS).env("STOP", "1").output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    Ok(told.lines().find(|line| line.starts_with("seed ")).map(str::to_owned))
}
