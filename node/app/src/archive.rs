//! Retention: old leaves are written to files that prove them, and then taken out of the store. Proofs and checkpoints do not change:
//! all hashes stay.

use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;

use comity_core::Timestamp;
use comity_core::access::bundle::{BundleVerifier, InvalidBundle, Proven};
use comity_core::access::{AccessRecord, ArchivedSegment, SEGMENT_ARCHIVED, Touched};
use comity_core::canonical::Hex32;
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use crate::access_export::AccessExport;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// The most leaves of one file: taken out in one transaction, they keep nobody waiting.
pub(crate) const SEGMENT_LEAVES: u64 = 8_192;
/// The most segments of one answer.
const SEGMENTS_MAX: usize = 1_000;

/// What one step of archiving came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The leaves that were moved, and where to.
    pub segment: Option<ArchivedSegment>,
    /// How many more could be.
    pub remaining: u64,
}

/// A segment, and whether its file is where it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentView {
    /// What was archived.
    pub segment: ArchivedSegment,
    /// Whether the file is there. Whether it is whole, `comity audit verify` says.
    pub is_there: bool,
}

impl Node {
    /// Archives the next leaves from before an instant, in one file. Nothing where there are none that are not archived yet and that enough
    /// members cosigned.
    ///
    /// # Errors
    /// The file cannot be written, or does not prove what it must: then its leaves stay in the store.
    pub async fn archive_before(self: &Arc<Self>, before: Timestamp) -> Result<Archived, AppError> {
        // One at a time: each goes on where the one before ended.
        let _turn = self.archiving.lock().await;
        let (first, end) = (self.access_log.archived(), self.archivable(before).await?);
        if first >= end {
            return Ok(Archived { segment: None, remaining: 0 });
        }
        let to = end.min(first.saturating_add(SEGMENT_LEAVES));
        let segment = self.write_segment(first, to).await?;
        // INVARIANT: the log names a file before its leaves are taken out, and they are taken out only where it is durable and proves them.
        let resource = Touched::resource(segment.file.as_str()).by(format!("leaves {first} to {}", to - 1));
        let record = AccessRecord {
            member: Some(self.member()),
            touched: vec![resource],
            archived: Some(segment.clone()),
            ..AccessRecord::new(fresh::now(), "this node", SEGMENT_ARCHIVED)
        };
        self.record_access(record).await?;
        self.access_log.prune(segment.clone()).await.map_err(InternalError::from)?;
        Ok(Archived { segment: Some(segment), remaining: end - to })
    }

    /// What was archived, from a leaf on.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn archived_segments(&self, from: u64) -> Result<Vec<SegmentView>, AppError> {
        let segments = self.access_log.segments(from, SEGMENTS_MAX).await.map_err(InternalError::from)?;
        let view = |segment: ArchivedSegment| SegmentView {
            is_there: self.archive_dir.join(&segment.file).is_file(),
            segment,
        };
        Ok(segments.into_iter().map(view).collect())
    }

    /// The first leaf that is not in an archive.
    pub fn first_unarchived(&self) -> u64 {
        self.access_log.archived()
    }

    /// The leaf after the last that is older than an instant and that enough members cosigned.
    async fn archivable(&self, before: Timestamp) -> Result<u64, AppError> {
        let cosigned = self.witnessed_checkpoint().await?.map_or(0, |note| note.checkpoint.size);
        let log = &self.access_log;
        let younger = log.first_since(before).await.map_err(InternalError::from)?.unwrap_or_else(|| log.head().size);
        // The last leaf that is signed over stays: the log is taken up from it.
        Ok(younger.min(cosigned.saturating_sub(1)))
    }

    async fn write_segment(self: &Arc<Self>, first: u64, end: u64) -> Result<ArchivedSegment, AppError> {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        let folder = &self.archive_dir;
        let name = format!("access-log-{}-{first:012}-{end:012}.bundle", self.access_log_incarnation());
        let (path, part) = (folder.join(&name), folder.join(format!("{name}.part")));
        let failed = |problem: String| InternalError::Archive { path: path.clone(), problem };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| failed(e.to_string()))?;
        let asked = AccessExport { stretch: Some((first, end)), ..AccessExport::default() };
        let mut pieces = pin!(self.export_access_log(asked).await?);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut file = file.map_err(|e| failed(e.to_string()))?;
        while let Some(piece) = pieces.try_next().await? {
            file.write_all(&piece).map_err(|e| failed(e.to_string()))?;
        }
        file.sync_all().map_err(|e| failed(e.to_string()))?;
        // What lies on the disk is what proves them, not what was written.
        let written = std::fs::read(&part).map_err(|e| failed(e.to_string()))?;
        let Proven { header, .. } = proven(&written).map_err(|e| failed(e.to_string()))?;
        let checkpoint = &header.note.checkpoint;
        let root = self.access_log.root_at(checkpoint.size).await.map_err(InternalError::from)?;
        if (header.first, header.end, checkpoint.root) != (first, end, root) || !header.with_annex {
            return Err(failed("it does not prove the leaves that it is to hold".to_owned()).into());
        }
        std::fs::rename(&part, &path).map_err(|e| failed(e.to_string()))?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| failed(e.to_string()))?;
        Ok(ArchivedSegment { first, end, file: name, digest: Hex32(Sha256::digest(&written).into()) })
    }
}

fn proven(bundle: &[u8]) -> Result<Proven, InvalidBundle> {
    let mut verifier = BundleVerifier::new(Vec::new());
    verifier.push(bundle, |_| {})?;
    verifier.finish()
}
