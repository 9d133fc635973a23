use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};

use super::*;

const ID: &str = "spiffe://fr.comity.example/node/paris-1";

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Result<Leaf, RefusedCertificate> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(ID)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    change(&mut params);
    Leaf::from_der(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
}

/// A SubjectAltName extension of these URIs, byte for byte.
fn raw_names(uris: &[&[u8]], after: &[u8]) -> rcgen::CustomExtension {
    let entries: Vec<u8> = uris.iter().flat_map(|u| [&[0x86, u8::try_from(u.len()).unwrap()], *u].concat()).collect();
    let der = [&[0x30, u8::try_from(entries.len()).unwrap()], entries.as_slice(), after].concat();
    rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], der)
}

#[test]
fn reads_a_leaf() {
    let leaf = leaf(|_| ()).unwrap();
    assert_eq!(leaf.id.to_string(), ID);
    assert!(leaf.not_before < leaf.not_after);
}

#[test]
fn expects_exactly_one_name_and_that_a_uri() {
    use RefusedCertificate as R;
    let refused = |names: Vec<SanType>| leaf(|params| params.subject_alt_names = names).unwrap_err();
    let other = "spiffe://fr.comity.example/admin/root";
    assert_eq!(refused(vec![]), R::NoUri);
    assert_eq!(refused(vec![SanType::DnsName("fr.comity.example".try_into().unwrap())]), R::NoUri);
    assert_eq!(refused(vec![uri(ID), uri(other)]), R::TwoUris { count: 2 });
    assert_eq!(refused(vec![uri(ID), uri(ID)]), R::TwoUris { count: 2 });
    let dns = SanType::DnsName("fr.comity.example".try_into().unwrap());
    assert_eq!(refused(vec![uri(ID), dns]), R::OtherNames { count: 1 });
    assert!(matches!(refused(vec![uri("https://fr.comity.example/")]), R::MalformedSpiffe(_)));
    assert!(matches!(refused(vec![uri("spiffe://fr.comity.example")]), R::MalformedSpiffe(_)));
}

#[test]
fn counts_names_that_are_broken() {
    let with = |extension| {
        leaf(|params| {
            params.subject_alt_names = vec![];
            params.custom_extensions = vec![extension];
        })
    };
    let id = ID.as_bytes();
    assert!(with(raw_names(&[id], &[])).is_ok());
    assert_eq!(with(raw_names(&[id, b"\xff\xfe"], &[])), Err(RefusedCertificate::TwoUris { count: 2 }));
    assert_eq!(with(raw_names(&[b"\xff\xfe"], &[])), Err(RefusedCertificate::Malformed));
    assert_eq!(with(raw_names(&[id, b""], &[])), Err(RefusedCertificate::TwoUris { count: 2 }));
    assert_eq!(with(raw_names(&[id], &[0x86, 0x00])), Err(RefusedCertificate::Malformed));
    assert!(matches!(
        with(raw_names(&[b"spiffe://fr.comity.example/node/a\0"], &[])),
        Err(RefusedCertificate::MalformedSpiffe(_))
    ));
}

#[test]
fn a_second_extension_of_names_is_refused() {
    let refused = leaf(|params| params.custom_extensions = vec![raw_names(&[ID.as_bytes()], &[])]);
    assert_eq!(refused, Err(RefusedCertificate::Malformed));
}

#[test]
fn authorities_are_no_leaves() {
    let ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(leaf(|params| params.is_ca = ca), Err(RefusedCertificate::IsCa));
    let signs = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    assert_eq!(leaf(|params| params.key_usages = signs), Err(RefusedCertificate::IsCa));
    let agrees = vec![KeyUsagePurpose::KeyAgreement];
    assert_eq!(leaf(|params| params.key_usages = agrees), Err(RefusedCertificate::WrongKeyUsage));
}

#[test]
fn garbage_is_refused() {
    for bytes in [&b""[..], b"\x30", b"not a certificate", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(Leaf::from_der(bytes), Err(RefusedCertificate::Malformed));
    }
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let longer = [certificate.der().as_ref(), &[0]].concat();
    assert_eq!(Leaf::from_der(&longer), Err(RefusedCertificate::Malformed));
}
