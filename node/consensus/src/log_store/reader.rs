//! What the log is read from.

use std::collections::HashSet;
use std::io;

use comity_core::canonical::Hex32;
use comity_core::list::{PublicText, Submission};
use sqlx::sqlite::SqlitePool;

use super::{commands, rows};
use crate::types::Entry;

/// What the log is read from.
pub(super) enum Reader {
    /// `consensus.db`.
    File(SqlitePool),
    /// A disk that is simulated.
    #[cfg(feature = "simulation")]
    Memory(super::SimulatedDisk),
}

impl Reader {
    /// As [`rows::entries`].
    pub(super) async fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<(Vec<Entry>, usize)> {
        match self {
            Self::File(pool) => rows::entries(pool, start, end, max_bytes).await,
            #[cfg(feature = "simulation")]
            Self::Memory(disk) => Ok(disk.entries(start, end, max_bytes)),
        }
    }

    /// As [`commands::read`].
    pub(super) async fn commands(
        &self,
        first: u64,
        limit: usize,
        max_bytes: usize,
    ) -> io::Result<(Vec<Submission>, usize)> {
        match self {
            Self::File(pool) => commands::read(pool, first, limit, max_bytes).await,
            #[cfg(feature = "simulation")]
            Self::Memory(disk) => Ok(disk.commands(first, limit, max_bytes)),
        }
    }

    /// The text with this digest.
    pub(super) async fn text(&self, digest: Hex32) -> io::Result<Option<PublicText>> {
        match self {
            Self::File(pool) => rows::text(pool, digest).await,
            #[cfg(feature = "simulation")]
            Self::Memory(disk) => Ok(disk.text(digest)),
        }
    }

    /// The digests of all texts.
    pub(super) async fn text_digests(&self) -> io::Result<HashSet<Hex32>> {
        match self {
            Self::File(pool) => rows::text_digests(pool).await,
            #[cfg(feature = "simulation")]
            Self::Memory(disk) => Ok(disk.text_digests()),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::File(pool) => pool.close().await,
            #[cfg(feature = "simulation")]
            Self::Memory(_) => {}
        }
    }
}
