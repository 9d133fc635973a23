//! TLS settings of both sides: 1.3 only, both authenticated, h2, and no resumption.
//!
//! INVARIANT: every connection is a full handshake. A resumed one skips the verifier, so that a revoked or suspended
//! peer would come back in: there is no session storage, no ticket is sent, and the client keeps none.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};

use crate::anchors::SharedTrust;
use crate::credentials::Credentials;
use crate::verifier::{Expectation, MemberVerifier};

/// The one application protocol, on both sides.
pub const ALPN: &[u8] = b"h2";

/// The settings do not fit together.
#[derive(Debug, Clone, thiserror::Error)]
#[error("TLS cannot be set up: {0}; this is a fault of the build, please report it")]
pub struct TlsSetupError(#[from] rustls::Error);

/// The cryptography: aws-lc-rs, the hybrid X25519MLKEM768 first, against those who record now to decrypt later.
///
/// Named at every use, since `builder()` panics where two providers are in the tree.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// The settings of a listener that admits `expectation`.
///
/// # Errors
/// The provider does not do TLS 1.3.
pub fn server_config(
    credentials: &Credentials,
    trust: SharedTrust,
    expectation: Expectation,
) -> Result<Arc<ServerConfig>, TlsSetupError> {
    let provider = crypto_provider();
    let verifier = Arc::new(MemberVerifier::new(trust, expectation, &provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified_key())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The settings of a caller that expects `expectation` at the other end.
///
/// # Errors
/// The provider does not do TLS 1.3.
pub fn client_config(
    credentials: &Credentials,
    trust: SharedTrust,
    expectation: Expectation,
) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = crypto_provider();
    let verifier = Arc::new(MemberVerifier::new(trust, expectation, &provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified_key())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    // Identity is the SPIFFE id; a host name in the clear would only tell onlookers who talks to whom.
    config.enable_sni = false;
    Ok(Arc::new(config))
}
