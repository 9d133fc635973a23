//! Who is at the other end: SPIFFE identities, trust by member, TLS on both sides, and certificate issue.
//!
//! Rests on `comity-core` for the words (member, trust domain, role, SPIFFE id) and on rustls with aws-lc-rs for the
//! cryptography. Serves consensus, api, bin and cli. It must not know records, policies, the list or gRPC: it answers
//! who a peer is and whether this listener or call admits them, never what they may see.
//!
//! INVARIANT: a certificate is checked against the roots of the trust domain that it names, and no others, so that one
//! member's authority can never vouch for another member's people.

pub mod acceptor;
pub mod anchors;
pub mod certificate;
pub mod connector;
pub mod credentials;
mod explain;
mod handshake;
pub mod key_file;
pub mod peer;
pub mod pki;
mod refusal;
pub mod signing_key;
pub mod tls;
pub mod verifier;

#[cfg(test)]
mod fixtures;

pub use acceptor::{Acceptor, AcceptorLimits, Connection, ConnectionPermit, RefusedHandshake, RefusedHandshakes};
pub use anchors::{InvalidTrust, MemberAnchors, SharedTrust, TrustStore};
pub use connector::{ConnectError, ConnectorLimits, MemberConnector};
pub use credentials::{Credentials, CredentialsError};
pub use explain::{explain_tls_error, refused_certificate};
pub use peer::Peer;
pub use pki::{Authority, Issued, PkiError};
pub use refusal::RefusedCertificate;
pub use signing_key::{SigningKeyError, SigningKeyFile};
pub use verifier::{Expectation, ExpectedMembers, MemberVerifier};
