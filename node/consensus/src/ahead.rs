//! A node that was away while others came may know nobody who leads now: it refuses whom its roster does not name. It asks those
//! whom it does know for what was decided since, and replays that, to learn who decides now.
//!
//! INVARIANT: what is found here says whom this node hears and reaches, no more: the list itself comes from the log alone. And
//! nothing is believed but what follows from signed commands.

use std::sync::{Arc, Weak};
use std::time::Duration;

use comity_core::list::ListState;
use comity_proto::v1;
use openraft::async_runtime::WatchReceiver as _;

use crate::consensus::Inner;
use crate::pull::PullError;
use crate::types::{Keys, NodeId};
use crate::verify;
use crate::wire::{self, InvalidMessage};

/// How long one of them may take for the next page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many leaves are asked for at one time: the rest comes the next time.
const CALL_MAX_LEAVES: u64 = 65_536;

/// Looks whether anything was missed, for as long as this node runs, whenever it has heard of no leader for `quiet`.
pub(crate) async fn look(inner: Weak<Inner>, quiet: Duration) {
    loop {
        tokio::time::sleep(quiet).await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.stopped().is_some() {
            return;
        }
        inner.applied.forget_what_is_behind();
        let leads = inner.raft.server_metrics().borrow_watched().current_leader == Some(inner.peers.own().node);
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        if leads || inner.heard.ms_ago().is_some_and(|ago| ago < quiet_ms) {
            continue;
        }
        for node in inner.peers.others() {
            let mut read = inner.read_ahead(node).await;
            // What was found before came from somebody whose log is another than this peer's: anew from what is applied.
            if let Err(PullError::OtherHistory { own, .. }) = &read
                && inner.applied.forget_ahead(*own)
            {
                read = inner.read_ahead(node).await;
            }
            match read {
                Ok(None) => {}
                Ok(Some(list)) => {
                    let (commands, version) = (list.commands().size(), list.roster().version());
                    tracing::info!(node, commands, version, "no leader is heard: what was missed says who decides now");
                    inner.applied.ahead(Arc::new(list));
                    break;
                }
                Err(problem) => tracing::debug!(node, %problem, "what was missed could not be read"),
            }
        }
    }
}

impl Inner {
    /// The list that follows from what a peer has beyond the furthest that is known here; nothing where it has no more.
    async fn read_ahead(&self, node: NodeId) -> Result<Option<ListState>, PullError> {
        let (first_leaf, own) = self.applied.furthest(|list| (list.commands().size(), list.commands().root()));
        let message =
            v1::ReadCommandsRequest { sender: Some(self.peers.own().into()), first_leaf, max: CALL_MAX_LEAVES };
        let mut pages = self
            .peers
            .call(node, PAGE_TIMEOUT, message, |mut client, request| async move { client.read_commands(request).await })
            .await?;
        let mut list = None;
        loop {
            let commands = list.as_ref().map_or(first_leaf, |list: &ListState| list.commands().size());
            let broken = |problem: &str| PullError::Broken { commands, problem: problem.to_owned() };
            let message = match tokio::time::timeout(PAGE_TIMEOUT, pages.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return Ok(list),
                // What came so far holds by itself.
                Ok(Err(_)) | Err(_) if list.is_some() => return Ok(list),
                Ok(Err(status)) => return Err(broken(status.message())),
                Err(_) => return Err(broken("the next page did not come in time")),
            };
            let page = wire::page(message)?;
            if page.first != commands {
                return Err(PullError::OtherLeaf { expected: commands, found: page.first });
            }
            if list.is_none() {
                let theirs = page.root_before.ok_or(InvalidMessage::Missing("root_before"))?;
                if theirs != own {
                    return Err(PullError::OtherHistory { commands, own: commands, ours: own, theirs });
                }
            }
            if page.commands.is_empty() {
                continue;
            }
            // Cloned only where there is something to put on it.
            let mut replayed = match list.take() {
                Some(list) => list,
                None => self.applied.furthest(Clone::clone),
            };
            verify::all(&Keys::of(&replayed), page.commands.iter()).await;
            for command in &page.commands {
                let (leaf, keys) = (replayed.commands().size(), Keys::of(&replayed));
                let checked = command.check(&keys).map_err(Clone::clone);
                let accepted = checked.and_then(|checked| replayed.apply_checked(checked));
                let accepted = accepted.map_err(|refusal| PullError::NotAccepted { leaf, refusal })?;
                if accepted.repeated {
                    return Err(PullError::Repeated { leaf, earlier: accepted.leaf });
                }
            }
            list = Some(replayed);
        }
    }
}
