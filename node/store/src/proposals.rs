//! This member's own proposals, every version of them, and to whom two people decided to show them.

mod rows;
mod types;

use std::collections::BTreeSet;

use comity_core::canonical::{self, Hex32};
use comity_core::proposal::Proposal;
use comity_core::release::RecordHeader;
use comity_core::view::Views;
use comity_core::{MemberId, RecordId, SpiffeId, Timestamp, VersionId};
use sqlx::Row as _;

pub(crate) use rows::headers_shared_with;
pub use types::{NewProposal, ProposalError, ProposalState, Revision, StoredProposal, VersionInfo};

use crate::columns::{self, sql_limit};
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::outbox::queue;

/// The most proposals that [`Proposals::list`] returns: each may have half a megabyte.
pub const LIST_MAX_ROWS: usize = 200;

/// Own proposals.
#[derive(Debug, Clone)]
pub struct Proposals {
    database: Database,
    member: MemberId,
}

impl Proposals {
    pub(crate) fn new(database: Database, member: MemberId) -> Self {
        Self { database, member }
    }

    /// Writes a draft. The same author, request id and proposal again give the proposal that the first call made, as it
    /// is now, whatever ids and salts come with it.
    ///
    /// # Errors
    /// The request id was used for another proposal, the record id is taken or not this member's, or the database failed.
    pub async fn create(&self, new: NewProposal) -> Result<StoredProposal, ProposalError> {
        if new.id.originator() != self.member {
            return Err(ProposalError::NotOurs { id: new.id, member: self.member });
        }
        self.database.write(move |connection| Box::pin(create(connection, new))).await
    }

    /// Writes a new version of a draft or shared proposal. It is a draft again: what two people decided to show was the
    /// version that they looked at, so the parties that it was shared with are decided again and lose it until it is shared anew.
    ///
    /// # Errors
    /// There is none, it has another version by now, it is tabled or withdrawn, or the database failed.
    pub async fn revise(
        &self,
        id: RecordId,
        expected: VersionId,
        revision: Revision,
    ) -> Result<StoredProposal, ProposalError> {
        let result = self
            .database
            .write(move |connection| {
                Box::pin(async move {
                    let found = rows::require(connection, id).await?;
                    found.expect_state(&[ProposalState::Draft, ProposalState::Shared])?;
                    found.expect_version(expected)?;
                    let ordinal = found.ordinal + 1;
                    rows::insert_version(connection, id, ordinal, &revision).await?;
                    rows::set_version(connection, id, revision.version, revision.at).await?;
                    for party in &found.shared_with {
                        queue::enqueue(connection, *party, id).await?;
                    }
                    // INVARIANT: no version goes to a party but one that two people decided to show.
                    rows::delete_shares(connection, id).await?;
                    rows::set_state(connection, id, ProposalState::Draft, revision.at).await?;
                    rows::require(connection, id).await
                })
            })
            .await;
        self.notified(result)
    }

    /// One proposal, as it is now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, id: RecordId) -> Result<Option<StoredProposal>, StoreError> {
        rows::load(&mut *self.database.read().await?, id).await
    }

    /// Proposals, newest first, from the one after `after` on. New ones do not shift a paging under way.
    /// At most [`LIST_MAX_ROWS`].
    ///
    /// # Errors
    /// There is no proposal `after`, or the database failed.
    pub async fn list(&self, after: Option<RecordId>, limit: usize) -> Result<Vec<StoredProposal>, ProposalError> {
        let mut transaction = self.database.read().await?;
        let before = match after {
            None => i64::MAX,
            Some(id) => rows::position(&mut transaction, id).await?.ok_or(ProposalError::NotFound { id })?,
        };
        let ids = sqlx::query("SELECT id FROM proposal WHERE position < $1 ORDER BY position DESC LIMIT $2")
            .bind(before)
            .bind(sql_limit(limit.min(LIST_MAX_ROWS)))
            .fetch_all(&mut *transaction)
            .await?;
        let mut found = Vec::with_capacity(ids.len());
        for row in &ids {
            found.extend(rows::load(&mut transaction, columns::parsed(row, "id")?).await?);
        }
        Ok(found)
    }

    /// Shows a proposal to more parties: what each may have of it is decided when it pulls. A draft becomes shared.
    /// Asking again for the same changes nothing but decides again.
    ///
    /// # Errors
    /// There is none, it has another version by now, it is withdrawn, or the database failed.
    pub async fn share(
        &self,
        id: RecordId,
        expected: VersionId,
        parties: BTreeSet<MemberId>,
        at: Timestamp,
    ) -> Result<StoredProposal, ProposalError> {
        let result = self
            .database
            .write(move |connection| {
                Box::pin(async move {
                    let found = rows::require(connection, id).await?;
                    found.expect_state(&[ProposalState::Draft, ProposalState::Shared, ProposalState::Tabled])?;
                    found.expect_version(expected)?;
                    for party in &parties {
                        rows::insert_share(connection, id, *party, at).await?;
                        queue::enqueue(connection, *party, id).await?;
                    }
                    if found.state == ProposalState::Draft {
                        rows::set_state(connection, id, ProposalState::Shared, at).await?;
                    }
                    rows::require(connection, id).await
                })
            })
            .await;
        self.notified(result)
    }

    /// Withdraws a proposal: a retraction goes to every party that ever received it. Once withdrawn, again is no change.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn withdraw(&self, id: RecordId, at: Timestamp) -> Result<StoredProposal, ProposalError> {
        let result = self
            .database
            .write(move |connection| {
                Box::pin(async move {
                    let found = rows::require(connection, id).await?;
                    if found.state == ProposalState::Withdrawn {
                        return Ok(found);
                    }
                    rows::set_state(connection, id, ProposalState::Withdrawn, at).await?;
                    let mut parties = queue::ever_received(connection, id).await?;
                    parties.extend(&found.shared_with);
                    for party in parties {
                        queue::enqueue(connection, party, id).await?;
                    }
                    rows::require(connection, id).await
                })
            })
            .await;
        self.notified(result)
    }

    /// Notes the ballot that decides on it. The same ballot again is no change.
    ///
    /// # Errors
    /// There is none, it has another version by now, it is tabled elsewhere or withdrawn, or the database failed.
    pub async fn mark_tabled(
        &self,
        id: RecordId,
        expected: VersionId,
        ballot: Hex32,
        at: Timestamp,
    ) -> Result<StoredProposal, ProposalError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let found = rows::require(connection, id).await?;
                    if found.state == ProposalState::Tabled && found.ballot == Some(ballot) {
                        return Ok(found);
                    }
                    found.expect_state(&[ProposalState::Draft, ProposalState::Shared])?;
                    found.expect_version(expected)?;
                    rows::set_tabled(connection, id, ballot, at).await?;
                    rows::require(connection, id).await
                })
            })
            .await
    }

    /// What the release decision knows of a record, and the version that it is about.
    ///
    /// # Errors
    /// The database failed.
    pub async fn header(&self, id: RecordId) -> Result<Option<(RecordHeader, VersionId)>, StoreError> {
        rows::header(&mut *self.database.read().await?, id).await
    }

    /// The headers of what is shared with a party, by id, from the one after `after` on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn headers_shared_with(
        &self,
        party: MemberId,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<RecordHeader>, StoreError> {
        headers_shared_with(&mut *self.database.read().await?, party, after, limit).await
    }

    /// The documents of one version.
    ///
    /// # Errors
    /// The database failed.
    pub async fn views(&self, id: RecordId, version: VersionId) -> Result<Option<Views>, StoreError> {
        rows::views(&mut *self.database.read().await?, id, version).await
    }

    /// One version as its author wrote it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn version(&self, id: RecordId, version: VersionId) -> Result<Option<Proposal>, StoreError> {
        rows::document(&mut *self.database.read().await?, id, version).await
    }

    /// The versions of a proposal, first to last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn versions(&self, id: RecordId) -> Result<Vec<VersionInfo>, StoreError> {
        rows::versions(&mut *self.database.read().await?, id).await
    }

    fn notified<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        if result.is_ok() {
            self.database.notify_queued();
        }
        result
    }
}

async fn create(connection: &mut Connection, new: NewProposal) -> Result<StoredProposal, ProposalError> {
    let NewProposal { id, version, proposal, author, at, salts, request_id } = new;
    if let Some(request_id) = &request_id
        && let Some(first) = first_of_request(connection, &author, request_id).await?
    {
        let (id, document) = first;
        // Versions after the first are the same request's later life.
        return if document == canonical::to_vec(&proposal) {
            rows::require(connection, id).await
        } else {
            Err(ProposalError::RequestIdReused { id })
        };
    }
    if rows::position(connection, id).await?.is_some() {
        return Err(ProposalError::IdTaken { id });
    }
    rows::insert(connection, id, version, &author, request_id, at).await?;
    rows::insert_version(connection, id, 1, &Revision { version, proposal, author, at, salts }).await?;
    rows::require(connection, id).await
}

async fn first_of_request(
    connection: &mut Connection,
    author: &SpiffeId,
    request_id: &str,
) -> Result<Option<(RecordId, Vec<u8>)>, StoreError> {
    let row = sqlx::query(
        "SELECT p.id, v.document FROM proposal p JOIN proposal_version v ON v.record = p.id AND v.ordinal = 1
         WHERE p.author = $1 AND p.request_id = $2",
    )
    .bind(author.to_string())
    .bind(request_id.to_owned())
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok((columns::parsed(&row, "id")?, row.try_get("document")?))).transpose()
}

#[cfg(test)]
mod tests;
