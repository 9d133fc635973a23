//! `list-grow`: how commits, start-up, memory and disk fare with a long history.
//!
//! A federation of four, three of whose nodes run, lists entry after entry the real way: one command tables, two votes list
//! (quorum 1 of 2). Then a node is started again with that history, and the fourth, which has never run, is started empty.
//!
//! A history too long for that is loaded: `--fixture` writes it into the databases of the three before they start.

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use comity_cli::demo::federation::{Federation, Plan};
use comity_core::list::Choice;
use tokio::task::JoinSet;

use super::Options;
use super::measure::{Taken, micros};
use super::process::{Watched, peak_rss_mib};
use super::report::{Row, note};
use crate::Problem;
use crate::commands::Authors;
use crate::door::{Answer, Door, leader};
use crate::federation::{lay_out, plan};
use crate::reader::Reader;
use crate::seed::Dice;

const MEMBERS: [&str; 4] = ["FR", "DE", "CA", "GB"];
/// The seat whose node starts last.
const LATE: usize = 3;
/// How many entries, where no case is named.
const CASES: [u64; 2] = [10_000, 100_000];
/// More entries than this are not listed the real way within an hour.
const REAL_MAX: u64 = 200_000;
/// Entries that are listed the real way upon a fixture.
const UPON_FIXTURE: u64 = 1_000;
const PARTS: u64 = 10;
const CLIENTS: usize = 64;
const CONNECTIONS: usize = 4;
/// Longer than a leader allows itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a start with a long history, on a slow machine.
const START_PATIENCE: Duration = Duration::from_secs(1_800);
const POLL: Duration = Duration::from_millis(20);

/// What `list-grow` takes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct GrowOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// Write the history into the nodes' databases instead of listing entry after entry; for 1000000
    #[arg(long)]
    fixture: bool,
}

/// Runs the cases, each on a federation of its own.
pub(super) async fn run(GrowOptions { options, fixture }: &GrowOptions) -> Result<Vec<Row>, Problem> {
    let cases = match &options.case {
        Some(case) => vec![case.parse().map_err(|_| format!("--case {case}: expected a number of entries"))?],
        None => CASES.to_vec(),
    };
    let mut rows = Vec::new();
    for entries in cases {
        let folder = tempfile::tempdir()?;
        // As ministries would run it: every setting at its default.
        let plan = Plan { settings: String::new(), ..plan(&MEMBERS, "quorum(1/2)")? };
        let mut federation = lay_out(folder.path(), &plan, std::env::current_exe()?)?;
        let measured = if *fixture {
            loaded(&mut federation, entries).await
        } else if entries > REAL_MAX {
            Err(format!("--case {entries}: more than {REAL_MAX} entries take --fixture").into())
        } else {
            listed(&mut federation, entries).await
        };
        federation.shut_down(Duration::from_secs(30)).await;
        rows.extend(measured?);
    }
    Ok(rows)
}

fn early() -> impl Iterator<Item = usize> {
    (0..MEMBERS.len()).filter(|seat| *seat != LATE)
}

/// Entries that are listed the real way.
async fn listed(federation: &mut Federation, entries: u64) -> Result<Vec<Row>, Problem> {
    start_early(federation).await?;
    let mut rows = Vec::new();
    for part in 1..=PARTS {
        note(&format!("list-grow: {entries} entries, part {part} of {PARTS}"));
        let taken = grow(federation, entries / PARTS).await?;
        rows.push(taken.row("list-grow", format!("{entries}: {part}/{PARTS}"), &Watched::nodes(federation)));
    }
    rows.extend(starts(federation, entries).await?);
    Ok(rows)
}

/// Entries that are loaded, and a few more listed upon them.
async fn loaded(federation: &mut Federation, entries: u64) -> Result<Vec<Row>, Problem> {
    let seats: Vec<usize> = early().collect();
    fixture::load(federation, &seats, entries).await?;
    note(&format!("list-grow: {entries} entries, the nodes start"));
    start_early(federation).await?;
    let taken = grow(federation, UPON_FIXTURE).await?;
    let mut rows = vec![taken.row("list-grow", format!("{entries}: upon them"), &Watched::nodes(federation))];
    rows.extend(starts(federation, entries).await?);
    Ok(rows)
}

async fn start_early(federation: &mut Federation) -> Result<(), Problem> {
    for seat in early() {
        federation.spawn(seat)?;
    }
    for seat in early() {
        federation.wait_serving(seat, START_PATIENCE).await?;
    }
    Ok(())
}

/// A node starts with what it has, and one with nothing.
async fn starts(federation: &mut Federation, entries: u64) -> Result<Vec<Row>, Problem> {
    let leader = leader(federation).await?;
    let again = federation.seats.iter().position(|seat| seat.member != leader).ok_or("a federation of one")?;
    let commands = commands(federation, again).await?;
    note(&format!("list-grow: {entries} entries, a node starts again"));
    federation.stop(again, Duration::from_secs(30)).await;
    let with_it = start(federation, again, commands, format!("{entries}: started again")).await?;
    note(&format!("list-grow: {entries} entries, an empty node starts"));
    let empty = start(federation, LATE, commands, format!("{entries}: started empty")).await?;
    Ok(vec![with_it, empty])
}

/// Lists so many entries.
async fn grow(federation: &Federation, entries: u64) -> Result<Taken, Problem> {
    let leader = leader(federation).await?;
    let authors = Arc::new(Authors::of(federation)?);
    let mut doors = Vec::new();
    for _ in 0..CONNECTIONS {
        doors.push(Door::to(federation, leader)?);
    }
    let taken = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for (client, door) in (0..CLIENTS).zip(doors.iter().cycle()) {
        let (authors, door, taken) = (Arc::clone(&authors), door.clone(), Arc::clone(&taken));
        clients.spawn(async move {
            let mut dice = Dice::fresh()?;
            let mut latencies = Vec::new();
            let mut turn = client;
            while taken.fetch_add(1, Ordering::Relaxed) < entries {
                list(&authors, &door, turn, &mut dice, &mut latencies).await?;
                turn += 1;
            }
            Ok(latencies)
        });
    }
    Taken::of_all(clients, &Watched::nodes(federation)).await
}

/// One entry: table, vote, vote.
async fn list(
    authors: &Authors,
    door: &Door,
    turn: usize,
    dice: &mut Dice,
    latencies: &mut Vec<u64>,
) -> Result<(), Problem> {
    let table = authors.table(turn, dice).ok_or("no members")?;
    let ballot = table.ballot;
    let mut votes = Vec::new();
    for voter in [turn, turn + 1] {
        votes.push(authors.vote(voter, ballot, Choice::Yes, dice).ok_or("no members")?);
    }
    for command in std::iter::once(table).chain(votes) {
        let begin = Instant::now();
        match door.hand_in(&command, PATIENCE).await? {
            Answer::Committed => latencies.push(micros(begin.elapsed())),
            Answer::NotLeader(_) => return Err("the leader changed during the measurement".into()),
        }
    }
    Ok(())
}

async fn commands(federation: &Federation, seat: usize) -> Result<u64, Problem> {
    let seat = federation.seats.get(seat).ok_or("no seat")?;
    Ok(Reader::at(federation, seat)?.status().await?.commands)
}

/// Starts a node and waits until it serves and holds so many commands.
async fn start(federation: &mut Federation, seat: usize, commands: u64, case: String) -> Result<Row, Problem> {
    let begin = Instant::now();
    federation.spawn(seat)?;
    federation.wait_serving(seat, START_PATIENCE).await?;
    let reader = Reader::at(federation, federation.seats.get(seat).ok_or("no seat")?)?;
    while reader.known_status().await?.commands < commands {
        if begin.elapsed() > START_PATIENCE {
            return Err(format!("{} does not hold {commands} commands", reader.member).into());
        }
        tokio::time::sleep(POLL).await;
    }
    let took = begin.elapsed();
    let node = Watched::nodes(federation).into_iter().find(|n| Some(n.pid) == federation.process_id(seat));
    let node = node.ok_or("the node ended")?;
    Ok(Row {
        bench: "list-grow",
        case,
        per_s: commands as f64 / took.as_secs_f64(),
        p50_us: micros(took),
        p99_us: micros(took),
        cpu_us_op: super::process::cpu_seconds(node.pid) * 1e6 / (commands.max(1) as f64),
        rss_mb: peak_rss_mib(node.pid),
        disk_mb: node.disk_mib(),
        operations: commands,
        seconds: took.as_secs_f64(),
    })
}
