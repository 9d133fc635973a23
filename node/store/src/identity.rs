//! Whose store it is, and with which key it is sealed. A node that is started with another genesis, member or key must not write a
//! single row.

use comity_core::MemberId;
use comity_core::canonical::Hex32;

use crate::columns;
use crate::database::Connection;
use crate::error::{OpenError, StoreError};
use crate::seal::{KeyFile, KeyFileError, Sealer, StoreKey};
use crate::sql::query;

/// The owner of the key that only checks that the store's key is the right one.
const KEY_CHECK: &str = "store";

/// Refuses a store that belongs to somebody else. One that belongs to nobody yet passes.
pub(crate) async fn check(connection: &mut Connection, member: MemberId, federation: Hex32) -> Result<(), OpenError> {
    // Before the first migration there is no such table, and a failed statement would spoil nothing but itself.
    let row = query("SELECT member, federation FROM store_identity").fetch_optional(connection).await;
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

/// Finds the store's key or, for a store that nothing was sealed in yet, makes one.
pub(crate) async fn keys(connection: &mut Connection, file: &KeyFile) -> Result<Sealer, OpenError> {
    let row = query("SELECT key_check FROM store_identity").fetch_optional(connection).await?;
    let path = || file.path().to_owned();
    match (file.read()?, row) {
        (None, Some(_)) => Err(KeyFileError::Missing { path: path() }.into()),
        (None, None) => {
            let key = StoreKey::fresh()?;
            file.write(&[&key])?;
            Ok(Sealer::new(vec![key]))
        }
        (Some(keys), None) => Ok(Sealer::new(keys)),
        (Some(keys), Some(row)) => {
            let sealer = Sealer::new(keys);
            let check = columns::bytes(&row, "key_check")?;
            sealer.key(KEY_CHECK, &check).map_err(|_| KeyFileError::Other { path: path() })?;
            Ok(sealer)
        }
    }
}

/// Writes whose it is, once.
pub(crate) async fn claim(
    connection: &mut Connection,
    member: MemberId,
    federation: Hex32,
    sealer: &Sealer,
) -> Result<(), StoreError> {
    let (_, key_check) = sealer.new_key(KEY_CHECK)?;
    query(
        "INSERT INTO store_identity (only_row, member, federation, key_check) VALUES (1, $1, $2, $3)
         ON CONFLICT (only_row) DO NOTHING",
    )
    .bind(member.as_str())
    .bind(federation.0.to_vec())
    .bind(key_check)
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts the check under the current key of the store.
pub(crate) async fn rewrap(connection: &mut Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let (_, key_check) = sealer.new_key(KEY_CHECK)?;
    query("UPDATE store_identity SET key_check = $1 WHERE only_row = 1").bind(key_check).execute(connection).await?;
    Ok(())
}
