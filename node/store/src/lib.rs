//! The national store: what one member's node keeps for itself, on its own disk.
//!
//! Own records, the outbox of each partner, copies that partners sent, recalls, actions that wait for a second person, policies,
//! and the access log. The replicated list is not here: that is the consensus crate's. SQLite by default, PostgreSQL by URL: one
//! body of SQL. What records and copies say is sealed under keys of their own.
//!
//! It may use `comity-core` and sqlx, and it is the only crate that knows SQL. It must not decide what may be released,
//! know gRPC, or write anything of a record to the log: ids and reasons only.
//!
//! Every write is one transaction, in a task of its own: a caller that goes away changes nothing about it. What was
//! acknowledged is on disk (`synchronous=FULL`). Everything that lists takes a limit.

pub mod access_log;
pub mod approvals;
pub mod copies;
pub mod notes;
pub mod outbox;
pub mod policies;
pub mod recalls;
pub mod records;
pub mod witness;

mod columns;
mod database;
mod erasures;
mod error;
mod identity;
mod lease;
mod lock;
mod national;
mod place;
mod rotation;
mod schema;
mod seal;
mod sql;
#[cfg(test)]
mod test_store;

pub use access_log::{AccessLog, AccessLogError};
pub use approvals::Approvals;
pub use copies::Copies;
pub use error::{OpenError, StoreError};
pub use national::{NationalStore, StoreLocation};
pub use notes::Notes;
pub use outbox::Outbox;
pub use policies::Policies;
pub use recalls::{Recalls, ReceivedRecalls};
pub use records::Records;
pub use rotation::RotationError;
pub use seal::{KeyFile, KeyFileError};
pub use witness::Witness;

/// The most rows that one call returns, whatever limit it was given; a smaller maximum is stated where one holds.
pub const PAGE_MAX_ROWS: usize = 1_000;
