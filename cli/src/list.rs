//! `comity list`: the agreed list, its history, and its proof.

mod diff;
mod entries;
mod export;
mod history;
mod publication;
mod verify;
mod watch;

use std::path::PathBuf;

use clap::Subcommand;
use comity_core::list::{Command, EntryId, Ground, Motion};
use comity_proto::v1;
use serde::Serialize;

pub(crate) use self::entries::get as entry;
pub(crate) use self::verify::{FILE_MAX_BYTES, proven};

use crate::failure::Failure;
use crate::page::Page;
use crate::refusal::Asked;
use crate::session::Session;
use crate::{approve, motions, when};

/// The verbs of `comity list`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ListCommand {
    /// Show an entry: who and what, how it stands, on whose consent, and which measures are in force
    Show {
        /// The entry, as CW-2026-0001
        entry: EntryId,
    },
    /// List the entries
    List {
        /// Those that left the list, too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
        limit: u32,
    },
    /// Tell the history of an entry: each publication about it, on whose authority, and what changed
    #[command(after_long_help = "Examples:\n  comity list history CW-2026-0001")]
    History {
        /// The entry, as CW-2026-0001
        entry: EntryId,
    },
    /// Show how far the list is agreed, and by whom
    Status,
    /// Compare the list at two positions: what was added, amended, delisted, merged; which measures were attached or ended
    ///
    /// A position is an export file, or a size of this node's public log such as @12, or @agreed. A file is verified against the
    /// genesis first; a position is taken from the own node's word.
    #[command(
        after_long_help = "Examples:\n  comity list diff january.json july.json --genesis genesis.json\n  comity list diff january.json @agreed\n  comity list diff @0 @agreed -o json\n  comity list diff a.json b.json --genesis genesis.json --exit-code || echo 'they differ'"
    )]
    Diff {
        /// The older position: FILE, @N or @agreed
        a: String,
        /// The newer position: FILE, @N or @agreed
        b: String,
        /// The genesis that files are verified against [default: that of the context]
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// Exit with 9 where they differ
        #[arg(long)]
        exit_code: bool,
    },
    /// Follow the public log: what is there from a leaf on, and then whatever is added
    ///
    /// Goes on through restarts of the node and changes of the leader, and neither leaves a leaf out nor tells one twice. One
    /// line for each leaf; one JSON document a line with -o json.
    #[command(
        after_long_help = "Examples:\n  comity list watch\n  comity list watch --from 120 --agreed -o json >> feed.jsonl"
    )]
    Watch {
        /// The first leaf that is wanted
        #[arg(long, default_value_t = 0, value_name = "LEAF")]
        from: u64,
        /// Wait until enough members have cosigned a position that holds a leaf before telling it
        #[arg(long)]
        agreed: bool,
        /// End after so many leaves
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Give up once the node was out of reach for so long
        #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
        patience_s: u64,
    },
    /// Ask that this member move to take an entry off the list; another person approves
    ///
    /// Where this member proposed the entry, or every measure on it has ended, it is adopted by time unless all other voting
    /// members vote to keep it; else the members vote. Court annulment and mistaken identity erase the text everywhere.
    #[command(
        after_long_help = "Examples:\n  comity list delist CW-2026-0001 --ground death --statement 'Died on 3 May 2026, as the registry of Homs has it.'"
    )]
    Delist {
        /// The entry, as CW-2026-0001
        entry: EntryId,
        /// Why: court_annulment, death, mistaken_identity, criteria_no_longer_met or other
        #[arg(long, value_name = "GROUND")]
        ground: Ground,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member move to merge two entries that are one subject; another person approves
    #[command(
        after_long_help = "Examples:\n  comity list merge CW-2026-0007 --into CW-2026-0001 --statement 'The same man under another transliteration.'"
    )]
    Merge {
        /// The entry that becomes a redirect
        entry: EntryId,
        /// The entry that stays
        #[arg(long, value_name = "ENTRY")]
        into: EntryId,
        /// The reasons, written for publication
        #[arg(long, value_name = "TEXT")]
        statement: String,
    },
    /// Ask that this member record that it has reviewed an entry and keeps it; another person approves
    #[command(after_long_help = "Examples:\n  comity list review CW-2026-0001")]
    Review {
        /// The entry, as CW-2026-0001
        entry: EntryId,
    },
    /// Write the agreed list as one file that proves itself
    #[command(
        after_long_help = "Examples:\n  comity list export -O list.json\n  comity list export --commands -O list.json     # the members' depth: every command, to be replayed\n  comity list verify list.json --genesis genesis.json"
    )]
    Export {
        /// The whole command log too, so that the reader can replay every decision
        #[arg(long)]
        commands: bool,
        /// Where to [default: stdout, unless it is a terminal]
        #[arg(short = 'O', long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// Verify an exported list offline, from the genesis alone
    ///
    /// Needs no node and no context. Every publication is checked against the signed commands of the members that the genesis
    /// and the publications before it name, and the whole against their cosignatures; a file with its commands is replayed
    /// besides. Exit code 8 where it does not prove itself.
    #[command(after_long_help = "Examples:\n  comity list verify list.json --genesis genesis.json")]
    Verify {
        /// The exported list
        file: PathBuf,
        /// The federation's genesis file: all that is trusted
        #[arg(long, value_name = "FILE")]
        genesis: PathBuf,
    },
}

pub(crate) async fn run(command: ListCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        ListCommand::Show { entry } => entries::show(session, &entry).await,
        ListCommand::List { all, limit } => entries::list(session, all, limit as usize).await,
        ListCommand::History { entry } => history::run(session, &entry).await,
        ListCommand::Status => status(session).await,
        ListCommand::Diff { a, b, genesis, exit_code } => diff::run(session, &a, &b, genesis, exit_code).await,
        ListCommand::Watch { from, agreed, limit, patience_s } => {
            watch::run(session, watch::Wanted { from, agreed_only: agreed, limit, patience_s }).await
        }
        ListCommand::Delist { entry, ground, statement } => {
            let look = format!("comity list show {entry}");
            motions::table(session, &Motion::Delist { entry, ground }, statement, &look).await
        }
        ListCommand::Merge { entry, into, statement } => {
            let look = format!("comity list show {entry}");
            motions::table(session, &Motion::Merge { entry, into }, statement, &look).await
        }
        ListCommand::Review { entry } => {
            let node = session.node().await?;
            let asked = Asked::about(format!("entry {entry}"), format!("comity list show {entry}"));
            let request = v1::ReviewEntryRequest { entry: entry.to_string() };
            let approval = node.list().review_entry(request).await.map_err(|s| asked.refused(s))?.into_inner();
            let is_asked = |c: &Command| matches!(c, Command::Review(review) if review.entry == entry);
            approve::deferred(session, &node, approval, is_asked).await
        }
        ListCommand::Export { commands, out, force } => export::run(session, commands, out, force).await,
        ListCommand::Verify { file, genesis } => verify::run(session, &file, &genesis),
    }
}

async fn status(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("list", "comity node status");
    let status =
        node.list().get_list_status(v1::GetListStatusRequest {}).await.map_err(|s| asked.refused(s))?.into_inner();
    let list_time = when::local(status.list_time.as_ref());
    let view = StatusView::from(status);
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&view.name);
        page.field("federation", &view.federation);
        page.field("entries", view.entries.to_string());
        page.field("publications", format!("{}, of which {} agreed", view.publications, view.agreed_publications));
        page.field("commands", format!("{}, of which {} agreed", view.commands, view.agreed_commands));
        page.field("cosigned by", format!("{} ({} are needed)", view.cosigners.join(", "), view.cosigners_needed));
        page.field("missing", view.cosigners_missing.join(", "));
        page.field("list time", list_time);
        page.field("rules version", view.rules_version.to_string());
        page.field("leader", if view.leader.is_empty() { "none is known" } else { view.leader.as_str() });
        page.finish()
    })?;
    if view.fork_alarm {
        session
            .output
            .note("ALARM: two roots of one size were seen. The evidence is kept on the node: call the other members.");
    }
    Ok(())
}

#[derive(Debug, Clone, Serialize)]
struct StatusView {
    federation: String,
    name: String,
    entries: u64,
    commands: u64,
    publications: u64,
    agreed_publications: u64,
    agreed_commands: u64,
    cosigners: Vec<String>,
    cosigners_needed: i32,
    cosigners_missing: Vec<String>,
    list_time: Option<String>,
    rules_version: u32,
    leader: String,
    fork_alarm: bool,
}

impl From<v1::ListStatus> for StatusView {
    fn from(status: v1::ListStatus) -> Self {
        Self {
            list_time: when::rfc3339(status.list_time.as_ref()),
            federation: status.federation,
            name: status.name,
            entries: status.entries,
            commands: status.commands,
            publications: status.publications,
            agreed_publications: status.agreed_publications,
            agreed_commands: status.agreed_commands,
            cosigners: status.cosigners,
            cosigners_needed: status.cosigners_needed,
            cosigners_missing: status.cosigners_missing,
            rules_version: status.rules_version,
            leader: status.leader,
            fork_alarm: status.fork_alarm,
        }
    }
}
