//! The most telling rows of the fault matrix, once each and on both flavours. `make faults` runs all of them and measures;
//! here the machine may be busy, so that the bounds count several times.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests")]

use tasuki_tests::faults::row::Row;
use tasuki_tests::faults::rows::ROWS;
use tasuki_tests::faults::run;
use tasuki_tests::lab::net::Kind;

/// How many times the bounds of the matrix count.
const PATIENCE: u32 = 4;

async fn as_expected(kind: Kind) {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.quick && row.kind == kind).collect();
    assert!(rows.len() >= 3, "{} rows", rows.len());
    let found = run::all(&rows, PATIENCE).await.unwrap();
    eprintln!("{}", found.lines.join("\n"));
    assert!(found.differences.is_empty(), "{}", found.differences.join("\n"));
}

#[tokio::test]
async fn lab_servers_and_programs_fail_as_the_matrix_says() {
    as_expected(Kind::Loopback).await;
}

#[tokio::test]
async fn lab_hosts_and_links_fail_as_the_matrix_says() {
    as_expected(Kind::Namespaces).await;
}
