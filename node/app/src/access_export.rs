//! A part of the access log as a file that proves itself, written piece by piece: it never stands in memory as a whole.

use std::fmt;
use std::sync::Arc;

use comity_core::access::bundle::{self, Header, OlderHead, Shape};
use comity_core::access::{PAGE_RECEIVED, PAGE_SENT};
use comity_core::checkpoint::SignedCheckpoint;
use comity_core::merkle::Subtree;
use comity_core::{MemberId, Timestamp, Violations};
use comity_store::access_log::{AccessFilter, Order, StoredLeaf};
use futures::Stream;
use futures::stream::try_unfold;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{AppError, InternalError};
use crate::node::Node;

/// How many leaves are read at one time. One may have some hundred kilobytes.
const STEP_LEAVES: usize = 32;
/// How many leaves are looked at in one step for whether they are about a partner.
const SEARCH_LEAVES: usize = 256;

/// Which part of the log is wanted. With nothing named, all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessExport {
    /// From this instant on.
    pub since: Option<Timestamp>,
    /// Up to this instant, which belongs to it.
    pub until: Option<Timestamp>,
    /// What this party was released and what it released, each leaf by itself and without what decided.
    pub party: Option<MemberId>,
    /// This leaf alone.
    pub leaf: Option<u64>,
    /// These leaves: the first, and the one after the last.
    pub stretch: Option<(u64, u64)>,
    /// Older sizes of the log that it is to be proved to continue.
    pub older: Vec<u64>,
}

/// As the access record has it.
impl fmt::Display for AccessExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            |name: &str, value: Option<String>| value.map(|value| format!(" {name}={value}")).unwrap_or_default();
        let since = named("since", self.since.map(|at| at.to_string()));
        let until = named("until", self.until.map(|at| at.to_string()));
        let party = named("for", self.party.map(|party| party.to_string()));
        let leaf = named("leaf", self.leaf.map(|leaf| leaf.to_string()));
        write!(f, "export{since}{until}{party}{leaf}")
    }
}

/// An export under way, of a log that may grow meanwhile.
struct Writer {
    node: Arc<Node>,
    header: Header,
    /// Of a selection, which leaves.
    selected: Vec<u64>,
    _permit: OwnedSemaphorePermit,
}

/// What is written next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Head,
    /// The leaves of a range from this one on.
    Range(u64),
    /// The leaves of a selection from this place on.
    Selected(usize),
}

impl Node {
    /// A part of the access log as a bundle, in pieces.
    ///
    /// # Errors
    /// There is no such leaf or none of that time or party, or too many exports are written already. A piece that cannot be read ends the
    /// file.
    pub async fn export_access_log(
        self: &Arc<Self>,
        asked: AccessExport,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, AppError>> + Send + use<>, AppError> {
        if asked.older.len() > bundle::OLDER_MAX {
            return Err(Violations::one("older", format!("expected at most {} sizes", bundle::OLDER_MAX)).into());
        }
        let permit = Arc::clone(&self.exports).try_acquire_owned().map_err(|_| AppError::Exhausted {
            reason: "TOO_MANY_EXPORTS",
            problem: "too many exports are being written: try again when one has ended".into(),
        })?;
        let note = self.checkpoint_to_export(asked.leaf).await?;
        let size = note.checkpoint.size;
        let archived = self.access_log.archived();
        let (first, end) = match (asked.leaf, asked.stretch) {
            (Some(leaf), _) if leaf < archived => return Err(self.archived_in(leaf).await?),
            (Some(leaf), _) if leaf < size => (leaf, leaf + 1),
            (Some(_), _) => return Err(AppError::NotFound("leaf of the access log")),
            (None, Some((first, end))) => (first.max(archived), end.min(size)),
            (None, None) => {
                let (first, end) = self.leaves_between(&asked, size).await?;
                (first.max(archived), end)
            }
        };
        let selected = match (asked.leaf, asked.party) {
            (Some(leaf), _) => vec![leaf],
            (None, Some(party)) => self.pages_of(party, first, end).await?,
            (None, None) => Vec::new(),
        };
        let shape = if asked.leaf.or(selected.first().copied()).is_some() { Shape::Selected } else { Shape::Range };
        if first >= end || (asked.party.is_some() && selected.is_empty()) {
            return Err(AppError::NotFound("access in that time"));
        }
        let header = Header {
            federation: self.genesis.federation(),
            shape,
            first,
            end,
            count: if shape == Shape::Range { end - first } else { selected.len() as u64 },
            with_annex: asked.party.is_none(),
            asked: (asked.since, asked.until),
            older: self.older_heads(&asked.older, &note).await?,
            note,
        };
        let writer = Writer { node: Arc::clone(self), header, selected, _permit: permit };
        Ok(try_unfold((writer, Some(Part::Head)), |(writer, part)| async move {
            let Some(part) = part else { return Ok(None) };
            let (bytes, next) = writer.write(part).await?;
            Ok(Some((bytes, (writer, next))))
        }))
    }

    /// Where an archived leaf lies.
    async fn archived_in(&self, leaf: u64) -> Result<AppError, AppError> {
        let before = leaf.saturating_sub(crate::archive::SEGMENT_LEAVES);
        let segments = self.access_log.segments(before, 2).await.map_err(InternalError::from)?;
        let holds = segments.into_iter().find(|segment| segment.first <= leaf && leaf < segment.end);
        let file = holds.map_or_else(|| "an archive".to_owned(), |segment| segment.file);
        Ok(AppError::Precondition {
            reason: "LEAF_ARCHIVED",
            problem: format!("leaf {leaf} lies in {file}, which proves itself: `comity audit verify` it"),
        })
    }

    /// The first leaf that is not before the time asked for, and the one after the last that is.
    async fn leaves_between(&self, asked: &AccessExport, size: u64) -> Result<(u64, u64), AppError> {
        let first = match asked.since {
            None => Some(0),
            Some(_) => {
                let filter = AccessFilter { since: asked.since, ..AccessFilter::default() };
                self.one_leaf(&filter, Order::OldestFirst, None).await?
            }
        };
        let end = match asked.until {
            None => Some(size),
            Some(_) => {
                let filter = AccessFilter { until: asked.until, ..AccessFilter::default() };
                self.one_leaf(&filter, Order::NewestFirst, Some(size)).await?.map(|last| last + 1)
            }
        };
        Ok((first.unwrap_or(size), end.unwrap_or(0).min(size)))
    }

    async fn one_leaf(&self, filter: &AccessFilter, order: Order, after: Option<u64>) -> Result<Option<u64>, AppError> {
        let found = self.access_log.query(filter, order, after, 1).await.map_err(InternalError::from)?;
        Ok(found.first().map(|leaf| leaf.n))
    }

    /// The leaves about pages that went to a party or came from it.
    async fn pages_of(&self, party: MemberId, first: u64, end: u64) -> Result<Vec<u64>, AppError> {
        let filter = AccessFilter { member: Some(party), ..AccessFilter::default() };
        let (mut numbers, mut after) = (Vec::new(), first.checked_sub(1));
        loop {
            let found = self.access_log.query(&filter, Order::OldestFirst, after, SEARCH_LEAVES).await;
            let found = found.map_err(InternalError::from)?;
            for leaf in found.iter().filter(|leaf| leaf.n < end) {
                let record = leaf.record().map_err(|e| corrupt(leaf.n, e.to_string()))?;
                // INVARIANT: nothing goes to a partner but what it was sent, and what came from it.
                if record.page.is_some() && [PAGE_SENT, PAGE_RECEIVED].contains(&record.action.as_str()) {
                    numbers.push(leaf.n);
                }
            }
            after = found.last().map(|last| last.n);
            if found.len() < SEARCH_LEAVES || after.is_none_or(|after| after >= end) {
                return Ok(numbers);
            }
        }
    }

    /// The roots at older sizes, and that the log has only grown since. A size that the checkpoint does not reach to is left out: whoever
    /// holds it sees that.
    async fn older_heads(&self, sizes: &[u64], note: &SignedCheckpoint) -> Result<Vec<OlderHead>, AppError> {
        let size = note.checkpoint.size;
        let mut wanted: Vec<u64> = sizes.iter().copied().filter(|older| *older > 0 && *older <= size).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut heads = Vec::with_capacity(wanted.len());
        for older in wanted {
            let root = self.access_log.root_at(older).await.map_err(InternalError::from)?;
            let proof = self.access_log.prove_consistency(older, size).await.map_err(InternalError::from)?;
            heads.push(OlderHead { size: older, root, proof });
        }
        Ok(heads)
    }
}

impl Writer {
    async fn write(&self, part: Part) -> Result<(Vec<u8>, Option<Part>), AppError> {
        match part {
            Part::Head => {
                let mut bytes = self.header.to_bytes();
                let before = bundle::hashes_before(self.header.shape, self.header.first);
                self.hashes(&before, &mut bytes).await?;
                let next = match self.header.shape {
                    Shape::Range => Part::Range(self.header.first),
                    Shape::Selected => Part::Selected(0),
                };
                Ok((bytes, Some(next)))
            }
            Part::Range(from) => self.range(from).await,
            Part::Selected(at) => self.selected(at).await,
        }
    }

    async fn range(&self, from: u64) -> Result<(Vec<u8>, Option<Part>), AppError> {
        let end = self.header.end;
        let run_end = bundle::run_end(from, end);
        let wanted = usize::try_from(run_end - from).unwrap_or(usize::MAX).min(STEP_LEAVES);
        let (mut bytes, mut next) = (Vec::new(), from);
        for leaf in self.leaves(from, wanted).await? {
            if leaf.n != next {
                return Err(corrupt(next, "it is missing".into()).into());
            }
            bundle::leaf_block(leaf.n, &leaf.leaf, self.header.with_annex, &mut bytes);
            next += 1;
        }
        if next == from {
            return Err(corrupt(next, "it is missing".into()).into());
        }
        if next == run_end {
            let after = bundle::hashes_after_run(run_end, self.header.note.checkpoint.size);
            self.hashes(&after, &mut bytes).await?;
        }
        Ok((bytes, (next < end).then_some(Part::Range(next))))
    }

    async fn selected(&self, at: usize) -> Result<(Vec<u8>, Option<Part>), AppError> {
        let Some(number) = self.selected.get(at).copied() else { return Ok((Vec::new(), None)) };
        let found = self.leaves(number, 1).await?;
        let leaf = found.first().filter(|leaf| leaf.n == number);
        let leaf = leaf.ok_or_else(|| corrupt(number, "it is missing".into()))?;
        let mut bytes = Vec::new();
        bundle::leaf_block(number, &leaf.leaf, self.header.with_annex, &mut bytes);
        let size = self.header.note.checkpoint.size;
        let path = self.node.access_log.prove_inclusion(size, number).await.map_err(InternalError::from)?;
        bytes.extend(path.iter().flat_map(|hash| hash.0));
        Ok((bytes, Some(Part::Selected(at + 1))))
    }

    async fn leaves(&self, from: u64, limit: usize) -> Result<Vec<StoredLeaf>, AppError> {
        Ok(self.node.access_log.leaves(from, limit).await.map_err(InternalError::from)?)
    }

    async fn hashes(&self, subtrees: &[Subtree], out: &mut Vec<u8>) -> Result<(), AppError> {
        let hashes = self.node.access_log.subtree_hashes(subtrees).await.map_err(InternalError::from)?;
        out.extend(hashes.iter().flat_map(|hash| hash.0));
        Ok(())
    }
}

fn corrupt(leaf: u64, problem: String) -> InternalError {
    InternalError::Corrupt { what: "access log", problem: format!("leaf {leaf}: {problem}") }
}
