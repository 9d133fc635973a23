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

use proptest::test_runner::{Config, TestRunner};

/// Cases where `PROPTEST_CASES` does not say.
const CASES: u32 = 24;

#[test]
fn a_partner_holds_after_each_exchange_exactly_what_it_may_see() {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
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
