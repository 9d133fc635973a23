//! From columns to the domain's types and back.

use std::str::FromStr;

use comity_core::Timestamp;
use comity_core::canonical::{self, Hex32};
use comity_core::release::Action;

use crate::PAGE_MAX_ROWS;
use crate::error::StoreError;
use crate::sql::Row;

pub(crate) fn text(row: &Row, column: &'static str) -> Result<String, StoreError> {
    row.get(column)
}

pub(crate) fn text_if_any(row: &Row, column: &'static str) -> Result<Option<String>, StoreError> {
    row.get(column)
}

pub(crate) fn bytes(row: &Row, column: &'static str) -> Result<Vec<u8>, StoreError> {
    row.get(column)
}

pub(crate) fn bytes_if_any(row: &Row, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
    row.get(column)
}

/// A text that a domain type reads.
pub(crate) fn parsed<T: FromStr>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    text(row, column)?.parse().map_err(|_| StoreError::Corrupt { column })
}

/// The same, where there may be none.
pub(crate) fn parsed_if_any<T: FromStr>(row: &Row, column: &'static str) -> Result<Option<T>, StoreError> {
    let text = text_if_any(row, column)?;
    text.map(|text| text.parse().map_err(|_| StoreError::Corrupt { column })).transpose()
}

pub(crate) fn count(row: &Row, column: &'static str) -> Result<u64, StoreError> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| StoreError::Corrupt { column })
}

pub(crate) fn instant(row: &Row, column: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_micros(row.get(column)?).ok_or(StoreError::Corrupt { column })
}

pub(crate) fn instant_if_any(row: &Row, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = row.get(column)?;
    micros.map(|micros| Timestamp::from_micros(micros).ok_or(StoreError::Corrupt { column })).transpose()
}

pub(crate) fn digest(row: &Row, column: &'static str) -> Result<Hex32, StoreError> {
    digest_of(&bytes(row, column)?, column)
}

pub(crate) fn digest_if_any(row: &Row, column: &'static str) -> Result<Option<Hex32>, StoreError> {
    bytes_if_any(row, column)?.map(|bytes| digest_of(&bytes, column)).transpose()
}

pub(crate) fn digest_of(bytes: &[u8], column: &'static str) -> Result<Hex32, StoreError> {
    bytes.try_into().map(Hex32).map_err(|_| StoreError::Corrupt { column })
}

/// A JSON document that this crate or its callers wrote canonically.
pub(crate) fn document<T: serde::de::DeserializeOwned>(bytes: &[u8], column: &'static str) -> Result<T, StoreError> {
    canonical::from_slice(bytes).map_err(|_| StoreError::Corrupt { column })
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
