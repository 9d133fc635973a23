//! What a member's node holds after an exchange is what a naive oracle says it may see: nothing more, nothing less, whatever its
//! partners do, in whatever order, and wherever a line is cut.
//!
//! `PROPTEST_CASES` says how many cases are drawn.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "the modules of one test")]

mod documents;
mod house;
mod line;
mod oracle;
mod plan;
mod play;
mod suspension;

use oracle::Marking;
use plan::{Case, End, Rule, Step};
use proptest::prelude::any;
use proptest::sample::Index;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, TestRunner};

/// Cases where `PROPTEST_CASES` does not say.
const CASES: u32 = 20;

#[test]
fn a_partner_holds_after_each_exchange_exactly_what_it_may_see() {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&plan::case(), |case| {
        runtime.block_on(play::play(&case));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Whichever record there is.
fn first() -> Index {
    any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

/// A life of one French record that is shared with Germany, under a policy of its own.
async fn lives(policy: Vec<Rule>, rounds: Vec<Vec<Step>>) {
    let french = Marking { tier: 3, to: [1].into(), tiger: false, orcon: false, handling: "free", wording: true };
    let begin = vec![
        Step::Draft { by: 0, kind: "proposal", marking: french, links: Vec::new() },
        Step::Share { record: first(), with: vec![1], end: End::Never },
    ];
    let mut rounds = rounds;
    rounds.first_mut().unwrap().splice(0..0, begin);
    play::play(&Case { policies: vec![((0, 1), policy)], rounds }).await;
}

/// A table that came while somebody was suspended counts for it, too, once it is readmitted.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_suspended_is_decided_on_by_the_table_of_now() {
    let away = |suspended| vec![Step::Restart { wording_counts: true, suspended }];
    lives(vec![Rule::everything()], vec![vec![], away(Some(1)), away(None)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recalled_on_its_way_is_not_taken_in() {
    let recall = Step::Recall { record: first() };
    lives(vec![Rule::everything()], vec![vec![Step::Cut { arrive: 0 }, recall]]).await;
}

/// What arrives late is an upsert that was made a retraction since, under its number.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_after_it_was_taken_back_is_taken_back_again() {
    let cut = || Step::Cut { arrive: 0 };
    let withdraw = Step::Withdraw { record: first() };
    lives(vec![Rule::everything()], vec![vec![cut(), withdraw, cut()]]).await;
}

/// From the instant on at which a policy ends it neither permits what is held nor forbids what is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_ends_is_decided_on_without_anybodys_doing() {
    let forbidden = vec![Rule::everything(), Rule::nothing(End::Soon)];
    lives(forbidden, vec![vec![], vec![Step::Wait], vec![]]).await;
    let ends = Step::Policy { by: 0, party: 1, rules: vec![Rule::everything_until(End::Soon)] };
    lives(vec![Rule::everything()], vec![vec![], vec![ends], vec![Step::Wait]]).await;
}

/// A policy ends first, and nothing changes; then the share does.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_after_an_end_is_met() {
    let policy = vec![Rule::everything(), Rule::everything_until(End::Soon)];
    let again = Step::Share { record: first(), with: vec![1], end: End::Later };
    lives(policy, vec![vec![again], vec![Step::Wait], vec![Step::Wait], vec![]]).await;
}
