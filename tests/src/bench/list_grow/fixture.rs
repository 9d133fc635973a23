//! A history that no federation went through: accepted commands, signed, written straight into `consensus.db`.
//!
//! A node that starts with it replays it as it replays its own, every signature and rule checked; so this must be what nodes
//! would have accepted. It stands before the log as commands do whose entries are purged.

use std::path::Path;
use std::time::{Duration, Instant};

use comity_cli::demo::federation::Federation;
use comity_core::list::Choice;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::Problem;
use crate::bench::report::note;
use crate::commands::{Authors, Signed};
use crate::seed::Dice;

/// Rows written at a time.
const BATCH_ENTRIES: u64 = 10_000;
const POLL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives some seats so many entries, each of three commands. None of their nodes may have run yet. Returns how many commands
/// they hold.
pub(super) async fn load(federation: &mut Federation, seats: &[usize], entries: u64) -> Result<u64, Problem> {
    let mut databases = Vec::new();
    for seat in seats {
        databases.push(empty(federation, *seat).await?);
    }
    let authors = Authors::of(federation)?;
    let mut dice = Dice::fresh()?;
    let mut leaf = 0i64;
    let mut listed = 0;
    while listed < entries {
        let batch = BATCH_ENTRIES.min(entries - listed);
        let mut commands = Vec::new();
        for turn in (0usize..).take(usize::try_from(batch)?) {
            commands.extend(entry(&authors, turn, &mut dice)?);
        }
        for database in &mut databases {
            write(database, leaf, &commands).await?;
        }
        leaf += i64::try_from(commands.len())?;
        listed += batch;
        note(&format!("fixture: {listed} of {entries} entries"));
    }
    // The commands stand before the one entry that there is, the membership. Each node wrote it in its own name; whichever was
    // elected would have put its own in place of the others'.
    let elected = databases.first_mut().ok_or("no seats")?;
    let elected: i64 = sqlx::query("SELECT leader FROM raft_log WHERE idx = 0").fetch_one(elected).await?.try_get(0)?;
    for mut database in databases {
        sqlx::query("INSERT INTO purged SELECT 1, term, $2, idx, $1, term, $2, idx, body FROM raft_log WHERE idx = 0")
            .bind(leaf)
            .bind(elected)
            .execute(&mut database)
            .await?;
        sqlx::query("DELETE FROM raft_log").execute(&mut database).await?;
        database.close().await?;
    }
    Ok(u64::try_from(leaf)?)
}

/// A node's database with the membership at the beginning of its log and nothing else: written by the node itself, which is
/// alone and so decides nothing.
async fn empty(federation: &mut Federation, seat: usize) -> Result<SqliteConnection, Problem> {
    federation.spawn(seat)?;
    let folder = federation.seats.get(seat).ok_or("no seat")?.folder.join("data");
    let begin = Instant::now();
    while !begun(&folder.join("consensus.db")).await {
        if begin.elapsed() > PATIENCE {
            return Err(format!("{} did not begin its log", folder.display()).into());
        }
        tokio::time::sleep(POLL).await;
    }
    federation.kill(seat);
    // A fixture that is half written is thrown away: nothing is synced before the end.
    let options = options(&folder.join("consensus.db")).synchronous(SqliteSynchronous::Off);
    let mut database = options.connect().await?;
    let commands: i64 =
        sqlx::query("SELECT count(*) FROM raft_log WHERE kind = 1").fetch_one(&mut database).await?.try_get(0)?;
    if commands > 0 {
        return Err("a node that is alone decided something".into());
    }
    sqlx::raw_sql("DELETE FROM raft_log WHERE idx > 0; DELETE FROM raft_vote; DELETE FROM raft_committed")
        .execute(&mut database)
        .await?;
    Ok(database)
}

fn options(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    options.busy_timeout(Duration::from_secs(10)).disable_statement_logging()
}

async fn begun(path: &Path) -> bool {
    let Ok(mut database) = options(path).read_only(true).connect().await else { return false };
    sqlx::query("SELECT 1 FROM raft_log WHERE idx = 0 AND kind = 2").fetch_one(&mut database).await.is_ok()
}

/// One entry: table, vote, vote.
fn entry(authors: &Authors, turn: usize, dice: &mut Dice) -> Result<[Signed; 3], Problem> {
    let table = authors.table(turn, dice).ok_or("no members")?;
    let ballot = table.ballot;
    let mut vote = |n| authors.vote(n, ballot, Choice::Yes, dice).ok_or("no members");
    let votes = (vote(turn)?, vote(turn + 1)?);
    Ok([table, votes.0, votes.1])
}

async fn write(database: &mut SqliteConnection, first: i64, commands: &[Signed]) -> Result<(), Problem> {
    let mut transaction = database.begin().await?;
    for (leaf, command) in (first..).zip(commands) {
        let digest = command.text.as_ref().map(|text| text.digest().0.to_vec());
        sqlx::query("INSERT INTO command (leaf, envelope, text_digest) VALUES ($1, $2, $3)")
            .bind(leaf)
            .bind(command.envelope.as_slice())
            .bind(digest.as_deref())
            .execute(&mut *transaction)
            .await?;
        if let (Some(text), Some(digest)) = (&command.text, digest) {
            sqlx::query("INSERT INTO public_text (digest, salt, text) VALUES ($1, $2, $3)")
                .bind(digest)
                .bind(text.salt.0.as_slice())
                .bind(text.bytes.as_slice())
                .execute(&mut *transaction)
                .await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}
