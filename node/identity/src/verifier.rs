//! The one verifier, for both sides of a connection: each certificate against the roots of its own trust domain.

use std::sync::Arc;
use std::time::Duration;

use comity_core::{MemberId, Role, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::anchors::SharedTrust;
use crate::certificate::Leaf;
use crate::handshake;
use crate::peer::Peer;
use crate::refusal::RefusedCertificate;

/// Which members are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedMembers {
    /// Any member or recipient of the roster.
    Any,
    /// One alone.
    Only(MemberId),
}

/// Who is admitted by a listener, or expected at the other end by a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    /// Whose.
    pub members: ExpectedMembers,
    /// In which roles.
    pub roles: &'static [Role],
}

impl Expectation {
    /// For the peer listener: the node of any member.
    pub const fn peers() -> Self {
        Self { members: ExpectedMembers::Any, roles: &[Role::Node] }
    }

    /// For the operator listener of a member: its own people.
    pub const fn people_of(member: MemberId) -> Self {
        let roles = &[Role::Operator, Role::Approver, Role::Policy, Role::Auditor, Role::Admin];
        Self { members: ExpectedMembers::Only(member), roles }
    }

    /// For whoever dials a member's node.
    pub const fn node_of(member: MemberId) -> Self {
        Self { members: ExpectedMembers::Only(member), roles: &[Role::Node] }
    }

    /// Whether a peer is admitted.
    ///
    /// # Errors
    /// Its member or its role is not.
    pub fn admits(&self, peer: &Peer) -> Result<(), RefusedCertificate> {
        if let ExpectedMembers::Only(expected) = self.members
            && expected != peer.member
        {
            return Err(RefusedCertificate::WrongMember { id: peer.id.clone(), actual: peer.member, expected });
        }
        if !self.roles.contains(&peer.role()) {
            return Err(RefusedCertificate::WrongRole { id: peer.id.clone(), expected: self.roles });
        }
        Ok(())
    }
}

/// Verifies certificates of clients and of servers, for one [`Expectation`].
#[derive(Debug)]
pub struct MemberVerifier {
    trust: SharedTrust,
    expectation: Expectation,
    algorithms: WebPkiSupportedAlgorithms,
}

impl MemberVerifier {
    /// A verifier that follows the shared trust, using the signature algorithms of the provider.
    pub fn new(trust: SharedTrust, expectation: Expectation, provider: &CryptoProvider) -> Self {
        Self { trust, expectation, algorithms: provider.signature_verification_algorithms }
    }

    /// Checks one chain for one side of a connection at an instant.
    ///
    /// # Errors
    /// The first reason found to refuse it. Who somebody is (chain and dates) is settled before whether they are
    /// admitted, so that `WrongMember` and `WrongRole` speak of a proven identity.
    fn check(
        &self,
        leaf_der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<Peer, RefusedCertificate> {
        let leaf = Leaf::from_der(leaf_der)?;
        let trust_domain = leaf.id.trust_domain().clone();
        let trust = self.trust.load();
        let now_seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        // INVARIANT: these are the roots of the leaf's own trust domain, and webpki sees no others.
        let anchors = match trust.anchors_at(&trust_domain, now_seconds) {
            None => return Err(RefusedCertificate::UnknownTrustDomain { trust_domain }),
            Some(anchors) if anchors.is_empty() => return Err(RefusedCertificate::RootNotValid { trust_domain }),
            Some(anchors) => anchors,
        };
        let end_entity = EndEntityCert::try_from(leaf_der).map_err(|_| RefusedCertificate::Malformed)?;
        end_entity
            .verify_for_usage(self.algorithms.all, &anchors, intermediates, now, usage, None, None)
            .map_err(|error| explain_chain(error, &leaf))?;
        let peer = Peer::from_leaf(leaf, &trust)?;
        self.expectation.admits(&peer)?;
        Ok(peer)
    }

    fn verify(
        &self,
        leaf_der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), rustls::Error> {
        self.check(leaf_der, intermediates, now, usage).map(drop).map_err(|refusal| {
            handshake::note(&refusal);
            with_alert(refusal, now).into()
        })
    }

    fn verify_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
}

fn explain_chain(error: webpki::Error, leaf: &Leaf) -> RefusedCertificate {
    let trust_domain = leaf.id.trust_domain().clone();
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            RefusedCertificate::Expired { not_after: instant(not_after).unwrap_or(leaf.not_after) }
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            RefusedCertificate::NotYetValid { not_before: instant(not_before).unwrap_or(leaf.not_before) }
        }
        webpki::Error::UnknownIssuer => RefusedCertificate::WrongIssuer { trust_domain },
        webpki::Error::InvalidSignatureForPublicKey => RefusedCertificate::BadSignature { trust_domain },
        webpki::Error::CaUsedAsEndEntity => RefusedCertificate::IsCa,
        webpki::Error::RequiredEkuNotFoundContext(_) => RefusedCertificate::WrongPurpose,
        webpki::Error::BadDer | webpki::Error::BadDerTime => RefusedCertificate::Malformed,
        other => RefusedCertificate::Chain(other),
    }
}

fn instant(time: UnixTime) -> Option<Timestamp> {
    i64::try_from(time.as_secs()).ok()?.checked_mul(1_000_000).and_then(Timestamp::from_micros)
}

fn unix_time(instant: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(instant.as_seconds()).unwrap_or_default()))
}

/// The standard error with the alert that tells the far side most; our own where none fits.
fn with_alert(refusal: RefusedCertificate, now: UnixTime) -> CertificateError {
    use RefusedCertificate as R;
    match refusal {
        R::Expired { not_after } => CertificateError::ExpiredContext { time: now, not_after: unix_time(not_after) },
        R::NotYetValid { not_before } => {
            CertificateError::NotValidYetContext { time: now, not_before: unix_time(not_before) }
        }
        // unknown_ca
        R::UnknownTrustDomain { .. } | R::WrongIssuer { .. } | R::BadSignature { .. } | R::RootNotValid { .. } => {
            CertificateError::UnknownIssuer
        }
        // access_denied: "a valid certificate was received, but the sender decided not to proceed" (RFC 8446, 6.2)
        R::WrongMember { .. } | R::WrongRole { .. } => CertificateError::ApplicationVerificationFailure,
        // unsupported_certificate
        R::WrongPurpose => CertificateError::InvalidPurpose,
        // bad_certificate
        R::Malformed => CertificateError::BadEncoding,
        // certificate_unknown
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A stranger is not told whose authorities are trusted here.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
