//! The use cases of a node, one file for each: propose, share, table, vote, approve, release, receive, read, review.
//!
//! Stands on core, policy, store and consensus. Knows neither gRPC nor TLS nor protobuf: who calls arrives as a SPIFFE id that the
//! edge has verified, what is answered are domain types. Time and randomness are drawn here, at the edge of the domain.

mod action;
mod approve;
mod audit;
mod ballots;
mod cursor;
mod entries;
mod error;
mod fresh;
mod node;
mod policies;
mod propose;
mod receive;
mod release;
mod timekeeping;

pub use action::Action;
pub use approve::{ApprovalView, Decided};
pub use ballots::BallotView;
pub use entries::{EntryView, ListView};
pub use error::{AppError, InternalError};
pub use node::{Keys, Node, PeerHealth};
pub use policies::{PolicyStartError, PolicyView};
pub use propose::{OwnProposal, ProposalView, ReceivedCopy, Withdrawal};
pub use release::Page;
