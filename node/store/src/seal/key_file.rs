//! The file that holds the store's key, outside the database.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use comity_core::sha256;
use zeroize::{Zeroize as _, Zeroizing};

pub(crate) const KEY_BYTES: usize = 32;
pub(crate) const KEY_ID_BYTES: usize = 8;

const FORMAT: &str = "comity-store-key/1";
/// Nothing that is not a key file is read for long.
const FILE_MAX_BYTES: u64 = 4_096;

/// A key that wraps the keys of records.
pub(crate) struct StoreKey {
    pub(crate) id: [u8; KEY_ID_BYTES],
    pub(crate) key: Zeroizing<[u8; KEY_BYTES]>,
}

impl StoreKey {
    pub(crate) fn of(key: [u8; KEY_BYTES]) -> Self {
        let mut named = b"comity-store-key-id/1\0".to_vec();
        named.extend_from_slice(&key);
        let mut id = [0; KEY_ID_BYTES];
        for (to, from) in id.iter_mut().zip(sha256(&named)) {
            *to = from;
        }
        named.zeroize();
        Self { id, key: Zeroizing::new(key) }
    }

    pub(crate) fn fresh() -> Result<Self, KeyFileError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(key.as_mut()).map_err(|_| KeyFileError::Random)?;
        Ok(Self::of(*key))
    }
}

/// Where the store's key is: `comity-store-key/1`, then a line of 64 hexadecimal digits for the current key and, while one takes the
/// place of another, for the one before.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

/// Why the store's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("store key {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("store key {path}: mode {mode:o}, others may read it: chmod 600 it")]
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key file.
    #[error("store key {path}: expected {FORMAT} and one or two lines of 64 hexadecimal digits")]
    Format {
        /// Which file.
        path: PathBuf,
    },
    /// There is none, and the store was sealed with one.
    #[error("store key {path} is missing, and this store was sealed with it: put it back from where it is kept")]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// It is another store's.
    #[error("store key {path} is not the one that this store was sealed with: put the right one back")]
    Other {
        /// Which file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("the system gave no random bytes")]
    Random,
}

impl KeyFile {
    /// The file at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys in it, the current one first; none where there is no file.
    pub(crate) fn read(&self) -> Result<Option<Vec<StoreKey>>, KeyFileError> {
        let path = || self.path.clone();
        let failed = |source| KeyFileError::File { path: path(), source };
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Readable { path: path(), mode });
        }
        if metadata.len() > FILE_MAX_BYTES {
            return Err(KeyFileError::Format { path: path() });
        }
        let text = Zeroizing::new(fs::read_to_string(&self.path).map_err(failed)?);
        let format = || KeyFileError::Format { path: path() };
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return Err(format());
        }
        let mut keys = Vec::new();
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            hex::decode_to_slice(line.trim(), key.as_mut()).map_err(|_| format())?;
            keys.push(StoreKey::of(*key));
        }
        if keys.is_empty() || keys.len() > 2 {
            return Err(format());
        }
        Ok(Some(keys))
    }

    /// Writes the keys in place of what was there, durably or not at all.
    pub(crate) fn write(&self, keys: &[&StoreKey]) -> Result<(), KeyFileError> {
        let failed = |source| KeyFileError::File { path: self.path.clone(), source };
        let mut text = Zeroizing::new(format!("{FORMAT}\n"));
        for key in keys {
            text.push_str(&Zeroizing::new(hex::encode(key.key.as_slice())));
            text.push('\n');
        }
        let mut partial = self.path.as_os_str().to_owned();
        partial.push(".new");
        let partial = PathBuf::from(partial);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = OpenOptions::new();
        let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&partial).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&partial, &self.path).map_err(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_file_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(folder.path().join("store.key"));
        assert!(file.read().unwrap().is_none());
        let (new, old) = (StoreKey::fresh().unwrap(), StoreKey::fresh().unwrap());
        file.write(&[&new, &old]).unwrap();
        let read = file.read().unwrap().unwrap();
        assert_eq!(read.iter().map(|k| k.id).collect::<Vec<_>>(), [new.id, old.id]);
        assert_eq!(read[0].key, new.key);
        file.write(&[&new]).unwrap();
        assert_eq!(file.read().unwrap().unwrap().len(), 1);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.read(), Err(KeyFileError::Readable { mode: 0o640, .. })));
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(folder.path().join("store.key"));
        let line = "ab".repeat(32);
        for text in [
            String::new(),
            format!("{FORMAT}\n"),
            format!("{FORMAT}\n{line}\n{line}\n{line}\n"),
            format!("comity-store-key/2\n{line}\n"),
            format!("{FORMAT}\n{}\n", line.replace('a', "x")),
            format!("{FORMAT}\n{}\n", "ab".repeat(31)),
            "x".repeat(5_000),
        ] {
            fs::write(file.path(), text).unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(file.read(), Err(KeyFileError::Format { .. })));
        }
    }
}
