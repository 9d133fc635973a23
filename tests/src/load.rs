//! Clients that go on handing commands in whatever happens to the nodes, and remember what was acknowledged.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use comity_cli::demo::federation::Federation;
use comity_core::list::Choice;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;

use crate::Problem;
use crate::commands::{Authors, Signed};
use crate::door::{Answer, Door};
use crate::seed::{Dice, Seed};

/// A little longer than a node allows itself.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(50);

/// What clients know of the commands that they handed in, by their exact text.
#[derive(Debug, Default)]
pub struct Journal {
    /// A node said that it is in the log for good.
    pub acknowledged: HashSet<Vec<u8>>,
    /// No node said so before the client gave up: it may be in the log or not.
    pub unknown: HashSet<Vec<u8>>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<Result<Journal, Problem>>,
    stop: watch::Sender<bool>,
    acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// Sets so many clients to work. Each tables, votes twice, which lists, and again, with a pause after each command.
    ///
    /// # Errors
    /// A key or certificate cannot be read.
    pub fn start(federation: &Federation, clients: usize, pause: Duration, seed: &Seed) -> Result<Self, Problem> {
        let (stop, stopped) = watch::channel(false);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let authors = Arc::new(Authors::of(federation)?);
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let client = Client {
                authors: Arc::clone(&authors),
                doors: Door::to_all(federation)?,
                at: client,
                turn: client,
                pause,
                dice: seed.dice(&format!("client {client}")),
                stopped: stopped.clone(),
                acknowledged: Arc::clone(&acknowledged),
                journal: Journal::default(),
            };
            tasks.spawn(client.run());
        }
        Ok(Self { clients: tasks, stop, acknowledged })
    }

    /// How many commands were acknowledged up to now.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets the clients end what they are at, and returns what they know.
    ///
    /// # Errors
    /// A node turned a command away that it must take.
    pub async fn end(mut self) -> Result<Journal, Problem> {
        let _ = self.stop.send(true);
        let mut journal = Journal::default();
        while let Some(client) = self.clients.join_next().await {
            let known = client??;
            journal.acknowledged.extend(known.acknowledged);
            journal.unknown.extend(known.unknown);
        }
        Ok(journal)
    }
}

struct Client {
    authors: Arc<Authors>,
    doors: Vec<Door>,
    /// The door that it tries next.
    at: usize,
    turn: usize,
    pause: Duration,
    dice: Dice,
    stopped: watch::Receiver<bool>,
    acknowledged: Arc<AtomicU64>,
    journal: Journal,
}

impl Client {
    async fn run(mut self) -> Result<Journal, Problem> {
        while self.circle().await? {}
        Ok(self.journal)
    }

    /// Tables and votes; says whether to go on.
    async fn circle(&mut self) -> Result<bool, Problem> {
        let turn = self.turn;
        self.turn += 1;
        let table = self.authors.table(turn, &mut self.dice).ok_or("no members")?;
        let ballot = table.ballot;
        if !self.hand_in(table).await? {
            return Ok(false);
        }
        for voter in [turn, turn + 1] {
            let vote = self.authors.vote(voter, ballot, Choice::Yes, &mut self.dice).ok_or("no members")?;
            if !self.hand_in(vote).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Hands one command in, again and again and here and there, until it is acknowledged; says whether it was.
    async fn hand_in(&mut self, command: Signed) -> Result<bool, Problem> {
        while !*self.stopped.borrow() {
            let door = self.doors.get(self.at % self.doors.len().max(1)).ok_or("no nodes")?;
            match door.hand_in(&command, PATIENCE).await {
                Ok(Answer::Committed) => {
                    self.journal.acknowledged.insert(command.envelope);
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(self.pause).await;
                    return Ok(true);
                }
                Ok(Answer::NotLeader(Some(leader))) => {
                    let leader = self.doors.iter().position(|door| door.member == leader);
                    self.at = leader.unwrap_or_else(|| self.dice.below(self.doors.len()));
                }
                Ok(Answer::NotLeader(None)) => self.at = self.dice.below(self.doors.len()),
                Err(status) if is_refusal(status.code()) => {
                    return Err(format!("{} turned a good command away: {status}", door.member).into());
                }
                Err(_) => self.at = self.dice.below(self.doors.len()),
            }
            tokio::time::sleep(RETRY).await;
        }
        self.journal.unknown.insert(command.envelope);
        Ok(false)
    }
}

/// Whether a node says that the command is wrong, and not that it cannot take it now.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied | Code::Unimplemented)
}
