//! Motions that come from no proposal: laid before all members as JSON, with a statement for publication.

use comity_core::canonical;
use comity_core::list::{Command, Motion};
use comity_proto::v1;

use crate::approve;
use crate::failure::Failure;
use crate::refusal::Asked;
use crate::session::Session;

/// Asks that this member lay a motion before all members.
pub(crate) async fn table(
    session: &mut Session<'_>,
    motion: &Motion,
    statement: String,
    look: &str,
) -> Result<(), Failure> {
    let node = session.node().await?;
    let request = v1::TableMotionRequest { motion_json: canonical::to_vec(motion), statement };
    let asked = Asked::about(motion.to_string(), look);
    let approval = node.ballots().table_motion(request).await.map_err(|s| asked.refused(s))?.into_inner();
    approve::deferred(session, &node, approval, |command| tables(command, motion)).await
}

/// Whether a command tables exactly this.
pub(crate) fn tables(command: &Command, motion: &Motion) -> bool {
    matches!(command, Command::Table(table) if table.motion == *motion)
}
