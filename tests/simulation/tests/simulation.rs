//! Seeds that must hold, faults that must be found, and that a seed repeats itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says why"
)]

use comity_core::fault::Fault;
use comity_simulation::{Failure, Plan, Report, run, run_seeds};

/// Says how to see a failure again.
fn complain(voters: usize, fault: Option<Fault>) -> impl Fn(u64, &Result<Report, Failure>, f64) {
    move |seed, result, _| {
        if let (Err(failure), None) = (result, fault) {
            eprintln!("seed {seed}, {voters} voters: {failure}");
            eprintln!(
                "again: cargo run -p comity-simulation --bin simulate -- --seed {seed} --voters {voters} --trace"
            );
        }
    }
}

#[test]
fn fifty_seeds_hold() {
    let failed = run_seeds(1..51, |seed| Plan::new(seed, 4), false, complain(4, None));
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn seven_members_hold() {
    let failed = run_seeds(1..7, |seed| Plan::new(seed, 7), false, complain(7, None));
    assert!(failed.is_empty(), "{failed:?}");
}

/// One after the other and beside each other: the same seed is the same to the last line.
#[test]
fn a_seed_repeats_itself() {
    let once = |seed| run(&Plan::new(seed, 4)).unwrap();
    for seed in [2, 4] {
        let first = once(seed);
        let (second, third) = std::thread::scope(|scope| {
            let second = scope.spawn(|| once(seed));
            let third = scope.spawn(|| once(seed));
            (second.join().unwrap(), third.join().unwrap())
        });
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(first, third, "seed {seed}");
    }
    assert_ne!(once(2).trace, once(4).trace);
}

#[test]
fn forty_members_complete_a_ballot() {
    let report = run(&Plan::new(1, 40)).unwrap();
    assert!(report.entries > 0, "{report:?}");
}

#[test]
fn deliberate_faults_are_found() {
    for fault in Fault::ALL.iter().filter(|fault| **fault != Fault::CommitWithoutQuorum) {
        // Two are a majority of three: what a disk forgets shows soonest there.
        let voters = if matches!(fault, Fault::ForgetVote | Fault::AnswerBeforeSync) { 3 } else { 4 };
        let plan = |seed| Plan::new(seed, voters).with_fault(Some(*fault));
        let found = run_seeds(1..61, plan, true, |_, _, _| {});
        let (seed, failure) = found.first().unwrap_or_else(|| panic!("{fault} was not found"));
        println!("{fault}: seed {seed}: {failure}");
        assert_eq!(run(&Plan::new(*seed, voters)).err(), None, "{fault}: seed {seed} breaks something without it, too");
    }
}

/// openraft itself notices, in a way that ends the whole process.
#[test]
fn a_commit_without_a_quorum_is_found() {
    let simulate = |more: &[&str]| {
        let mut simulate = std::process::Command::new(env!("CARGO_BIN_EXE_simulate"));
        simulate.args(["--seeds", "10", "--voters", "3"]).args(more).output().unwrap()
    };
    assert!(simulate(&[]).status.success());
    let found = simulate(&["--fault", "commit-without-quorum"]);
    let said = String::from_utf8_lossy(&[found.stdout, found.stderr].concat()).into_owned();
    assert!(!found.status.success() && (said.contains("panicked") || said.contains("FAILED")), "{said}");
}
