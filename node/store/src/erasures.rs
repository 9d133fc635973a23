//! What was destroyed on its originator's word, in a file beside the database: a database that is restored from a backup loses it
//! again before anybody reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use comity_core::RecordId;

use crate::error::{OpenError, StoreError};

/// The list: one record id to a line, only ever appended to.
#[derive(Debug, Clone)]
pub(crate) struct Erasures {
    path: PathBuf,
}

impl Erasures {
    /// The list at a path; it is made at the first erasure.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds a record, durably.
    pub(crate) async fn add(&self, record: RecordId) -> Result<(), StoreError> {
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || append(&path, record)).await;
        written.map_err(|_| StoreError::Interrupted)?.map_err(|error| {
            tracing::error!(%error, path = %self.path.display(), "the list of erasures cannot be written");
            StoreError::Erasures
        })
    }

    /// Everything that is on it. A line that a crash cut short names nothing that was destroyed yet.
    pub(crate) fn read(&self) -> Result<Vec<RecordId>, OpenError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(OpenError::File { path: self.path.clone(), source }),
        }
    }
}

fn append(path: &Path, record: RecordId) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).open(path)?;
    file.write_all(format!("\n{record}\n").as_bytes())?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
