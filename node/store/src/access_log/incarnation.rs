//! Incarnations: a log that was restored goes on under another origin, from the leaf on that declares what was lost.

use comity_core::access::AccessRecord;

use super::types::{AccessLogError, StoredLeaf, Tampering};
use super::{AccessLog, query};
use crate::columns;
use crate::database::Connection;
use crate::sql;

/// Which incarnation a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incarnation {
    /// Its number, from 1.
    pub number: u64,
    /// The leaf that opened it; nothing of the first.
    pub opened_by: Option<u64>,
}

impl Incarnation {
    /// Of a log that was never restored.
    pub const FIRST: Self = Self { number: 1, opened_by: None };
}

impl AccessLog {
    /// Which incarnation it is.
    pub fn incarnation(&self) -> Incarnation {
        *self.inner.incarnation.borrow()
    }

    /// Opens the incarnation that a record declares: from its leaf on the log is signed under the origin of that one. Returns the
    /// leaf's number.
    ///
    /// # Errors
    /// It declares no later incarnation, or was not written.
    pub async fn open_incarnation(&self, record: AccessRecord) -> Result<u64, AccessLogError> {
        let number = record.loss.as_ref().map_or(0, |loss| loss.incarnation);
        if number <= self.incarnation().number {
            return Err(AccessLogError::NoLaterIncarnation { declared: number, now: self.incarnation().number });
        }
        let n = self.append_with(record, Some(number)).await?;
        self.inner.incarnation.send_replace(Incarnation { number, opened_by: Some(n) });
        Ok(n)
    }

    /// The leaf that opened this incarnation; nothing of the first.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn opening(&self) -> Result<Option<StoredLeaf>, AccessLogError> {
        let Some(n) = self.incarnation().opened_by else { return Ok(None) };
        Ok(self.leaves(n, 1).await?.into_iter().find(|leaf| leaf.n == n))
    }

    /// The leaves that opened incarnations, in order.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn openings(&self) -> Result<Vec<StoredLeaf>, AccessLogError> {
        let connection = &mut self.inner.database.read().await?;
        let mut openings = Vec::new();
        for (_, n) in all(connection).await? {
            openings.extend(query::page(connection, n, 1).await?.into_iter().filter(|leaf| leaf.n == n));
        }
        Ok(openings)
    }
}

/// The latest incarnation, held against the leaf that opened it.
pub(super) async fn restore(connection: &mut Connection) -> Result<Incarnation, AccessLogError> {
    let row = sql::query("SELECT incarnation, opened_by FROM access_incarnation ORDER BY incarnation DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(Incarnation::FIRST) };
    let (number, n) = (columns::count(&row, "incarnation")?, columns::count(&row, "opened_by")?);
    let leaf = query::page(connection, n, 1).await?.into_iter().find(|leaf| leaf.n == n);
    let declared = leaf.and_then(|leaf| leaf.record().ok()).and_then(|record| record.loss);
    if declared.is_none_or(|loss| loss.incarnation != number) {
        return Err(Tampering::Incarnation { number }.into());
    }
    Ok(Incarnation { number, opened_by: Some(n) })
}

/// Every incarnation after the first, with the leaf that opened it.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<(u64, u64)>, AccessLogError> {
    let rows =
        sql::query("SELECT incarnation, opened_by FROM access_incarnation ORDER BY incarnation").fetch_all(connection);
    let rows = rows.await?;
    rows.iter().map(|row| Ok((columns::count(row, "incarnation")?, columns::count(row, "opened_by")?))).collect()
}
