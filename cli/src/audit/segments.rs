//! `comity audit segments`: which leaves lie in archives.

use comity_proto::v1;

use crate::failure::Failure;
use crate::node_status::{SegmentView, SegmentsView, segments_table};
use crate::refusal::Asked;
use crate::session::Session;

pub(crate) async fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("access log", "comity node status");
    let (mut segments, mut from) = (Vec::<SegmentView>::new(), 0);
    loop {
        let request = v1::ListArchivedSegmentsRequest { from };
        let page = node.audit().list_archived_segments(request).await.map_err(|s| asked.refused(s))?.into_inner();
        segments.extend(page.segments.into_iter().map(SegmentView::from));
        match segments.last() {
            // Each answer goes on from the last; one that does not is the end.
            Some(last) if last.last >= from => from = last.last + 1,
            _ => break,
        }
    }
    let view = SegmentsView { segments };
    session.output.show(&view, |style| segments_table(style, &view))?;
    session.output.note(match view.segments.is_empty() {
        true => "none: all leaves are in the store",
        false => "the files are on the node's machine; each proves itself: comity audit verify FILE",
    });
    Ok(())
}
