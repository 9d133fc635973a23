//! The command log in pages, for whoever lacks some of it.

use std::pin::Pin;
use std::time::Duration;

use comity_proto::v1;
use futures::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::Status;

use crate::guard::Turned;
use crate::log_store::LogStore;
use crate::state_machine::Applied;
use crate::wire::{self, BATCH_MAX_BYTES, MAX_ENTRIES};

/// How many are read at one time.
pub(crate) const MAX_STREAMS: usize = 64;
/// How long one goes on. Whoever wants more asks again.
const STREAM_MAX_DURATION: Duration = Duration::from_secs(60);

pub(crate) type Pages = Pin<Box<dyn Stream<Item = Result<v1::ReadCommandsResponse, Status>> + Send>>;

/// At most `max` leaves from `first` on. The next page is read when the one before is taken.
pub(crate) fn of(
    log: LogStore,
    applied: &Applied,
    first: u64,
    max: u64,
    permit: OwnedSemaphorePermit,
) -> Result<Pages, Turned> {
    let (commands, root) = applied.read(|list| {
        (list.commands().size(), list.commands().root_at(first).filter(|_| first <= list.commands().size()))
    });
    let root = root.ok_or(Turned::NoSuchLeaf { first, commands })?;
    let (end, until) = (first.saturating_add(max).min(commands), Instant::now() + STREAM_MAX_DURATION);
    // The first page says on what it goes on, whether or not it holds anything.
    let pages = stream::try_unfold((first, Some(root), permit), move |(next, root, permit)| {
        let log = log.clone();
        async move {
            if root.is_none() && (next >= end || Instant::now() > until) {
                return Ok(None);
            }
            let limit = usize::try_from(end - next).unwrap_or(usize::MAX).min(MAX_ENTRIES);
            let found = log.commands(next, limit, BATCH_MAX_BYTES).await.map_err(Turned::Log)?;
            if found.is_empty() && root.is_none() {
                return Ok(None);
            }
            let page = v1::ReadCommandsResponse {
                first_leaf: next,
                commands: found.iter().map(wire::from_submission).collect(),
                root_before: root.map(|root| root.0.to_vec()).unwrap_or_default(),
            };
            Ok(Some((page, (next + found.len() as u64, None, permit))))
        }
    });
    Ok(Box::pin(pages))
}
