//! `make faults`: makes every fault of the matrix on real servers and prints what came of it. `ROW=text,text` runs the rows
//! whose names hold such a text, `FLAVOUR=mysql` one flavour alone, `RUNS=20` repeats each row.
#![expect(clippy::print_stdout, reason = "the table is the program's purpose")]

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use tasuki_schemas::gtid::Flavour;
use tasuki_tests::faults::row::Row;
use tasuki_tests::faults::rows::ROWS;
use tasuki_tests::faults::{run, table};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    match run_or_end().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whatever ends first, everything that was started ends with it.
async fn run_or_end() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = play() => ended,
        _ = tokio::signal::ctrl_c() => bail!("interrupted: everything is stopped"),
        _ = terminated.recv() => bail!("terminated: everything is stopped"),
    }
}

async fn play() -> Result<()> {
    let (rows, flavours, runs) = (wanted_rows()?, wanted_flavours()?, wanted_runs()?);
    let (begun, mut differing, mut lines) = (Instant::now(), Vec::new(), 0);
    println!("{}", table::head());
    for row in rows {
        for flavour in flavours.iter().copied().filter(|flavour| row.speaks(*flavour)) {
            let (mut reports, mut differences) = (Vec::new(), Vec::new());
            for number in 1..=runs {
                let report = run::once(row, flavour, 1).await.with_context(|| format!("{} on {flavour}", row.name))?;
                differences
                    .extend(report.differences(row, flavour, 1).into_iter().map(|it| format!("run {number}: {it}")));
                reports.push(report);
            }
            differences.extend(table::too_slow(row, flavour, &reports));
            println!("{}", table::line(row, flavour, &reports));
            for difference in &differences {
                println!("    DIFFERS: {difference}");
            }
            lines += 1;
            if !differences.is_empty() {
                differing.push(format!("{} on {flavour}", row.name));
            }
        }
    }
    println!("{} of {lines} as expected, in {} s", lines - differing.len(), begun.elapsed().as_secs());
    ensure!(differing.is_empty(), "these differ: {}", differing.join(", "));
    Ok(())
}

fn wanted_rows() -> Result<Vec<&'static Row>> {
    let only = env::var("ROW").unwrap_or_default();
    let wanted: Vec<&str> = only.split(',').collect();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| wanted.iter().any(|name| row.name.contains(name))).collect();
    ensure!(!rows.is_empty(), "no row's name contains {only}; there are {}", names());
    Ok(rows)
}

fn names() -> String {
    ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(" ")
}

fn wanted_flavours() -> Result<Vec<Flavour>> {
    match env::var("FLAVOUR").unwrap_or_default().as_str() {
        "" => Ok(vec![Flavour::Mariadb, Flavour::Mysql]),
        "mariadb" => Ok(vec![Flavour::Mariadb]),
        "mysql" => Ok(vec![Flavour::Mysql]),
        other => bail!("FLAVOUR={other} is unknown: use mariadb or mysql, or leave it out for both"),
    }
}

fn wanted_runs() -> Result<u32> {
    match env::var("RUNS").unwrap_or_default().as_str() {
        "" => Ok(1),
        text => match text.parse() {
            Ok(runs) if (1..=1000).contains(&runs) => Ok(runs),
            _ => bail!("RUNS={text} is no number from 1 to 1000"),
        },
    }
}
