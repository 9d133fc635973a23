//! Random attempts by members that lie, repeat and reorder: what is tried, and the submission that it makes.

use proptest::prelude::*;

use crate::canonical::Hex32;
use crate::dsse::Envelope;
use crate::list::{BallotId, Choice, Command, CommandId, Submission};
use crate::member::MemberId;
use crate::testing::{Federation, MemberKeys, ballot_id, command_id, proposal_id, public_text};
use crate::timestamp::Timestamp;

/// What somebody tries. Numbers pick among what there is, wrapping around.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Table {
        who: usize,
        proposal: u64,
    },
    TableOfAnother {
        who: usize,
        proposal: u64,
    },
    Vote {
        who: usize,
        ballot: usize,
        choice: Choice,
        replaces: Replaces,
    },
    Withdraw {
        who: usize,
        ballot: usize,
    },
    Attest {
        who: usize,
        seconds: i64,
    },
    /// Hands in again what was handed in before, accepted or not.
    Repeat {
        which: usize,
    },
}

/// Which vote a vote says it corrects.
#[derive(Debug, Clone, Copy)]
pub(super) enum Replaces {
    Nothing,
    /// The author's vote that stands, if one does.
    Standing,
    /// Any command that was tried.
    Any(usize),
}

/// How an attempt is spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The right member's other key.
    OtherPurpose,
    /// The next member's key.
    OtherMember,
    /// A key that nobody has.
    Stranger,
    /// A bit of the signature.
    BentSignature,
    /// A bit of the payload, after signing.
    BentPayload,
    OtherFederation,
    /// The id of an earlier attempt.
    IdOf(usize),
    UnknownField,
    WrongText,
    SuperfluousOrMissingText,
}

impl Fault {
    /// Whether it is wrong whatever was decided before.
    pub(super) fn is_plain(self) -> bool {
        !matches!(self, Self::None | Self::IdOf(_))
    }
}

pub(super) fn attempts() -> impl Strategy<Value = Vec<(Act, Fault)>> {
    let who = 0..7_usize;
    let ballot = prop_oneof![6 => 0..4_usize, 1 => any::<usize>()];
    let choice = prop_oneof![5 => Just(Choice::Yes), 2 => Just(Choice::No), 1 => Just(Choice::Abstain)];
    let replaces = prop_oneof![
        8 => Just(Replaces::Nothing),
        3 => Just(Replaces::Standing),
        1 => any::<usize>().prop_map(Replaces::Any),
    ];
    let act = prop_oneof![
        4 => (who.clone(), 0..3_u64).prop_map(|(who, proposal)| Act::Table { who, proposal }),
        1 => (who.clone(), 0..3_u64).prop_map(|(who, proposal)| Act::TableOfAnother { who, proposal }),
        20 => (who.clone(), ballot.clone(), choice, replaces)
            .prop_map(|(who, ballot, choice, replaces)| Act::Vote { who, ballot, choice, replaces }),
        1 => (who.clone(), ballot).prop_map(|(who, ballot)| Act::Withdraw { who, ballot }),
        // Ten years either way, and near misses of the minute.
        3 => (who.clone(), -315_000_000..315_000_000_i64).prop_map(|(who, seconds)| Act::Attest { who, seconds }),
        2 => (who, -180..180_i64).prop_map(|(who, seconds)| Act::Attest { who, seconds }),
        3 => any::<usize>().prop_map(|which| Act::Repeat { which }),
    ];
    let fault = prop_oneof![
        40 => Just(Fault::None),
        1 => Just(Fault::OtherPurpose),
        1 => Just(Fault::OtherMember),
        1 => Just(Fault::Stranger),
        1 => Just(Fault::BentSignature),
        1 => Just(Fault::BentPayload),
        1 => Just(Fault::OtherFederation),
        2 => any::<usize>().prop_map(Fault::IdOf),
        1 => Just(Fault::UnknownField),
        1 => Just(Fault::WrongText),
        1 => Just(Fault::SuperfluousOrMissingText),
    ];
    prop::collection::vec((act, fault), 1..80)
}

/// Something that was handed in.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) command: Command,
    pub(super) fault: Fault,
    pub(super) submission: Submission,
}

/// Turns acts into submissions, knowing what was handed in before.
pub(super) struct Author<'a> {
    pub(super) federation: &'a Federation,
    pub(super) made: Vec<Attempt>,
    /// Ballots that somebody tried to open, with and without success.
    pub(super) ballots: Vec<BallotId>,
}

impl Author<'_> {
    pub(super) fn make(
        &mut self,
        act: &Act,
        fault: Fault,
        standing: impl Fn(MemberId, BallotId) -> Option<CommandId>,
    ) -> Attempt {
        if let Act::Repeat { which } = act
            && !self.made.is_empty()
        {
            return self.made[which % self.made.len()].clone();
        }
        let voters = self.federation.voters();
        let member = |who: usize| voters[who % voters.len()];
        let n = self.made.len() as u64 + 1;
        let serial = match fault {
            Fault::IdOf(earlier) if n > 1 => earlier as u64 % (n - 1) + 1,
            _ => n,
        };
        let ballot = |pick: usize| {
            let never = Hex32(crate::sha256(b"never tabled"));
            if self.ballots.is_empty() { never } else { self.ballots[pick % self.ballots.len()] }
        };
        let text = public_text(n);
        let federation = self.federation;
        let command = match *act {
            Act::Repeat { .. } => federation.attest_command(member(0), federation.genesis.document().created, serial),
            Act::Table { who, proposal } => federation.table_command(proposal_id(member(who), proposal), &text, serial),
            Act::TableOfAnother { who, proposal } => {
                let owner = crate::testing::member("OPCW");
                let mut command = federation.table_command(proposal_id(owner, proposal), &text, serial);
                if let Command::Table(table) = &mut command {
                    table.member = member(who);
                }
                command
            }
            Act::Vote { who, ballot: pick, choice, replaces } => {
                let (who, ballot) = (member(who), ballot(pick));
                let replaces = match replaces {
                    Replaces::Nothing => None,
                    Replaces::Standing => standing(who, ballot),
                    Replaces::Any(any) => Some(command_id(any as u64 % n + 1)),
                };
                federation.vote_command(who, ballot, choice, replaces, serial)
            }
            Act::Withdraw { who, ballot: pick } => federation.withdraw_command(member(who), ballot(pick), serial),
            Act::Attest { who, seconds } => {
                let start = federation.genesis.document().created.as_micros();
                let time = Timestamp::from_micros(start + seconds * 1_000_000).unwrap();
                federation.attest_command(member(who), time, serial)
            }
        };
        let is_table = matches!(command, Command::Table(_));
        if is_table {
            self.ballots.push(ballot_id(&command));
        }
        let submission = spoil(federation, &command, is_table.then_some(text), fault);
        let attempt = Attempt { command, fault, submission };
        self.made.push(attempt.clone());
        attempt
    }
}

fn spoil(
    federation: &Federation,
    command: &Command,
    mut text: Option<crate::list::PublicText>,
    fault: Fault,
) -> Submission {
    let keys = federation.keys(command.member());
    let (key, other) = if command.is_deciding() { (&keys.decision, &keys.node) } else { (&keys.node, &keys.decision) };
    let mut payload = String::from_utf8(command.to_payload()).unwrap();
    let mut key = key.clone();
    match fault {
        Fault::OtherPurpose => key = other.clone(),
        // Beyond the last member there is the stranger.
        Fault::OtherMember | Fault::Stranger => {
            let next = federation.voters().iter().position(|m| *m == command.member()).unwrap() + 1;
            let keys = MemberKeys::of(if fault == Fault::Stranger { 90 } else { next });
            key = if command.is_deciding() { keys.decision } else { keys.node };
        }
        Fault::OtherFederation => {
            payload = payload.replace(&federation.genesis.federation().to_string(), &Hex32([3; 32]).to_string());
        }
        Fault::UnknownField => payload = payload.replacen('{', r#"{"urgent":true,"#, 1),
        Fault::WrongText => match &mut text {
            Some(text) => text.bytes.push(b' '),
            None => text = Some(public_text(0)),
        },
        Fault::SuperfluousOrMissingText => text = if text.is_some() { None } else { Some(public_text(0)) },
        Fault::None | Fault::IdOf(_) | Fault::BentSignature | Fault::BentPayload => {}
    }
    let mut envelope = Envelope::sign(command.payload_type(), payload.into_bytes(), &key);
    match fault {
        Fault::BentSignature => envelope.signatures[0].sig[7] ^= 4,
        Fault::BentPayload => envelope.payload.push(b' '),
        _ => {}
    }
    Submission { envelope: envelope.to_bytes(), public_text: text }
}
