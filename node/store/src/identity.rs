//! Whose store it is. A node that is started with another genesis or member must not write a single row.

use comity_core::MemberId;
use comity_core::canonical::Hex32;

use crate::columns;
use crate::database::Connection;
use crate::error::{OpenError, StoreError};

/// Refuses a store that belongs to somebody else. One that belongs to nobody yet passes.
pub(crate) async fn check(connection: &mut Connection, member: MemberId, federation: Hex32) -> Result<(), OpenError> {
    let row = sqlx::query("SELECT member, federation FROM store_identity").fetch_optional(connection).await;
    // Before the first migration there is no such table.
    let Ok(Some(row)) = row else { return Ok(()) };
    let found: MemberId = columns::parsed(&row, "member")?;
    if found != member {
        return Err(OpenError::OtherMember { found, expected: member });
    }
    let found = columns::digest(&row, "federation")?;
    if found != federation {
        return Err(OpenError::OtherFederation { found, expected: federation });
    }
    Ok(())
}

/// Writes whose it is, once.
pub(crate) async fn claim(connection: &mut Connection, member: MemberId, federation: Hex32) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO store_identity (only_row, member, federation) VALUES (1, $1, $2) ON CONFLICT (only_row) DO NOTHING",
    )
    .bind(member.as_str().to_owned())
    .bind(federation.0.to_vec())
    .execute(connection)
    .await?;
    Ok(())
}
