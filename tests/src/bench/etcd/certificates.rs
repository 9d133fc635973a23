//! Certificates as etcd wants them: an authority, and one certificate with an IP address for servers, peers and clients.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Problem;

/// What clients need of them.
pub(super) struct Certificates {
    authority: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

pub(super) fn certificate(folder: &Path) -> PathBuf {
    folder.join("node.pem")
}

pub(super) fn key(folder: &Path) -> PathBuf {
    folder.join("node.key")
}

pub(super) fn authority(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

impl Certificates {
    /// Makes them, and writes what the processes read.
    pub(super) fn make(folder: &Path) -> Result<Self, Problem> {
        let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "etcd authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&authority_key)?;
        let issuer = Issuer::new(params, authority_key);

        let node_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "etcd");
        params.subject_alt_names = vec![SanType::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let node = params.signed_by(&node_key, &issuer)?;

        std::fs::write(authority(folder), root.pem())?;
        std::fs::write(certificate(folder), node.pem())?;
        comity_identity::key_file::write_private(&key(folder), node_key.serialize_pem().as_bytes(), false)?;
        Ok(Self {
            authority: root.der().clone(),
            chain: vec![node.der().clone()],
            key: PrivatePkcs8KeyDer::from(node_key.serialize_der()),
        })
    }

    /// How clients do TLS.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, Problem> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), PrivateKeyDer::from(self.key.clone_key()))
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}
