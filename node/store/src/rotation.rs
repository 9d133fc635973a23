//! The store's key in place of another: the new one is on disk before anything is wrapped with it, and the old one goes when nothing
//! is wrapped with it any more. What a crash cuts short is gone on with when the store is opened.

use crate::columns;
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::identity;
use crate::seal::{KEY_ID_BYTES, KeyFile, KeyFileError, Sealer, StoreKey};
use crate::sql::{Builder, query};

/// Keys to a transaction: others write in between.
const STEP_ROWS: i64 = 500;

/// The tables whose rows have a key of their own.
const TABLES: [Table; 3] = [
    Table {
        select: "SELECT id AS owner, seal_key FROM record WHERE id > $1 ORDER BY id LIMIT $2",
        update: "UPDATE record SET seal_key = CASE id",
    },
    Table {
        select: "SELECT record AS owner, seal_key FROM copy WHERE record > $1 ORDER BY record LIMIT $2",
        update: "UPDATE copy SET seal_key = CASE record",
    },
    Table {
        select: "SELECT id AS owner, seal_key FROM approval WHERE id > $1 ORDER BY id LIMIT $2",
        update: "UPDATE approval SET seal_key = CASE id",
    },
];

struct Table {
    select: &'static str,
    update: &'static str,
}

/// Why the store's key was not exchanged; whatever is wrapped opens still.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The file of the key.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a new key and puts everything under it. Returns how many keys of records were wrapped anew.
pub(crate) async fn rotate(database: &Database, sealer: &Sealer, file: &KeyFile) -> Result<u64, RotationError> {
    let old = file.read()?.ok_or_else(|| KeyFileError::Missing { path: file.path().to_owned() })?;
    if old.len() > 1 {
        return finish(database, sealer, file).await;
    }
    let new = StoreKey::fresh()?;
    let keys: Vec<StoreKey> = std::iter::once(new).chain(old).collect();
    file.write(&keys.iter().collect::<Vec<_>>())?;
    sealer.replace(keys);
    finish(database, sealer, file).await
}

/// Goes on with an exchange that was begun, if one was.
pub(crate) async fn finish(database: &Database, sealer: &Sealer, file: &KeyFile) -> Result<u64, RotationError> {
    let mut keys = file.read()?.ok_or_else(|| KeyFileError::Missing { path: file.path().to_owned() })?;
    if keys.len() < 2 {
        return Ok(0);
    }
    let current = sealer.current()?;
    let mut wrapped = 0;
    for table in &TABLES {
        let mut after = String::new();
        loop {
            let (sealer, from) = (sealer.clone(), after.clone());
            let step = database.write(move |c| Box::pin(step(c, table, from, sealer, current))).await?;
            wrapped += step.wrapped;
            match step.last {
                Some(last) => after = last,
                None => break,
            }
        }
    }
    let again = sealer.clone();
    database.write(move |c| Box::pin(async move { identity::rewrap(c, &again).await })).await?;
    // INVARIANT: the old key goes only after the last thing that it wrapped is on disk under the new one.
    keys.truncate(1);
    file.write(&keys.iter().collect::<Vec<_>>())?;
    sealer.replace(keys);
    database.forget_deleted().await?;
    Ok(wrapped)
}

struct Step {
    wrapped: u64,
    last: Option<String>,
}

async fn step(
    connection: &mut Connection,
    table: &'static Table,
    after: String,
    sealer: Sealer,
    current: [u8; KEY_ID_BYTES],
) -> Result<Step, StoreError> {
    let rows = query(table.select).bind(after).bind(STEP_ROWS).fetch_all(&mut *connection).await?;
    let mut owners = Vec::new();
    let mut update = Builder::new(table.update);
    let mut last = None;
    for row in &rows {
        let owner = columns::text(row, "owner")?;
        let seal_key = columns::bytes(row, "seal_key")?;
        // A destroyed record has none.
        if !seal_key.is_empty() && !seal_key.starts_with(&current) {
            update.push(" WHEN ").push_bind(owner.as_str()).push(" THEN ").push_bind(sealer.rewrap(&owner, &seal_key)?);
            owners.push(owner.clone());
        }
        last = Some(owner);
    }
    if !owners.is_empty() {
        update.push(" END WHERE ").push(table.key()).push(" IN ").push_list(owners.iter().map(|o| o.as_str().into()));
        update.build().execute(connection).await?;
    }
    Ok(Step { wrapped: owners.len() as u64, last })
}

impl Table {
    fn key(&self) -> &'static str {
        self.update.rsplit(' ').next().unwrap_or_default()
    }
}
