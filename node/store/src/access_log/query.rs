//! Reading the log: in order, or by person, partner, record and time.

use comity_core::access::{AccessLeaf, Outcome};
use comity_core::{MemberId, SpiffeId, Timestamp};

use super::AccessLog;
use super::types::{AccessLogError, StoredLeaf};
use crate::columns::{self, sql_int, sql_limit};
use crate::database::Connection;
use crate::error::StoreError;
use crate::sql::{Builder, Row, query};

/// What to look for; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessFilter {
    /// By this person or node.
    pub who: Option<SpiffeId>,
    /// By anybody of this member.
    pub member: Option<MemberId>,
    /// This RPC or action.
    pub action: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// That touched this record, entry, ballot or approval, by its whole id.
    pub resource: Option<String>,
    /// At this instant or later.
    pub since: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
}

/// In which order leaves are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The latest leaf first.
    #[default]
    NewestFirst,
    /// The earliest leaf first.
    OldestFirst,
}

impl AccessLog {
    /// Leaves in order, from number `from` on.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn leaves(&self, from: u64, limit: usize) -> Result<Vec<StoredLeaf>, AccessLogError> {
        Ok(page(&mut self.inner.database.read().await?, from, limit).await?)
    }

    /// The leaves that a filter lets through, from the one after leaf `after` on, in the order asked for.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn query(
        &self,
        filter: &AccessFilter,
        order: Order,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredLeaf>, AccessLogError> {
        let mut query = Builder::new("SELECT n, salt, record, annex, hash FROM access_leaf WHERE 1 = 1");
        if let Some(who) = &filter.who {
            query.push(" AND who = ").push_bind(who.to_string());
        }
        if let Some(member) = filter.member {
            query.push(" AND member = ").push_bind(member.as_str().to_owned());
        }
        if let Some(action) = &filter.action {
            query.push(" AND action = ").push_bind(action.clone());
        }
        if let Some(outcome) = filter.outcome {
            query.push(" AND outcome = ").push_bind(outcome.as_str());
        }
        if let Some(resource) = &filter.resource {
            query
                .push(" AND n IN (SELECT n FROM access_touched WHERE resource = ")
                .push_bind(resource.clone())
                .push(")");
        }
        if let Some(since) = filter.since {
            query.push(" AND at >= ").push_bind(since.as_micros());
        }
        if let Some(until) = filter.until {
            query.push(" AND at < ").push_bind(until.as_micros());
        }
        let (compare, direction) = match order {
            Order::NewestFirst => (" AND n < ", " ORDER BY n DESC"),
            Order::OldestFirst => (" AND n > ", " ORDER BY n"),
        };
        if let Some(after) = after {
            query.push(compare).push_bind(sql_int(after));
        }
        query.push(direction).push(" LIMIT ").push_bind(sql_limit(limit));
        let rows = query.build().fetch_all(&mut self.inner.database.read().await?).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

pub(super) async fn page(connection: &mut Connection, from: u64, limit: usize) -> Result<Vec<StoredLeaf>, StoreError> {
    let rows = query("SELECT n, salt, record, annex, hash FROM access_leaf WHERE n >= $1 ORDER BY n LIMIT $2")
        .bind(sql_int(from))
        .bind(sql_limit(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<StoredLeaf, StoreError> {
    Ok(StoredLeaf { n: columns::count(row, "n")?, leaf: leaf(row)?, hash: columns::digest(row, "hash")? })
}

/// Of a row with salt, record and annex.
pub(super) fn leaf(row: &Row) -> Result<AccessLeaf, StoreError> {
    Ok(AccessLeaf {
        salt: columns::digest(row, "salt")?,
        record: columns::bytes(row, "record")?,
        annex: columns::bytes(row, "annex")?,
    })
}
