//! The policy for each partner: every version that two people put into force.

use comity_core::canonical::Hex32;
use comity_core::{MemberId, SpiffeId, Timestamp, sha256};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::Database;
use crate::error::StoreError;
use crate::outbox::queue;
use crate::sql::{Row, query};

/// Applied policies.
#[derive(Debug, Clone)]
pub struct Policies {
    database: Database,
}

/// A policy that was checked and approved.
#[derive(Debug, Clone)]
pub struct NewPolicy {
    /// For which partner.
    pub party: MemberId,
    /// The Cedar text.
    pub text: String,
    /// Who wrote it.
    pub author: SpiffeId,
    /// Who said yes to it.
    pub approver: SpiffeId,
    /// When.
    pub at: Timestamp,
}

/// A policy as it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// For which partner.
    pub party: MemberId,
    /// 1 for the first of this partner.
    pub ordinal: u64,
    /// The Cedar text.
    pub text: String,
    /// SHA-256 of the text.
    pub sha256: Hex32,
    /// Who wrote it.
    pub author: SpiffeId,
    /// Who said yes to it.
    pub approver: SpiffeId,
    /// When.
    pub at: Timestamp,
}

impl Policies {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Keeps a policy as its partner's current one and, in the same transaction, queues everything that the partner holds
    /// or might have. The same text by the same two people again is no new version.
    ///
    /// A caller that decides by a policy set in memory must exchange the set before anything is decided again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn apply(&self, new: NewPolicy) -> Result<PolicyVersion, StoreError> {
        let applied = self
            .database
            .write(move |connection| {
                Box::pin(async move {
                    let row = query("SELECT * FROM policy_version WHERE party = $1 ORDER BY ordinal DESC LIMIT 1")
                        .bind(new.party.as_str())
                        .fetch_optional(&mut *connection)
                        .await?;
                    let current = row.map(|row| read(&row)).transpose()?;
                    if let Some(current) = &current
                        && (&current.text, &current.author, &current.approver)
                            == (&new.text, &new.author, &new.approver)
                    {
                        return Ok(current.clone());
                    }
                    let NewPolicy { party, text, author, approver, at } = new;
                    let ordinal = current.map_or(0, |current| current.ordinal) + 1;
                    let sha256 = Hex32(sha256(text.as_bytes()));
                    let applied = PolicyVersion { party, ordinal, text, sha256, author, approver, at };
                    query(
                        "INSERT INTO policy_version (party, ordinal, text, sha256, author, approver, at)
                         VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    )
                    .bind(applied.party.as_str())
                    .bind(sql_int(applied.ordinal))
                    .bind(applied.text.clone())
                    .bind(applied.sha256.0.to_vec())
                    .bind(applied.author.to_string())
                    .bind(applied.approver.to_string())
                    .bind(applied.at.as_micros())
                    .execute(&mut *connection)
                    .await?;
                    // INVARIANT: no policy is in force on disk without the decisions it changes being due.
                    queue::enqueue_everything(connection, applied.party).await?;
                    Ok::<_, StoreError>(applied)
                })
            })
            .await?;
        self.database.notify_queued();
        Ok(applied)
    }

    /// The policy in force for a partner.
    ///
    /// # Errors
    /// The database failed.
    pub async fn current(&self, party: MemberId) -> Result<Option<PolicyVersion>, StoreError> {
        let row = query("SELECT * FROM policy_version WHERE party = $1 ORDER BY ordinal DESC LIMIT 1")
            .bind(party.as_str())
            .fetch_optional(&mut self.database.read().await?)
            .await?;
        row.map(|row| read(&row)).transpose()
    }

    /// The policies in force, by partner.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_current(&self) -> Result<Vec<PolicyVersion>, StoreError> {
        let rows = query(
            "SELECT * FROM policy_version v WHERE ordinal =
             (SELECT MAX(ordinal) FROM policy_version l WHERE l.party = v.party) ORDER BY party LIMIT $1",
        )
        .bind(sql_limit(usize::MAX))
        .fetch_all(&mut self.database.read().await?)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Every policy that was ever in force for a partner, newest first, from below `before` on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn history(
        &self,
        party: MemberId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<PolicyVersion>, StoreError> {
        let rows =
            query("SELECT * FROM policy_version WHERE party = $1 AND ordinal < $2 ORDER BY ordinal DESC LIMIT $3")
                .bind(party.as_str())
                .bind(before.map_or(i64::MAX, sql_int))
                .bind(sql_limit(limit))
                .fetch_all(&mut self.database.read().await?)
                .await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<PolicyVersion, StoreError> {
    Ok(PolicyVersion {
        party: columns::parsed(row, "party")?,
        ordinal: columns::count(row, "ordinal")?,
        text: columns::text(row, "text")?,
        sha256: columns::digest(row, "sha256")?,
        author: columns::parsed(row, "author")?,
        approver: columns::parsed(row, "approver")?,
        at: columns::instant(row, "at")?,
    })
}
