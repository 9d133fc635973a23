//! Ballots, for display.

use comity_core::canonical::Hex32;
use comity_core::list::Ballot;
use comity_core::proposal::PublicPart;

use crate::error::{AppError, InternalError};
use crate::node::Node;

/// A ballot and the text that was tabled.
#[derive(Debug, Clone)]
pub struct BallotView {
    /// How it stands.
    pub ballot: Ballot,
    /// The public part, exactly.
    pub text: Vec<u8>,
    /// The subject's primary name.
    pub subject: String,
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

    /// A ballot and its text.
    ///
    /// # Errors
    /// There is none.
    pub async fn ballot_view(&self, digits: &str) -> Result<BallotView, AppError> {
        let ballot = self.ballot(digits)?;
        self.with_text(ballot).await
    }

    /// Ballots, newest first, from a position on.
    ///
    /// # Errors
    /// The list's storage cannot be read.
    pub async fn ballots(&self, open_only: bool, skip: usize, limit: usize) -> Result<Vec<BallotView>, AppError> {
        let ballots: Vec<Ballot> = self.consensus.read(|list| {
            let all = list.ballots().rev().filter(|b| !open_only || b.state == comity_core::list::BallotState::Open);
            all.skip(skip).take(limit).cloned().collect()
        });
        let mut views = Vec::with_capacity(ballots.len());
        for ballot in ballots {
            views.push(self.with_text(ballot).await?);
        }
        Ok(views)
    }

    async fn with_text(&self, ballot: Ballot) -> Result<BallotView, AppError> {
        let text = self.public_bytes(ballot.public_part).await?;
        let subject = subject_name(&text);
        Ok(BallotView { ballot, text, subject })
    }

    pub(crate) async fn public_bytes(&self, digest: Hex32) -> Result<Vec<u8>, AppError> {
        let text = self.consensus.public_text(digest).await.map_err(InternalError::List)?;
        Ok(text.map(|t| t.bytes).unwrap_or_default())
    }

    pub(crate) async fn subject_of(&self, digest: Hex32) -> Result<String, AppError> {
        Ok(subject_name(&self.public_bytes(digest).await?))
    }
}

pub(crate) fn subject_name(text: &[u8]) -> String {
    PublicPart::from_json(text).map(|p| p.subject.primary_name().to_owned()).unwrap_or_default()
}
