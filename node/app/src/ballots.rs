//! Ballots, for display.

use comity_core::canonical::Hex32;
use comity_core::list::{Ballot, PublicText, Refusal};
use comity_core::proposal::PublicPart;
use comity_core::{Envelope, Timestamp};

use crate::error::{AppError, InternalError};
use crate::node::Node;
use crate::records::short;

/// What a ballot's id stands for, byte by byte, so that whoever signs need not believe this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tabled {
    /// The payload of the tabling command: its SHA-256 is the ballot's id.
    pub payload: Vec<u8>,
    /// The text beside it; nothing once it was erased.
    pub text: Option<PublicText>,
}

/// A ballot and the text that was tabled.
#[derive(Debug, Clone)]
pub struct BallotView {
    /// How it stands.
    pub ballot: Ballot,
    /// The text, exactly; empty once it was erased.
    pub text: Vec<u8>,
    /// What its id stands for; left out of lists.
    pub tabled: Option<Tabled>,
    /// The primary name of the subject that it is about, where it is about one.
    pub subject: String,
    /// Now, in list time.
    pub list_time: Timestamp,
}

impl Node {
    /// A ballot by its id, or by the first digits of exactly one.
    pub(crate) fn ballot(&self, digits: &str) -> Result<Ballot, AppError> {
        let is_prefix = (4..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_prefix {
            let problem = "expected a ballot's id, or at least its first 4 digits; see `comity ballot list`";
            return Err(comity_core::Violations::one("ballot", problem).into());
        }
        let found: Vec<Ballot> = self
            .consensus
            .read(|list| list.ballots_with_prefix(&digits.to_ascii_lowercase(), 2).into_iter().cloned().collect());
        match found.as_slice() {
            [] => Err(AppError::NotFound("ballot")),
            [ballot] => Ok(ballot.clone()),
            _ => {
                let problem = format!("several ballots begin with {digits}: give more digits");
                Err(comity_core::Violations::one("ballot", problem).into())
            }
        }
    }

    /// A ballot that can still be decided.
    pub(crate) fn open_ballot(&self, digits: &str) -> Result<Ballot, AppError> {
        let ballot = self.ballot(digits)?;
        if ballot.is_open() {
            return Ok(ballot);
        }
        let (ballot, state) = (ballot.id, ballot.state.to_string());
        Err(Refusal::BallotClosed { ballot, state }.into())
    }

    pub(crate) fn ensure_elector(&self, ballot: &Ballot) -> Result<(), AppError> {
        if ballot.electorate.contains(&self.member()) {
            Ok(())
        } else {
            Err(Refusal::NotInElectorate(self.member()).into())
        }
    }

    /// A ballot and its text.
    ///
    /// # Errors
    /// There is none.
    pub async fn ballot_view(&self, digits: &str) -> Result<BallotView, AppError> {
        let ballot = self.ballot(digits)?;
        let tabled = Some(self.tabled(&ballot).await?);
        Ok(BallotView { tabled, ..self.with_text(ballot).await? })
    }

    /// INVARIANT: nobody consents to what this node cannot show, nor takes notice of it.
    pub(crate) async fn ensure_text(&self, ballot: &Ballot) -> Result<(), AppError> {
        if !self.public_bytes(ballot.public_part).await?.is_empty() {
            return Ok(());
        }
        let problem = "the text of this ballot has not come yet, so that nobody can read what they would consent to: this node asks \
                       the others for it, try again in a moment";
        Err(AppError::Precondition { reason: "TEXT_MISSING", problem: problem.into() })
    }

    /// What a ballot's id stands for.
    pub(crate) async fn tabled(&self, ballot: &Ballot) -> Result<Tabled, AppError> {
        let missing = || InternalError::Corrupt { what: "command log", problem: format!("no leaf {}", ballot.leaf) };
        let envelope = self.consensus.envelope(ballot.leaf).await.map_err(InternalError::List)?.ok_or_else(missing)?;
        let envelope = Envelope::from_bytes(&envelope)
            .map_err(|e| InternalError::Corrupt { what: "command log", problem: e.to_string() })?;
        let text = self.consensus.public_text(ballot.public_part).await.map_err(InternalError::List)?;
        Ok(Tabled { payload: envelope.payload, text })
    }

    /// Ballots, newest first, from a position on.
    ///
    /// # Errors
    /// The list's storage cannot be read.
    pub async fn ballots(&self, open_only: bool, skip: usize, limit: usize) -> Result<Vec<BallotView>, AppError> {
        let ballots: Vec<Ballot> = self.consensus.read(|list| {
            if open_only {
                list.open_ballots().rev().skip(skip).take(limit).cloned().collect()
            } else {
                list.ballots().rev().skip(skip).take(limit).cloned().collect()
            }
        });
        let mut views = Vec::with_capacity(ballots.len());
        for ballot in ballots {
            views.push(self.with_text(ballot).await?);
        }
        Ok(views)
    }

    pub(crate) async fn with_text(&self, ballot: Ballot) -> Result<BallotView, AppError> {
        let text = self.public_bytes(ballot.public_part).await?;
        let subject = self.subject_of(&ballot, &text).await?;
        let list_time = self.consensus.read(|list| list.list_time());
        Ok(BallotView { ballot, text, tabled: None, subject, list_time })
    }

    /// The name of whom it is about: its own text's, or that of the entry that it is about.
    async fn subject_of(&self, ballot: &Ballot, text: &[u8]) -> Result<String, AppError> {
        let entry = ballot.motion.entry().filter(|_| !ballot.motion.has_subject());
        let Some(entry) = entry else { return Ok(subject_name(text)) };
        let digest = self.consensus.read(|list| list.entry(entry).map(|entry| entry.public_part));
        match digest {
            Some(digest) => Ok(subject_name(&self.public_bytes(digest).await?)),
            None => Ok(String::new()),
        }
    }

    /// What a ballot is about, in words: `list DOE, Ada (ballot 0123456789)`.
    pub(crate) async fn about(&self, ballot: &Ballot) -> Result<String, AppError> {
        let text = self.public_bytes(ballot.public_part).await?;
        let subject = self.subject_of(ballot, &text).await?;
        let subject = if subject.is_empty() { subject } else { format!(", {subject}") };
        Ok(format!("{}{subject} (ballot {})", ballot.motion, short(&ballot.id.to_string())))
    }

    /// The text with this digest; nothing where it was erased.
    pub(crate) async fn public_bytes(&self, digest: Hex32) -> Result<Vec<u8>, AppError> {
        let text = self.consensus.public_text(digest).await.map_err(InternalError::List)?;
        Ok(text.map(|t| t.bytes).unwrap_or_default())
    }
}

pub(crate) fn subject_name(text: &[u8]) -> String {
    PublicPart::from_json(text).map(|p| p.subject.primary_name().to_owned()).unwrap_or_default()
}
