//! Who is at the other end of a connection, parsed, for handlers.

use comity_core::{MemberId, Role, SpiffeId, Timestamp};

use crate::anchors::TrustStore;
use crate::certificate::Leaf;
use crate::refusal::RefusedCertificate;

/// The identity of an authenticated peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The member whose authority issued the certificate.
    pub member: MemberId,
    /// The SPIFFE id: trust domain, role and name.
    pub id: SpiffeId,
    /// The last instant at which the certificate is valid: a connection must not outlive it.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate's DER.
    pub certificate_sha256: [u8; 32],
}

impl Peer {
    /// Names the holder of a certificate that the handshake has verified. It verifies nothing itself: that is
    /// [`crate::MemberVerifier`].
    ///
    /// # Errors
    /// The certificate is unfit as a leaf, or its trust domain has left the roster meanwhile.
    pub fn from_certificate(der: &[u8], trust: &TrustStore) -> Result<Self, RefusedCertificate> {
        Self::from_leaf(Leaf::from_der(der)?, trust)
    }

    pub(crate) fn from_leaf(leaf: Leaf, trust: &TrustStore) -> Result<Self, RefusedCertificate> {
        let trust_domain = leaf.id.trust_domain();
        let member = trust
            .member_of(trust_domain)
            .ok_or_else(|| RefusedCertificate::UnknownTrustDomain { trust_domain: trust_domain.clone() })?;
        Ok(Self { member, id: leaf.id, not_after: leaf.not_after, certificate_sha256: leaf.sha256 })
    }

    /// Whether the peer of an open connection would still be known: to be asked on each request, since a connection
    /// outlives the certificate and the roster with which it began. A root taken away while its member stays is not seen
    /// here; it stops new connections.
    ///
    /// # Errors
    /// The certificate has expired, or its trust domain has left the roster or changed hands.
    pub fn still_holds(&self, trust: &TrustStore, now: Timestamp) -> Result<(), RefusedCertificate> {
        if self.not_after < now {
            return Err(RefusedCertificate::Expired { not_after: self.not_after });
        }
        if trust.member_of(self.id.trust_domain()) != Some(self.member) {
            return Err(RefusedCertificate::UnknownTrustDomain { trust_domain: self.id.trust_domain().clone() });
        }
        Ok(())
    }

    /// What it may be.
    pub fn role(&self) -> Role {
        self.id.role()
    }
}
