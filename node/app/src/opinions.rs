//! Opinions: what this member thinks of a partner's proposal, for that partner alone.

use comity_core::document::{Document, Opinion, Stance, answer_marking};
use comity_core::{RecordId, SpiffeId, Violations};

use crate::approve::ApprovalView;
use crate::error::AppError;
use crate::node::Node;
use crate::records::RecordView;

impl Node {
    /// Asks that an opinion be given on a partner's proposal: stored here, and shown to its originator once another person has
    /// approved, as far as the policy for it allows.
    ///
    /// # Errors
    /// There is no copy that this person may see, or the opinion is not as it must be.
    pub async fn ask_opinion(
        &self,
        author: &SpiffeId,
        about: RecordId,
        stance: Stance,
        text: Option<String>,
    ) -> Result<ApprovalView, AppError> {
        let RecordView::Received(copy) = self.record(author, about).await? else {
            return Err(
                Violations::one("about", format!("{about} is this member's own: opinions are its partners'")).into()
            );
        };
        let marking = answer_marking(about, &copy.discover.marking);
        let document = Document::Opinion(Opinion { marking, about, stance, text });
        document.check()?;
        self.create_and_ask_share(author, document).await
    }
}
