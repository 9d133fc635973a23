//! A federation with deterministic keys, for tests: this crate's own, and other crates' through the `testing` feature.
//!
//! Nothing here is random: member `n` always has the same keys, and a `serial` stands for the random bytes of an id, so
//! the same call always makes the same bytes. Whoever draws two ids of one kind gives them different serials.
#![allow(clippy::expect_used, clippy::panic, reason = "a fixture that cannot be made is a test that fails")]

mod access_log;
mod history;
mod say;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

pub use self::access_log::{AccessLogOf, instant};
pub use self::history::{Depth, History};
pub use self::say::{Say, measure};
pub use self::snapshot::Snapshot;
use crate::canonical::{self, Hex32};
use crate::dsse::PublicKey;
use crate::genesis::{Genesis, GenesisDocument, RosterMember};
use crate::list::{
    AttestTime, BallotId, Choice, Command, CommandId, ListState, Motion, PublicText, Submission, Table, Vote, Withdraw,
};
use crate::marking::Tier;
use crate::member::MemberId;
use crate::record::{RecordId, RecordKind};
use crate::rule::{Rule, Rules};
use crate::timestamp::Timestamp;

/// The private keys of one member.
#[derive(Debug, Clone)]
pub struct MemberKeys {
    /// Signs its deciding commands.
    pub decision: SigningKey,
    /// Signs its attestations of time and its cosignatures.
    pub node: SigningKey,
    /// Kept offline.
    pub recovery: SigningKey,
}

impl MemberKeys {
    /// The keys of the `n`-th member, always the same.
    pub fn of(n: usize) -> Self {
        let key = |purpose: &str| SigningKey::from_bytes(&crate::sha256(format!("testing/{purpose}/{n}").as_bytes()));
        Self { decision: key("decision"), node: key("node"), recovery: key("recovery") }
    }
}

/// A genesis and everybody's private keys.
#[derive(Debug, Clone)]
pub struct Federation {
    /// The genesis.
    pub genesis: Arc<Genesis>,
    /// Its file.
    pub bytes: Vec<u8>,
    /// Everybody's keys.
    pub keys: BTreeMap<MemberId, MemberKeys>,
}

impl Federation {
    /// `count` voting members, who list by `quorum(2/3)`.
    pub fn new(count: usize) -> Self {
        Self::with(count, |_| {})
    }

    /// `count` voting members under another rule, as `quorum(1/2)`.
    pub fn ruled(count: usize, rule: &str) -> Self {
        let rule: Rule = rule.parse().expect("a rule");
        Self::with(count, |document| document.rules = Rules::uniform(rule))
    }

    /// `count` voting members, their genesis edited before it is sealed. Keys are found by place in the roster.
    pub fn with(count: usize, edit: impl FnOnce(&mut GenesisDocument)) -> Self {
        let mut document = document(count);
        edit(&mut document);
        let bytes = canonical::to_vec(&document);
        let genesis = Genesis::from_bytes(&bytes).unwrap_or_else(|problems| panic!("genesis: {problems}"));
        let keys = document.members.iter().enumerate().map(|(n, m)| (m.member, MemberKeys::of(n))).collect();
        Self { genesis: Arc::new(genesis), bytes, keys }
    }

    /// The voting members in the order of [`members`].
    pub fn voters(&self) -> Vec<MemberId> {
        self.genesis.document().members.iter().filter(|m| m.voting).map(|m| m.member).collect()
    }

    /// A member's keys; a panic where it has none here.
    pub fn keys(&self, member: MemberId) -> &MemberKeys {
        self.keys.get(&member).unwrap_or_else(|| panic!("{member} is not of this federation"))
    }

    /// Lays a proposal before the members.
    pub fn table_command(&self, proposal: RecordId, text: &PublicText, serial: u64) -> Command {
        self.motion_command(proposal.originator(), Motion::List { proposal }, text, serial)
    }

    /// Lays any motion before the members.
    pub fn motion_command(&self, member: MemberId, motion: Motion, text: &PublicText, serial: u64) -> Command {
        Command::Table(Table {
            federation: self.genesis.federation(),
            command_id: command_id(serial),
            member,
            motion,
            public_part: text.digest(),
            commitments: vec![Hex32(crate::sha256(b"the rest"))],
        })
    }

    /// A vote.
    pub fn vote_command(
        &self,
        member: MemberId,
        ballot: BallotId,
        choice: Choice,
        replaces: Option<CommandId>,
        serial: u64,
    ) -> Command {
        let (federation, command_id) = (self.genesis.federation(), command_id(serial));
        Command::Vote(Vote { federation, command_id, member, ballot, choice, replaces, reason: None })
    }

    /// A withdrawal.
    pub fn withdraw_command(&self, member: MemberId, ballot: BallotId, serial: u64) -> Command {
        let (federation, command_id) = (self.genesis.federation(), command_id(serial));
        Command::Withdraw(Withdraw { federation, command_id, member, ballot })
    }

    /// An attestation.
    pub fn attest_command(&self, member: MemberId, time: Timestamp, serial: u64) -> Command {
        let (federation, command_id) = (self.genesis.federation(), command_id(serial));
        let supports = ListState::SUPPORTED_RULES;
        Command::AttestTime(AttestTime { federation, command_id, member, time, supports })
    }

    /// Signs a command with the key that the roster asks for.
    pub fn sign(&self, command: &Command, public_text: Option<PublicText>) -> Submission {
        let keys = self.keys(command.member());
        let key = match command {
            Command::AttestTime(_) => &keys.node,
            Command::RevokeKeys(_) => &keys.recovery,
            _ => &keys.decision,
        };
        Submission { envelope: command.sign(key).to_bytes(), public_text }
    }

    /// A signed tabling of `member`'s proposal number `serial`, with its text; the ballot is the hash of its payload.
    pub fn table(&self, member: MemberId, serial: u64) -> (Submission, BallotId) {
        let text = public_text(serial);
        let command = self.table_command(proposal_id(member, serial), &text, serial);
        let ballot = ballot_id(&command);
        (self.sign(&command, Some(text)), ballot)
    }

    /// A signed first vote.
    pub fn vote(&self, member: MemberId, ballot: BallotId, choice: Choice, serial: u64) -> Submission {
        self.sign(&self.vote_command(member, ballot, choice, None, serial), None)
    }

    /// A signed withdrawal.
    pub fn withdraw(&self, member: MemberId, ballot: BallotId, serial: u64) -> Submission {
        self.sign(&self.withdraw_command(member, ballot, serial), None)
    }

    /// A signed attestation.
    pub fn attest(&self, member: MemberId, time: Timestamp, serial: u64) -> Submission {
        self.sign(&self.attest_command(member, time, serial), None)
    }
}

/// A genesis of `count` voting members, not yet sealed: trust domain `fr.comity.example`, endpoint on port 7443, ceiling
/// secret, a text that is no real certificate as root.
pub fn document(count: usize) -> GenesisDocument {
    let roster = members(count).into_iter().enumerate().map(|(n, member)| roster_member(n, member)).collect();
    GenesisDocument {
        format: Genesis::FORMAT.into(),
        name: "Testing federation".into(),
        created: "2026-11-23T09:00:00Z".parse().expect("an instant"),
        entry_prefix: "CW".into(),
        rules: Rules::uniform("quorum(2/3)".parse().expect("a rule")),
        members: roster,
    }
}

/// A roster row for `member` with the keys of the `n`-th member.
pub fn roster_member(n: usize, member: MemberId) -> RosterMember {
    let keys = MemberKeys::of(n);
    RosterMember {
        member,
        trust_domain: format!("{}.comity.example", member.to_lowercase()).parse().expect("a trust domain"),
        roots_pem: vec![format!("not a certificate: the root of {member}")],
        decision_key: PublicKey(keys.decision.verifying_key()),
        node_key: PublicKey(keys.node.verifying_key()),
        recovery_key: PublicKey(keys.recovery.verifying_key()),
        endpoint: format!("{}.comity.example:7443", member.to_lowercase()),
        ceiling: Tier::Secret,
        voting: true,
    }
}

/// The first `count` members: FR, DE, CA, AU, then the other countries by code.
pub fn members(count: usize) -> Vec<MemberId> {
    const FIRST: [&str; 4] = ["FR", "DE", "CA", "AU"];
    let others = crate::subject::country_codes().filter(|code| !FIRST.contains(code));
    FIRST.into_iter().chain(others).take(count).map(member).collect()
}

/// A member by its code.
pub fn member(code: &str) -> MemberId {
    code.parse().expect("a member")
}

/// The command id that a serial stands for.
pub fn command_id(serial: u64) -> CommandId {
    let mut random = [0xC0; 16];
    if let Some(tail) = random.last_chunk_mut() {
        *tail = serial.to_be_bytes();
    }
    CommandId::new(random)
}

/// The proposal id that a serial stands for.
pub fn proposal_id(originator: MemberId, serial: u64) -> RecordId {
    let mut random = [0xA0; 10];
    if let Some(tail) = random.last_chunk_mut() {
        *tail = serial.to_be_bytes();
    }
    RecordId::new(originator, RecordKind::Proposal, random)
}

/// A valid public part, which names an invented person number `serial`, and its salt.
pub fn public_text(serial: u64) -> PublicText {
    let text = format!(
        r#"{{"subject":{{"kind":"person","names":[{{"full":"DOE, Ada {serial}","kind":"primary"}}]}},"statement_of_case":"Case {serial}."}}"#
    );
    PublicText { salt: Hex32(crate::sha256(&serial.to_be_bytes())), bytes: text.into_bytes() }
}

/// A valid statement, number `serial`, and its salt: the text of a motion that describes no subject.
pub fn statement_text(serial: u64) -> PublicText {
    let bytes = format!(r#"{{"statement":"Reasons {serial}."}}"#).into_bytes();
    PublicText { salt: Hex32(crate::sha256(format!("statement {serial}").as_bytes())), bytes }
}

/// The ballot that a tabling command opens.
pub fn ballot_id(command: &Command) -> BallotId {
    Hex32(crate::sha256(&command.to_payload()))
}
