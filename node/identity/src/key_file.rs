//! Files that hold private keys: 0600, written whole, and refused when others may read them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The largest PEM file that is read, in bytes: a key or a short chain is far smaller.
pub const FILE_MAX_BYTES: u64 = 64 * 1024;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is none.
    #[error("{}: no such file; make it with `comity pki`, or correct the path in the configuration", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It could not be read.
    #[error("{}: cannot be read: {source}; check its owner and mode", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("{0}: mode {mode:03o} lets others at this private key; run `chmod 600 {0}`, and replace the key if it was exposed", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a plain file.
    #[error("{}: not a plain file; expected a PEM file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is far too large.
    #[error("{}: larger than {FILE_MAX_BYTES} bytes; expected a PEM file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is there already, and was not to be replaced.
    #[error("{}: exists already and is left as it is; remove it, or ask to overwrite with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("{}: cannot be written: {source}; check the folder's owner, mode and free space", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a private file. The mode is that of the opened file, so that it cannot be swapped between check and read.
///
/// # Errors
/// Missing, unreadable, too large, or open to group or others (`mode & 0o077`).
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    read_into(path, true, &mut bytes)?;
    Ok(bytes)
}

/// Reads a file that anybody may read, such as a certificate.
///
/// # Errors
/// Missing, unreadable or too large.
pub fn read_public(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let mut bytes = Vec::new();
    read_into(path, false, &mut bytes)?;
    Ok(bytes)
}

fn read_into(path: &Path, is_private: bool, bytes: &mut Vec<u8>) -> Result<(), KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => KeyFileError::Read { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if is_private && mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    // Room for the whole at once: a vector that grows would leave copies of the key behind it.
    bytes.reserve_exact(usize::try_from(metadata.len().min(FILE_MAX_BYTES)).unwrap_or_default().saturating_add(1));
    file.take(FILE_MAX_BYTES + 1).read_to_end(bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(KeyFileError::TooLarge { path: path.to_owned() });
    }
    Ok(())
}

/// Writes a private file: mode 0600, in a folder that is made with 0700 where it is missing, synced to disk before it
/// returns. An existing file is left alone unless `force`, and is then replaced at once and whole.
///
/// # Errors
/// It exists, or cannot be written.
pub fn write_private(path: &Path, bytes: &[u8], force: bool) -> Result<(), KeyFileError> {
    write(path, bytes, 0o600, force)
}

/// Writes a file that anybody may read, such as a certificate, with the same care.
///
/// # Errors
/// It exists, or cannot be written.
pub fn write_public(path: &Path, bytes: &[u8], force: bool) -> Result<(), KeyFileError> {
    write(path, bytes, 0o644, force)
}

fn write(path: &Path, bytes: &[u8], mode: u32, force: bool) -> Result<(), KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Write { path: path.to_owned(), source },
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    if force {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let fresh = path.with_file_name(name);
        // Left by a run that was cut short.
        let _ = fs::remove_file(&fresh);
        create(&fresh, bytes, mode).and_then(|()| fs::rename(&fresh, path)).map_err(failed)?;
    } else {
        create(path, bytes, mode).map_err(failed)?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Makes a new file (`O_EXCL`) and takes it away again if it cannot be filled.
fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let filled = file.write_all(bytes).and_then(|()| file.sync_all());
    if filled.is_err() {
        let _ = fs::remove_file(path);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/node.key");
        write_private(&path, b"secret", false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(read_private(&path).unwrap().as_slice(), b"secret");

        for exposed in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
            let refused = read_private(&path).unwrap_err();
            assert!(matches!(refused, KeyFileError::Exposed { mode, .. } if mode == exposed), "{refused}");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn an_existing_file_is_replaced_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        write_private(&path, b"first", false).unwrap();
        assert!(matches!(write_private(&path, b"second", false), Err(KeyFileError::Exists { .. })));
        assert_eq!(read_private(&path).unwrap().as_slice(), b"first");
        write_private(&path, b"second", true).unwrap();
        assert_eq!(read_private(&path).unwrap().as_slice(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_things_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_private(&dir.path().join("none")), Err(KeyFileError::Missing { .. })));
        assert!(matches!(read_public(dir.path()), Err(KeyFileError::NotAFile { .. })));
        let large = dir.path().join("large");
        write_private(&large, &vec![b'a'; 64 * 1024 + 1], false).unwrap();
        assert!(matches!(read_private(&large), Err(KeyFileError::TooLarge { .. })));
    }
}
