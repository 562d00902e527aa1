//! The simulator over fixed seeds: safety after every event, liveness after healing.

use tasuki_tests::sim::{Plan, SCENARIOS, Scope};

#[test]
fn a_thousand_drawn_runs_keep_every_promise() {
    let threads: u64 = 2;
    let seeds: u64 = 1000;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let part = |first: u64| {
            scope.spawn(move || {
                let run = |seed: u64| Some((seed, Plan::of(seed).run().violation?));
                (first..=seeds).step_by(usize::try_from(threads).unwrap_or(1)).filter_map(run).collect::<Vec<_>>()
            })
        };
        let parts: Vec<_> = (1..=threads).map(part).collect();
        let found = parts.into_iter().flat_map(|part| part.join().unwrap_or_default());
        found.map(|(seed, violation)| format!("SEED={seed}: {violation}; `make sim SEED={seed}` tells how")).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Of a primary that dies alone, in process or with its host, the winner is the one that was foretold before.
/// Seeds beyond the first thousand that once found a fault of the cores.
const ONCE_FAILED: [u64; 16] =
    [1954, 2219, 2274, 6221, 6306, 8956, 9136, 9368, 10748, 11167, 12684, 15376, 16768, 18347, 22192, 24120];

#[test]
fn what_once_failed_holds() {
    for seed in ONCE_FAILED {
        assert_eq!(Plan::of(seed).run().violation, None, "SEED={seed}");
    }
}

#[test]
fn the_winner_of_a_lone_failure_is_the_one_foretold() {
    for seed in 1..=150 {
        let outcome = Plan::lone(seed).run();
        let told = format!("seed {seed}: {:?}\n{}", outcome.violation, outcome.log.join("\n"));
        assert!(outcome.violation.is_none() && outcome.foretold == 1, "{told}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let (one, other) = (Plan::of(11).run(), Plan::of(11).run());
    assert_eq!((one.acknowledged, one.log), (other.acknowledged, other.log));
    assert!(one.acknowledged > 100, "{} writes", one.acknowledged);
}

#[test]
fn every_scenario_holds() {
    for name in SCENARIOS {
        for seed in 1..=10 {
            let violation = Plan::named(name, seed).and_then(|plan| plan.run().violation);
            assert_eq!(violation, None, "SCENARIO={name} SEED={seed}");
        }
    }
}

/// A part of `make exhaustive`.
#[test]
fn single_faults_at_the_steps_of_a_failover_keep_every_promise() {
    for scope in Scope::ALL {
        for seed in [6, 7] {
            let tally = scope.run(seed, 61);
            assert!(tally.runs > 30, "{scope:?}: {} runs", tally.runs);
            assert_eq!(tally.violations, Vec::<String>::new(), "{scope:?}");
        }
    }
}
