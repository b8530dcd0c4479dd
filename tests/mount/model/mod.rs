//! Random operations against a small model: a few names, a few handles, a service that loses answers, limits and breaks,
//! crashes and power cuts at any step of the disk. The file system in this process has to show what the model says at
//! any time, a crash may leave only what the model allows, and at the end the service has each file exactly once.
//!
//! `scripts/model-test` runs it with more cases. The seed decides what is done and what the service answers; how the
//! uploader's threads meet it is the machine's.

mod act;
mod files;
mod life;
mod plan;
mod service;
mod small;

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::harness::{asked, within};
use life::Tally;
use plan::{Case, OPERATIONS};

/// Cases where nobody asks for more.
const CASES: u32 = 1000;

/// Cases at a time: they wait for each other's disk and threads less than for their own.
const LANES: u32 = 4;

/// A case takes a fraction of a second. One that takes this long hangs.
const STUCK: Duration = Duration::from_secs(60);

#[test]
fn any_operations_with_any_answers_and_crashes_leave_what_the_model_says() {
    let cases: u32 = asked("AFS_MODEL_CASES", CASES);
    let seed: u64 = asked("AFS_MODEL_SEED", 1);
    let begun = Instant::now();
    let tally = Mutex::new((0, Tally::default()));
    let failures: Vec<String> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                let tally = &tally;
                let cases = cases / LANES + u32::from(lane < cases % LANES);
                scope.spawn(move || run_lane(seed, lane, cases, tally))
            })
            .collect();
        let failures = lanes.into_iter().filter_map(|lane| {
            let result = lane.join();
            result
                .unwrap_or_else(|_| Err("a lane panicked".to_owned()))
                .err()
        });
        failures.collect()
    });
    let (done, tally) = tally.into_inner().unwrap();
    println!(
        "model-test: {done} cases with {} operations and {} crashes in {:.0?}; {} closes failed; seed {seed}",
        tally.operations,
        tally.crashes,
        begun.elapsed(),
        tally.failed,
    );
    assert!(failures.is_empty(), "seed {seed}\n{}", failures.join("\n"));
    assert!(done >= cases, "{done} cases of {cases}");
    assert!(tally.operations >= cases as usize * OPERATIONS);
    // Without these nothing would be shown of them.
    assert!(
        tally.crashes >= cases as usize / 2,
        "{} crashes",
        tally.crashes
    );
    assert!(
        tally.failed >= cases as usize / 2,
        "{} failed",
        tally.failed
    );
}

/// So many cases, one after the other.
fn run_lane(seed: u64, lane: u32, cases: u32, tally: &Mutex<(u32, Tally)>) -> Result<(), String> {
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    seed_bytes[8..12].copy_from_slice(&lane.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let cases_of = plan::case();
    for nth in 0..cases {
        let drawn = cases_of.new_tree(&mut runner);
        let case = drawn.map_err(|why| why.to_string())?.current();
        let done = match run_one(&case) {
            Ok(done) => done,
            Err(why) => return Err(small::told(lane, nth, &case, &why)),
        };
        let (count, sum) = &mut *tally.lock().unwrap();
        *count += 1;
        sum.operations += done.operations;
        sum.crashes += done.crashes;
        sum.failed += done.failed;
    }
    Ok(())
}

fn run_one(case: &Case) -> Result<Tally, String> {
    let case = case.clone();
    within(STUCK, "a case", move || life::run(&case))
}
