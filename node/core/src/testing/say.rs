//! What members say of a ballot, an entry or themselves, short enough to write in a test.

use crate::canonical::Hex32;
use crate::dsse::PublicKey;
use crate::list::{
    Accepted, Acknowledge, AttachMeasure, BallotId, Choice, Command, CommandId, EndMeasure, EnrollPerson, EntryId,
    ExtendHold, Hold, LiftHold, Measure, Motion, Object, Refusal, RequireSignatures, Review, RevokeKeys, RevokePerson,
    RotateKeys, Submission,
};
use crate::member::MemberId;
use crate::spiffe::Role;
use crate::testing::{Federation, History, ballot_id, public_text, statement_text};
use crate::timestamp::Timestamp;

/// What a member says, without who and by which id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// It has taken notice.
    Acknowledge(BallotId),
    /// It holds.
    Hold(BallotId),
    /// It consents to the extension of another's hold.
    Extend(BallotId, MemberId),
    /// It lifts its hold.
    Lift(BallotId),
    /// It objects.
    Object(BallotId),
    /// It attaches a measure.
    Attach(EntryId, Measure),
    /// It ends a measure.
    End(EntryId, String),
    /// It has reviewed an entry.
    Review(EntryId),
    /// Its decision key, its node key are these from now on.
    Rotate(Option<PublicKey>, Option<PublicKey>),
    /// Its recovery key revokes the decision key, the node key.
    Revoke(bool, bool),
    /// It enrols a person.
    Enroll(&'static str, PublicKey),
    /// It revokes a person's key.
    RevokePerson(PublicKey),
    /// Two people sign from now on, or not any more.
    Require(bool),
}

impl Say {
    /// As a command.
    pub fn command(self, federation: Hex32, command_id: CommandId, member: MemberId) -> Command {
        let reason = "Reasons.".to_owned();
        match self {
            Self::Acknowledge(ballot) => Command::Acknowledge(Acknowledge { federation, command_id, member, ballot }),
            Self::Hold(ballot) => Command::Hold(Hold { federation, command_id, member, ballot, reason }),
            Self::Extend(ballot, holder) => {
                Command::ExtendHold(ExtendHold { federation, command_id, member, ballot, holder })
            }
            Self::Lift(ballot) => Command::LiftHold(LiftHold { federation, command_id, member, ballot }),
            Self::Object(ballot) => Command::Object(Object { federation, command_id, member, ballot, reason }),
            Self::Attach(entry, measure) => {
                Command::AttachMeasure(AttachMeasure { federation, command_id, member, entry, measure })
            }
            Self::End(entry, measure) => Command::EndMeasure(EndMeasure {
                federation,
                command_id,
                member,
                entry,
                measure: measure.parse().expect("a measure's name"),
                ended: "2027-01-01".parse().expect("a date"),
            }),
            Self::Review(entry) => Command::Review(Review { federation, command_id, member, entry }),
            Self::Rotate(decision_key, node_key) => Command::RotateKeys(RotateKeys {
                federation,
                command_id,
                member,
                decision_key,
                node_key,
                roots_pem: None,
                endpoint: None,
            }),
            Self::Revoke(decision, node) => {
                Command::RevokeKeys(RevokeKeys { federation, command_id, member, decision, node })
            }
            Self::Enroll(person, key) => Command::EnrollPerson(EnrollPerson {
                federation,
                command_id,
                member,
                person: person.parse().expect("a pseudonym"),
                role: Role::Operator,
                key,
            }),
            Self::RevokePerson(key) => Command::RevokePerson(RevokePerson { federation, command_id, member, key }),
            Self::Require(required) => {
                Command::RequireSignatures(RequireSignatures { federation, command_id, member, required })
            }
        }
    }
}

/// A valid measure of this name: an asset freeze.
pub fn measure(id: &str) -> Measure {
    Measure {
        id: id.parse().expect("a measure's name"),
        programme: "Chemical weapons".into(),
        legal_act: "Act 1 of 2026".into(),
        reference: None,
        imposes: vec!["asset_freeze".parse().expect("a slug")],
        from: "2026-12-01".parse().expect("a date"),
        until: None,
    }
}

impl Federation {
    /// A signed command.
    pub fn say(&self, member: MemberId, say: Say, serial: u64) -> Submission {
        let command_id = crate::testing::command_id(serial);
        self.sign(&say.command(self.genesis.federation(), command_id, member), None)
    }

    /// A signed tabling of any motion, with its text; the ballot is the hash of its payload.
    pub fn motion(&self, member: MemberId, motion: Motion, serial: u64) -> (Submission, BallotId) {
        let text = if motion.has_subject() { public_text(serial) } else { statement_text(serial) };
        let command = self.motion_command(member, motion, &text, serial);
        let ballot = ballot_id(&command);
        (self.sign(&command, Some(text)), ballot)
    }
}

impl History {
    /// A member says what must be accepted.
    pub fn say(&mut self, member: MemberId, say: Say) -> Accepted {
        let serial = self.serial();
        let submission = self.federation.say(member, say, serial);
        self.accept(&submission)
    }

    /// A member says what must be refused, and nothing changes.
    pub fn refuse_to(&mut self, member: MemberId, say: Say) -> Refusal {
        let serial = self.serial();
        let submission = self.federation.say(member, say, serial);
        self.refuse(&submission)
    }

    /// Tables any motion.
    pub fn motion(&mut self, member: MemberId, motion: Motion) -> BallotId {
        let serial = self.serial();
        let (submission, ballot) = self.federation.motion(member, motion, serial);
        self.accept(&submission);
        ballot
    }

    /// Tables a motion that must be refused.
    pub fn refuse_motion(&mut self, member: MemberId, motion: Motion) -> Refusal {
        let serial = self.serial();
        let (submission, _) = self.federation.motion(member, motion, serial);
        self.refuse(&submission)
    }

    /// Tables a motion and has its electorate say yes until it is closed; what the last vote did.
    pub fn decide(&mut self, member: MemberId, motion: Motion) -> Accepted {
        let ballot = self.motion(member, motion);
        self.say_yes(ballot)
    }

    /// The electorate says yes, in the order of codes, until the ballot is closed; what the last vote did.
    pub fn say_yes(&mut self, ballot: BallotId) -> Accepted {
        let electorate: Vec<MemberId> = self.ballot(ballot).electorate.iter().copied().collect();
        let mut last = None;
        for voter in electorate {
            if self.ballot(ballot).is_open() && !self.ballot(ballot).votes.contains_key(&voter) {
                last = Some(self.vote(voter, ballot, Choice::Yes));
            }
        }
        last.expect("somebody votes")
    }

    /// The voting members attest an instant, those whose nodes can, until list time is there; what the last attestation did.
    pub fn pass_time(&mut self, time: Timestamp) -> Accepted {
        let voters = std::sync::Arc::clone(self.state.roster().voters());
        for (member, _) in voters.iter().filter(|(_, voter)| voter.node_key.is_some()) {
            let behind = self.state.attested(*member).is_none_or(|attested| attested.time < time);
            if !behind {
                continue;
            }
            let serial = self.serial();
            let submission = self.federation.attest(*member, time, serial);
            let accepted = self.accept(&submission);
            if self.state.list_time() >= time {
                return accepted;
            }
        }
        panic!("list time is {}, not {time}", self.state.list_time())
    }

    /// As [`History::pass_time`], from its text.
    pub fn until(&mut self, time: &str) -> Accepted {
        self.pass_time(time.parse().expect("an instant"))
    }
}
