//! This member's own records, every version of them, and to whom two people decided to show them.

pub(crate) mod rows;
mod types;

use std::collections::BTreeSet;

use comity_core::canonical::Hex32;
use comity_core::document::Document;
use comity_core::{MemberId, RecordId, RecordKind, Timestamp, VersionId};

pub use types::{
    InvalidRecordState, NewRecord, Onward, RecordError, RecordState, Revision, StoredRecord, StoredShare, VersionInfo,
};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::outbox::queue;
use crate::seal::Sealer;
use crate::sql::query;

/// The most records that [`Records::list`] returns: each may have half a megabyte.
pub const LIST_MAX_ROWS: usize = 200;

/// Own records.
#[derive(Debug, Clone)]
pub struct Records {
    database: Database,
    sealer: Sealer,
    member: MemberId,
}

/// What is shown to whom, by one decision: all of it or nothing.
#[derive(Debug, Clone)]
pub struct NewShare {
    /// The records, in the versions that were looked at.
    pub records: Vec<(RecordId, VersionId)>,
    /// The parties.
    pub parties: BTreeSet<MemberId>,
    /// On what terms.
    pub terms: StoredShare,
    /// When.
    pub at: Timestamp,
}

impl Records {
    pub(crate) fn new(database: Database, sealer: Sealer, member: MemberId) -> Self {
        Self { database, sealer, member }
    }

    /// Writes a draft. The same author, request id and document again give the record that the first call made, as it is now,
    /// whatever ids and salts come with it.
    ///
    /// # Errors
    /// The request id was used for another record, the record id is taken or not this member's, or the database failed.
    pub async fn create(&self, new: NewRecord) -> Result<StoredRecord, RecordError> {
        self.ensure_ours(&new)?;
        let sealer = self.sealer.clone();
        self.database.write(move |connection| Box::pin(create(connection, sealer, new))).await
    }

    /// Writes many drafts, all of them or none.
    ///
    /// # Errors
    /// As [`Records::create`], of the first that cannot be written.
    pub async fn create_all(&self, new: Vec<NewRecord>) -> Result<(), RecordError> {
        new.iter().try_for_each(|new| self.ensure_ours(new))?;
        let sealer = self.sealer.clone();
        self.database.write(move |c| Box::pin(async move { create_all(c, &sealer, new).await })).await
    }

    fn ensure_ours(&self, new: &NewRecord) -> Result<(), RecordError> {
        if new.id.originator() != self.member {
            return Err(RecordError::NotOurs { id: new.id, member: self.member });
        }
        if new.id.kind() != new.document.kind() {
            return Err(RecordError::Kind { id: new.id, kind: new.document.kind() });
        }
        Ok(())
    }

    /// Writes a new version of a draft or shared record. It is a draft again: what two people decided to show was the version that
    /// they looked at, so the parties that it was shared with are decided again and lose it until it is shared anew.
    ///
    /// # Errors
    /// There is none, it has another version by now, it is tabled, withdrawn or recalled, the version does not continue the one
    /// before, or the database failed.
    pub async fn revise(
        &self,
        id: RecordId,
        expected: VersionId,
        revision: Revision,
    ) -> Result<StoredRecord, RecordError> {
        let sealer = self.sealer.clone();
        let result = self
            .database
            .write(move |c| Box::pin(async move { revise(c, &sealer, id, expected, revision).await }))
            .await;
        self.notified(result)
    }

    /// One record, as it is now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, id: RecordId) -> Result<Option<StoredRecord>, StoreError> {
        rows::load(&mut self.database.read().await?, &self.sealer, id).await
    }

    /// Records of one kind or of all, newest first, from below position `below` on. New ones do not shift a paging under way.
    /// At most [`LIST_MAX_ROWS`].
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(
        &self,
        kind: Option<RecordKind>,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let mut connection = self.database.read().await?;
        let ids = match kind {
            None => query("SELECT id FROM record WHERE position < $1 ORDER BY position DESC LIMIT $2"),
            Some(_) => query("SELECT id FROM record WHERE position < $1 AND kind = $3 ORDER BY position DESC LIMIT $2"),
        };
        let mut ids = ids.bind(before(below)).bind(sql_limit(limit.min(LIST_MAX_ROWS)));
        if let Some(kind) = kind {
            ids = ids.bind(kind.as_str());
        }
        let rows = ids.fetch_all(&mut connection).await?;
        let ids: Vec<RecordId> = rows.iter().map(|row| columns::parsed(row, "id")).collect::<Result<_, _>>()?;
        rows::load_all(&mut connection, &self.sealer, &ids).await
    }

    /// Own records that answer a record, newest first. At most [`LIST_MAX_ROWS`].
    ///
    /// # Errors
    /// The database failed.
    pub async fn about(&self, record: RecordId) -> Result<Vec<StoredRecord>, StoreError> {
        let mut connection = self.database.read().await?;
        let rows = query("SELECT id FROM record WHERE about = $1 ORDER BY position DESC LIMIT $2")
            .bind(record.to_string())
            .bind(sql_limit(LIST_MAX_ROWS))
            .fetch_all(&mut connection)
            .await?;
        let ids: Vec<RecordId> = rows.iter().map(|row| columns::parsed(row, "id")).collect::<Result<_, _>>()?;
        rows::load_all(&mut connection, &self.sealer, &ids).await
    }

    /// How many records there are.
    ///
    /// # Errors
    /// The database failed.
    pub async fn count(&self) -> Result<u64, StoreError> {
        let row = query("SELECT COUNT(*) AS n FROM record").fetch_one(&mut self.database.read().await?).await?;
        columns::count(&row, "n")
    }

    /// Shows records to more parties, or on other terms, all of them or none: what each may have of them is decided when it pulls. A
    /// draft becomes shared. Asking again for the same changes nothing but decides again.
    ///
    /// # Errors
    /// One of them is not there, has another version by now, is withdrawn or recalled, or the database failed.
    pub async fn share(&self, new: NewShare) -> Result<(), RecordError> {
        let sealer = self.sealer.clone();
        let result = self.database.write(move |c| Box::pin(async move { share(c, &sealer, new).await })).await;
        self.notified(result)
    }

    /// Writes records and shows records, as one decision that is carried out whole or not at all, and may be carried out again.
    ///
    /// # Errors
    /// As [`Records::create`] and [`Records::share`].
    pub async fn create_and_share(&self, new: Vec<NewRecord>, shares: Vec<NewShare>) -> Result<(), RecordError> {
        new.iter().try_for_each(|new| self.ensure_ours(new))?;
        let sealer = self.sealer.clone();
        let result = self
            .database
            .write(move |c| Box::pin(async move { create_and_share(c, &sealer, new, shares).await }))
            .await;
        self.notified(result)
    }

    /// Withdraws a record: a retraction goes to every party that ever received it. Once withdrawn, again is no change.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn withdraw(&self, id: RecordId, at: Timestamp) -> Result<StoredRecord, RecordError> {
        let sealer = self.sealer.clone();
        let result = self
            .database
            .write(move |connection| {
                Box::pin(async move {
                    let found = rows::require(connection, &sealer, id).await?;
                    if found.state == RecordState::Withdrawn {
                        return Ok(found);
                    }
                    rows::set_state(connection, id, RecordState::Withdrawn, at).await?;
                    queue::enqueue_record(connection, id).await?;
                    rows::require(connection, &sealer, id).await
                })
            })
            .await;
        self.notified(result)
    }

    /// Notes the ballot that decides on it. The same ballot again is no change.
    ///
    /// # Errors
    /// There is none, it has another version by now, it is tabled elsewhere, withdrawn or recalled, or the database failed.
    pub async fn mark_tabled(
        &self,
        id: RecordId,
        expected: VersionId,
        ballot: Hex32,
        at: Timestamp,
    ) -> Result<StoredRecord, RecordError> {
        let sealer = self.sealer.clone();
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let found = rows::require(connection, &sealer, id).await?;
                    if found.state == RecordState::Tabled && found.ballot == Some(ballot) {
                        return Ok(found);
                    }
                    found.expect_state(&[RecordState::Draft, RecordState::Shared])?;
                    found.expect_version(expected)?;
                    rows::set_tabled(connection, id, ballot, at).await?;
                    rows::require(connection, &sealer, id).await
                })
            })
            .await
    }

    /// One version as its author wrote it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn version(&self, id: RecordId, version: VersionId) -> Result<Option<Document>, StoreError> {
        rows::document(&mut self.database.read().await?, &self.sealer, id, version).await
    }

    /// The versions of a record, first to last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn versions(&self, id: RecordId) -> Result<Vec<VersionInfo>, StoreError> {
        rows::versions(&mut self.database.read().await?, id).await
    }

    fn notified<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        if result.is_ok() {
            self.database.notify_queued();
        }
        result
    }
}

async fn create(connection: &mut Connection, sealer: Sealer, new: NewRecord) -> Result<StoredRecord, RecordError> {
    if let Some(request_id) = &new.request_id
        && let Some((id, document)) = rows::first_of_request(connection, &sealer, &new.author, request_id).await?
    {
        // Versions after the first are the same request's later life.
        return if document == new.document {
            rows::require(connection, &sealer, id).await
        } else {
            Err(RecordError::RequestIdReused { id })
        };
    }
    let id = new.id;
    insert(connection, &sealer, new).await?;
    rows::require(connection, &sealer, id).await
}

async fn create_all(connection: &mut Connection, sealer: &Sealer, new: Vec<NewRecord>) -> Result<(), RecordError> {
    for new in new {
        insert(connection, sealer, new).await?;
    }
    Ok(())
}

/// Records and shares that one decision makes, all of them or none. A record that is there already with the same content was made by
/// the same decision before.
async fn create_and_share(
    connection: &mut Connection,
    sealer: &Sealer,
    new: Vec<NewRecord>,
    shares: Vec<NewShare>,
) -> Result<(), RecordError> {
    for new in new {
        match rows::load(connection, sealer, new.id).await? {
            Some(found) if found.document == new.document => {}
            Some(_) => return Err(RecordError::IdTaken { id: new.id }),
            None => insert(connection, sealer, new).await?,
        }
    }
    for new in shares {
        share(connection, sealer, new).await?;
    }
    Ok(())
}

/// Writes a fresh record inside whatever transaction needs it.
pub(crate) async fn insert(connection: &mut Connection, sealer: &Sealer, new: NewRecord) -> Result<(), RecordError> {
    if rows::position(connection, new.id).await?.is_some() {
        return Err(RecordError::IdTaken { id: new.id });
    }
    let marking = rows::intern(connection, &new.document).await?;
    let position = rows::next_position(connection).await?;
    Ok(rows::insert(connection, sealer, new, marking, position).await?)
}

async fn revise(
    connection: &mut Connection,
    sealer: &Sealer,
    id: RecordId,
    expected: VersionId,
    revision: Revision,
) -> Result<StoredRecord, RecordError> {
    let found = rows::require(connection, sealer, id).await?;
    found.expect_state(&[RecordState::Draft, RecordState::Shared])?;
    found.expect_version(expected)?;
    if id.kind() != revision.document.kind() {
        return Err(RecordError::Kind { id, kind: revision.document.kind() });
    }
    if let (Document::Evidence(new), Document::Evidence(old)) = (&revision.document, &found.document) {
        new.continues(old).map_err(|reason| RecordError::NotAppended { id, reason })?;
    }
    let key = rows::key_of(connection, sealer, id).await?.ok_or(RecordError::NotFound { id })?;
    rows::insert_version(connection, &key, id, found.ordinal + 1, &revision).await?;
    let marking = rows::intern(connection, &revision.document).await?;
    rows::set_version(connection, id, &revision, marking).await?;
    queue::enqueue_record(connection, id).await?;
    // INVARIANT: no version goes to a party but one that two people decided to show.
    rows::delete_shares(connection, id).await?;
    rows::require(connection, sealer, id).await
}

pub(crate) async fn share(connection: &mut Connection, sealer: &Sealer, new: NewShare) -> Result<(), RecordError> {
    for (id, expected) in &new.records {
        let found = rows::require(connection, sealer, *id).await?;
        found.expect_state(&[RecordState::Draft, RecordState::Shared, RecordState::Tabled])?;
        found.expect_version(*expected)?;
        let key = rows::key_of(connection, sealer, *id).await?.ok_or(RecordError::NotFound { id: *id })?;
        for party in &new.parties {
            rows::put_share(connection, &key, *id, *party, &new.terms, new.at).await?;
            queue::enqueue(connection, *party, *id).await?;
        }
        if found.state == RecordState::Draft {
            rows::set_state(connection, *id, RecordState::Shared, new.at).await?;
        }
    }
    Ok(())
}

/// Bound where positions are compared.
pub(crate) fn before(position: Option<u64>) -> i64 {
    position.map_or(i64::MAX, sql_int)
}

#[cfg(test)]
mod tests;
