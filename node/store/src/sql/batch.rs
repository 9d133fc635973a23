//! Many rows or many keys in few statements.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::{Connection, Dialect, Query, Row, Value};
use crate::error::StoreError;

/// Rows to a statement: few sizes, so that each is prepared once and found again. SQLite takes 32,766 parameters.
const CHUNKS: [usize; 4] = [512, 64, 8, 1];

/// A statement that is put together. Only text of this crate goes into it; what comes from outside is bound.
pub(crate) struct Builder {
    sql: String,
    values: Vec<Value>,
    /// SQLite looks through all names for each number that is bound: a thousand of them are better left without.
    numbered: bool,
}

impl Builder {
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new(), numbered: true }
    }

    pub(crate) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    pub(crate) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        if self.numbered {
            // Writing to a string does not fail.
            write!(self.sql, "${}", self.values.len()).ok();
        } else {
            self.sql.push('?');
        }
        self
    }

    pub(crate) fn push_list(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        let mut before = "(";
        for value in values {
            self.push(before).push_bind(value);
            before = ", ";
        }
        self.push(")")
    }

    pub(crate) fn build(self) -> Query {
        Query { sql: AssertSqlSafe(self.sql).into_sql_str(), values: self.values }
    }
}

/// Inserts rows: `insert` up to `VALUES`, `after` behind the rows.
pub(crate) async fn insert_rows<const N: usize>(
    connection: &mut Connection,
    insert: &'static str,
    after: &'static str,
    rows: Vec<[Value; N]>,
) -> Result<(), StoreError> {
    let mut rows = rows.into_iter();
    let numbered = connection.dialect() == Dialect::Postgres;
    while rows.len() > 0 {
        let size = CHUNKS.into_iter().find(|size| *size <= rows.len()).unwrap_or(1);
        let mut builder = Builder { numbered, ..Builder::new(insert) };
        let mut before = " VALUES ";
        for row in rows.by_ref().take(size) {
            builder.push(before).push_list(row);
            before = ", ";
        }
        builder.push(after);
        builder.build().execute(connection).await?;
    }
    Ok(())
}

/// Runs a statement for many keys: `before`, with `first` in the place of `$1`, then the keys in brackets, then `after`.
pub(crate) async fn select_in(
    connection: &mut Connection,
    before: &'static str,
    first: Option<Value>,
    keys: &[String],
    after: &'static str,
) -> Result<Vec<Row>, StoreError> {
    let mut found = Vec::new();
    let mut keys = keys;
    while !keys.is_empty() {
        let size = CHUNKS.into_iter().find(|size| *size <= keys.len()).unwrap_or(1);
        let (now, later) = keys.split_at_checked(size).unwrap_or((keys, &[]));
        let mut builder = Builder::new("");
        builder.numbered = connection.dialect() == Dialect::Postgres;
        let last = format!("${}", now.len() + usize::from(first.is_some()));
        builder.sql = before.replace("$1", &last);
        builder.push_list(now.iter().map(|key| key.as_str().into()));
        builder.sql.push_str(&after.replace("$1", &last));
        builder.values.extend(first.clone());
        found.extend(builder.build().fetch_all(connection).await?);
        keys = later;
    }
    Ok(found)
}
