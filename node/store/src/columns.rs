//! From columns to the domain's types and back.

use std::str::FromStr;

use comity_core::Timestamp;
use comity_core::canonical::{self, Hex32};
use comity_core::release::Action;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::PAGE_MAX_ROWS;
use crate::error::StoreError;

pub(crate) fn text(row: &SqliteRow, column: &'static str) -> Result<String, StoreError> {
    Ok(row.try_get(column)?)
}

pub(crate) fn text_if_any(row: &SqliteRow, column: &'static str) -> Result<Option<String>, StoreError> {
    Ok(row.try_get(column)?)
}

pub(crate) fn bytes(row: &SqliteRow, column: &'static str) -> Result<Vec<u8>, StoreError> {
    Ok(row.try_get(column)?)
}

/// A text that a domain type reads.
pub(crate) fn parsed<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    text(row, column)?.parse().map_err(|_| StoreError::Corrupt { column })
}

/// The same, where there may be none.
pub(crate) fn parsed_if_any<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Corrupt { column })).transpose()
}

pub(crate) fn count(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| StoreError::Corrupt { column })
}

pub(crate) fn instant(row: &SqliteRow, column: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_micros(row.try_get(column)?).ok_or(StoreError::Corrupt { column })
}

pub(crate) fn instant_if_any(row: &SqliteRow, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = row.try_get(column)?;
    micros.map(|micros| Timestamp::from_micros(micros).ok_or(StoreError::Corrupt { column })).transpose()
}

pub(crate) fn digest(row: &SqliteRow, column: &'static str) -> Result<Hex32, StoreError> {
    digest_of(&bytes(row, column)?, column)
}

pub(crate) fn digest_if_any(row: &SqliteRow, column: &'static str) -> Result<Option<Hex32>, StoreError> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    bytes.map(|bytes| digest_of(&bytes, column)).transpose()
}

pub(crate) fn digest_of(bytes: &[u8], column: &'static str) -> Result<Hex32, StoreError> {
    bytes.try_into().map(Hex32).map_err(|_| StoreError::Corrupt { column })
}

/// A JSON document that this crate or its callers wrote canonically.
pub(crate) fn document<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    canonical::from_slice(&bytes(row, column)?).map_err(|_| StoreError::Corrupt { column })
}

pub(crate) fn action(text: &str, column: &'static str) -> Result<Action, StoreError> {
    Action::ALL.into_iter().find(|action| action.as_str() == text).ok_or(StoreError::Corrupt { column })
}

/// SQL integers are signed. Nothing counted here comes near the end of them.
pub(crate) fn sql_int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A caller's limit, bounded.
pub(crate) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit.min(PAGE_MAX_ROWS)).unwrap_or(0)
}
