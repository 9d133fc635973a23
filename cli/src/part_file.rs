//! A file that is written piece by piece and put in place when it is whole: what was cut short must not look like one.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file beside the one that it will be. It is taken away again unless it was finished.
#[derive(Debug)]
pub(crate) struct PartFile {
    path: PathBuf,
    part: PathBuf,
    file: fs::File,
}

impl PartFile {
    /// Begins a file that anybody may read whom the folder lets.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        Self::open(path, fs::OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// Begins a file that its owner alone may read.
    pub(crate) fn create_private(path: &Path) -> Result<Self, Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        // What is there by that name was left by a run that was killed: its rights would stay.
        fs::remove_file(part_of(path)).ok();
        Self::open(path, fs::OpenOptions::new().write(true).create_new(true).mode(0o600))
    }

    fn open(path: &Path, options: &fs::OpenOptions) -> Result<Self, Failure> {
        let part = part_of(path);
        let file = options.open(&part).map_err(|e| failed(path, &e))?;
        Ok(Self { path: path.to_owned(), part, file })
    }

    /// Writes what comes next.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|e| failed(&self.path, &e))
    }

    /// Puts it in place.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let placed = self.file.sync_all().and_then(|()| fs::rename(&self.part, &self.path));
        placed.map_err(|e| failed(&self.path, &e))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Gone already where it was put in place.
        let _ = fs::remove_file(&self.part);
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    path.with_file_name(name)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("{}: cannot be written: {error}", path.display()))
}
