//! SHA-256 of a local file of any size, with progress.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use comity_core::canonical::Hex32;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::session::Session;

/// How much is read at one time, in bytes.
const STEP_BYTES: usize = 1024 * 1024;
/// A file smaller than this is hashed before a bar could be seen.
const BAR_FROM_BYTES: u64 = 64 * 1024 * 1024;

/// What was found.
pub(super) struct Hashed {
    pub(super) sha256: Hex32,
    pub(super) bytes: u64,
}

/// Hashes a file.
///
/// # Errors
/// It cannot be read, or is no file.
pub(super) fn hash(session: &Session<'_>, path: &Path) -> Result<Hashed, Failure> {
    let failed = |e: std::io::Error| Failure::error(format!("{}: cannot be read: {e}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::error(format!("{}: is a folder: expected the material, one file", path.display()))
            .next("pack what belongs together into one file first"));
    }
    let bar = match session.output.can_draw_progress() && metadata.len() >= BAR_FROM_BYTES {
        true => ProgressBar::new(metadata.len()).with_style(style()).with_message("hashing"),
        false => ProgressBar::hidden(),
    };
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0_u64, vec![0; STEP_BYTES]);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        hasher.update(piece);
        bytes += read as u64;
        bar.set_position(bytes);
    }
    bar.finish_and_clear();
    Ok(Hashed { sha256: Hex32(hasher.finalize().into()), bytes })
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
