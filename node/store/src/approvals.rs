//! Two people: an action waits until somebody other than its author says yes.
//!
//! What stands here is carried out at most once at a time: a yes moves the approval to `running`, and only the caller that
//! moved it acts. Actions are idempotent by the approval's id, so that one which a crash cut short goes back to `pending`
//! when the store is opened, and a second yes completes it.

mod types;

use comity_core::{SpiffeId, Timestamp};

pub use types::{
    Approval, ApprovalError, ApprovalKind, ApprovalSignature, ApprovalState, InvalidApprovalWord, NewApproval,
};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::seal::{RecordKey, Sealer};
use crate::sql::{Row, query};

/// How many actions of one author may wait.
pub const PENDING_MAX_PER_AUTHOR: u64 = 1_000;

const PAYLOAD: &str = "payload";
const SUMMARY: &str = "summary";
const OUTCOME: &str = "outcome";

/// What is said of an action that a crash cut short.
const CUT_SHORT: &str = "it was under way when this node stopped: approve it again to be sure";

/// Actions that wait for a second person.
#[derive(Debug, Clone)]
pub struct Approvals {
    database: Database,
    sealer: Sealer,
}

impl Approvals {
    pub(crate) fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer }
    }

    /// Asks for a second person.
    ///
    /// # Errors
    /// The id is taken, the author has [`PENDING_MAX_PER_AUTHOR`] waiting, or the database failed.
    pub async fn create(&self, new: NewApproval) -> Result<Approval, ApprovalError> {
        let sealer = self.sealer.clone();
        self.database.write(move |connection| Box::pin(async move { create(connection, &sealer, new).await })).await
    }

    /// One approval.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, id: &str) -> Result<Option<Approval>, StoreError> {
        load(&mut self.database.read().await?, &self.sealer, id).await
    }

    /// Approvals, newest first, from below position `before` on; those in one state, or all. Expired ones are `pending`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(
        &self,
        state: Option<ApprovalState>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Approval>, StoreError> {
        let rows = query(
            "SELECT * FROM approval WHERE position < $1 AND ($2 = '' OR state = $2) ORDER BY position DESC LIMIT $3",
        )
        .bind(before.map_or(i64::MAX, sql_int))
        .bind(state.map_or("", ApprovalState::as_str))
        .bind(sql_limit(limit))
        .fetch_all(&mut self.database.read().await?)
        .await?;
        rows.iter().map(|row| read(row, &self.sealer)).collect()
    }

    /// Says yes: of all who call this for one approval, one gets it and carries the action out.
    ///
    /// # Errors
    /// There is none, it was decided before, it has expired, the approver is its author, or the database failed.
    pub async fn claim(&self, id: &str, approver: &SpiffeId, at: Timestamp) -> Result<Approval, ApprovalError> {
        let (id, approver, sealer) = (id.to_owned(), approver.clone(), self.sealer.clone());
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let found = require_pending(connection, &sealer, &id).await?;
                    if at >= found.expires {
                        return Err(ApprovalError::Expired { id, expired: found.expires });
                    }
                    // INVARIANT: nobody is the second person to themselves, in whatever role.
                    if found.author.is_same_person(&approver) {
                        return Err(ApprovalError::SamePerson { id });
                    }
                    decide(connection, &sealer, &id, ApprovalState::Running, Some((&approver, at)), None).await?;
                    require(connection, &sealer, &id).await
                })
            })
            .await
    }

    /// Keeps a person's signature, in the place of an earlier one of theirs.
    ///
    /// # Errors
    /// There is none, it was decided before, it has expired, or the database failed.
    pub async fn sign(&self, id: &str, signature: ApprovalSignature) -> Result<Approval, ApprovalError> {
        let (id, sealer) = (id.to_owned(), self.sealer.clone());
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let found = require_pending(connection, &sealer, &id).await?;
                    if signature.at >= found.expires {
                        return Err(ApprovalError::Expired { id, expired: found.expires });
                    }
                    query(
                        "INSERT INTO approval_signature (approval, person, keyid, sig, at) VALUES ($1, $2, $3, $4, $5)
                         ON CONFLICT (approval, person)
                         DO UPDATE SET keyid = excluded.keyid, sig = excluded.sig, at = excluded.at",
                    )
                    .bind(id)
                    .bind(signature.person)
                    .bind(signature.keyid.to_string())
                    .bind(signature.sig.to_vec())
                    .bind(signature.at.as_micros())
                    .execute(&mut *connection)
                    .await?;
                    Ok(found)
                })
            })
            .await
    }

    /// The signatures that people gave, the earliest first: one of each.
    ///
    /// # Errors
    /// The database failed.
    pub async fn signatures(&self, id: &str) -> Result<Vec<ApprovalSignature>, StoreError> {
        let rows = query("SELECT * FROM approval_signature WHERE approval = $1 ORDER BY at, person LIMIT $2")
            .bind(id)
            .bind(sql_limit(crate::PAGE_MAX_ROWS))
            .fetch_all(&mut self.database.read().await?)
            .await?;
        let read = |row: &Row| {
            let sig = columns::bytes(row, "sig")?.try_into().map_err(|_| StoreError::Corrupt { column: "sig" })?;
            Ok(ApprovalSignature {
                person: columns::text(row, "person")?,
                keyid: columns::parsed(row, "keyid")?,
                sig,
                at: columns::instant(row, "at")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Says how a running action ended: what it did, or why it could not.
    ///
    /// # Errors
    /// There is none, it is not running, or the database failed.
    pub async fn finish(&self, id: &str, result: Result<String, String>) -> Result<Approval, ApprovalError> {
        let (state, outcome) = match result {
            Ok(outcome) => (ApprovalState::Done, outcome),
            Err(outcome) => (ApprovalState::Failed, outcome),
        };
        self.end_running(id, state, Some(outcome)).await
    }

    /// Puts a running action back: it could not be carried out now, and may be later with another yes. Where it left this node
    /// before that, `underway` says so, and nobody can refuse it any more.
    ///
    /// # Errors
    /// There is none, it is not running, or the database failed.
    pub async fn put_back(&self, id: &str, underway: Option<String>) -> Result<Approval, ApprovalError> {
        self.end_running(id, ApprovalState::Pending, underway).await
    }

    async fn end_running(
        &self,
        id: &str,
        state: ApprovalState,
        outcome: Option<String>,
    ) -> Result<Approval, ApprovalError> {
        let (id, sealer) = (id.to_owned(), self.sealer.clone());
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let found = require(connection, &sealer, &id).await?;
                    if found.state != ApprovalState::Running {
                        return Err(ApprovalError::NotRunning { id, state: found.state });
                    }
                    let decided = match state {
                        ApprovalState::Pending => None,
                        _ => found.decided_by.as_ref().zip(found.decided),
                    };
                    decide(connection, &sealer, &id, state, decided, outcome).await?;
                    require(connection, &sealer, &id).await
                })
            })
            .await
    }

    /// Says no, with the reason. The author may take back what they asked for, expired or not.
    ///
    /// # Errors
    /// There is none, it was decided before, it is under way already, or the database failed.
    pub async fn refuse(
        &self,
        id: &str,
        approver: &SpiffeId,
        reason: &str,
        at: Timestamp,
    ) -> Result<Approval, ApprovalError> {
        let (id, approver, reason, sealer) = (id.to_owned(), approver.clone(), reason.to_owned(), self.sealer.clone());
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let found = require_pending(connection, &sealer, &id).await?;
                    // INVARIANT: what may still take effect is not called refused.
                    if found.outcome.is_some() {
                        return Err(ApprovalError::Underway { id });
                    }
                    decide(connection, &sealer, &id, ApprovalState::Refused, Some((&approver, at)), Some(reason))
                        .await?;
                    require(connection, &sealer, &id).await
                })
            })
            .await
    }
}

/// What a crash left running is pending again, and may have taken effect.
pub(crate) async fn put_back_running(connection: &mut Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let rows = query("SELECT id FROM approval WHERE state = 'running'").fetch_all(&mut *connection).await?;
    for row in &rows {
        let id = columns::text(row, "id")?;
        decide(connection, sealer, &id, ApprovalState::Pending, None, Some(CUT_SHORT.to_owned())).await?;
    }
    Ok(())
}

async fn create(connection: &mut Connection, sealer: &Sealer, new: NewApproval) -> Result<Approval, ApprovalError> {
    if load(connection, sealer, &new.id).await?.is_some() {
        return Err(ApprovalError::IdTaken { id: new.id });
    }
    let row =
        query("SELECT COUNT(*) AS waiting FROM approval WHERE author = $1 AND state = 'pending' AND expires_at > $2")
            .bind(new.author.to_string())
            .bind(new.created.as_micros())
            .fetch_one(&mut *connection)
            .await?;
    if columns::count(&row, "waiting")? >= PENDING_MAX_PER_AUTHOR {
        return Err(ApprovalError::TooMany { author: new.author, limit: PENDING_MAX_PER_AUTHOR });
    }
    let (key, wrapped) = sealer.new_key(&new.id)?;
    query(
        "INSERT INTO approval (id, position, kind, state, author, seal_key, payload, summary, resource, resource_version,
             created_at, expires_at)
         VALUES ($1, (SELECT COALESCE(MAX(position), 0) + 1 FROM approval), $2, 'pending', $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(new.id.clone())
    .bind(new.kind.as_str())
    .bind(new.author.to_string())
    .bind(wrapped)
    .bind(key.seal(PAYLOAD, &new.payload)?)
    .bind(key.seal(SUMMARY, new.summary.as_bytes())?)
    .bind(new.resource)
    .bind(new.resource_version.map(|version| version.to_string()))
    .bind(new.created.as_micros())
    .bind(new.expires.as_micros())
    .execute(&mut *connection)
    .await?;
    require(connection, sealer, &new.id).await
}

async fn decide(
    connection: &mut Connection,
    sealer: &Sealer,
    id: &str,
    state: ApprovalState,
    decided: Option<(&SpiffeId, Timestamp)>,
    outcome: Option<String>,
) -> Result<(), StoreError> {
    let outcome = match outcome {
        None => None,
        Some(outcome) => Some(key_of(connection, sealer, id).await?.seal(OUTCOME, outcome.as_bytes())?),
    };
    query("UPDATE approval SET state = $2, decided_by = $3, decided_at = $4, outcome = $5 WHERE id = $1")
        .bind(id)
        .bind(state.as_str())
        .bind(decided.map(|(who, _)| who.to_string()))
        .bind(decided.map(|(_, at)| at.as_micros()))
        .bind(outcome)
        .execute(connection)
        .await?;
    Ok(())
}

async fn require_pending(connection: &mut Connection, sealer: &Sealer, id: &str) -> Result<Approval, ApprovalError> {
    let found = require(connection, sealer, id).await?;
    if found.state == ApprovalState::Pending {
        return Ok(found);
    }
    Err(ApprovalError::NotPending { id: found.id, state: found.state, decided_by: found.decided_by })
}

async fn require(connection: &mut Connection, sealer: &Sealer, id: &str) -> Result<Approval, ApprovalError> {
    load(connection, sealer, id).await?.ok_or_else(|| ApprovalError::NotFound { id: id.to_owned() })
}

async fn load(connection: &mut Connection, sealer: &Sealer, id: &str) -> Result<Option<Approval>, StoreError> {
    let row = query("SELECT * FROM approval WHERE id = $1").bind(id).fetch_optional(connection).await?;
    row.map(|row| read(&row, sealer)).transpose()
}

async fn key_of(connection: &mut Connection, sealer: &Sealer, id: &str) -> Result<RecordKey, StoreError> {
    let row = query("SELECT seal_key FROM approval WHERE id = $1").bind(id).fetch_one(connection).await?;
    sealer.key(id, &columns::bytes(&row, "seal_key")?)
}

fn read(row: &Row, sealer: &Sealer) -> Result<Approval, StoreError> {
    let id = columns::text(row, "id")?;
    let key = sealer.key(&id, &columns::bytes(row, "seal_key")?)?;
    let open = |place: &'static str, sealed: Vec<u8>| {
        String::from_utf8(key.open(place, &sealed)?).map_err(|_| StoreError::Corrupt { column: place })
    };
    Ok(Approval {
        id,
        position: columns::count(row, "position")?,
        kind: columns::parsed(row, "kind")?,
        state: columns::parsed(row, "state")?,
        author: columns::parsed(row, "author")?,
        payload: key.open(PAYLOAD, &columns::bytes(row, PAYLOAD)?)?,
        summary: open(SUMMARY, columns::bytes(row, SUMMARY)?)?,
        resource: columns::text(row, "resource")?,
        resource_version: columns::parsed_if_any(row, "resource_version")?,
        created: columns::instant(row, "created_at")?,
        expires: columns::instant(row, "expires_at")?,
        decided_by: columns::parsed_if_any(row, "decided_by")?,
        decided: columns::instant_if_any(row, "decided_at")?,
        outcome: columns::bytes_if_any(row, OUTCOME)?.map(|sealed| open(OUTCOME, sealed)).transpose()?,
    })
}

#[cfg(test)]
#[path = "approvals_tests.rs"]
mod tests;
