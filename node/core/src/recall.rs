//! What passes between nodes about a recall: the originator's signed statement, and the signed answer to it.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::canonical::{self, Hex32};
use crate::dsse::Envelope;
use crate::member::MemberId;
use crate::record::RecordId;
use crate::timestamp::Timestamp;
use crate::view::RefusedPage;

/// What an originator's node signs: give this record back. Why is not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecallStatement {
    /// Which federation.
    pub federation: Hex32,
    /// Whose record it is: the signer.
    pub from: MemberId,
    /// Who received it.
    pub to: MemberId,
    /// The recall.
    pub recall: RecordId,
    /// What is recalled: every version of it.
    pub record: RecordId,
    /// Since when.
    pub recalled_at: Timestamp,
}

/// What a receiver's node signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerStatement {
    /// Which federation.
    pub federation: Hex32,
    /// Whose record it is.
    pub from: MemberId,
    /// Who received it: the signer.
    pub to: MemberId,
    /// The recall.
    pub recall: RecordId,
    /// What is recalled.
    pub record: RecordId,
    /// What was done.
    pub answer: Answer,
    /// Why it was not destroyed; with `destroyed` nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How many days backups keep it from `answered_at` on; 0 where none has it.
    pub backup_days: u32,
    /// When.
    pub answered_at: Timestamp,
}

/// What a receiver did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The copy and its key are gone, or there was none any more.
    Destroyed,
    /// It may not be given up, such as by an order of a court.
    Retained,
    /// It is out of the receiver's hands, such as on paper.
    CannotComply,
}

impl Answer {
    /// Every answer.
    pub const ALL: [Self; 3] = [Self::Destroyed, Self::Retained, Self::CannotComply];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Retained => "retained",
            Self::CannotComply => "cannot_comply",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no answer to a recall.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected destroyed, retained or cannot_comply")]
pub struct InvalidAnswer;

impl FromStr for Answer {
    type Err = InvalidAnswer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|answer| answer.as_str() == text).ok_or(InvalidAnswer)
    }
}

/// The payload type of a recall's envelope.
pub const RECALL_TYPE: &str = "application/vnd.comity.recall.v1+json";
/// The payload type of an answer's envelope.
pub const ANSWER_TYPE: &str = "application/vnd.comity.recall-answer.v1+json";

/// The longest reason in an answer.
pub const BECAUSE_MAX_CHARS: usize = 1_000;

/// Signs a recall.
pub fn sign_recall(statement: &RecallStatement, key: &SigningKey) -> Envelope {
    Envelope::sign(RECALL_TYPE, canonical::to_vec(statement), key)
}

/// Signs an answer.
pub fn sign_answer(statement: &AnswerStatement, key: &SigningKey) -> Envelope {
    Envelope::sign(ANSWER_TYPE, canonical::to_vec(statement), key)
}

/// Checks a recall's signature, that it is to this member, and that it is about the signer's own record.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn verify_recall(
    envelope: &Envelope,
    key: &VerifyingKey,
    federation: Hex32,
    from: MemberId,
    to: MemberId,
) -> Result<RecallStatement, RefusedPage> {
    let statement: RecallStatement = read(envelope, RECALL_TYPE, key)?;
    same("federation", statement.federation, federation)?;
    same("from", statement.from, from)?;
    same("to", statement.to, to)?;
    same("record", statement.record.originator(), from)?;
    same("recall", statement.recall.originator(), from)?;
    Ok(statement)
}

/// Checks an answer's signature, and that it is to a recall of this member.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn verify_answer(
    envelope: &Envelope,
    key: &VerifyingKey,
    federation: Hex32,
    from: MemberId,
    to: MemberId,
) -> Result<AnswerStatement, RefusedPage> {
    let statement: AnswerStatement = read(envelope, ANSWER_TYPE, key)?;
    same("federation", statement.federation, federation)?;
    same("from", statement.from, from)?;
    same("to", statement.to, to)?;
    if statement.because.as_ref().is_some_and(|because| because.chars().count() > BECAUSE_MAX_CHARS) {
        return Err(RefusedPage::Mismatch {
            field: "because",
            found: "a longer text".into(),
            expected: format!("at most {BECAUSE_MAX_CHARS} characters"),
        });
    }
    Ok(statement)
}

fn read<T: DeserializeOwned>(envelope: &Envelope, payload_type: &str, key: &VerifyingKey) -> Result<T, RefusedPage> {
    if envelope.payload_type != payload_type {
        return Err(RefusedPage::PayloadType(envelope.payload_type.clone()));
    }
    envelope.verify(key)?;
    Ok(canonical::from_slice(&envelope.payload)?)
}

fn same<T: PartialEq + fmt::Display>(field: &'static str, found: T, expected: T) -> Result<(), RefusedPage> {
    if found == expected {
        return Ok(());
    }
    Err(RefusedPage::Mismatch { field, found: found.to_string(), expected: expected.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recall_and_its_answer_are_their_signers_word_about_one_record() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let (fr, de): (MemberId, MemberId) = ("FR".parse().unwrap(), "DE".parse().unwrap());
        let federation = Hex32([7; 32]);
        let statement = RecallStatement {
            federation,
            from: fr,
            to: de,
            recall: "FR-R-0000000000000001".parse().unwrap(),
            record: "FR-P-0000000000000002".parse().unwrap(),
            recalled_at: "2026-11-24T09:00:00Z".parse().unwrap(),
        };
        let check = |statement: &RecallStatement, from, to| {
            verify_recall(&sign_recall(statement, &key), &key.verifying_key(), federation, from, to)
        };
        assert_eq!(check(&statement, fr, de).unwrap(), statement);
        assert!(check(&statement, fr, fr).is_err());
        let foreign = RecallStatement { record: "CA-P-0000000000000002".parse().unwrap(), ..statement.clone() };
        assert!(matches!(check(&foreign, fr, de), Err(RefusedPage::Mismatch { field: "record", .. })));
        let answer = AnswerStatement {
            federation,
            from: fr,
            to: de,
            recall: statement.recall,
            record: statement.record,
            answer: Answer::Destroyed,
            because: None,
            backup_days: 30,
            answered_at: statement.recalled_at,
        };
        let envelope = sign_answer(&answer, &key);
        assert_eq!(verify_answer(&envelope, &key.verifying_key(), federation, fr, de).unwrap(), answer);
        let other = SigningKey::from_bytes(&[6; 32]).verifying_key();
        assert!(verify_answer(&envelope, &other, federation, fr, de).is_err());
        assert!(verify_recall(&envelope, &key.verifying_key(), federation, fr, de).is_err(), "an answer is no recall");
    }
}
