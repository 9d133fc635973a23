//! The list and how the coalition decides on it: commands, the pure state machine that applies them, and what is published.
//!
//! Every node runs the same [`ListState::apply`] over the same commands in the same order. Raft only orders; each command
//! stands on its member's own signature, checked here, on every node.

mod apply;
mod ballot;
mod checked;
mod command;
mod entry;
mod publication;
mod refusal;
mod state;

pub use ballot::{Ballot, BallotState, CastVote};
pub use checked::{Checked, check_accepted, check_submission};
pub use command::{
    AttestTime, BallotId, Choice, Command, CommandId, PublicText, Submission, TableProposal, Vote, WithdrawBallot,
    public_part_digest,
};
pub use entry::{Entry, EntryId, InvalidEntryId};
pub use publication::{Consent, Publication, PublishedEvent};
pub use refusal::Refusal;
pub use state::{Accepted, Event, ListState};

#[cfg(test)]
mod tests;
