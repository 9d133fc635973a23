//! Who signed and who cosigned the head of an access log, by a roster alone: what can be said without any node.

use std::collections::BTreeMap;

use crate::access::parse_log_origin;
use crate::access::witness::witnesses_needed;
use crate::checkpoint::{InvalidCheckpoint, SignedCheckpoint};
use crate::dsse::PublicKey;
use crate::genesis::Genesis;
use crate::member::MemberId;
use crate::spiffe::TrustDomain;

/// What a roster says of one party's log and cosignatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogParty {
    /// What the origin of its log begins with.
    pub trust_domain: TrustDomain,
    /// The node keys that count, the newest first; none once they were revoked.
    pub node_keys: Vec<PublicKey>,
    /// Whether it takes part and votes: only then it cosigns others' logs.
    pub witnesses: bool,
}

/// Every party of a federation, at one position of its list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRoster(BTreeMap<MemberId, LogParty>);

impl LogRoster {
    /// A roster of these parties.
    pub fn new(parties: impl IntoIterator<Item = (MemberId, LogParty)>) -> Self {
        Self(parties.into_iter().collect())
    }

    /// The founders, with their first keys.
    pub fn of_genesis(genesis: &Genesis) -> Self {
        let parties = genesis.members().values().map(|row| {
            let (trust_domain, node_keys) = (row.trust_domain.clone(), vec![row.node_key]);
            (row.member, LogParty { trust_domain, node_keys, witnesses: row.voting })
        });
        Self::new(parties)
    }

    /// Takes another row for a party: what is known of it from elsewhere.
    pub fn put(&mut self, member: MemberId, party: LogParty) {
        self.0.insert(member, party);
    }

    /// Every party, by code.
    pub fn iter(&self) -> impl Iterator<Item = (MemberId, &LogParty)> {
        self.0.iter().map(|(member, party)| (*member, party))
    }

    /// One party.
    pub fn get(&self, member: MemberId) -> Option<&LogParty> {
        self.0.get(&member)
    }

    /// Checks the log's own signature, and each cosignature of a voting member. Names and types that the roster does not know are
    /// ignored, as c2sp.org/signed-note has it.
    ///
    /// # Errors
    /// It is no access log of this federation, its own signature is missing or wrong, or a cosignature under a member's key is wrong.
    pub fn attest(&self, note: &SignedCheckpoint) -> Result<Attested, Unattested> {
        let origin = &note.checkpoint.origin;
        let (domain, incarnation) = parse_log_origin(origin).ok_or_else(|| Unattested::Origin(shown(origin)))?;
        let owner = self.0.iter().find(|(_, party)| party.trust_domain == domain);
        let (member, owner) = owner.ok_or_else(|| Unattested::Stranger(domain.clone()))?;
        signed_by_any(owner, |key| note.verify(origin, &key.0)).map_err(|problem| match problem {
            InvalidCheckpoint::Unsigned(_) => Unattested::Unsigned(*member),
            problem => Unattested::Signature { member: *member, problem },
        })?;
        let others = self.0.iter().filter(|(other, party)| *other != member && party.witnesses);
        let mut attested =
            Attested { member: *member, incarnation, cosigners: Vec::new(), others: others.clone().count(), needed: 0 };
        attested.needed = witnesses_needed(attested.others);
        for (other, party) in others {
            let name = Genesis::cosigner_name(&party.trust_domain);
            match signed_by_any(party, |key| note.verify_cosigner(&name, &key.0)) {
                Ok(seconds) => attested.cosigners.push((*other, seconds)),
                Err(InvalidCheckpoint::Unsigned(_)) => {}
                Err(problem) => return Err(Unattested::Signature { member: *other, problem }),
            }
        }
        Ok(attested)
    }
}

/// Tries each key of a party: the signature of one is enough, and a wrong one is told before a missing one.
fn signed_by_any<T>(
    party: &LogParty,
    verify: impl Fn(&PublicKey) -> Result<T, InvalidCheckpoint>,
) -> Result<T, InvalidCheckpoint> {
    let mut worst = InvalidCheckpoint::Unsigned(party.trust_domain.to_string());
    for key in &party.node_keys {
        match verify(key) {
            Ok(found) => return Ok(found),
            Err(InvalidCheckpoint::Unsigned(_)) => {}
            Err(problem) => worst = problem,
        }
    }
    Err(worst)
}

/// A text of somebody else's, short enough for a message.
fn shown(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Whose log a checkpoint is of, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// Whose log.
    pub member: MemberId,
    /// Which incarnation of it: a restored log begins another.
    pub incarnation: u64,
    /// Who cosigned, and the second since the epoch at which each claims to have.
    pub cosigners: Vec<(MemberId, u64)>,
    /// How many others could have.
    pub others: usize,
    /// How many of them must have.
    pub needed: usize,
}

impl Attested {
    /// Whether enough of the others cosigned.
    pub fn is_witnessed(&self) -> bool {
        self.cosigners.len() >= self.needed
    }
}

/// Why a checkpoint says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unattested {
    /// It is of no access log.
    #[error("origin `{0}`: expected that of an access log, TRUST-DOMAIN/access-log/INCARNATION")]
    Origin(String),
    /// The roster has no such party.
    #[error("{0} is no party of this federation: name its genesis, or an exported list where it joined since")]
    Stranger(TrustDomain),
    /// Its own node did not sign it.
    #[error(
        "not signed by a node key of {0} that counts: name an exported list where its keys changed since the genesis"
    )]
    Unsigned(MemberId),
    /// A signature under a party's key is wrong.
    #[error("the signature of {member} is wrong: {problem}")]
    Signature {
        /// Whose.
        member: MemberId,
        /// What is wrong with it.
        problem: InvalidCheckpoint,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::log_origin;
    use crate::canonical::Hex32;
    use crate::checkpoint::Checkpoint;
    use crate::testing::Federation;
    use crate::timestamp::Timestamp;

    fn note(federation: &Federation, voters: &[MemberId]) -> SignedCheckpoint {
        let own = federation.genesis.member(voters[0]).unwrap();
        let origin = log_origin(&own.trust_domain, 3);
        let mut note = SignedCheckpoint::unsigned(Checkpoint { origin, size: 9, root: Hex32([5; 32]) });
        note.sign(&federation.keys(voters[0]).node);
        note
    }

    fn cosign(note: &mut SignedCheckpoint, federation: &Federation, member: MemberId) {
        let domain = &federation.genesis.member(member).unwrap().trust_domain;
        let at = Timestamp::from_micros(7_000_000).unwrap();
        note.cosign(&Genesis::cosigner_name(domain), &federation.keys(member).node, at);
    }

    #[test]
    fn only_other_voting_members_count_each_once() {
        let federation = Federation::new(4);
        let voters = federation.voters();
        let roster = LogRoster::of_genesis(&federation.genesis);
        let mut note = note(&federation, &voters);
        cosign(&mut note, &federation, voters[0]);
        cosign(&mut note, &federation, voters[1]);
        cosign(&mut note, &federation, voters[1]);
        let attested = roster.attest(&note).unwrap();
        assert_eq!((attested.member, attested.incarnation), (voters[0], 3));
        assert_eq!(attested.cosigners, [(voters[1], 7)]);
        assert_eq!((attested.others, attested.needed, attested.is_witnessed()), (3, 2, false));
        cosign(&mut note, &federation, voters[2]);
        assert!(roster.attest(&note).unwrap().is_witnessed());
    }

    #[test]
    fn a_wrong_signature_names_whose_and_strangers_are_ignored() {
        let federation = Federation::new(3);
        let voters = federation.voters();
        let roster = LogRoster::of_genesis(&federation.genesis);
        let mut good = note(&federation, &voters);
        cosign(&mut good, &federation, voters[1]);
        let key = crate::testing::MemberKeys::of(99).node;
        good.cosign("stranger.example/node", &key, Timestamp::from_micros(0).unwrap());
        let mut text = String::from_utf8(good.to_bytes()).unwrap();
        // A type that nobody knows: a key id of its own.
        text.push_str("\u{2014} de.comity.example/node AAAAAAEC\n");
        let read = SignedCheckpoint::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(roster.attest(&read).unwrap().cosigners.len(), 1);

        // The signatures of another size under the same names.
        let mut bent = good.clone();
        bent.checkpoint.size = 8;
        assert!(matches!(roster.attest(&bent), Err(Unattested::Signature { member, .. }) if member == voters[0]));
        bent.checkpoint.size = 9;
        bent.checkpoint.origin = "elsewhere.example/access-log/1".into();
        assert!(matches!(roster.attest(&bent), Err(Unattested::Stranger(_))));
        bent.checkpoint.origin = "elsewhere".into();
        assert!(matches!(roster.attest(&bent), Err(Unattested::Origin(_))));
        let unsigned = SignedCheckpoint::unsigned(good.checkpoint);
        assert_eq!(roster.attest(&unsigned), Err(Unattested::Unsigned(voters[0])));
    }
}
