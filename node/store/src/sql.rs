//! One body of SQL for SQLite and PostgreSQL: statements with `$1`, values and rows that hide which of the two answers.

mod batch;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query as Sqlx;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Decode, PgConnection, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, Transaction, Type};

pub(crate) use batch::{Builder, insert_rows, select_in};

use crate::error::StoreError;

/// Which database it is, where their SQL differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// One connection, inside a transaction.
#[derive(Debug)]
pub(crate) struct Connection {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(Box<PoolConnection<Postgres>>),
    SqliteRead(Transaction<'static, Sqlite>),
    PostgresRead(Box<Transaction<'static, Postgres>>),
}

enum Raw<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl From<PoolConnection<Sqlite>> for Connection {
    fn from(connection: PoolConnection<Sqlite>) -> Self {
        Self { inner: Inner::Sqlite(connection) }
    }
}

impl From<PoolConnection<Postgres>> for Connection {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self { inner: Inner::Postgres(Box::new(connection)) }
    }
}

impl From<Transaction<'static, Sqlite>> for Connection {
    fn from(transaction: Transaction<'static, Sqlite>) -> Self {
        Self { inner: Inner::SqliteRead(transaction) }
    }
}

impl From<Transaction<'static, Postgres>> for Connection {
    fn from(transaction: Transaction<'static, Postgres>) -> Self {
        Self { inner: Inner::PostgresRead(Box::new(transaction)) }
    }
}

impl Connection {
    /// Which database it is a connection to.
    pub(crate) fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) | Inner::SqliteRead(_) => Dialect::Sqlite,
            Inner::Postgres(_) | Inner::PostgresRead(_) => Dialect::Postgres,
        }
    }

    /// Closes it when it is dropped, in place of handing it back for use by others.
    pub(crate) fn discard(&mut self) {
        match &mut self.inner {
            Inner::Sqlite(connection) => connection.close_on_drop(),
            Inner::Postgres(connection) => connection.close_on_drop(),
            Inner::SqliteRead(_) | Inner::PostgresRead(_) => {}
        }
    }

    fn raw(&mut self) -> Raw<'_> {
        match &mut self.inner {
            Inner::Sqlite(connection) => Raw::Sqlite(connection),
            Inner::Postgres(connection) => Raw::Postgres(connection),
            Inner::SqliteRead(transaction) => Raw::Sqlite(transaction),
            Inner::PostgresRead(transaction) => Raw::Postgres(transaction),
        }
    }

    /// The SQLite connection, for what only SQLite has.
    pub(crate) fn sqlite(&mut self) -> Option<&mut SqliteConnection> {
        match self.raw() {
            Raw::Sqlite(connection) => Some(connection),
            Raw::Postgres(_) => None,
        }
    }

    /// The PostgreSQL connection, for what only PostgreSQL has.
    pub(crate) fn postgres(&mut self) -> Option<&mut PgConnection> {
        match self.raw() {
            Raw::Sqlite(_) => None,
            Raw::Postgres(connection) => Some(connection),
        }
    }
}

/// What is bound to a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Bytes(value)
    }
}

/// A statement with what is bound to it.
#[derive(Debug)]
pub(crate) struct Query {
    sql: SqlStr,
    values: Vec<Value>,
}

/// A statement.
pub(crate) fn query(sql: &'static str) -> Query {
    Query { sql: sql.into_sql_str(), values: Vec::new() }
}

impl Query {
    /// Binds the next of `$1`, `$2`, …
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it; returns how many rows it changed.
    pub(crate) async fn execute(self, connection: &mut Connection) -> Result<u64, StoreError> {
        Ok(match connection.raw() {
            Raw::Sqlite(connection) => self.sqlite().execute(connection).await?.rows_affected(),
            Raw::Postgres(connection) => self.postgres().execute(connection).await?.rows_affected(),
        })
    }

    /// Its rows.
    pub(crate) async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<Row>, StoreError> {
        Ok(match connection.raw() {
            Raw::Sqlite(connection) => {
                self.sqlite().fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect()
            }
            Raw::Postgres(connection) => {
                self.postgres().fetch_all(connection).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Its first row.
    pub(crate) async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<Row>, StoreError> {
        Ok(match connection.raw() {
            Raw::Sqlite(connection) => self.sqlite().fetch_optional(connection).await?.map(Row::Sqlite),
            Raw::Postgres(connection) => self.postgres().fetch_optional(connection).await?.map(Row::Postgres),
        })
    }

    /// Its one row.
    pub(crate) async fn fetch_one(self, connection: &mut Connection) -> Result<Row, StoreError> {
        self.fetch_optional(connection).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    fn sqlite(self) -> Sqlx<'static, Sqlite, SqliteArguments> {
        self.values.into_iter().fold(sqlx::query(self.sql), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    fn postgres(self) -> Sqlx<'static, Postgres, PgArguments> {
        self.values.into_iter().fold(sqlx::query(self.sql), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }
}

/// One row of an answer.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A column, by its name.
    pub(crate) fn get<'r, T>(&'r self, column: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}
