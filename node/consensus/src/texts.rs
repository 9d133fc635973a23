//! Texts that did not come with their commands, asked of the other voting members.
//!
//! Below what a leader says is committed a text may be missing, because it was erased: only what follows says whether it was. A
//! leader that lies could leave one out that everybody needs. So what is missing here and was not erased is asked of everybody,
//! until somebody has it; that it is the one says the digest in the command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use comity_core::canonical::Hex32;
use comity_core::list::PublicText;
use comity_proto::v1;

use crate::consensus::Inner;
use crate::peers::CallError;
use crate::types::NodeId;
use crate::wire;

/// How long whoever is asked may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After how many elections' time the others are asked again, where nobody had it.
const RETRY_ELECTIONS: u32 = 6;
/// For how many elections' time what comes next may still erase it.
const DELAY_ELECTIONS: u32 = 2;
/// How many texts are looked for at one time.
const MAX_TEXTS: usize = 256;

/// Looks for what is missing, for as long as this node runs: when it starts, and whenever a command came without its text.
pub(crate) async fn look(inner: Weak<Inner>, election: Duration) {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(election * DELAY_ELECTIONS).await;
        let Some(now) = inner.upgrade() else { return };
        if now.stopped().is_some() {
            return;
        }
        let left = match now.find_texts(&mut told).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "which texts are missing could not be read");
                1
            }
        };
        let due = now.applied.texts_due();
        drop(now);
        if left > 0 {
            tokio::time::sleep(election * RETRY_ELECTIONS).await;
        } else {
            due.notified().await;
        }
    }
}

impl Inner {
    /// Asks for what is missing; answers how much still is.
    async fn find_texts(&self, told: &mut BTreeSet<Hex32>) -> std::io::Result<usize> {
        let tabled: BTreeMap<Hex32, u64> =
            self.applied.read(|list| list.ballots().map(|ballot| (ballot.public_part, ballot.leaf)).collect());
        let mut missing = self.log.without_text(tabled.keys().copied()).await?;
        let all = missing.len();
        missing.truncate(MAX_TEXTS);
        let mut found = 0;
        for digest in missing {
            let Some(leaf) = tabled.get(&digest) else { continue };
            match self.ask_for_text(digest, *leaf).await {
                Some(text) => {
                    self.log.keep_text(digest, text).await?;
                    tracing::info!(leaf, "a text that did not come with its command was found");
                    found += 1;
                }
                None if told.insert(digest) => {
                    tracing::warn!(
                        leaf,
                        "a command came without its text, and nobody who was asked has that: they are asked again"
                    );
                }
                None => {}
            }
        }
        Ok(all - found)
    }

    /// The text beside a leaf, from whoever has it.
    async fn ask_for_text(&self, digest: Hex32, leaf: u64) -> Option<PublicText> {
        for node in self.peers.others() {
            match self.text_from(node, leaf).await {
                Ok(Some(text)) if text.digest() == digest => return Some(text),
                Ok(_) => {}
                Err(problem) => tracing::debug!(node, %problem, "a text could not be asked for"),
            }
        }
        None
    }

    async fn text_from(&self, node: NodeId, first_leaf: u64) -> Result<Option<PublicText>, CallError> {
        let message = v1::ReadCommandsRequest { sender: Some(self.peers.own().into()), first_leaf, max: 1 };
        let mut pages = self
            .peers
            .call(node, TIMEOUT, message, |mut client, request| async move { client.read_commands(request).await })
            .await?;
        // What is no page is no text.
        let page = match tokio::time::timeout(TIMEOUT, pages.message()).await {
            Ok(Ok(Some(message))) => wire::page(message).ok(),
            _ => None,
        };
        let command = page.filter(|page| page.first == first_leaf).and_then(|page| page.commands.into_iter().next());
        Ok(command.and_then(|command| command.submission().public_text.clone()))
    }
}
