//! The agreed list as a file that proves itself, written piece by piece: it never stands in memory as a whole.

use std::sync::Arc;

use comity_consensus::cosign::Agreed;
use comity_core::Envelope;
use comity_core::canonical::{self, Hex32};
use comity_core::export::{ExportedPublication, ExportedText, ListExport};
use comity_core::list::{Authority, Evidence, Publication};
use futures::Stream;
use futures::stream::try_unfold;

use crate::error::{AppError, InternalError};
use crate::node::Node;

/// How many envelopes are read at one time.
const ENVELOPES: usize = 256;

/// What is written next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Head,
    Publication(u64),
    Commands,
    Envelopes(u64),
    End,
    Done,
}

/// An export under way, at a position that does not move.
struct Writer {
    node: Arc<Node>,
    agreed: Agreed,
    include_commands: bool,
}

impl Node {
    /// The agreed list as a file, in pieces; with the whole command log at the members' depth.
    ///
    /// # Errors
    /// Nothing is agreed yet. A piece that cannot be read ends the file.
    pub fn export_list(
        self: &Arc<Self>,
        include_commands: bool,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, AppError>> + Send + use<>, AppError> {
        let agreed = self.agreed().ok_or_else(|| AppError::Precondition {
            reason: "NOTHING_AGREED",
            problem: "no position of the list is agreed yet: see `comity list status`".into(),
        })?;
        let writer = Writer { node: Arc::clone(self), agreed, include_commands };
        Ok(try_unfold((writer, Part::Head), |(writer, part)| async move {
            let Some((bytes, next)) = writer.write(part).await? else { return Ok(None) };
            Ok(Some((bytes, (writer, next))))
        }))
    }
}

impl Writer {
    async fn write(&self, part: Part) -> Result<Option<(Vec<u8>, Part)>, AppError> {
        let publications = self.agreed.heads.public.checkpoint.size;
        let commands = self.agreed.heads.commands.checkpoint.size;
        Ok(Some(match part {
            Part::Head => (self.head(), if publications == 0 { Part::Commands } else { Part::Publication(0) }),
            Part::Publication(leaf) => {
                let next = leaf + 1;
                let next = if next < publications { Part::Publication(next) } else { Part::Commands };
                (separated(leaf > 0, &self.publication(leaf).await?), next)
            }
            Part::Commands if self.include_commands => {
                let checkpoint = json(&text(&self.agreed.heads.commands.to_bytes()));
                let start = format!("],\"commands\":{{\"checkpoint\":{checkpoint},\"envelopes\":[");
                (start.into_bytes(), if commands == 0 { Part::End } else { Part::Envelopes(0) })
            }
            Part::Commands => (b"]}".to_vec(), Part::Done),
            Part::Envelopes(first) => {
                let wanted = usize::try_from(commands - first).unwrap_or(usize::MAX).min(ENVELOPES);
                let envelopes = self.node.consensus.envelopes(first, wanted).await.map_err(InternalError::List)?;
                if envelopes.is_empty() {
                    return Err(missing("command", format!("leaf {first} is missing")).into());
                }
                let mut bytes = Vec::new();
                for (envelope, leaf) in envelopes.iter().zip(first..) {
                    bytes.extend(separated(leaf > 0, &text(envelope)));
                }
                let next = first + envelopes.len() as u64;
                (bytes, if next < commands { Part::Envelopes(next) } else { Part::End })
            }
            Part::End => (b"]}}".to_vec(), Part::Done),
            Part::Done => return Ok(None),
        }))
    }

    /// Everything before the first publication, in the order of [`ListExport`]'s fields.
    fn head(&self) -> Vec<u8> {
        let format = json(&ListExport::FORMAT);
        let federation = json(&self.node.genesis.federation());
        let checkpoint = json(&text(&self.agreed.heads.public.to_bytes()));
        format!("{{\"format\":{format},\"federation\":{federation},\"checkpoint\":{checkpoint},\"publications\":[")
            .into_bytes()
    }

    async fn publication(&self, leaf: u64) -> Result<ExportedPublication, AppError> {
        let consensus = &self.node.consensus;
        let found = consensus.read(|list| Some((list.publication(leaf)?.to_vec(), list.evidence(leaf)?)));
        let (bytes, evidence): (Vec<u8>, Evidence) =
            found.ok_or_else(|| missing("publication", format!("leaf {leaf} has none")))?;
        let publication = Publication::from_bytes(&bytes).map_err(|e| missing("publication", e.to_string()))?;
        let decided = match &publication.by {
            // Nothing where the listing was annulled since: its text is erased everywhere.
            Authority::Ballot(decided) => {
                consensus.public_text(decided.public_part).await.map_err(InternalError::List)?
            }
            Authority::Member(_) => None,
        };
        let mut envelopes = Vec::with_capacity(evidence.commands.len());
        for (command, hash) in evidence.commands {
            envelopes.push(self.published(command, hash).await?);
        }
        Ok(ExportedPublication {
            leaf: text(&bytes),
            text: decided.as_ref().map(ExportedText::from),
            evidence: envelopes,
        })
    }

    /// A command as it is published: with its member's own signature alone, so that the keys of people stay with the members.
    async fn published(&self, leaf: u64, hash: Hex32) -> Result<String, AppError> {
        let envelope = self.node.consensus.envelope(leaf).await.map_err(InternalError::List)?;
        let envelope = envelope.ok_or_else(|| missing("command", format!("leaf {leaf} is missing")))?;
        let envelope = Envelope::from_bytes(&envelope).map_err(|e| missing("command", e.to_string()))?;
        let published = envelope.published_as(hash);
        let published =
            published.ok_or_else(|| missing("command", format!("leaf {leaf} is not what was published")))?;
        Ok(text(&published.to_bytes()))
    }
}

fn missing(what: &'static str, problem: String) -> InternalError {
    InternalError::Corrupt { what, problem }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(value: &impl serde::Serialize) -> String {
    text(&canonical::to_vec(value))
}

fn separated(comma: bool, value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = if comma { vec![b','] } else { Vec::new() };
    bytes.extend(canonical::to_vec(value));
    bytes
}
