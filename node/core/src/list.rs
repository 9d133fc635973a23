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
mod silence;
mod state;

pub use ballot::{Ballot, BallotState, CastVote, Equivocation, Procedure, Rejection, ReplacedVote};
pub use checked::{Checked, check_accepted, check_own, check_submission};
pub use command::{
    Acknowledge, AttachMeasure, AttestTime, BallotId, COMMAND_NAMES, Choice, Command, CommandId, EndMeasure,
    EnrollPerson, ExtendHold, Ground, Hold, InvalidChoice, InvalidCommandId, InvalidGround, InvalidMeasureId, LiftHold,
    Measure, MeasureId, Motion, Object, PublicText, ReplacedKeys, RequireSignatures, Review, RevokeKeys, RevokePerson,
    RotateKeys, Statement, Submission, Table, Vote, Withdraw, public_part_digest,
};
pub use entry::{AttachedMeasure, Entry, EntryId, EntryStatus, InvalidEntryId};
pub use publication::{Authority, Consent, Decided, Publication, PublishedEvent, PublishedMember, PublishedProcedure};
pub use refusal::Refusal;
pub use silence::{Acknowledged, Clock, Hold as PlacedHold, HoldEnd, SilenceState};
pub use state::{Accepted, Attestation, Event, Evidence, ListState};

#[cfg(test)]
mod tests;
