//! Random attempts by members that lie, repeat, reorder and go silent: what is tried, and the submission that it makes.

use proptest::prelude::*;

use crate::canonical::Hex32;
use crate::dsse::Envelope;
use crate::list::{BallotId, Choice, Command, CommandId, EntryId, Ground, Motion, Submission};
use crate::member::MemberId;
use crate::rule::{BallotKind, Rule};
use crate::testing::{
    Federation, MemberKeys, Say, ballot_id, command_id, measure, member, proposal_id, public_text, roster_member,
    statement_text,
};
use crate::timestamp::Timestamp;

/// Who may be admitted, and the places of their keys.
pub(super) const NEWCOMERS: [(&str, usize); 2] = [("NZ", 40), ("OPCW", 41)];

/// The rules that the federations of these tests have, and change to.
pub(super) const RULES: [&str; 6] = [
    "quorum(1/2)",
    "quorum(2/3)",
    "unanimity",
    "no_objection(period=2,notice=1)",
    "no_objection(period=3,notice=2,presence=1/2,closing=9,hold=1,extension=1)",
    "no_objection(period=4,notice=4,presence=1/1,closing=0,hold=2,extension=0)",
];

/// What somebody tries. Numbers pick among what there is, wrapping around.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Table {
        who: usize,
        motion: Tried,
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
    Procedure {
        who: usize,
        ballot: usize,
        what: u8,
        other: usize,
    },
    Entry {
        who: usize,
        entry: u32,
        what: u8,
        name: u8,
    },
    Revoke {
        who: usize,
        decision: bool,
        node: bool,
    },
    Attest {
        who: usize,
        seconds: i64,
    },
    /// Everybody says that so much more has passed.
    Pass {
        minutes: i64,
    },
    /// Hands in again what was handed in before, accepted or not.
    Repeat {
        which: usize,
    },
}

/// What somebody tables.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tried {
    List(u64),
    Amend(u32, u64),
    Delist(u32, Ground),
    Merge(u32, u32),
    Suspend(usize),
    Readmit(usize),
    Expel(usize),
    Admit(usize),
    Rule(BallotKind, usize),
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
    /// Another member's key.
    OtherMember,
    /// A key that nobody has.
    Stranger,
    /// The right key and a stranger's.
    OneTooMany,
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

fn tried() -> impl Strategy<Value = Tried> {
    let (entry, who) = (1..4_u32, 0..9_usize);
    let ground = prop::sample::select(Ground::ALL.to_vec());
    let kind = prop::sample::select(BallotKind::ALL.to_vec());
    prop_oneof![
        12 => (0..4_u64).prop_map(Tried::List),
        2 => (entry.clone(), 0..4_u64).prop_map(|(entry, proposal)| Tried::Amend(entry, proposal)),
        3 => (entry.clone(), ground).prop_map(|(entry, ground)| Tried::Delist(entry, ground)),
        1 => (entry.clone(), entry).prop_map(|(entry, into)| Tried::Merge(entry, into)),
        2 => who.clone().prop_map(Tried::Suspend),
        2 => who.clone().prop_map(Tried::Readmit),
        1 => who.clone().prop_map(Tried::Expel),
        1 => who.prop_map(Tried::Admit),
        1 => (kind, 0..RULES.len()).prop_map(|(kind, rule)| Tried::Rule(kind, rule)),
    ]
}

pub(super) fn attempts() -> impl Strategy<Value = Vec<(Act, Fault)>> {
    let who = 0..9_usize;
    let ballot = prop_oneof![6 => 0..6_usize, 1 => any::<usize>()];
    let choice = prop_oneof![6 => Just(Choice::Yes), 2 => Just(Choice::No), 1 => Just(Choice::Abstain)];
    let replaces = prop_oneof![
        8 => Just(Replaces::Nothing),
        3 => Just(Replaces::Standing),
        1 => any::<usize>().prop_map(Replaces::Any),
    ];
    let minutes = prop_oneof![
        3 => 1..1_500_i64,
        3 => 1_500..9_000_i64,
        1 => 9_000..60_000_i64,
    ];
    let act = prop_oneof![
        8 => (who.clone(), tried()).prop_map(|(who, motion)| Act::Table { who, motion }),
        1 => (who.clone(), 0..3_u64).prop_map(|(who, proposal)| Act::TableOfAnother { who, proposal }),
        20 => (who.clone(), ballot.clone(), choice, replaces)
            .prop_map(|(who, ballot, choice, replaces)| Act::Vote { who, ballot, choice, replaces }),
        14 => (who.clone(), ballot.clone(), 0..12_u8, who.clone())
            .prop_map(|(who, ballot, what, other)| Act::Procedure { who, ballot, what, other }),
        5 => (who.clone(), 1..4_u32, 0..5_u8, 0..3_u8)
            .prop_map(|(who, entry, what, name)| Act::Entry { who, entry, what, name }),
        1 => (who.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(who, decision, node)| Act::Revoke { who, decision, node }),
        1 => (who.clone(), ballot).prop_map(|(who, ballot)| Act::Withdraw { who, ballot }),
        // Ten years either way, and near misses of the minute.
        1 => (who.clone(), -315_000_000..315_000_000_i64).prop_map(|(who, seconds)| Act::Attest { who, seconds }),
        2 => (who, -180..180_i64).prop_map(|(who, seconds)| Act::Attest { who, seconds }),
        4 => minutes.prop_map(|minutes| Act::Pass { minutes }),
        3 => any::<usize>().prop_map(|which| Act::Repeat { which }),
    ];
    let fault = prop_oneof![
        60 => Just(Fault::None),
        1 => Just(Fault::OtherPurpose),
        1 => Just(Fault::OtherMember),
        1 => Just(Fault::Stranger),
        1 => Just(Fault::OneTooMany),
        1 => Just(Fault::BentSignature),
        1 => Just(Fault::BentPayload),
        1 => Just(Fault::OtherFederation),
        2 => any::<usize>().prop_map(Fault::IdOf),
        1 => Just(Fault::UnknownField),
        1 => Just(Fault::WrongText),
        1 => Just(Fault::SuperfluousOrMissingText),
    ];
    prop::collection::vec((act, fault), 1..90)
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

fn entry(number: u32) -> EntryId {
    format!("CW-2026-{number:04}").parse().unwrap()
}

impl Author<'_> {
    fn member(&self, who: usize) -> MemberId {
        let voters = self.federation.voters();
        let everybody: Vec<MemberId> =
            voters.into_iter().chain(NEWCOMERS.iter().map(|(code, _)| member(code))).collect();
        everybody[who % everybody.len()]
    }

    fn ballot(&self, pick: usize) -> BallotId {
        let never = Hex32(crate::sha256(b"never tabled"));
        // The last ones first: they are open more often.
        let count = self.ballots.len();
        if count == 0 { never } else { self.ballots[count - 1 - pick % count] }
    }

    fn motion(&self, who: MemberId, tried: Tried) -> Motion {
        match tried {
            Tried::List(proposal) => Motion::List { proposal: proposal_id(who, proposal) },
            Tried::Amend(id, proposal) => Motion::Amend { entry: entry(id), proposal: proposal_id(who, proposal) },
            Tried::Delist(id, ground) => Motion::Delist { entry: entry(id), ground },
            Tried::Merge(id, into) => Motion::Merge { entry: entry(id), into: entry(into) },
            Tried::Suspend(target) => Motion::Suspend { target: self.member(target) },
            Tried::Readmit(target) => Motion::Readmit { target: self.member(target) },
            Tried::Expel(target) => Motion::Expel { target: self.member(target) },
            Tried::Admit(which) => {
                let (code, n) = NEWCOMERS[which % NEWCOMERS.len()];
                let mut row = roster_member(n, member(code));
                row.voting = code != "OPCW";
                Motion::Admit { member: Box::new(row) }
            }
            Tried::Rule(kind, rule) => {
                let rule: Rule = RULES[rule].parse().unwrap();
                Motion::ChangeRule { kind, rule }
            }
        }
    }

    /// `standing` tells a member's vote on a ballot, `now` is list time.
    pub(super) fn make(
        &mut self,
        act: &Act,
        fault: Fault,
        now: Timestamp,
        standing: impl Fn(MemberId, BallotId) -> Option<CommandId>,
    ) -> Vec<Attempt> {
        if let Act::Pass { minutes } = act {
            let time = Timestamp::from_micros(now.as_micros() + minutes * 60_000_000).unwrap();
            let everybody: Vec<MemberId> =
                (0..self.federation.voters().len() + NEWCOMERS.len()).map(|who| self.member(who)).collect();
            return everybody
                .into_iter()
                .map(|who| {
                    let serial = self.made.len() as u64 + 1;
                    self.finish(self.federation.attest_command(who, time, serial), Fault::None)
                })
                .collect();
        }
        if let Act::Repeat { which } = act
            && !self.made.is_empty()
        {
            return vec![self.made[which % self.made.len()].clone()];
        }
        let n = self.made.len() as u64 + 1;
        let serial = match fault {
            Fault::IdOf(earlier) if n > 1 => earlier as u64 % (n - 1) + 1,
            _ => n,
        };
        let federation = self.federation;
        let created = federation.genesis.document().created;
        let say = |who: MemberId, say: Say| say.command(federation.genesis.federation(), command_id(serial), who);
        let command = match *act {
            Act::Repeat { .. } | Act::Pass { .. } => federation.attest_command(self.member(0), created, serial),
            Act::Table { who, motion } => {
                let who = self.member(who);
                let motion = self.motion(who, motion);
                federation.motion_command(who, motion.clone(), &text_of(&motion, n), serial)
            }
            Act::TableOfAnother { who, proposal } => {
                let motion = Motion::List { proposal: proposal_id(member("GB"), proposal) };
                federation.motion_command(self.member(who), motion, &public_text(n), serial)
            }
            Act::Vote { who, ballot, choice, replaces } => {
                let (who, ballot) = (self.member(who), self.ballot(ballot));
                let replaces = match replaces {
                    Replaces::Nothing => None,
                    Replaces::Standing => standing(who, ballot),
                    Replaces::Any(any) => Some(command_id(any as u64 % n + 1)),
                };
                federation.vote_command(who, ballot, choice, replaces, serial)
            }
            Act::Withdraw { who, ballot } => federation.withdraw_command(self.member(who), self.ballot(ballot), serial),
            Act::Procedure { who, ballot, what, other } => {
                let (who, ballot) = (self.member(who), self.ballot(ballot));
                say(
                    who,
                    match what {
                        0..=5 => Say::Acknowledge(ballot),
                        6 | 7 => Say::Hold(ballot),
                        8 | 9 => Say::Extend(ballot, self.member(other)),
                        10 => Say::Lift(ballot),
                        _ => Say::Object(ballot),
                    },
                )
            }
            Act::Entry { who, entry: id, what, name } => {
                let (who, id, name) = (self.member(who), entry(id), format!("M{name}"));
                say(
                    who,
                    match what {
                        0 | 1 => Say::Attach(id, measure(&name)),
                        2 | 3 => Say::End(id, name),
                        _ => Say::Review(id),
                    },
                )
            }
            Act::Revoke { who, decision, node } => say(self.member(who), Say::Revoke(decision, node)),
            Act::Attest { who, seconds } => {
                let time = Timestamp::from_micros(created.as_micros() + seconds * 1_000_000).unwrap();
                federation.attest_command(self.member(who), time, serial)
            }
        };
        vec![self.finish(command, fault)]
    }

    fn finish(&mut self, command: Command, fault: Fault) -> Attempt {
        let n = self.made.len() as u64 + 1;
        let text = match &command {
            Command::Table(table) => {
                self.ballots.push(ballot_id(&command));
                Some(text_of(&table.motion, n))
            }
            _ => None,
        };
        let submission = spoil(self.federation, &command, text, fault);
        let attempt = Attempt { command, fault, submission };
        self.made.push(attempt.clone());
        attempt
    }
}

fn text_of(motion: &Motion, n: u64) -> crate::list::PublicText {
    if motion.has_subject() { public_text(n) } else { statement_text(n) }
}

fn spoil(
    federation: &Federation,
    command: &Command,
    mut text: Option<crate::list::PublicText>,
    fault: Fault,
) -> Submission {
    let right = |keys: &MemberKeys| match command {
        Command::AttestTime(_) => keys.node.clone(),
        Command::RevokeKeys(_) => keys.recovery.clone(),
        _ => keys.decision.clone(),
    };
    let own = federation.keys(command.member());
    let mut payload = String::from_utf8(command.to_payload()).unwrap();
    let key = match fault {
        Fault::OtherPurpose if matches!(command, Command::AttestTime(_)) => own.decision.clone(),
        Fault::OtherPurpose => own.node.clone(),
        Fault::OtherMember => right(&MemberKeys::of(usize::from(command.member() == member("FR")))),
        Fault::Stranger => right(&MemberKeys::of(90)),
        _ => right(own),
    };
    match fault {
        Fault::OtherFederation => {
            payload = payload.replace(&federation.genesis.federation().to_string(), &Hex32([3; 32]).to_string());
        }
        Fault::UnknownField => payload = payload.replacen('{', r#"{"urgent":true,"#, 1),
        Fault::WrongText => match &mut text {
            Some(text) => text.bytes.push(b' '),
            None => text = Some(public_text(0)),
        },
        Fault::SuperfluousOrMissingText => text = if text.is_some() { None } else { Some(public_text(0)) },
        _ => {}
    }
    let mut envelope = Envelope::sign(command.payload_type(), payload.into_bytes(), &key);
    match fault {
        Fault::OneTooMany => envelope.add_signature(&MemberKeys::of(91).decision),
        Fault::BentSignature => envelope.signatures[0].sig[7] ^= 4,
        Fault::BentPayload => envelope.payload.push(b' '),
        _ => {}
    }
    Submission { envelope: envelope.to_bytes(), public_text: text }
}
