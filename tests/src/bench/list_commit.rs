//! `list-commit`: signed commands committed a second by three node processes over mutual TLS, disks synced.
//!
//! Each client goes round in a circle: it tables a proposal of a member, and two members vote yes, which lists it (quorum 2 of
//! 3). Each of the three is a command with its own signature, handed to the leader's peer port in the name of another member's
//! node, and acknowledged once a majority has it on disk. Nodes check every signature, apply, publish and cosign meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_cli::demo::federation::{Federation, Plan};
use comity_core::list::Choice;
use tokio::task::JoinSet;

use super::measure::{Taken, Window};
use super::process::Watched;
use super::report::{Row, note};
use super::{Options, reference};
use crate::Problem;
use crate::commands::{Authors, Signed};
use crate::door::{Answer, Door, leader};
use crate::federation::{lay_out, plan};
use crate::reader::Reader;
use crate::seed::Dice;

const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];
/// How many clients, where no case is named.
pub(super) const CASES: [usize; 4] = [1, 16, 64, 256];
/// Connections that the clients share, as the sessions of one partner's node would.
pub(super) const CONNECTIONS: usize = 4;
/// Not measured, at the beginning of each case.
pub(super) const WARM_UP: Duration = Duration::from_secs(2);
/// Longer than a leader allows itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this benchmark takes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CommitOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// Every member requires its people's signatures: each command then carries three
    #[arg(long)]
    pub(super) people: bool,
}

/// Runs the cases, each on a federation of its own.
pub(super) async fn run(CommitOptions { options, people }: &CommitOptions) -> Result<Vec<Row>, Problem> {
    // One case alone is one row alone.
    let mut rows = if options.case.is_none() { reference::rows()? } else { Vec::new() };
    for clients in cases(options)? {
        note(&format!("list-commit: {clients} clients for {} s", options.seconds));
        let federation = TestBed::start(*people).await?;
        let taken = federation.take(clients, WARM_UP, Duration::from_secs(options.seconds)).await;
        let bench = if *people { "list-commit people" } else { "list-commit" };
        let row = taken.map(|taken| taken.row(bench, clients.to_string(), &federation.nodes()));
        federation.shut_down().await;
        rows.push(row?);
    }
    Ok(rows)
}

/// The numbers of clients that were asked for.
pub(super) fn cases(options: &Options) -> Result<Vec<usize>, Problem> {
    match &options.case {
        Some(case) => Ok(vec![case.parse().map_err(|_| format!("--case {case}: expected a number of clients"))?]),
        None => Ok(CASES.to_vec()),
    }
}

/// A federation that runs, and the ways to its leader.
pub(super) struct TestBed {
    federation: Federation,
    clerks: Vec<Arc<Clerk>>,
    _folder: tempfile::TempDir,
}

impl TestBed {
    /// Three nodes as ministries would run them: every setting at its default. Where `people` sign, too, each command carries the
    /// signatures of two besides its member's.
    pub(super) async fn start(people: bool) -> Result<Self, Problem> {
        let folder = tempfile::tempdir()?;
        let plan = Plan { settings: String::new(), ..plan(&MEMBERS, "quorum(2/3)")? };
        let mut federation = lay_out(folder.path(), &plan, std::env::current_exe()?)?;
        federation.start(Duration::from_secs(60)).await?;
        let leader = leader(&federation).await?;
        let mut authors = Authors::of(&federation)?;
        if people {
            authors.require_people(&federation).await?;
        }
        let mut clerks = Vec::new();
        for _ in 0..CONNECTIONS {
            clerks.push(Arc::new(Clerk { authors: authors.clone(), door: Door::to(&federation, leader)? }));
        }
        Ok(Self { federation, clerks, _folder: folder })
    }

    /// The node processes.
    pub(super) fn nodes(&self) -> Vec<Watched> {
        Watched::nodes(&self.federation)
    }

    /// One of the ways to the leader.
    pub(super) fn clerk(&self) -> Result<Arc<Clerk>, Problem> {
        Ok(Arc::clone(self.clerks.first().ok_or("no clerks")?))
    }

    /// Whoever reads at a node that does not lead.
    pub(super) fn follower(&self) -> Result<Reader, Problem> {
        let leader = self.clerk()?.door.member;
        let seat = self.federation.seats.iter().find(|seat| seat.member != leader).ok_or("a federation of one")?;
        Reader::at(&self.federation, seat)
    }

    /// Lets so many clients go round, and measures them.
    pub(super) async fn take(&self, clients: usize, warm_up: Duration, length: Duration) -> Result<Taken, Problem> {
        let window = Window::after(warm_up, length);
        let mut tasks = JoinSet::new();
        for (client, clerk) in (0..clients).zip(self.clerks.iter().cycle()) {
            tasks.spawn(circle(Arc::clone(clerk), client, window));
        }
        Taken::from(tasks, window, &self.nodes()).await
    }

    pub(super) async fn shut_down(mut self) {
        self.federation.shut_down(Duration::from_secs(15)).await;
    }
}

/// Whoever writes and hands in over one connection.
pub(super) struct Clerk {
    pub(super) authors: Authors,
    door: Door,
}

/// One client: table, vote, vote, and again, until the time is up. Returns the latencies of what counts.
async fn circle(clerk: Arc<Clerk>, client: usize, window: Window) -> Result<Vec<u64>, Problem> {
    let mut dice = Dice::fresh()?;
    let mut latencies = Vec::new();
    let mut turn = client;
    while window.is_open() {
        let table = clerk.authors.table(turn, &mut dice).ok_or("no members")?;
        let ballot = table.ballot;
        latencies.extend(hand_in(&clerk, table, window).await?);
        for voter in [turn, turn + 1] {
            let vote = clerk.authors.vote(voter, ballot, Choice::Yes, &mut dice).ok_or("no members")?;
            latencies.extend(hand_in(&clerk, vote, window).await?);
        }
        turn += 1;
    }
    Ok(latencies)
}

async fn hand_in(clerk: &Clerk, command: Signed, window: Window) -> Result<Option<u64>, Problem> {
    let begin = Instant::now();
    hand_in_now(clerk, &command).await?;
    Ok(window.latency_us(begin))
}

/// Hands a command in and waits until it is committed.
pub(super) async fn hand_in_now(clerk: &Clerk, command: &Signed) -> Result<(), Problem> {
    match clerk.door.hand_in(command, PATIENCE).await? {
        Answer::Committed => Ok(()),
        Answer::NotLeader(_) => Err("the leader changed during the measurement".into()),
    }
}
