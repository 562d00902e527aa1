//! `make sim SEEDS=20000`: many runs of the simulator. `SEED=7` replays one, with its faults
//! reduced to what it takes; `STOP=1` ends at the first that fails; SEEDS=0 goes on until it is stopped. With
//! `SCENARIO=name` the seeds run that scenario.
#![expect(clippy::print_stdout, reason = "the result is the program's purpose")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tasuki_tests::sim::{Plan, SCENARIOS};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() -> ExitCode {
    let scenario = std::env::var("SCENARIO").ok();
    if let Some(name) = scenario.as_ref().filter(|name| !SCENARIOS.contains(&name.as_str())) {
        println!("there is no scenario {name}; there are {}", SCENARIOS.join(", "));
        return ExitCode::FAILURE;
    }
    let plan = |seed| scenario.as_ref().and_then(|name| Plan::named(name, seed)).unwrap_or_else(|| Plan::of(seed));
    if let Some(seed) = number("SEED") {
        return replay(&plan(seed));
    }
    let from = number("FROM").unwrap_or(1);
    let seeds = number("SEEDS").map_or(2000, |seeds| if seeds == 0 { u64::MAX } else { seeds });
    let next = AtomicU64::new(from);
    let (failed, acknowledged) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    let stop_at_first = number("STOP").is_some();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = stop_at_first && failed.load(Ordering::Relaxed) > 0;
                    if enough || seed >= from.saturating_add(seeds) {
                        break;
                    }
                    let outcome = plan(seed).run();
                    acknowledged.fetch_add(outcome.acknowledged, Ordering::Relaxed);
                    if let Some(violation) = outcome.violation {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("seed {seed}: {violation}");
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!(
        "{seeds} runs from seed {from} in {:.0} s: {} writes acknowledged, {failed} runs failed",
        began.elapsed().as_secs_f64(),
        acknowledged.into_inner()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(plan: &Plan) -> ExitCode {
    let whole = plan.run();
    let outcome = if whole.violation.is_some() { plan.shrunk().run() } else { whole };
    for line in &outcome.log {
        println!("{line}");
    }
    println!("faults:");
    for fault in &outcome.faults {
        println!("  {fault}");
    }
    println!("{} writes acknowledged", outcome.acknowledged);
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("VIOLATED: {violation}");
            ExitCode::FAILURE
        }
    }
}
