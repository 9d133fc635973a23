//! Small facts about the store itself.

use crate::columns;
use crate::database::Database;
use crate::error::StoreError;
use crate::sql::query;

/// Facts by name.
#[derive(Debug, Clone)]
pub struct Notes {
    database: Database,
}

impl Notes {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// A fact, if it was noted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        let row = query("SELECT value FROM store_note WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut self.database.read().await?)
            .await?;
        row.map(|row| columns::text(&row, "value")).transpose()
    }

    /// Notes a fact, in the place of an earlier one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set(&self, name: &'static str, value: String) -> Result<(), StoreError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    query(
                        "INSERT INTO store_note (name, value) VALUES ($1, $2)
                         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    )
                    .bind(name)
                    .bind(value)
                    .execute(connection)
                    .await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
    }
}
