//! `make exhaustive`: every single cut and crash at every step of a failover, a false alarm and a loss of replicas, for
//! both flavours. `SCOPE=false_alarm` runs one of them; `SCOPE=… SEED=… AT=… FAULT=…` as printed tells one run again.
#![expect(clippy::print_stdout, reason = "the result is the program's purpose")]

use std::process::ExitCode;
use std::time::Instant;

use tasuki_tests::sim::Scope;

const fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::PrimaryKilled => "primary_killed",
        Scope::FalseAlarm => "false_alarm",
        Scope::ReplicasLost => "replicas_lost",
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() -> ExitCode {
    let only = std::env::var("SCOPE").unwrap_or_default();
    let every = number("EVERY").and_then(|every| usize::try_from(every).ok()).unwrap_or(1);
    let again = std::env::var("FAULT").ok().zip(number("AT").and_then(|at| usize::try_from(at).ok()));
    let mut failed = 0;
    println!(
        "{:<16} {:<8} {:>6} {:>6} {:>8} {:>8} {:>8} {:>6} {:>10}",
        "scope", "flavour", "steps", "cuts", "crashes", "runs", "equal", "s", "violations"
    );
    for scope in Scope::ALL.into_iter().filter(|scope| name(*scope).contains(&only)) {
        if let Some((fault, at)) = &again {
            return tell(scope, number("SEED").unwrap_or(1), fault, *at);
        }
        for (seed, flavour) in [(7, "mariadb"), (6, "mysql")] {
            let began = Instant::now();
            let tally = scope.run(seed, every);
            println!(
                "{:<16} {flavour:<8} {:>6} {:>6} {:>8} {:>8} {:>8} {:>6.0} {:>10}",
                name(scope),
                tally.steps,
                tally.cuts,
                tally.crashes,
                tally.runs,
                tally.equal,
                began.elapsed().as_secs_f64(),
                tally.violations.len()
            );
            for violation in &tally.violations {
                println!("SCOPE={} SEED={seed} {violation}", name(scope));
            }
            failed += tally.violations.len();
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(scope: Scope, seed: u64, fault: &str, at: usize) -> ExitCode {
    let (log, violation) = scope.again(seed, fault, at);
    for line in &log {
        println!("{line}");
    }
    println!("{}", violation.as_deref().unwrap_or("nothing is violated"));
    if violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
