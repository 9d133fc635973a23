//! Bundles of access logs, verified offline: from the file and a roster alone, in memory that does not grow with the file.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use comity_core::access::bundle::{
    BundleVerifier, HEADER_MAX_BYTES, Header, InvalidBundle, LeafBytes, NOTE_MAX_BYTES, OLDER_MAX, Proven,
};
use comity_core::access::{Attested, LogRoster, Unattested};
use comity_core::canonical::Hex32;

/// How much of a file is read at one time.
const PIECE_BYTES: usize = 256 * 1024;

/// What a bundle is verified by.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Which federation.
    pub federation: Hex32,
    /// Who signs and cosigns.
    pub roster: LogRoster,
}

/// A bundle that holds.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What it proves, given the signatures.
    pub proven: Proven,
    /// Whose signatures it carries, all of them right. Whether they are enough is for the reader to say.
    pub attested: Attested,
}

/// Why a bundle does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {error}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not as it must be.
    #[error(transparent)]
    Invalid(#[from] InvalidBundle),
    /// It is another federation's.
    #[error("the bundle is of federation {found}; the genesis is {expected}")]
    OtherFederation {
        /// What it says.
        found: Hex32,
        /// What the genesis is.
        expected: Hex32,
    },
    /// Its checkpoint is not signed as it must be.
    #[error("checkpoint: {0}")]
    Unattested(#[from] Unattested),
}

/// Verifies a file. Each leaf is given as it is read; what is made of it counts once this has returned the verdict.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(
    path: &Path,
    trust: &Trust,
    wanted: Vec<u64>,
    mut leaf: impl FnMut(LeafBytes<'_>),
) -> Result<Verified, Unverified> {
    let failed = |error: io::Error| Unverified::Read { path: path.to_owned(), error };
    let mut file = fs::File::open(path).map_err(failed)?;
    let mut checker = Checker::new(trust, wanted);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => return checker.finish(),
            read => checker.push(piece.get(..read).unwrap_or_default(), &mut leaf)?,
        }
    }
}

/// Verifies a bundle that comes in pieces, its signatures as soon as they are there.
pub(crate) struct Checker<'a> {
    trust: &'a Trust,
    verifier: BundleVerifier,
    attested: Option<Attested>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(trust: &'a Trust, wanted: Vec<u64>) -> Self {
        Self { trust, verifier: BundleVerifier::new(wanted), attested: None }
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        self.verifier.header()
    }

    pub(crate) fn taken(&self) -> u64 {
        self.verifier.taken()
    }

    pub(crate) fn push(&mut self, bytes: &[u8], leaf: impl FnMut(LeafBytes<'_>)) -> Result<(), Unverified> {
        let pushed = self.verifier.push(bytes, leaf);
        // Of a stranger's bundle it does not matter what is wrong further down.
        if let (None, Some(header)) = (&self.attested, self.verifier.header()) {
            if header.federation != self.trust.federation {
                let (found, expected) = (header.federation, self.trust.federation);
                return Err(Unverified::OtherFederation { found, expected });
            }
            self.attested = Some(self.trust.roster.attest(&header.note)?);
        }
        Ok(pushed?)
    }

    pub(crate) fn finish(self) -> Result<Verified, Unverified> {
        let proven = self.verifier.finish()?;
        match self.attested {
            Some(attested) => Ok(Verified { proven, attested }),
            None => Err(InvalidBundle::Truncated { leaf: None }.into()),
        }
    }
}

/// Whose log a file says that it is of: its checkpoint's signatures are checked, its leaves are not.
///
/// # Errors
/// It is no bundle of this federation, or not signed as it must be.
pub(crate) fn peek(path: &Path, trust: &Trust) -> Result<Attested, Unverified> {
    let failed = |error: io::Error| Unverified::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let most = HEADER_MAX_BYTES + NOTE_MAX_BYTES + OLDER_MAX * 64 * 32;
    fs::File::open(path).map_err(failed)?.take(most as u64).read_to_end(&mut bytes).map_err(failed)?;
    let mut checker = Checker::new(trust, Vec::new());
    let pushed = checker.push(&bytes, |_| {});
    match checker.attested {
        Some(attested) => Ok(attested),
        None => Err(pushed.err().unwrap_or(InvalidBundle::Truncated { leaf: None }.into())),
    }
}
