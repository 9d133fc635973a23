use comity_core::Role;

use super::*;
use crate::anchors::{MemberAnchors, TrustStore};
use crate::fixtures::{authority, now};
use crate::pki::{Authority, days};
use crate::tls::crypto_provider;

fn der(authority: &Authority, role: Role, name: &str, at: Timestamp) -> CertificateDer<'static> {
    authority.issue(role, name, at, days(7)).unwrap().leaf_der().unwrap().into()
}

fn later(days: i64) -> Timestamp {
    Timestamp::from_micros(now().as_micros() + days * 86_400_000_000).unwrap()
}

struct World {
    fr: Authority,
    de: Authority,
    trust: SharedTrust,
}

impl World {
    fn new() -> Self {
        let (fr, de) = (authority("FR", "fr.comity.example"), authority("DE", "de.comity.example"));
        let trust = SharedTrust::new(TrustStore::new(&[fr.anchors(), de.anchors()]).unwrap());
        Self { fr, de, trust }
    }

    fn check(&self, expectation: Expectation, leaf: &CertificateDer<'_>) -> Result<Peer, RefusedCertificate> {
        let verifier = MemberVerifier::new(self.trust.clone(), expectation, &crypto_provider());
        verifier.check(leaf, &[], unix_time(now()), KeyUsage::client_auth())
    }
}

#[test]
fn each_member_vouches_for_its_own() {
    let world = World::new();
    for authority in [&world.fr, &world.de] {
        let peer = world.check(Expectation::peers(), &der(authority, Role::Node, "a-1", now())).unwrap();
        assert_eq!(peer.member, authority.member());
        assert_eq!(peer.not_after, later(7));
    }
}

#[test]
fn no_member_vouches_for_another() {
    let world = World::new();
    // DE's root is trusted, but not for FR's domain: whatever name the certificate bears.
    let thief = Authority::create(world.de.member(), world.fr.trust_domain(), now(), 700).unwrap();
    let anchors = MemberAnchors { trust_domain: world.de.trust_domain().clone(), ..thief.anchors() };
    world.trust.replace(TrustStore::new(&[world.fr.anchors(), anchors]).unwrap());
    let refused = world.check(Expectation::peers(), &der(&thief, Role::Node, "a-1", now()));
    assert_eq!(refused, Err(RefusedCertificate::WrongIssuer { trust_domain: world.fr.trust_domain().clone() }));

    // The same subject as FR's own authority, with another key.
    let double = authority("FR", "fr.comity.example");
    let refused = world.check(Expectation::peers(), &der(&double, Role::Node, "a-1", now()));
    assert_eq!(refused, Err(RefusedCertificate::BadSignature { trust_domain: world.fr.trust_domain().clone() }));

    let stranger = authority("AU", "au.comity.example");
    let refused = world.check(Expectation::peers(), &der(&stranger, Role::Node, "a-1", now()));
    assert_eq!(refused, Err(RefusedCertificate::UnknownTrustDomain { trust_domain: stranger.trust_domain().clone() }));
}

#[test]
fn dates_hold() {
    let world = World::new();
    let refused = world.check(Expectation::peers(), &der(&world.fr, Role::Node, "a-1", later(-8)));
    assert_eq!(refused, Err(RefusedCertificate::Expired { not_after: later(-1) }));
    let refused = world.check(Expectation::peers(), &der(&world.fr, Role::Node, "a-1", later(1)));
    assert!(matches!(refused, Err(RefusedCertificate::NotYetValid { .. })), "{refused:?}");

    let old = Authority::create(world.fr.member(), world.fr.trust_domain(), later(-10), 9).unwrap();
    world.trust.replace(TrustStore::new(&[old.anchors()]).unwrap());
    let refused = world.check(Expectation::peers(), &der(&old, Role::Node, "a-1", later(-9)));
    assert!(matches!(refused, Err(RefusedCertificate::RootNotValid { .. })), "{refused:?}");
}

#[test]
fn only_those_expected_are_admitted() {
    let world = World::new();
    let fr_node = der(&world.fr, Role::Node, "a-1", now());
    let fr_desk = der(&world.fr, Role::Operator, "desk-7", now());
    let de_desk = der(&world.de, Role::Operator, "desk-7", now());
    let wrong_role = |result| matches!(result, Err(RefusedCertificate::WrongRole { .. }));
    let wrong_member = |result| matches!(result, Err(RefusedCertificate::WrongMember { .. }));
    let people = Expectation::people_of(world.fr.member());

    assert!(wrong_role(world.check(Expectation::peers(), &fr_desk)));
    assert!(wrong_role(world.check(people, &fr_node)));
    assert!(wrong_member(world.check(people, &de_desk)));
    assert!(wrong_member(world.check(Expectation::node_of(world.de.member()), &fr_node)));
    assert!(world.check(Expectation::node_of(world.fr.member()), &fr_node).is_ok());
    for role in Role::ALL {
        let admitted = world.check(people, &der(&world.fr, role, "x", now())).is_ok();
        assert_eq!(admitted, role != Role::Node, "{role}");
    }
}

#[test]
fn a_person_cannot_serve_and_a_root_is_no_leaf() {
    let world = World::new();
    let verifier = MemberVerifier::new(world.trust.clone(), Expectation::peers(), &crypto_provider());
    let desk = der(&world.fr, Role::Operator, "desk-7", now());
    let refused = verifier.check(&desk, &[], unix_time(now()), KeyUsage::server_auth());
    assert_eq!(refused, Err(RefusedCertificate::WrongPurpose));
    let root = CertificateDer::from(world.fr.certificate_der());
    assert_eq!(world.check(Expectation::peers(), &root), Err(RefusedCertificate::IsCa));
}

#[test]
fn an_open_connection_can_be_asked_again() {
    let world = World::new();
    let peer = world.check(Expectation::peers(), &der(&world.de, Role::Node, "a-1", now())).unwrap();
    assert_eq!(peer.still_holds(&world.trust.load(), now()), Ok(()));
    let expired = peer.still_holds(&world.trust.load(), later(8));
    assert_eq!(expired, Err(RefusedCertificate::Expired { not_after: later(7) }));
    world.trust.replace(TrustStore::new(&[world.fr.anchors()]).unwrap());
    let gone = peer.still_holds(&world.trust.load(), now());
    assert!(matches!(gone, Err(RefusedCertificate::UnknownTrustDomain { .. })), "{gone:?}");
}

#[test]
fn two_roots_overlap_during_a_rotation() {
    let world = World::new();
    let next = authority("FR", "fr.comity.example");
    let mut both = world.fr.anchors();
    both.roots_der.extend(next.anchors().roots_der);
    world.trust.replace(TrustStore::new(&[both]).unwrap());
    for authority in [&world.fr, &next] {
        assert!(world.check(Expectation::peers(), &der(authority, Role::Node, "a-1", now())).is_ok());
    }
}

#[test]
fn the_far_side_is_told_the_right_alert() {
    use rustls::AlertDescription as A;
    let at = unix_time(now());
    let domain = || World::new().fr.trust_domain().clone();
    let id = || "spiffe://fr.comity.example/node/a".parse().unwrap();
    for (refusal, alert) in [
        (RefusedCertificate::Expired { not_after: now() }, A::CertificateExpired),
        (RefusedCertificate::NotYetValid { not_before: now() }, A::CertificateExpired),
        (RefusedCertificate::WrongIssuer { trust_domain: domain() }, A::UnknownCA),
        (RefusedCertificate::UnknownTrustDomain { trust_domain: domain() }, A::UnknownCA),
        (RefusedCertificate::WrongRole { id: id(), expected: &[Role::Node] }, A::AccessDenied),
        (RefusedCertificate::WrongPurpose, A::UnsupportedCertificate),
        (RefusedCertificate::Malformed, A::BadCertificate),
        (RefusedCertificate::TwoUris { count: 2 }, A::CertificateUnknown),
    ] {
        let reason = refusal.reason();
        assert_eq!(A::from(with_alert(refusal, at)), alert, "{reason}");
    }
}
