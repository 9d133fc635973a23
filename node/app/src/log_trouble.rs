//! While the access log cannot be written nothing is answered, so that nobody's call would show when it can be again: the node tries
//! by itself, and the log says in the end for how long it could not be written.

use comity_core::Timestamp;
use comity_core::access::{AccessRecord, LOG_WRITTEN_AGAIN, Touched};
use comity_store::access_log::Trouble;

use crate::error::InternalError;
use crate::fresh;
use crate::node::Node;

impl Node {
    /// Why the access log could not be written when it was last tried, if it could not: in words for this member's own people.
    pub fn log_trouble(&self) -> Option<&'static str> {
        self.access_log.trouble().map(Trouble::as_str)
    }

    /// Returns once the access log cannot be written: since when, and why.
    pub async fn log_in_trouble(&self) -> (Timestamp, &'static str) {
        let mut trouble = self.access_log.watch_trouble();
        let why = trouble.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        (fresh::now(), why.unwrap_or(Trouble::Closed).as_str())
    }

    /// Tries to write that the access log is written again, and since when it was not.
    ///
    /// # Errors
    /// It still cannot be written.
    pub async fn record_log_written_again(&self, since: Timestamp, why: &str) -> Result<(), InternalError> {
        let now = fresh::now();
        let seconds = (now.as_micros() - since.as_micros()).max(0) / 1_000_000;
        let not_written =
            Touched::resource("access log").by(format!("not written for {seconds} s from {since} on: {why}"));
        self.record_access(AccessRecord {
            member: Some(self.member()),
            touched: vec![not_written],
            ..AccessRecord::new(now, "this node", LOG_WRITTEN_AGAIN)
        })
        .await
    }
}
