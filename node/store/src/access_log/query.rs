//! Reading the log: in order, or by person, partner, record and time.

use comity_core::access::{AccessLeaf, Outcome};
use comity_core::{MemberId, Role, SpiffeId, Timestamp};

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
    /// By people or nodes of this role.
    pub role: Option<Role>,
    /// By anybody of this member.
    pub member: Option<MemberId>,
    /// Of this kind.
    pub action: Option<ActionFilter>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// That touched this record, entry, ballot or approval, by its whole id.
    pub resource: Option<String>,
    /// At this instant or later.
    pub since: Option<Timestamp>,
    /// At this instant or earlier.
    pub until: Option<Timestamp>,
}

/// Which RPCs and actions of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionFilter {
    /// This one.
    Is(String),
    /// Those whose name begins so.
    BeginsWith(String),
}

impl From<&str> for ActionFilter {
    /// What ends in `*` stands for all that begin so.
    fn from(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::BeginsWith(beginning.to_owned()),
            None => Self::Is(text.to_owned()),
        }
    }
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
        push_conditions(&mut query, filter);
        push_times(&mut query, filter);
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

    /// The leaves of a stretch, its first number and the one after its last, that a filter lets through: the first so many in the order
    /// asked for. However little of it matches, no more than the stretch is looked at.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn query_within(
        &self,
        filter: &AccessFilter,
        order: Order,
        stretch: std::ops::Range<u64>,
        limit: usize,
    ) -> Result<Vec<StoredLeaf>, AccessLogError> {
        let mut query = Builder::new("SELECT n, salt, record, annex, hash FROM access_leaf");
        push_within(&mut query, filter, order, stretch, limit);
        let rows = query.build().fetch_all(&mut self.inner.database.read().await?).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The first leaf at an instant or later. Leaves stand in the order in which they were written, which is not quite that of their
    /// times: later ones may be from before it.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn first_since(&self, since: Timestamp) -> Result<Option<u64>, AccessLogError> {
        self.edge("SELECT MIN(n) AS n FROM access_leaf WHERE at >= $1", since).await
    }

    /// The last leaf at an instant or earlier.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn last_until(&self, until: Timestamp) -> Result<Option<u64>, AccessLogError> {
        self.edge("SELECT MAX(n) AS n FROM access_leaf WHERE at <= $1", until).await
    }

    async fn edge(&self, sql: &'static str, at: Timestamp) -> Result<Option<u64>, AccessLogError> {
        let found = query(sql).bind(at.as_micros()).fetch_all(&mut self.inner.database.read().await?).await?;
        let found = found.first().map(|row| row.get::<Option<i64>>("n")).transpose()?.flatten();
        Ok(found.and_then(|n| u64::try_from(n).ok()))
    }
}

/// What [`AccessLog::query_within`] asks, after the table's name.
pub(super) fn push_within(
    query: &mut Builder,
    filter: &AccessFilter,
    order: Order,
    stretch: std::ops::Range<u64>,
    limit: usize,
) {
    query.push(" WHERE n >= ").push_bind(sql_int(stretch.start)).push(" AND n < ").push_bind(sql_int(stretch.end));
    push_conditions(query, filter);
    push_times(query, filter);
    let direction = match order {
        Order::NewestFirst => " ORDER BY n DESC LIMIT ",
        Order::OldestFirst => " ORDER BY n LIMIT ",
    };
    query.push(direction).push_bind(sql_limit(limit));
}

fn push_conditions(query: &mut Builder, filter: &AccessFilter) {
    if let Some(who) = &filter.who {
        query.push(" AND who = ").push_bind(who.to_string());
    }
    if let Some(role) = filter.role {
        query.push(" AND role = ").push_bind(role.as_str());
    }
    if let Some(member) = filter.member {
        query.push(" AND member = ").push_bind(member.as_str().to_owned());
    }
    match &filter.action {
        None => {}
        Some(ActionFilter::Is(action)) => {
            query.push(" AND action = ").push_bind(action.clone());
        }
        // Not LIKE, in which some characters mean others, and of which the two databases think differently.
        Some(ActionFilter::BeginsWith(beginning)) => {
            let chars = i64::try_from(beginning.chars().count()).unwrap_or(i64::MAX);
            query.push(" AND substr(action, 1, CAST(").push_bind(chars).push(" AS INTEGER)) = ");
            query.push_bind(beginning.clone());
        }
    }
    if let Some(outcome) = filter.outcome {
        query.push(" AND outcome = ").push_bind(outcome.as_str());
        if outcome != Outcome::Allowed {
            // Said in so many words, so that the index of what was not allowed is seen to serve.
            query.push(" AND outcome <> 'allowed'");
        }
    }
    if let Some(resource) = &filter.resource {
        query.push(" AND n IN (SELECT n FROM access_touched WHERE resource = ").push_bind(resource.clone()).push(")");
    }
}

fn push_times(query: &mut Builder, filter: &AccessFilter) {
    if let Some(since) = filter.since {
        query.push(" AND at >= ").push_bind(since.as_micros());
    }
    if let Some(until) = filter.until {
        query.push(" AND at <= ").push_bind(until.as_micros());
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
