//! Whether all nodes hold the same: what each exports, replayed from the genesis and compared.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_cli::demo::federation::Federation;
use comity_core::canonical;
use comity_core::export::{ListExport, VerifiedList};

use crate::Problem;
use crate::load::Journal;
use crate::reader::Reader;

const POLL: Duration = Duration::from_millis(200);

/// What every node holds.
#[derive(Debug)]
pub struct Agreement {
    /// Every accepted envelope, in order.
    pub commands: Vec<String>,
    /// How many entries the list has.
    pub entries: usize,
    /// How long it took until all nodes held the same, cosigned.
    pub healed_after: Duration,
}

/// Waits until every node holds the same commands and publications and has seen them cosigned, then has each node export
/// what it holds, replays it from the genesis and compares.
///
/// # Errors
/// Says how the nodes differ, where they still do after all the patience.
pub async fn reached(federation: &Federation, patience: Duration) -> Result<Agreement, Problem> {
    let begin = Instant::now();
    let nodes = federation.voters().map(|seat| Reader::at(federation, seat)).collect::<Result<Vec<_>, _>>()?;
    loop {
        let seen = match settled(&nodes).await {
            Ok(()) => {
                let healed_after = begin.elapsed();
                match exported(&nodes, federation).await? {
                    Ok((commands, entries)) => return Ok(Agreement { commands, entries, healed_after }),
                    Err(difference) => difference,
                }
            }
            Err(difference) => difference,
        };
        if begin.elapsed() > patience {
            return Err(format!("the nodes do not agree after {} s: {seen}", patience.as_secs()).into());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Where nodes differ that may yet come to agree.
type Difference = String;

/// Whether all nodes say that they hold equally much, all of it agreed.
async fn settled(nodes: &[Reader]) -> Result<(), Difference> {
    let mut all = Vec::new();
    for node in nodes {
        let status = node.status().await.map_err(|status| format!("{}: {status}", node.member))?;
        if status.fork_alarm {
            return Err(format!("{} has seen two roots of one size", node.member));
        }
        all.push((status.commands, status.agreed_commands, status.publications, status.agreed_publications));
    }
    let one = all.first().copied().unwrap_or_default();
    if one.0 == one.1 && one.2 == one.3 && all.iter().all(|other| *other == one) {
        return Ok(());
    }
    Err(format!("(commands, agreed, publications, agreed) are {all:?}"))
}

/// Exports of all nodes, verified. Nodes may have gone on between two of them: that is a difference, and no fault.
async fn exported(
    nodes: &[Reader],
    federation: &Federation,
) -> Result<Result<(Vec<String>, usize), Difference>, Problem> {
    let genesis = Arc::new(federation.genesis.clone());
    let mut first: Option<(Vec<String>, VerifiedList)> = None;
    for node in nodes {
        let bytes = node.export().await?;
        let proven = ListExport::verify(&bytes, &genesis).map_err(|e| format!("the export of {}: {e}", node.member))?;
        let export: ListExport = canonical::from_slice(&bytes)?;
        let commands = export.commands.map(|c| c.envelopes).unwrap_or_default();
        let Some((others, one)) = &first else {
            first = Some((commands, proven));
            continue;
        };
        if others.len() != commands.len() || one.size != proven.size {
            return Ok(Err(format!("{} went on while others were asked", node.member)));
        }
        if *others != commands || one.root != proven.root || one.list != proven.list {
            return Err(format!("{} holds another list of the same length", node.member).into());
        }
    }
    let (commands, proven) = first.ok_or("no nodes")?;
    Ok(Ok((commands, proven.list.entries().len())))
}

impl Agreement {
    /// Checks that nothing acknowledged was lost, and nothing invented but what nodes say of their own accord.
    ///
    /// # Errors
    /// Says how many commands are missing, or shows one that nobody handed in.
    pub fn keeps(&self, journal: &Journal) -> Result<(), Problem> {
        let held: HashSet<&[u8]> = self.commands.iter().map(|envelope| envelope.as_bytes()).collect();
        let lost = journal.acknowledged.iter().filter(|envelope| !held.contains(envelope.as_slice())).count();
        if lost > 0 {
            return Err(format!("{lost} of {} acknowledged commands are lost", journal.acknowledged.len()).into());
        }
        let handed_in = |envelope: &[u8]| journal.acknowledged.contains(envelope) || journal.unknown.contains(envelope);
        match self.commands.iter().find(|e| !handed_in(e.as_bytes()) && !crate::commands::is_of_a_node(e)) {
            None => Ok(()),
            Some(invented) => Err(format!("nobody handed in {invented}").into()),
        }
    }
}
