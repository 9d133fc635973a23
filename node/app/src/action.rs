//! What waits for another person: enough to carry it out later, and to carry it out twice without doing it twice.

use comity_core::access::LostRange;
use comity_core::canonical::Hex32;
use comity_core::document::{Grant, Recall};
use comity_core::edtf::PartialDate;
use comity_core::list::{BallotId, Choice, CommandId, EntryId, Measure, MeasureId, Motion};
use comity_core::{KeyId, MemberId, RecordId, Timestamp, VersionId};
use comity_store::approvals::ApprovalKind;
use serde::{Deserialize, Serialize};

use crate::records::SharedVersion;

/// An act that needs two people. Ids and salts are drawn when it is asked for, so that carrying it out again after a crash gives
/// the very same command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Show records to parties.
    Share {
        /// Which, in the versions that were looked at.
        records: Vec<SharedVersion>,
        /// To whom.
        parties: Vec<MemberId>,
        /// Until when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Release a record onward, or refuse to.
    Grant {
        /// What is decided.
        grant: Box<Grant>,
        /// The id of the answer.
        id: RecordId,
        /// The version of the record that was looked at.
        version: VersionId,
        /// The version of the answer.
        grant_version: VersionId,
        /// The salts of the answer's documents.
        salts: [Hex32; 2],
    },
    /// Ask for a record back from everybody who ever received it.
    Recall {
        /// What is asked for, and why.
        recall: Box<Recall>,
        /// Its id.
        id: RecordId,
        /// Its version.
        version: VersionId,
        /// The salts of its documents.
        salts: [Hex32; 2],
    },
    /// Retain a copy against its recall, or let it be given up again.
    HoldCopy {
        /// Which.
        record: RecordId,
        /// Why; nothing lets it be given up again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// Answer a recall: it cannot be complied with.
    CannotComply {
        /// Which.
        recall: RecordId,
        /// Why.
        because: String,
    },
    /// Lay a proposal's public part before all members.
    Table {
        /// Which.
        proposal: RecordId,
        /// The version that was looked at.
        version: VersionId,
        /// The entry that is to get its text; nothing where its subject is to be listed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amends: Option<EntryId>,
        /// The command's id.
        command_id: CommandId,
        /// The salt of the public part.
        salt: Hex32,
    },
    /// Lay a motion before all members that comes from no proposal.
    Motion {
        /// What is to be decided.
        motion: Motion,
        /// The reasons, written for publication.
        statement: String,
        /// The command's id.
        command_id: CommandId,
        /// The salt of the statement.
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
    /// Take a tabled proposal or motion back.
    Withdraw {
        /// The proposal, where it comes from one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<RecordId>,
        /// Its ballot.
        ballot: BallotId,
        /// The command's id.
        command_id: CommandId,
    },
    /// Stop silence for a time.
    Hold {
        /// On which ballot.
        ballot: BallotId,
        /// Why, for the other members.
        reason: String,
        /// The command's id.
        command_id: CommandId,
    },
    /// Consent to the extension of another member's hold.
    ExtendHold {
        /// On which ballot.
        ballot: BallotId,
        /// Whose hold.
        holder: MemberId,
        /// The command's id.
        command_id: CommandId,
    },
    /// End the own hold.
    LiftHold {
        /// On which ballot.
        ballot: BallotId,
        /// The command's id.
        command_id: CommandId,
    },
    /// Object.
    Object {
        /// To which ballot.
        ballot: BallotId,
        /// Why, for the other members.
        reason: String,
        /// The command's id.
        command_id: CommandId,
    },
    /// Attach an own measure to an entry.
    AttachMeasure {
        /// To which.
        entry: EntryId,
        /// What.
        measure: Box<Measure>,
        /// The command's id.
        command_id: CommandId,
    },
    /// End an own measure.
    EndMeasure {
        /// On which entry.
        entry: EntryId,
        /// Which.
        measure: MeasureId,
        /// When it ended.
        ended: PartialDate,
        /// The command's id.
        command_id: CommandId,
    },
    /// Record that an entry was reviewed and is kept.
    Review {
        /// Which.
        entry: EntryId,
        /// The command's id.
        command_id: CommandId,
    },
    /// Hand in a command about the member's own keys or people, which somebody drew up elsewhere.
    Keys {
        /// The command's media type.
        payload_type: String,
        /// The command, exactly.
        payload: String,
        /// Signatures of the keys that must prove that they are held.
        signatures: Vec<KeySignature>,
    },
    /// Apply a policy.
    Policy {
        /// For whom.
        party: MemberId,
        /// Cedar.
        text: String,
    },
    /// Declare what the access log lost, and open another incarnation of it.
    DeclareLoss {
        /// What is lost, as it was looked at.
        lost: Vec<LostRange>,
        /// Why, for those who read the log later.
        reason: String,
    },
    /// Put clearances of this member's people into force.
    People {
        /// The document, JSON.
        document: String,
    },
}

/// A signature that came with a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySignature {
    /// By which key.
    pub keyid: KeyId,
    /// Ed25519, 128 hexadecimal digits.
    pub sig: String,
}

impl Action {
    /// Its kind.
    pub const fn kind(&self) -> ApprovalKind {
        match self {
            Self::Share { .. } => ApprovalKind::Share,
            Self::Table { .. } => ApprovalKind::Table,
            Self::Motion { .. } => ApprovalKind::Motion,
            Self::Vote { .. } => ApprovalKind::Vote,
            Self::Withdraw { .. } => ApprovalKind::Withdraw,
            Self::Hold { .. } => ApprovalKind::Hold,
            Self::ExtendHold { .. } => ApprovalKind::ExtendHold,
            Self::LiftHold { .. } => ApprovalKind::LiftHold,
            Self::Object { .. } => ApprovalKind::Object,
            Self::AttachMeasure { .. } | Self::EndMeasure { .. } => ApprovalKind::Measure,
            Self::Review { .. } => ApprovalKind::Review,
            Self::Keys { .. } => ApprovalKind::Keys,
            Self::Policy { .. } | Self::People { .. } => ApprovalKind::Policy,
            Self::Grant { .. } => ApprovalKind::Grant,
            Self::Recall { .. } | Self::HoldCopy { .. } | Self::CannotComply { .. } => ApprovalKind::Recall,
            Self::DeclareLoss { .. } => ApprovalKind::Restore,
        }
    }

    /// What it is about.
    pub fn resource(&self) -> String {
        match self {
            Self::Share { records, .. } => match records.as_slice() {
                [shared] => shared.record.to_string(),
                _ => "records".to_owned(),
            },
            Self::Table { proposal, .. } | Self::Withdraw { proposal: Some(proposal), .. } => proposal.to_string(),
            Self::Grant { grant, .. } => grant.about.to_string(),
            Self::Recall { recall, .. } => recall.about.to_string(),
            Self::HoldCopy { record, .. } => record.to_string(),
            Self::CannotComply { recall, .. } => recall.to_string(),
            Self::Motion { motion, .. } => match (motion.entry(), motion.target()) {
                (Some(entry), _) => entry.to_string(),
                (None, Some(member)) => format!("member/{member}"),
                (None, None) => format!("rules/{}", motion.kind()),
            },
            Self::Vote { ballot, .. }
            | Self::Withdraw { ballot, .. }
            | Self::Hold { ballot, .. }
            | Self::ExtendHold { ballot, .. }
            | Self::LiftHold { ballot, .. }
            | Self::Object { ballot, .. } => ballot.to_string(),
            Self::AttachMeasure { entry, .. } | Self::EndMeasure { entry, .. } | Self::Review { entry, .. } => {
                entry.to_string()
            }
            Self::Keys { .. } => "keys".to_owned(),
            Self::Policy { party, .. } => format!("policy/{party}"),
            Self::People { .. } => "people".to_owned(),
            Self::DeclareLoss { .. } => "access-log".to_owned(),
        }
    }

    /// The ballot that it acts on, where that stands already.
    pub const fn ballot(&self) -> Option<BallotId> {
        match self {
            Self::Vote { ballot, .. }
            | Self::Withdraw { ballot, .. }
            | Self::Hold { ballot, .. }
            | Self::ExtendHold { ballot, .. }
            | Self::LiftHold { ballot, .. }
            | Self::Object { ballot, .. } => Some(*ballot),
            _ => None,
        }
    }

    /// The records of this member that it is about: whoever approves it must be cleared for them.
    pub fn records(&self) -> Vec<RecordId> {
        match self {
            Self::Share { records, .. } => records.iter().map(|shared| shared.record).collect(),
            Self::Table { proposal, .. } => vec![*proposal],
            Self::Withdraw { proposal, .. } => proposal.iter().copied().collect(),
            Self::Grant { grant, .. } => vec![grant.about],
            Self::Recall { recall, .. } => vec![recall.about],
            _ => Vec::new(),
        }
    }

    /// The entry that it is about.
    pub fn entry(&self) -> Option<&EntryId> {
        match self {
            Self::Table { amends, .. } => amends.as_ref(),
            Self::Motion { motion, .. } => motion.entry(),
            Self::AttachMeasure { entry, .. } | Self::EndMeasure { entry, .. } | Self::Review { entry, .. } => {
                Some(entry)
            }
            _ => None,
        }
    }

    /// Whether a deciding command is what it comes to: what is done within this member needs none.
    pub const fn is_command(&self) -> bool {
        !matches!(
            self,
            Self::Share { .. }
                | Self::Policy { .. }
                | Self::People { .. }
                | Self::Grant { .. }
                | Self::Recall { .. }
                | Self::HoldCopy { .. }
                | Self::CannotComply { .. }
                | Self::DeclareLoss { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_under_the_first_rules_reads_still() {
        let ballot = "ab".repeat(32);
        for old in [
            format!(
                r#"{{"withdraw":{{"proposal":"FR-P-0000000000000000","ballot":"{ballot}","command_id":"{id}"}}}}"#,
                id = "cd".repeat(16)
            ),
            format!(
                r#"{{"vote":{{"ballot":"{ballot}","choice":"yes","reason":null,"replaces":null,"command_id":"{id}"}}}}"#,
                id = "cd".repeat(16)
            ),
        ] {
            let action: Action = comity_core::canonical::from_slice(old.as_bytes()).unwrap();
            assert_eq!(comity_core::canonical::to_vec(&action), old.as_bytes());
        }
    }
}
