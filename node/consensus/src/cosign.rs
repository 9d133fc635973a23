//! Cosigning: each node signs the roots that it computed itself, and a position is agreed once enough members have.
//!
//! INVARIANT: nobody cosigns two roots of one size. What is signed is durable before the signature exists; a peer's valid
//! signature over another root of a size that this node knows is a fork: both notes are kept and the alarm stays up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use comity_core::canonical::Hex32;
use comity_core::checkpoint::{Checkpoint, InvalidCheckpoint, SignedCheckpoint};
use comity_core::export::cosigners_of;
use comity_core::genesis::{Genesis, RosterMember};
use comity_core::list::ListState;
use comity_core::roster::{Voter, Voters};
use comity_core::{MemberId, Timestamp};
use ed25519_dalek::SigningKey;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::watch;

/// The checkpoints of both logs at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Heads {
    /// The command log.
    pub commands: SignedCheckpoint,
    /// The public log, as it was at that size of the command log.
    pub public: SignedCheckpoint,
}

impl Heads {
    /// The heads that this state had when its command log had `commands` leaves; nothing if it has not got so far.
    pub fn at(state: &ListState, commands: u64) -> Option<Self> {
        let genesis = state.genesis();
        let public = state.public_size_at(commands);
        let head = |origin, size, root| SignedCheckpoint::unsigned(Checkpoint { origin, size, root });
        Some(Self {
            commands: head(genesis.command_log_origin(), commands, state.commands().root_at(commands)?),
            public: head(genesis.public_log_origin(), public, state.public_log().root_at(public)?),
        })
    }
}

/// A position that enough members have cosigned.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreed {
    /// The cosigned heads.
    pub heads: Heads,
    /// Who cosigned both.
    pub cosigners: Vec<MemberId>,
}

/// Why a position was not cosigned, or a note not taken.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// The file cannot be used.
    #[error("checkpoints.db: {0}")]
    Database(#[from] sqlx::Error),
    /// A note is not what it must be.
    #[error("checkpoint of {member}: {source}")]
    Note {
        /// Whose.
        member: MemberId,
        /// What is wrong.
        source: InvalidCheckpoint,
    },
    /// This node signed another root at that size before: its state was rolled back or forked.
    #[error(
        "{origin} at {size}: this node signed root {signed} before and now computes {computed}: it signs nothing there"
    )]
    OwnFork {
        /// Which log.
        origin: String,
        /// At which size.
        size: u64,
        /// What it signed.
        signed: Hex32,
        /// What it computes.
        computed: Hex32,
    },
    /// A member signed another root at a size that this node knows.
    #[error("{member} signed another root of {origin} at {size}: both checkpoints are kept as evidence")]
    Fork {
        /// Who.
        member: MemberId,
        /// Which log.
        origin: String,
        /// At which size.
        size: u64,
    },
}

/// Signs, and keeps what was signed and what is agreed.
#[derive(Debug)]
pub struct Cosigner {
    own: RosterMember,
    key: SigningKey,
    db: SqlitePool,
    agreed: watch::Sender<Option<Agreed>>,
    alarm: AtomicBool,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS signed (
    origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, PRIMARY KEY (origin, size)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agreed (
    id INTEGER PRIMARY KEY CHECK (id = 1), commands BLOB NOT NULL, public BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS fork_evidence (
    origin TEXT NOT NULL, size INTEGER NOT NULL, member TEXT NOT NULL, ours BLOB NOT NULL, theirs BLOB NOT NULL,
    PRIMARY KEY (origin, size, member)
) WITHOUT ROWID;
";

impl Cosigner {
    /// Opens `checkpoints.db` in a folder.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn open(folder: &Path, own: RosterMember, key: SigningKey) -> Result<Self, CosignError> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("checkpoints.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let db = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&db).await?;
        let evidence: i64 = sqlx::query("SELECT count(*) FROM fork_evidence").fetch_one(&db).await?.get(0);
        let (agreed, _) = watch::channel(None);
        Ok(Self { own, key, db, agreed, alarm: AtomicBool::new(evidence > 0) })
    }

    /// Takes up what was agreed before this node was restarted, by the voters of that size of the command log.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn restore(&self, voters_at: impl Fn(u64) -> Arc<Voters>) -> Result<(), CosignError> {
        let Some(row) = sqlx::query("SELECT commands, public FROM agreed").fetch_optional(&self.db).await? else {
            return Ok(());
        };
        let read = |bytes: Vec<u8>| SignedCheckpoint::from_bytes(&bytes);
        if let (Ok(commands), Ok(public)) = (read(row.get(0)), read(row.get(1)))
            && let voters = voters_at(commands.checkpoint.size)
            && let Some(agreed) = judge(Heads { commands, public }, &voters)
        {
            self.agreed.send_replace(Some(agreed));
        }
        Ok(())
    }

    /// The position that is agreed, if any, and a way to wait for the next.
    pub fn agreed(&self) -> watch::Receiver<Option<Agreed>> {
        self.agreed.subscribe()
    }

    /// Whether a fork was ever seen.
    pub fn fork_alarm(&self) -> bool {
        self.alarm.load(Ordering::Relaxed)
    }

    /// Signs heads that this node computed itself, once what it signs is durable.
    ///
    /// # Errors
    /// It signed something else there before, or cannot write it down.
    pub async fn sign(&self, mut heads: Heads, at: Timestamp) -> Result<Heads, CosignError> {
        let mut transaction = self.db.begin().await?;
        for head in [&heads.commands.checkpoint, &heads.public.checkpoint] {
            let size = i64::try_from(head.size).unwrap_or(i64::MAX);
            sqlx::query("INSERT INTO signed (origin, size, root) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&head.origin)
                .bind(size)
                .bind(head.root.0.as_slice())
                .execute(&mut *transaction)
                .await?;
            let row = sqlx::query("SELECT root FROM signed WHERE origin = $1 AND size = $2")
                .bind(&head.origin)
                .bind(size)
                .fetch_one(&mut *transaction)
                .await?;
            let signed: Vec<u8> = row.get(0);
            if signed != head.root.0 {
                self.alarm.store(true, Ordering::Relaxed);
                return Err(CosignError::OwnFork {
                    origin: head.origin.clone(),
                    size: head.size,
                    signed: Hex32(signed.try_into().unwrap_or_default()),
                    computed: head.root,
                });
            }
        }
        transaction.commit().await?;
        let name = Genesis::cosigner_name(&self.own.trust_domain);
        heads.commands.cosign(&name, &self.key, at);
        heads.public.cosign(&name, &self.key, at);
        Ok(heads)
    }

    /// Checks what a member signed against what this node computed at the same size, and adds its signatures.
    ///
    /// # Errors
    /// The signature is wrong, or the member signed another root: a fork.
    pub async fn merge(
        &self,
        ours: &mut Heads,
        theirs: Heads,
        member: MemberId,
        voter: &Voter,
    ) -> Result<(), CosignError> {
        let name = Genesis::cosigner_name(&voter.trust_domain);
        let unsigned = |source| CosignError::Note { member, source };
        // A key that was revoked cosigns nothing.
        let key = voter.node_key.ok_or_else(|| unsigned(InvalidCheckpoint::Unsigned(name.clone())))?;
        for (ours, mut theirs) in [(&mut ours.commands, theirs.commands), (&mut ours.public, theirs.public)] {
            theirs.verify_cosigner(&name, &key.0).map_err(unsigned)?;
            theirs.retain_cosigner(&name, &key.0);
            let (head, other) = (&ours.checkpoint, &theirs.checkpoint);
            if head.origin == other.origin && head.size == other.size && head.root != other.root {
                self.keep_evidence(ours, &theirs, member).await?;
                let (origin, size) = (head.origin.clone(), head.size);
                return Err(CosignError::Fork { member, origin, size });
            }
            ours.merge(&theirs);
        }
        Ok(())
    }

    async fn keep_evidence(
        &self,
        ours: &SignedCheckpoint,
        theirs: &SignedCheckpoint,
        member: MemberId,
    ) -> Result<(), CosignError> {
        self.alarm.store(true, Ordering::Relaxed);
        sqlx::query(
            "INSERT INTO fork_evidence (origin, size, member, ours, theirs) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(&ours.checkpoint.origin)
        .bind(i64::try_from(ours.checkpoint.size).unwrap_or(i64::MAX))
        .bind(member.as_str())
        .bind(ours.to_bytes())
        .bind(theirs.to_bytes())
        .execute(&self.db)
        .await?;
        Ok(())
    }

    /// Takes heads as agreed if enough members have cosigned both; returns whether they are.
    ///
    /// # Errors
    /// They cannot be written down.
    pub async fn settle(&self, heads: Heads, voters: &Voters) -> Result<bool, CosignError> {
        let Some(agreed) = judge(heads, voters) else { return Ok(false) };
        let newer = |known: &Option<Agreed>| {
            known.as_ref().is_none_or(|k| {
                k.heads.commands.checkpoint.size < agreed.heads.commands.checkpoint.size
                    || k.cosigners.len() < agreed.cosigners.len()
                        && k.heads.commands.checkpoint.size == agreed.heads.commands.checkpoint.size
            })
        };
        if newer(&self.agreed.borrow()) {
            sqlx::query(
                "INSERT INTO agreed (id, commands, public) VALUES (1, $1, $2) \
                 ON CONFLICT (id) DO UPDATE SET commands = excluded.commands, public = excluded.public",
            )
            .bind(agreed.heads.commands.to_bytes())
            .bind(agreed.heads.public.to_bytes())
            .execute(&self.db)
            .await?;
            self.agreed.send_if_modified(|known| {
                let take = newer(known);
                if take {
                    *known = Some(agreed.clone());
                }
                take
            });
        }
        Ok(true)
    }
}

/// Whether enough of the voters of that position have cosigned both logs.
fn judge(heads: Heads, voters: &Voters) -> Option<Agreed> {
    let (commands, _) = cosigners_of(&heads.commands, voters).ok()?;
    let (public, _) = cosigners_of(&heads.public, voters).ok()?;
    let cosigners: Vec<MemberId> = commands.into_iter().filter(|m| public.contains(m)).collect();
    (cosigners.len() >= Genesis::cosigners_needed(voters.len())).then_some(Agreed { heads, cosigners })
}

#[cfg(test)]
#[path = "cosign_tests.rs"]
mod tests;
