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

/// A table that came while somebody was suspended counts for it, too, once it is readmitted.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_suspended_is_decided_on_by_the_table_of_now() {
    let french = Marking { tier: 3, to: [1].into(), tiger: false, orcon: false, handling: "free", wording: true };
    let first = any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let away = |suspended| vec![Step::Restart { wording_counts: true, suspended }];
    let case = Case {
        policies: vec![((0, 1), vec![Rule::everything()])],
        rounds: vec![
            vec![
                Step::Draft { by: 0, kind: "proposal", marking: french, links: Vec::new() },
                Step::Share { record: first, with: vec![1], end: End::Never },
            ],
            away(Some(1)),
            away(None),
        ],
    };
    play::play(&case).await;
}
