//! What waits for another person: enough to carry it out later, and to carry it out twice without doing it twice.

use comity_core::canonical::Hex32;
use comity_core::list::{BallotId, Choice, CommandId};
use comity_core::{MemberId, RecordId, VersionId};
use comity_store::approvals::ApprovalKind;
use serde::{Deserialize, Serialize};

/// An act that needs two people. Ids and salts are drawn when it is asked for, so that carrying it out again after a crash gives
/// the very same command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Show a proposal to parties.
    Share {
        /// Which.
        proposal: RecordId,
        /// The version that was looked at.
        version: VersionId,
        /// To whom.
        parties: Vec<MemberId>,
    },
    /// Lay a proposal's public part before all members.
    Table {
        /// Which.
        proposal: RecordId,
        /// The version that was looked at.
        version: VersionId,
        /// The command's id.
        command_id: CommandId,
        /// The salt of the public part.
        salt: Hex32,
    },
    /// Vote.
    Vote {
        /// On what.
        ballot: BallotId,
        /// How.
        choice: Choice,
        /// Why.
        reason: Option<String>,
        /// The vote that it corrects.
        replaces: Option<CommandId>,
        /// The command's id.
        command_id: CommandId,
    },
    /// Take a tabled proposal back.
    Withdraw {
        /// Which.
        proposal: RecordId,
        /// Its ballot.
        ballot: BallotId,
        /// The command's id.
        command_id: CommandId,
    },
    /// Apply a policy.
    Policy {
        /// For whom.
        party: MemberId,
        /// Cedar.
        text: String,
    },
}

impl Action {
    /// Its kind.
    pub const fn kind(&self) -> ApprovalKind {
        match self {
            Self::Share { .. } => ApprovalKind::Share,
            Self::Table { .. } => ApprovalKind::Table,
            Self::Vote { .. } => ApprovalKind::Vote,
            Self::Withdraw { .. } => ApprovalKind::Withdraw,
            Self::Policy { .. } => ApprovalKind::Policy,
        }
    }

    /// What it is about.
    pub fn resource(&self) -> String {
        match self {
            Self::Share { proposal, .. } | Self::Table { proposal, .. } | Self::Withdraw { proposal, .. } => {
                proposal.to_string()
            }
            Self::Vote { ballot, .. } => ballot.to_string(),
            Self::Policy { party, .. } => format!("policy/{party}"),
        }
    }
}
