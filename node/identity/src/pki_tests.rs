use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use x509_parser::extensions::ParsedExtension;

use super::*;
use crate::certificate::Leaf;
use crate::fixtures::{authority, now};

#[test]
fn an_authority_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("fr-ca");
    let made = authority("FR", "fr.comity.example");
    made.save(&folder, false).unwrap();
    let read = Authority::load(&folder).unwrap();
    assert_eq!((read.member(), read.trust_domain()), (made.member(), made.trust_domain()));
    assert_eq!((read.certificate_der(), read.not_after()), (made.certificate_der(), made.not_after()));
    let mode = fs::metadata(folder.join("ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A second `init` must not replace the key under certificates already issued.
    let refused = made.save(&folder, false).unwrap_err();
    assert!(matches!(refused, PkiError::File(KeyFileError::Exists { .. })), "{refused}");

    authority("FR", "fr.comity.example").save(&dir.path().join("other"), false).unwrap();
    fs::copy(dir.path().join("other/ca.key"), folder.join("ca.key")).unwrap();
    let refused = Authority::load(&folder).unwrap_err();
    assert!(matches!(refused, PkiError::Key { .. }), "{refused}");
}

#[test]
fn a_leaf_is_not_an_authority() {
    let dir = tempfile::tempdir().unwrap();
    let issued = authority("FR", "fr.comity.example").issue(Role::Admin, "root", now(), days(1)).unwrap();
    write_public(&dir.path().join("ca.pem"), issued.chain_pem.as_bytes(), false).unwrap();
    write_private(&dir.path().join("ca.key"), issued.key_pem.as_bytes(), false).unwrap();
    assert!(matches!(Authority::load(dir.path()), Err(PkiError::NotAnAuthority { .. })));
}

#[test]
fn a_leaf_has_one_uri_its_usages_and_a_random_serial() {
    let fr = authority("FR", "fr.comity.example");
    let usages = |role| {
        let der = fr.issue(role, "x-1", now(), days(1)).unwrap().leaf_der().unwrap();
        let leaf = Leaf::from_der(&der).unwrap();
        assert_eq!(leaf.id.role(), role);
        assert_eq!(leaf.not_before.as_seconds(), now().as_seconds() - 300);
        let certificate = certificate::parse(&der).unwrap();
        assert_eq!(certificate.raw_serial().len(), 16);
        let eku = certificate.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(eku) => Some((eku.client_auth, eku.server_auth)),
            _ => None,
        });
        (eku.unwrap(), certificate.raw_serial().to_vec())
    };
    let (node, first) = usages(Role::Node);
    let (person, second) = usages(Role::Operator);
    assert_eq!((node, person), ((true, true), (true, false)));
    assert_ne!(first, second);
}

#[test]
fn lives_are_short_and_within_the_authority() {
    let fr = authority("FR", "fr.comity.example");
    assert_eq!(default_validity(Role::Node), days(30));
    assert_eq!(default_validity(Role::Auditor), days(7));
    let refused = fr.issue(Role::Node, "paris-1", now(), days(AUTHORITY_VALID_DAYS + 1)).unwrap_err();
    assert!(matches!(refused, PkiError::OutlivesAuthority { .. }), "{refused}");
    assert!(matches!(fr.issue(Role::Node, "paris-1", now(), Duration::ZERO), Err(PkiError::Validity)));
    assert!(matches!(fr.issue(Role::Node, "paris-1", now(), Duration::MAX), Err(PkiError::Validity)));
    assert!(matches!(fr.issue(Role::Node, "Paris 1", now(), days(1)), Err(PkiError::Name(_))));
    assert!(matches!(Authority::create(fr.member(), fr.trust_domain(), now(), u32::MAX), Err(PkiError::Validity)));
}

#[test]
fn a_recipient_can_have_one_too() {
    let dir = tempfile::tempdir().unwrap();
    authority("OPCW", "opcw.comity.example").save(dir.path(), false).unwrap();
    assert_eq!(Authority::load(dir.path()).unwrap().member().as_str(), "OPCW");
}
