//! `comity pki show`: what a certificate says, verified by nobody.

use std::path::Path;

use comity_identity::certificate::Leaf;
use comity_identity::key_file;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::failure::Failure;
use crate::page::Page;
use crate::session::Session;

/// The most certificates of one file.
const MAX_CERTIFICATES: usize = 8;

pub(crate) fn run(session: &mut Session<'_>, file: &Path) -> Result<(), Failure> {
    let pem = key_file::read_public(file).map_err(Failure::error)?;
    let certificates = certificates(file, &pem)?;
    let view = CertificatesView { certificates };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        for certificate in &view.certificates {
            page.heading(certificate.id.as_deref().unwrap_or(&certificate.subject));
            page.field("is", &certificate.is);
            page.field("subject", &certificate.subject);
            page.field("issuer", &certificate.issuer);
            page.field("valid from", &certificate.not_before);
            page.field("valid until", &certificate.not_after);
            page.field("state", certificate.state);
            page.field("names", certificate.names.join(", "));
            page.field("serial", &certificate.serial);
            page.field("sha256", &certificate.sha256);
        }
        page.finish()
    })
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateView>, Failure> {
    let malformed = |what: &str| {
        Failure::error(format!("{}: {what}: expected a certificate in PEM, BEGIN CERTIFICATE", file.display()))
    };
    let mut views = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem).take(MAX_CERTIFICATES) {
        let der = der.map_err(|e| malformed(&e.to_string()))?;
        views.push(CertificateView::new(&der).ok_or_else(|| malformed("not an X.509 certificate"))?);
    }
    if views.is_empty() { Err(malformed("no certificate in it")) } else { Ok(views) }
}

#[derive(Debug, Clone, Serialize)]
struct CertificatesView {
    certificates: Vec<CertificateView>,
}

#[derive(Debug, Clone, Serialize)]
struct CertificateView {
    /// The SPIFFE id, where it is fit as the certificate of a node or person.
    id: Option<String>,
    is: String,
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
    state: &'static str,
    names: Vec<String>,
    serial: String,
    sha256: String,
}

impl CertificateView {
    fn new(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let instant = |at: &x509_parser::time::ASN1Time| {
            jiff::Timestamp::from_second(at.timestamp()).map(|t| t.to_string()).unwrap_or_else(|_| at.to_string())
        };
        let leaf = Leaf::from_der(der);
        let (id, is) = match &leaf {
            Ok(leaf) => (Some(leaf.id.to_string()), format!("the certificate of one {}", leaf.id.role())),
            Err(_) if certificate.is_ca() => {
                (None, "an authority: it vouches for a member's nodes and people".to_owned())
            }
            Err(refused) => (None, format!("no certificate for comity: {refused}")),
        };
        let now = jiff::Timestamp::now().as_second();
        let (from, until) =
            (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        let state = match now {
            _ if now < from => "not valid yet",
            _ if now > until => "expired",
            _ => "valid today; nobody was asked whether it is trusted",
        };
        let names = match certificate.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Some(Self {
            id,
            is,
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_before: instant(&certificate.validity().not_before),
            not_after: instant(&certificate.validity().not_after),
            state,
            names,
            serial: certificate.raw_serial_as_string(),
            sha256: hex::encode(comity_core::sha256(der)),
        })
    }
}
