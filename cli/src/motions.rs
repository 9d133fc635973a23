//! Motions that come from no proposal: laid before all members as JSON, with a statement for publication.

use comity_core::canonical::{self, Hex32};
use comity_core::list::{Command, Motion, Statement};
use comity_proto::v1;

use crate::approve;
use crate::failure::Failure;
use crate::refusal::Asked;
use crate::session::Session;
use crate::tabled::expected_digest;

/// Asks that this member lay a motion before all members.
pub(crate) async fn table(
    session: &mut Session<'_>,
    motion: &Motion,
    statement: String,
    look: &str,
) -> Result<(), Failure> {
    let node = session.node().await?;
    let stated = statement.clone();
    let request = v1::TableMotionRequest { motion_json: canonical::to_vec(motion), statement };
    let asked = Asked::about(motion.to_string(), look);
    let approval = node.ballots().table_motion(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let text = expected_digest(&approval, canonical::to_vec(&Statement { statement: stated }));
    approve::deferred(session, &node, approval, |command| tables(command, motion, text)).await
}

/// Whether a command tables exactly this, with the text of this digest.
pub(crate) fn tables(command: &Command, motion: &Motion, text: Option<Hex32>) -> bool {
    matches!(command, Command::Table(table) if table.motion == *motion && Some(table.public_part) == text)
}
