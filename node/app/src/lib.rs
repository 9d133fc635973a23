//! The use cases of a node, one file for each: propose, share, table, vote, hold, measure, approve, sign, release, receive, read,
//! watch, review.
//!
//! Stands on core, policy, store and consensus. Knows neither gRPC nor TLS nor protobuf: who calls arrives as a SPIFFE id that the
//! edge has verified, what is answered are domain types. Time and randomness are drawn here, at the edge of the domain.

mod access_export;
mod access_watch;
mod action;
mod approve;
mod archive;
mod audit;
mod ballots;
mod commands;
mod confirmation;
mod cursor;
mod entries;
mod error;
mod export;
mod fresh;
mod keys;
mod log_trouble;
mod measures;
mod members;
mod motions;
mod node;
mod onward;
mod opinions;
mod policies;
mod policy_trials;
mod publications;
mod reading;
mod recalls;
mod receive;
mod records;
mod release;
mod restore;
mod signing;
mod silence;
mod tabling;
mod timekeeping;
mod validity;
mod watch;
mod watchers;
mod witnessing;

pub use access_export::AccessExport;
pub use access_watch::{AccessBatch, AccessWatch, LOG_RESOURCE, Looker, Reach, WATCH_ENDED};
pub use action::{Action, KeySignature};
pub use approve::{ApprovalView, Decided};
pub use archive::{Archived, SegmentView};
pub use audit::ReadLeaf;
pub use ballots::{BallotView, Tabled};
pub use confirmation::{Offer, Standing, WitnessHealth};
pub use entries::{EntryView, ListView};
pub use error::{AppError, InternalError};
pub use members::{MemberView, MembersView};
pub use node::{Keys, Node, NodeParts, PeerHealth};
pub use onward::{NewGrant, OnwardState, OnwardView};
pub use policies::{PolicyStartError, PolicyView};
pub use policy_trials::{Simulated, Simulation};
pub use publications::PublicationView;
pub use recalls::{RecallView, ToldRecalls};
pub use receive::VerifiedPage;
pub use records::{OwnRecord, ReceivedCopy, RecordPage, RecordView, SharedVersion, Withdrawal};
pub use release::{Page, SentPage};
pub use signing::{Signing, ToSign};
pub use watch::{ListWatch, WatchedPublication};
pub use witnessing::{Cosigned, OfferedHead};
