//! A member's certificate authority, for those who do not bring their own.
//!
//! ECDSA on P-256 throughout: every TLS library and hardware token does it. The authority's certificate carries its trust
//! domain as a SPIFFE URI without a path (X509-SVID, section 4.2) and its member as organisation, so that a folder with
//! `ca.pem` and `ca.key` says whose it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use comity_core::{MemberId, Role, SpiffeId, Timestamp, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use crate::anchors::MemberAnchors;
use crate::certificate;
use crate::key_file::{self, KeyFileError};

pub use crate::key_file::{write_private, write_public};

/// How long an authority lives unless asked otherwise, in days: two years, with an overlap while it is replaced.
pub const AUTHORITY_VALID_DAYS: u32 = 730;
/// How long a node's certificate lives unless asked otherwise, in days.
pub const NODE_VALID_DAYS: u32 = 30;
/// How long a person's certificate lives unless asked otherwise, in days.
pub const PERSON_VALID_DAYS: u32 = 7;
/// Certificates begin this long before they are made, since clocks of peers differ, in seconds.
pub const BACKDATE_SECONDS: u64 = 300;

/// The authority's certificate within its folder.
pub const AUTHORITY_CERTIFICATE_FILE: &str = "ca.pem";
/// The authority's private key within its folder.
pub const AUTHORITY_KEY_FILE: &str = "ca.key";

/// So many days.
pub const fn days(days: u32) -> Duration {
    Duration::from_secs(days as u64 * 86_400)
}

/// How long a certificate of this role lives unless asked otherwise.
pub const fn default_validity(role: Role) -> Duration {
    match role {
        Role::Node => days(NODE_VALID_DAYS),
        Role::Operator | Role::Approver | Role::Policy | Role::Auditor | Role::Admin => days(PERSON_VALID_DAYS),
    }
}

/// Why a certificate was not made, or an authority not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file is missing, exists already, or is open to others.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The name does not make a SPIFFE id.
    #[error("{0}; give another --name")]
    Name(#[from] comity_core::spiffe::InvalidSpiffeId),
    /// The validity asked for is nothing, or ends outside the calendar.
    #[error("validity: expected at least one second, ending before the year 9999")]
    Validity,
    /// It would be valid when its authority no longer is.
    #[error(
        "the certificate would outlive its authority, which ends at {authority_ends}: ask for fewer days, or make a new authority with `comity pki init`"
    )]
    OutlivesAuthority {
        /// The authority's last instant.
        authority_ends: Timestamp,
    },
    /// The folder's certificate is not an authority made by `comity pki init`.
    #[error("{}: not an authority made by `comity pki init`: expected a CA certificate that names its member and trust domain", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
    },
    /// The folder's key is unreadable or belongs to another certificate.
    #[error("{}: not the private key of the ca.pem beside it; restore the two files together", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}; check the kernel's random source")]
    Random(#[from] getrandom::Error),
    /// The certificate could not be signed.
    #[error("the certificate could not be made: {0}; this is a fault of the build, please report it")]
    Generate(#[from] rcgen::Error),
}

/// A member's certificate authority, with its private key.
pub struct Authority {
    member: MemberId,
    trust_domain: TrustDomain,
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority: pathlen 0, so that it makes leaves and no further authorities.
    ///
    /// # Errors
    /// The validity is nothing or too long; the system gave no randomness.
    pub fn create(
        member: MemberId,
        trust_domain: &TrustDomain,
        now: Timestamp,
        valid_days: u32,
    ) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, member.as_str());
        params.distinguished_name.push(DnType::CommonName, format!("comity authority {member}"));
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial_number()?);
        set_validity(&mut params, now, days(valid_days))?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            member,
            trust_domain: trust_domain.clone(),
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().clone(),
            not_after: after(now, days(valid_days))?,
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads an authority from the folder where [`Self::save`] put it.
    ///
    /// # Errors
    /// A file is missing or exposed; the certificate is no authority's; the key is another's.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(AUTHORITY_CERTIFICATE_FILE);
        let not_an_authority = || PkiError::NotAnAuthority { path: path.clone() };
        let pem = String::from_utf8(key_file::read_public(&path)?).map_err(|_| not_an_authority())?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| not_an_authority())?;
        let certificate = certificate::parse(&der).map_err(|_| not_an_authority())?;
        let member = certificate.subject().iter_organization().next().and_then(|name| name.as_str().ok());
        let member = member.and_then(|name| name.parse().ok()).ok_or_else(not_an_authority)?;
        let names = certificate.subject_alternative_name().map_err(|_| not_an_authority())?;
        let trust_domain = match names.map(|names| names.value.general_names.as_slice()) {
            Some([GeneralName::URI(uri)]) => uri.strip_prefix("spiffe://").and_then(|domain| domain.parse().ok()),
            _ => None,
        };
        let trust_domain = trust_domain.filter(|_| certificate.is_ca()).ok_or_else(not_an_authority)?;
        let (_, not_after) = certificate::validity(&certificate).map_err(|_| not_an_authority())?;

        let key_path = folder.join(AUTHORITY_KEY_FILE);
        let wrong_key = || PkiError::Key { path: key_path.clone() };
        let key_pem = key_file::read_private(&key_path)?;
        let key_pem = std::str::from_utf8(&key_pem).map_err(|_| wrong_key())?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| wrong_key())?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(wrong_key());
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        let certificate_der = der.clone();
        Ok(Self { member, trust_domain, certificate_pem: pem, certificate_der, not_after, issuer })
    }

    /// Writes `ca.pem` (public) and `ca.key` (0600). The key goes first: a certificate without its key looks finished.
    ///
    /// # Errors
    /// One of them exists and `force` is false, or the folder cannot be written.
    pub fn save(&self, folder: &Path, force: bool) -> Result<(), PkiError> {
        let certificate = folder.join(AUTHORITY_CERTIFICATE_FILE);
        if !force && certificate.exists() {
            return Err(KeyFileError::Exists { path: certificate }.into());
        }
        write_private(&folder.join(AUTHORITY_KEY_FILE), self.key_pem().as_bytes(), force)?;
        write_public(&certificate, self.certificate_pem.as_bytes(), force)?;
        Ok(())
    }

    /// Issues a certificate with a new key: one URI, digitalSignature, for both sides of a connection to a node and for
    /// the client's side to a person.
    ///
    /// # Errors
    /// The name does not fit; the certificate would outlive its authority; no randomness.
    pub fn issue(&self, role: Role, name: &str, now: Timestamp, valid: Duration) -> Result<Issued, PkiError> {
        let id = SpiffeId::new(self.trust_domain.clone(), role, name)?;
        let not_after = after(now, valid)?;
        if not_after.as_seconds() > self.not_after.as_seconds() {
            return Err(PkiError::OutlivesAuthority { authority_ends: self.not_after });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, self.member.as_str());
        params.distinguished_name.push(DnType::CommonName, format!("{role} {name}"));
        params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match role {
            Role::Node => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
            _ => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_number()?);
        set_validity(&mut params, now, valid)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { id, not_after, chain_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// Whose authority it is.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The trust domain that it vouches for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The last instant at which it is valid.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The authority's own certificate, in PEM: what partners need.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's own certificate, in DER: what the roster holds.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// The private key, in PKCS#8 PEM.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// The member's anchors with this authority as the only root.
    pub fn anchors(&self) -> MemberAnchors {
        let roots_der = vec![self.certificate_der.to_vec()];
        MemberAnchors { member: self.member, trust_domain: self.trust_domain.clone(), roots_der }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Authority");
        debug.field("member", &self.member).field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

/// A certificate just issued, with its private key.
pub struct Issued {
    /// The holder.
    pub id: SpiffeId,
    /// The last instant at which it is valid.
    pub not_after: Timestamp,
    /// The certificate in PEM, leaf first; the root is not part of it.
    pub chain_pem: String,
    /// The private key in PKCS#8 PEM; wiped from memory when dropped.
    pub key_pem: Zeroizing<String>,
}

/// Where [`Issued::save`] put a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedPaths {
    /// The certificate chain, `ROLE-NAME.pem`.
    pub chain: PathBuf,
    /// The private key, `ROLE-NAME.key`.
    pub key: PathBuf,
}

impl Issued {
    /// Writes `ROLE-NAME.pem` and `ROLE-NAME.key` (0600) into a folder.
    ///
    /// # Errors
    /// One of them exists and `force` is false, or the folder cannot be written.
    pub fn save(&self, folder: &Path, force: bool) -> Result<IssuedPaths, KeyFileError> {
        let stem = format!("{}-{}", self.id.role(), self.id.name());
        let paths = IssuedPaths { chain: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) };
        if !force && paths.chain.exists() {
            return Err(KeyFileError::Exists { path: paths.chain });
        }
        write_private(&paths.key, self.key_pem.as_bytes(), force)?;
        write_public(&paths.chain, self.chain_pem.as_bytes(), force)?;
        Ok(paths)
    }

    /// The leaf in DER.
    pub fn leaf_der(&self) -> Option<Vec<u8>> {
        CertificateDer::from_pem_slice(self.chain_pem.as_bytes()).ok().map(|der| der.to_vec())
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// 16 random bytes, positive and of full length. RFC 5280, section 4.1.2.2.
fn serial_number() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn after(now: Timestamp, valid: Duration) -> Result<Timestamp, PkiError> {
    let end = i64::try_from(valid.as_secs()).ok().and_then(|valid| now.as_seconds().checked_add(valid));
    let end = end.and_then(|end| end.checked_mul(1_000_000)).and_then(Timestamp::from_micros);
    end.filter(|end| valid.as_secs() > 0 && end.year() < 9999).ok_or(PkiError::Validity)
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, valid: Duration) -> Result<(), PkiError> {
    let at = |seconds: i64| time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| PkiError::Validity);
    params.not_before = at(now.as_seconds().saturating_sub_unsigned(BACKDATE_SECONDS))?;
    params.not_after = at(after(now, valid)?.as_seconds())?;
    Ok(())
}

#[cfg(test)]
#[path = "pki_tests.rs"]
mod tests;
