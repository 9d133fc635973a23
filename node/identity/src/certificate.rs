//! Reading a leaf certificate: one SPIFFE id, counted in the DER, and nothing else that names its holder.

use comity_core::canonical::Hex32;
use comity_core::{SpiffeId, Timestamp, sha256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::asn1_rs::{Any, FromDer as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, X509Extension};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::time::ASN1Time;

use crate::refusal::RefusedCertificate;

/// What a leaf certificate says. Nothing here is verified yet: that is the verifier's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The one URI among its subject alternative names.
    pub id: SpiffeId,
    /// First instant of validity.
    pub not_before: Timestamp,
    /// Last instant of validity.
    pub not_after: Timestamp,
    /// SHA-256 of the DER.
    pub sha256: [u8; 32],
}

impl Leaf {
    /// Reads a leaf certificate from DER.
    ///
    /// The subject alternative names are counted here and not by webpki, whose `valid_uri_names()` leaves out malformed
    /// ones silently: a second, broken name must refuse the certificate, not vanish. X509-SVID, sections 2 and 4.
    ///
    /// # Errors
    /// Whatever makes it unfit as a leaf, whoever issued it.
    pub fn from_der(der: &[u8]) -> Result<Self, RefusedCertificate> {
        let certificate = parse(der)?;
        if certificate.basic_constraints().map_err(|_| RefusedCertificate::Malformed)?.is_some_and(|b| b.value.ca) {
            return Err(RefusedCertificate::IsCa);
        }
        if let Some(usage) = certificate.key_usage().map_err(|_| RefusedCertificate::Malformed)? {
            if usage.value.key_cert_sign() || usage.value.crl_sign() {
                return Err(RefusedCertificate::IsCa);
            }
            if !usage.value.digital_signature() {
                return Err(RefusedCertificate::WrongKeyUsage);
            }
        }
        let id = only_uri(&certificate)?.parse().map_err(RefusedCertificate::MalformedSpiffe)?;
        let (not_before, not_after) = validity(&certificate)?;
        Ok(Self { id, not_before, not_after, sha256: sha256(der) })
    }
}

/// Parses one certificate with nothing after it, and refuses a broken extension among those that decide who it is.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, RefusedCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| RefusedCertificate::Malformed)?;
    let sound = rest.is_empty() && certificate.extensions().iter().all(is_sound);
    if sound { Ok(certificate) } else { Err(RefusedCertificate::Malformed) }
}

fn is_sound(extension: &X509Extension<'_>) -> bool {
    let matters = extension.oid == OID_X509_EXT_BASIC_CONSTRAINTS
        || extension.oid == OID_X509_EXT_KEY_USAGE
        || extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME;
    // x509-parser ignores what follows the extension's outermost value, so its end is checked here.
    !matters
        || (extension.parsed_extension().error().is_none()
            && Any::from_der(extension.value).is_ok_and(|(rest, _)| rest.is_empty()))
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, RefusedCertificate> {
    let names = certificate.subject_alternative_name().map_err(|_| RefusedCertificate::Malformed)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    // A URI that is not even text still counts, by its tag. RFC 5280, section 4.2.1.6.
    let is_uri = |name: &&GeneralName<'_>| match name {
        GeneralName::URI(_) => true,
        GeneralName::Invalid(tag, _) => tag.0 == 6,
        _ => false,
    };
    match (names.iter().filter(is_uri).count(), names) {
        (1, [GeneralName::URI(uri)]) => Ok(uri),
        (1, [_]) => Err(RefusedCertificate::Malformed),
        (1, _) => Err(RefusedCertificate::OtherNames { count: names.len().saturating_sub(1) }),
        (0, _) => Err(RefusedCertificate::NoUri),
        (count, _) => Err(RefusedCertificate::TwoUris { count }),
    }
}

/// First and last instant of validity.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), RefusedCertificate> {
    let validity = certificate.validity();
    Ok((instant(validity.not_before)?, instant(validity.not_after)?))
}

fn instant(time: ASN1Time) -> Result<Timestamp, RefusedCertificate> {
    time.timestamp().checked_mul(1_000_000).and_then(Timestamp::from_micros).ok_or(RefusedCertificate::Malformed)
}

/// SHA-256 of a certificate in PEM, 64 hexadecimal digits, by which people compare it; nothing where it is none.
pub fn fingerprint(pem: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    Some(Hex32(sha256(&der)).to_string())
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
