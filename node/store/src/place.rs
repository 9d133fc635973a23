//! Whether SQLite's files are still where they were opened. It goes on writing to a file that was moved or unlinked: what is
//! durable there is found by nobody.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::StoreError;

/// The database's file and its write-ahead log, as they were opened.
#[derive(Debug)]
pub(crate) struct Place {
    database: PathBuf,
    opened: FileId,
    log: PathBuf,
    /// Nothing until the connection that writes has made or opened it.
    log_opened: Mutex<Option<FileId>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl Place {
    /// Of a database that exists; the links on the way to it are followed once, as SQLite does.
    pub(crate) fn of(database: &Path) -> io::Result<Self> {
        let database = database.canonicalize()?;
        let opened = file_at(&database)?.ok_or(io::ErrorKind::NotFound)?;
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Ok(Self { database, opened, log: log.into(), log_opened: Mutex::default() })
    }

    /// To be asked before a reader is opened.
    ///
    /// # Errors
    /// A path names no file any more, or another one.
    pub(crate) fn ensure_unmoved(&self) -> Result<(), StoreError> {
        expect(&self.database, self.opened)?;
        match *self.log_opened.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(opened) => expect(&self.log, opened),
            None => Ok(()),
        }
    }

    /// The same within a transaction that writes: its write-ahead log is open, and stays as long as its connection, so that this is
    /// the moment to learn which it is.
    ///
    /// # Errors
    /// A path names no file any more, or another one.
    pub(crate) fn ensure_unmoved_writing(&self) -> Result<(), StoreError> {
        self.ensure_unmoved()?;
        let mut known = self.log_opened.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = file_at(&self.log).map_err(|_| moved(&self.log))?;
        }
        Ok(())
    }

    /// The connection that wrote was closed: the next may make a new write-ahead log.
    pub(crate) fn forget_log(&self) {
        *self.log_opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn expect(path: &Path, opened: FileId) -> Result<(), StoreError> {
    match file_at(path) {
        Ok(Some(found)) if found == opened => Ok(()),
        _ => Err(moved(path)),
    }
}

fn moved(path: &Path) -> StoreError {
    StoreError::Moved { file: path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
}

fn file_at(path: &Path) -> io::Result<Option<FileId>> {
    match path.metadata() {
        Ok(found) => Ok(Some(FileId { device: found.dev(), inode: found.ino() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
