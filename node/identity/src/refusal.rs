//! Why a certificate was refused.

use comity_core::spiffe::InvalidSpiffeId;
use comity_core::{MemberId, Role, SpiffeId, Timestamp, TrustDomain};

/// Why the certificate at the other end does not do. Each says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedCertificate {
    /// Not DER, not X.509 v3, or an extension that matters here is broken.
    #[error("the certificate is not readable X.509: issue another with `comity pki issue`")]
    Malformed,
    /// No URI among the subject alternative names.
    #[error("the certificate holds no URI: expected exactly one, its SPIFFE id; issue another with `comity pki issue`")]
    NoUri,
    /// More than one URI among the subject alternative names.
    #[error(
        "the certificate holds {count} URIs: expected exactly one, its SPIFFE id; issue another with `comity pki issue`"
    )]
    TwoUris {
        /// How many.
        count: usize,
    },
    /// Names of another kind (DNS, IP address, e-mail ...) beside the URI.
    #[error(
        "the certificate holds {count} names beside its URI: expected the SPIFFE id alone; issue another with `comity pki issue`"
    )]
    OtherNames {
        /// How many.
        count: usize,
    },
    /// The URI is not a SPIFFE id of this federation's shape.
    #[error("the certificate's URI is not a SPIFFE id: {0}; issue another with `comity pki issue`")]
    MalformedSpiffe(#[source] InvalidSpiffeId),
    /// A certificate authority's own certificate, shown as a leaf.
    #[error("this is the certificate of an authority, not of a node or person: use one made by `comity pki issue`")]
    IsCa,
    /// The key usage extension does not allow signing a handshake. X509-SVID, section 4.3.
    #[error("the certificate's key usage lacks digitalSignature: issue another with `comity pki issue`")]
    WrongKeyUsage,
    /// The extended key usage does not allow this side of a connection.
    #[error("the certificate's extended key usage does not allow this side of a connection: a person's cannot serve")]
    WrongPurpose,
    /// The roster knows no such trust domain.
    #[error(
        "trust domain {trust_domain} is not in the roster: check the certificate and that both nodes hold the same roster"
    )]
    UnknownTrustDomain {
        /// The domain that the certificate names.
        trust_domain: TrustDomain,
    },
    /// Issued by somebody else than the authority of the trust domain that it names.
    #[error(
        "the certificate names trust domain {trust_domain} but was not issued by that member's authority: use one issued by a root in the roster"
    )]
    WrongIssuer {
        /// The domain that the certificate names.
        trust_domain: TrustDomain,
    },
    /// Names the right issuer, but the signature is not that issuer's.
    #[error(
        "the certificate names the authority of {trust_domain} but is not signed by it: use one issued by a root in the roster"
    )]
    BadSignature {
        /// The domain that the certificate names.
        trust_domain: TrustDomain,
    },
    /// No root of the trust domain is valid at this time.
    #[error(
        "no root of trust domain {trust_domain} is valid now: that member must publish a new root, or check this clock"
    )]
    RootNotValid {
        /// The domain that the certificate names.
        trust_domain: TrustDomain,
    },
    /// The chain breaks another rule of RFC 5280.
    #[error("the certificate's chain does not hold: {0}; issue another with `comity pki issue`")]
    Chain(#[source] webpki::Error),
    /// Its time is over.
    #[error("the certificate expired at {not_after}: issue another with `comity pki issue`, or check this clock")]
    Expired {
        /// The last instant of validity.
        not_after: Timestamp,
    },
    /// Its time has not come.
    #[error("the certificate is not valid before {not_before}: check the clocks on both sides")]
    NotYetValid {
        /// The first instant of validity.
        not_before: Timestamp,
    },
    /// Genuine, but of a member that is not expected here.
    #[error("{id} belongs to {actual}, and only {expected} is admitted here: check the address and the certificate")]
    WrongMember {
        /// Who it is.
        id: SpiffeId,
        /// Whose authority issued it.
        actual: MemberId,
        /// Who is admitted.
        expected: MemberId,
    },
    /// Genuine, but of a role that is not served here.
    #[error("{id} has a role that is not admitted here, where expected is {}: nodes use the peer port, people the operator port", list(.expected))]
    WrongRole {
        /// Who it is.
        id: SpiffeId,
        /// The roles that are admitted.
        expected: &'static [Role],
    },
}

impl RefusedCertificate {
    /// A short stable name of the reason, for access records and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "certificate_malformed",
            Self::NoUri => "certificate_no_uri",
            Self::TwoUris { .. } => "certificate_two_uris",
            Self::OtherNames { .. } => "certificate_other_names",
            Self::MalformedSpiffe(_) => "certificate_malformed_spiffe_id",
            Self::IsCa => "certificate_is_ca",
            Self::WrongKeyUsage => "certificate_wrong_key_usage",
            Self::WrongPurpose => "certificate_wrong_purpose",
            Self::UnknownTrustDomain { .. } => "certificate_unknown_trust_domain",
            Self::WrongIssuer { .. } => "certificate_wrong_issuer",
            Self::BadSignature { .. } => "certificate_bad_signature",
            Self::RootNotValid { .. } => "certificate_root_not_valid",
            Self::Chain(_) => "certificate_chain",
            Self::Expired { .. } => "certificate_expired",
            Self::NotYetValid { .. } => "certificate_not_yet_valid",
            Self::WrongMember { .. } => "certificate_wrong_member",
            Self::WrongRole { .. } => "certificate_wrong_role",
        }
    }
}

fn list(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}
