//! A member's Ed25519 signing keys on disk: decision, node and recovery key. None of them is the TLS key.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::key_file::{self, KeyFileError};

/// Why a signing key was not read, made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// The file is missing, exists already, or is open to others.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The file holds something else.
    #[error("{}: not an Ed25519 private key; expected PKCS#8 PEM, `BEGIN PRIVATE KEY`, not encrypted", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}; check the kernel's random source")]
    Random(#[from] getrandom::Error),
    /// The key could not be put into PKCS#8.
    #[error("the signing key could not be encoded; this is a fault of the build, please report it")]
    Encode,
}

/// An Ed25519 signing key that lives in a file (PKCS#8 PEM, mode 0600). Wiped from memory when dropped, never shown.
pub struct SigningKeyFile {
    key: SigningKey,
}

impl SigningKeyFile {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// The system gave none.
    pub fn generate() -> Result<Self, SigningKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        Ok(Self { key: SigningKey::from_bytes(&seed) })
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The file is missing, open to others, or no Ed25519 key.
    pub fn load(path: &Path) -> Result<Self, SigningKeyError> {
        let pem = key_file::read_private(path)?;
        let key = std::str::from_utf8(&pem).ok().and_then(|pem| SigningKey::from_pkcs8_pem(pem).ok());
        key.map(|key| Self { key }).ok_or_else(|| SigningKeyError::NotAKey { path: path.to_owned() })
    }

    /// Writes the key, 0600.
    ///
    /// # Errors
    /// The file exists and `force` is false, or it cannot be written.
    pub fn save(&self, path: &Path, force: bool) -> Result<(), SigningKeyError> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).map_err(|_| SigningKeyError::Encode)?;
        key_file::write_private(path, pem.as_bytes(), force)?;
        Ok(())
    }

    /// The key, to sign with.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// The public half as 64 lower-case hexadecimal digits, as the roster holds it.
    pub fn verifying_key_hex(&self) -> String {
        hex::encode(self.key.verifying_key().as_bytes())
    }
}

impl fmt::Debug for SigningKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeyFile({})", self.verifying_key_hex())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use ed25519_dalek::Signer as _;

    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decision.key");
        let made = SigningKeyFile::generate().unwrap();
        made.save(&path, false).unwrap();
        let read = SigningKeyFile::load(&path).unwrap();
        assert_eq!(read.verifying_key_hex(), made.verifying_key_hex());
        let signature = read.signing_key().sign(b"message");
        assert!(made.verifying_key().verify_strict(b"message", &signature).is_ok());
        assert!(matches!(made.save(&path, false), Err(SigningKeyError::File(KeyFileError::Exists { .. }))));
        assert_ne!(SigningKeyFile::generate().unwrap().verifying_key_hex(), made.verifying_key_hex());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SigningKeyFile::load(&path), Err(SigningKeyError::File(KeyFileError::Exposed { .. }))));
        let other = dir.path().join("other.key");
        key_file::write_private(&other, b"-----BEGIN NOTHING-----", false).unwrap();
        assert!(matches!(SigningKeyFile::load(&other), Err(SigningKeyError::NotAKey { .. })));
    }
}
