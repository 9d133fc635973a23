//! What this side shows: a certificate chain and its private key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use comity_core::{SpiffeId, Timestamp};
use rustls::InconsistentKeys;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::Leaf;
use crate::key_file::{self, KeyFileError};
use crate::refusal::RefusedCertificate;
use crate::tls::crypto_provider;

/// Why a certificate and key do not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file is missing, unreadable or open to others.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// No certificate in the file.
    #[error("{}: no certificate in it; expected PEM, `BEGIN CERTIFICATE`, the leaf first", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// More certificates than a chain has.
    #[error("{}: more than {max} certificates; expected the leaf and its intermediates", path.display(), max = Credentials::MAX_CHAIN)]
    LongChain {
        /// The file.
        path: PathBuf,
    },
    /// No private key in the file, or of a kind that is not used.
    #[error("{}: no usable private key in it; expected PEM, PKCS#8, SEC 1 or PKCS#1 (ECDSA, Ed25519 or RSA), not encrypted", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The leaf is one that every peer would refuse.
    #[error("{}: {source}", path.display())]
    Leaf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RefusedCertificate,
    },
    /// The key belongs to another certificate.
    #[error("{}: is not the key of the certificate in {}; name the two files that `comity pki issue` wrote together", key.display(), chain.display())]
    KeyMismatch {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// A certificate chain with its key. Cheap to clone; the key is never shown.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<CertifiedKey>,
    leaf: Arc<Leaf>,
}

impl Credentials {
    /// The longest chain that is read.
    pub const MAX_CHAIN: usize = 8;

    /// Reads a chain (leaf first) and its key from PEM files. An expired one is read: [`Self::not_after`] tells.
    ///
    /// # Errors
    /// Names the file, what is wrong and what to do.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, CredentialsError> {
        let chain_pem = key_file::read_public(chain)?;
        let key_pem = key_file::read_private(key)?;
        Self::read(&chain_pem, chain, &key_pem, key)
    }

    /// The same from memory.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, CredentialsError> {
        Self::read(chain_pem, Path::new("certificate"), key_pem, Path::new("key"))
    }

    fn read(chain_pem: &[u8], chain: &Path, key_pem: &[u8], key: &Path) -> Result<Self, CredentialsError> {
        let path = chain.to_owned();
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain_pem)
            .take(Self::MAX_CHAIN + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| CredentialsError::NoCertificate { path: path.clone() })?;
        if certificates.len() > Self::MAX_CHAIN {
            return Err(CredentialsError::LongChain { path });
        }
        let Some(first) = certificates.first() else { return Err(CredentialsError::NoCertificate { path }) };
        let leaf = Leaf::from_der(first).map_err(|source| CredentialsError::Leaf { path, source })?;

        let no_key = || CredentialsError::NoKey { path: key.to_owned() };
        let key_der = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| no_key())?;
        let certified =
            CertifiedKey::from_der(certificates, key_der, &crypto_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    CredentialsError::KeyMismatch { chain: chain.to_owned(), key: key.to_owned() }
                }
                _ => no_key(),
            })?;
        Ok(Self { key: Arc::new(certified), leaf: Arc::new(leaf) })
    }

    /// Who these say we are.
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// The last instant at which the leaf is valid.
    pub fn not_after(&self) -> Timestamp {
        self.leaf.not_after
    }

    /// The first instant at which the leaf is valid.
    pub fn not_before(&self) -> Timestamp {
        self.leaf.not_before
    }

    /// SHA-256 of the leaf's DER.
    pub fn certificate_sha256(&self) -> [u8; 32] {
        self.leaf.sha256
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use comity_core::Role;

    use super::*;
    use crate::fixtures::{authority, now};
    use crate::pki::days;

    #[test]
    fn what_was_issued_loads() {
        let dir = tempfile::tempdir().unwrap();
        let fr = authority("FR", "fr.comity.example");
        let issued = fr.issue(Role::Node, "paris-1", now(), days(30)).unwrap();
        let paths = issued.save(dir.path(), false).unwrap();
        let credentials = Credentials::load(&paths.chain, &paths.key).unwrap();
        assert_eq!(credentials.id().to_string(), "spiffe://fr.comity.example/node/paris-1");
        assert_eq!(credentials.not_after().as_seconds(), now().as_seconds() + 30 * 86_400);
        assert!(!format!("{credentials:?}").to_lowercase().contains("key"), "{credentials:?}");
    }

    #[test]
    fn each_fault_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let fr = authority("FR", "fr.comity.example");
        let one = fr.issue(Role::Node, "paris-1", now(), days(30)).unwrap().save(dir.path(), false).unwrap();
        let two = fr.issue(Role::Node, "paris-2", now(), days(30)).unwrap().save(dir.path(), false).unwrap();
        let refused = |chain: &Path, key: &Path| Credentials::load(chain, key).unwrap_err();

        let error = refused(&one.chain, &two.key);
        assert!(matches!(error, CredentialsError::KeyMismatch { .. }), "{error}");
        assert!(error.to_string().contains("node-paris-2.key") && error.to_string().contains("node-paris-1.pem"));

        let none = dir.path().join("none.pem");
        assert!(refused(&none, &one.key).to_string().contains("none.pem: no such file"));
        assert!(matches!(refused(&one.key, &one.key), CredentialsError::NoCertificate { .. }));
        let public_as_key = dir.path().join("public.key");
        key_file::write_private(&public_as_key, &fs::read(&one.chain).unwrap(), false).unwrap();
        assert!(matches!(refused(&one.chain, &public_as_key), CredentialsError::NoKey { .. }));

        let ca = dir.path().join("ca.pem");
        fs::write(&ca, fr.certificate_pem()).unwrap();
        let error = refused(&ca, &one.key);
        assert!(matches!(error, CredentialsError::Leaf { source: RefusedCertificate::IsCa, .. }), "{error}");

        fs::set_permissions(&one.key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = refused(&one.chain, &one.key);
        assert!(matches!(error, CredentialsError::File(KeyFileError::Exposed { .. })), "{error}");
    }
}
