//! Whose authority may vouch for whom: for each trust domain its member and its roots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use comity_core::{MemberId, Timestamp, TrustDomain, sha256};
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::certificate;

/// The roots of one member, as they stand in the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAnchors {
    /// Whose they are.
    pub member: MemberId,
    /// The one trust domain that they vouch for.
    pub trust_domain: TrustDomain,
    /// Root certificates in DER. Two may overlap while one replaces the other.
    pub roots_der: Vec<Vec<u8>>,
}

/// Why roots do not make a trust store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTrust {
    /// A member without roots.
    #[error("{member}: no root certificate; add the one that `comity pki init` wrote to the roster")]
    NoRoots {
        /// The member.
        member: MemberId,
    },
    /// More roots than a rotation needs.
    #[error("{member}: {count} root certificates; expected at most {max}, remove those that are no longer used", max = TrustStore::MAX_ROOTS)]
    TooManyRoots {
        /// The member.
        member: MemberId,
        /// How many.
        count: usize,
    },
    /// A root that is no certificate.
    #[error("{member}: root {index} is not an X.509 certificate; expected the DER of a CA certificate")]
    NotACertificate {
        /// The member.
        member: MemberId,
        /// Its place in the list, from 0.
        index: usize,
    },
    /// A root that is a leaf.
    #[error(
        "{member}: root {index} is not the certificate of an authority (CA:TRUE); expected the one that `comity pki init` wrote"
    )]
    NotAnAuthority {
        /// The member.
        member: MemberId,
        /// Its place in the list, from 0.
        index: usize,
    },
    /// Two members in one trust domain.
    #[error("trust domain {trust_domain} is claimed by {first} and by {second}: give each member its own")]
    SharedTrustDomain {
        /// The domain.
        trust_domain: TrustDomain,
        /// Who came first.
        first: MemberId,
        /// Who came second.
        second: MemberId,
    },
    /// One member with two trust domains.
    #[error("{member} stands twice, with {first} and {second}: a member has one trust domain")]
    SecondTrustDomain {
        /// The member.
        member: MemberId,
        /// The first domain.
        first: TrustDomain,
        /// The second domain.
        second: TrustDomain,
    },
    /// The same key is the root of two members: it could vouch for both.
    #[error("{first} and {second} share the key of a root: each member needs an authority of its own")]
    SharedRoot {
        /// Who came first.
        first: MemberId,
        /// Who came second.
        second: MemberId,
    },
}

/// The roots of every member, each for its own trust domain. It never changes: a new roster makes a new one.
#[derive(Debug, Default)]
pub struct TrustStore {
    domains: BTreeMap<TrustDomain, DomainTrust>,
}

#[derive(Debug)]
struct DomainTrust {
    member: MemberId,
    roots: Vec<Root>,
}

#[derive(Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl TrustStore {
    /// The most roots that one member may have.
    pub const MAX_ROOTS: usize = 8;

    /// Builds the store. No two members may share a trust domain or a root's key.
    ///
    /// # Errors
    /// Names the member and what is wrong.
    pub fn new(members: &[MemberAnchors]) -> Result<Self, InvalidTrust> {
        let mut domains: BTreeMap<TrustDomain, DomainTrust> = BTreeMap::new();
        let mut keys: BTreeMap<[u8; 32], MemberId> = BTreeMap::new();
        let mut seen: BTreeMap<MemberId, &TrustDomain> = BTreeMap::new();
        for MemberAnchors { member, trust_domain, roots_der } in members {
            let member = *member;
            if let Some(other) = domains.get(trust_domain) {
                let trust_domain = trust_domain.clone();
                return Err(InvalidTrust::SharedTrustDomain { trust_domain, first: other.member, second: member });
            }
            if let Some(first) = seen.insert(member, trust_domain) {
                let (first, second) = (first.clone(), trust_domain.clone());
                return Err(InvalidTrust::SecondTrustDomain { member, first, second });
            }
            match roots_der.len() {
                0 => return Err(InvalidTrust::NoRoots { member }),
                count if count > Self::MAX_ROOTS => return Err(InvalidTrust::TooManyRoots { member, count }),
                _ => {}
            }
            let mut roots = Vec::with_capacity(roots_der.len());
            for (index, der) in roots_der.iter().enumerate() {
                let (root, key) = Root::parse(member, index, der)?;
                match keys.insert(key, member) {
                    Some(first) if first != member => {
                        return Err(InvalidTrust::SharedRoot { first, second: member });
                    }
                    _ => roots.push(root),
                }
            }
            domains.insert(trust_domain.clone(), DomainTrust { member, roots });
        }
        Ok(Self { domains })
    }

    /// Builds the store from a roster that is in force, whatever its members wrote into their own rows: a root that is none
    /// is left out, and with it a member that has no other. Says what was left out. A member that names another's root as
    /// its own lets the other vouch for its people, which harms nobody but itself.
    pub fn lenient(members: &[MemberAnchors]) -> (Self, Vec<InvalidTrust>) {
        let (mut domains, mut left_out) = (BTreeMap::new(), Vec::new());
        for MemberAnchors { member, trust_domain, roots_der } in members {
            let parsed = roots_der.iter().take(Self::MAX_ROOTS).enumerate();
            let mut roots = Vec::new();
            for root in parsed.map(|(index, der)| Root::parse(*member, index, der)) {
                match root {
                    Ok((root, _)) => roots.push(root),
                    Err(problem) => left_out.push(problem),
                }
            }
            if roots.is_empty() {
                left_out.push(InvalidTrust::NoRoots { member: *member });
            } else {
                domains.entry(trust_domain.clone()).or_insert(DomainTrust { member: *member, roots });
            }
        }
        (Self { domains }, left_out)
    }

    /// Whose trust domain this is; `None` outside the roster.
    pub fn member_of(&self, trust_domain: &TrustDomain) -> Option<MemberId> {
        self.domains.get(trust_domain).map(|trust| trust.member)
    }

    /// The trust domain of a member; `None` outside the roster.
    pub fn trust_domain_of(&self, member: MemberId) -> Option<&TrustDomain> {
        self.domains.iter().find(|(_, trust)| trust.member == member).map(|(domain, _)| domain)
    }

    /// Every member here.
    pub fn members(&self) -> BTreeSet<MemberId> {
        self.domains.values().map(|trust| trust.member).collect()
    }

    /// The roots of one trust domain that are valid at an instant. webpki does not look at a root's own dates, so an
    /// authority whose time is over would go on vouching.
    pub(crate) fn anchors_at(&self, trust_domain: &TrustDomain, now_seconds: i64) -> Option<Vec<TrustAnchor<'static>>> {
        let trust = self.domains.get(trust_domain)?;
        let valid = trust.roots.iter().filter(|root| root.is_valid_at(now_seconds));
        Some(valid.map(|root| root.anchor.clone()).collect())
    }
}

impl Root {
    /// The root and the digest of its public key.
    fn parse(member: MemberId, index: usize, der: &[u8]) -> Result<(Self, [u8; 32]), InvalidTrust> {
        let unreadable = || InvalidTrust::NotACertificate { member, index };
        let certificate = certificate::parse(der).map_err(|_| unreadable())?;
        if !certificate.is_ca() {
            return Err(InvalidTrust::NotAnAuthority { member, index });
        }
        let (not_before, not_after) = certificate::validity(&certificate).map_err(|_| unreadable())?;
        let key = sha256(certificate.public_key().raw);
        let der = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| unreadable())?.to_owned();
        Ok((Self { anchor, not_before, not_after }, key))
    }

    fn is_valid_at(&self, now_seconds: i64) -> bool {
        (self.not_before.as_seconds()..=self.not_after.as_seconds()).contains(&now_seconds)
    }
}

/// A handle on the trust store of the moment, shared by every listener and connector: a new roster replaces the store
/// for all of them at once, and handshakes from then on use it.
#[derive(Debug, Clone)]
pub struct SharedTrust(Arc<ArcSwap<TrustStore>>);

impl SharedTrust {
    /// Shares a store.
    pub fn new(store: TrustStore) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(store)))
    }

    /// Puts another store in its place.
    pub fn replace(&self, store: TrustStore) {
        self.0.store(Arc::new(store));
    }

    /// The store of the moment.
    pub fn load(&self) -> Arc<TrustStore> {
        self.0.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{authority, now};

    #[test]
    fn each_member_has_a_domain_and_a_key_of_its_own() {
        let (fr, de) = (authority("FR", "fr.comity.example"), authority("DE", "de.comity.example"));
        let store = TrustStore::new(&[fr.anchors(), de.anchors()]).unwrap();
        assert_eq!(store.member_of(fr.trust_domain()), Some(fr.member()));
        assert_eq!(store.trust_domain_of(de.member()), Some(de.trust_domain()));

        let mut thief = de.anchors();
        thief.trust_domain = fr.trust_domain().clone();
        let refused = TrustStore::new(&[fr.anchors(), thief]).unwrap_err();
        assert!(matches!(refused, InvalidTrust::SharedTrustDomain { .. }), "{refused}");

        let mut second = fr.anchors();
        second.trust_domain = "fr2.comity.example".parse().unwrap();
        let refused = TrustStore::new(&[fr.anchors(), second]).unwrap_err();
        assert!(matches!(refused, InvalidTrust::SecondTrustDomain { .. }), "{refused}");

        let mut borrower = de.anchors();
        borrower.roots_der = fr.anchors().roots_der;
        let refused = TrustStore::new(&[fr.anchors(), borrower]).unwrap_err();
        assert!(matches!(refused, InvalidTrust::SharedRoot { .. }), "{refused}");
    }

    #[test]
    fn roots_are_certificates_of_authorities() {
        let fr = authority("FR", "fr.comity.example");
        let with = |roots_der| TrustStore::new(&[MemberAnchors { roots_der, ..fr.anchors() }]).unwrap_err();
        assert!(matches!(with(vec![]), InvalidTrust::NoRoots { .. }));
        assert!(matches!(with(vec![vec![0x30; 40]]), InvalidTrust::NotACertificate { index: 0, .. }));
        assert!(matches!(with(vec![fr.anchors().roots_der[0].clone(); 9]), InvalidTrust::TooManyRoots { .. }));
        let leaf = fr.issue(comity_core::Role::Node, "paris-1", now(), crate::pki::days(1)).unwrap();
        let leaf = leaf.leaf_der().unwrap();
        assert!(matches!(with(vec![leaf]), InvalidTrust::NotAnAuthority { .. }));
    }

    #[test]
    fn what_one_member_writes_into_its_row_takes_nobody_else_out() {
        let (fr, de) = (authority("FR", "fr.comity.example"), authority("DE", "de.comity.example"));
        let nonsense = MemberAnchors { roots_der: vec![vec![0x30; 40]], ..de.anchors() };
        let (store, left_out) = TrustStore::lenient(&[fr.anchors(), nonsense]);
        assert_eq!(store.members(), [fr.member()].into());
        assert_eq!(left_out.len(), 2, "{left_out:?}");
        let borrower = MemberAnchors { roots_der: fr.anchors().roots_der, ..de.anchors() };
        let (store, left_out) = TrustStore::lenient(&[fr.anchors(), borrower]);
        assert_eq!((store.members().len(), left_out.len()), (2, 0));
    }

    #[test]
    fn a_root_vouches_only_while_it_is_valid() {
        let fr = authority("FR", "fr.comity.example");
        let store = TrustStore::new(&[fr.anchors()]).unwrap();
        let at = |seconds| store.anchors_at(fr.trust_domain(), seconds).unwrap().len();
        assert_eq!(at(now().as_seconds()), 1);
        assert_eq!(at(now().as_seconds() + 3 * 366 * 86_400), 0);
        assert_eq!(at(now().as_seconds() - 86_400), 0);
        assert!(store.anchors_at(&"xx.comity.example".parse().unwrap(), now().as_seconds()).is_none());
    }
}
