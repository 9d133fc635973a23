//! Commands for campaigns and benchmarks, signed: the one place here that knows what a command is made of.

use std::time::Duration;

use comity_cli::demo::federation::Federation;
use comity_core::canonical::Hex32;
use comity_core::dsse::PublicKey;
use comity_core::list::{
    AttestTime, BallotId, Choice, Command, CommandId, EnrollPerson, ListState, Motion, PublicText, RequireSignatures,
    Table, Vote,
};
use comity_core::{MemberId, RecordId, RecordKind, Role, Timestamp};
use comity_identity::{SigningKeyError, SigningKeyFile};
use comity_proto::v1;
use ed25519_dalek::SigningKey;

use crate::Problem;
use crate::door::{Answer, Door};
use crate::seed::Dice;

/// How often a command is handed in before it is given up.
const ATTEMPTS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(50);

/// A command, signed and ready to be handed in, as often as it takes.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Its id.
    pub id: CommandId,
    /// What it tables, or decides on.
    pub ballot: BallotId,
    /// Its exact text.
    pub envelope: Vec<u8>,
    /// The public part, beside one that tables.
    pub text: Option<PublicText>,
}

impl Signed {
    fn new(
        command: &Command,
        key: &SigningKey,
        others: &[SigningKey],
        ballot: BallotId,
        text: Option<PublicText>,
    ) -> Self {
        let mut envelope = command.sign(key);
        others.iter().for_each(|other| envelope.add_signature(other));
        Self { id: command.id(), ballot, envelope: envelope.to_bytes(), text }
    }

    /// As it is handed in.
    pub fn to_wire(&self) -> v1::RaftCommand {
        let public_text = self.text.clone().map(|t| v1::PublicText { salt: t.salt.0.to_vec(), text: t.bytes });
        v1::RaftCommand { envelope: self.envelope.clone(), public_text }
    }
}

/// A federation's members with their decision keys.
#[derive(Debug, Clone)]
pub struct Authors {
    federation: Hex32,
    members: Vec<Author>,
    public_part: Vec<u8>,
}

/// One member's keys.
#[derive(Debug, Clone)]
struct Author {
    member: MemberId,
    decision: SigningKey,
    /// Of the people who sign, too.
    people: Vec<SigningKey>,
}

impl Authors {
    /// The members of a federation that was laid out.
    ///
    /// # Errors
    /// A key cannot be read.
    pub fn of(federation: &Federation) -> Result<Self, SigningKeyError> {
        let mut members = Vec::new();
        for seat in federation.voters() {
            let key = SigningKeyFile::load(&seat.folder.join("signing-decision.key"))?;
            members.push(Author { member: seat.member, decision: key.signing_key().clone(), people: Vec::new() });
        }
        Ok(Self { federation: federation.genesis.federation(), members, public_part: public_part() })
    }

    /// Every member enrols two people and requires their signatures from then on, with which all commands are made.
    ///
    /// # Errors
    /// A command is not taken in time.
    pub async fn require_people(&mut self, federation: &Federation) -> Result<(), Problem> {
        let mut dice = Dice::fresh()?;
        let genesis = self.federation;
        for Author { member, decision, people } in &mut self.members {
            let member = *member;
            for (person, role) in [("desk-1", Role::Operator), ("desk-2", Role::Approver)] {
                let key = SigningKey::from_bytes(&dice.bytes());
                let command = Command::EnrollPerson(EnrollPerson {
                    federation: genesis,
                    command_id: CommandId::new(dice.bytes()),
                    member,
                    person: person.parse()?,
                    role,
                    key: PublicKey(key.verifying_key()),
                });
                let own = std::slice::from_ref(&key);
                commit(federation, &Signed::new(&command, decision, own, Hex32([0; 32]), None)).await?;
                people.push(key);
            }
            let command = Command::RequireSignatures(RequireSignatures {
                federation: genesis,
                command_id: CommandId::new(dice.bytes()),
                member,
                required: true,
            });
            commit(federation, &Signed::new(&command, decision, people, Hex32([0; 32]), None)).await?;
        }
        Ok(())
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// The `n`-th member, counted round and round.
    pub fn member(&self, n: usize) -> Option<MemberId> {
        self.author(n).map(|author| author.member)
    }

    fn author(&self, n: usize) -> Option<&Author> {
        self.members.get(n.checked_rem(self.members.len())?)
    }

    /// The `n`-th member lays an invented proposal before the members.
    pub fn table(&self, n: usize, dice: &mut Dice) -> Option<Signed> {
        let Author { member, decision, people } = self.author(n)?;
        let text = PublicText { salt: Hex32(dice.bytes()), bytes: self.public_part.clone() };
        let command = Command::Table(Table {
            federation: self.federation,
            command_id: CommandId::new(dice.bytes()),
            member: *member,
            motion: Motion::List { proposal: RecordId::new(*member, RecordKind::Proposal, dice.bytes()) },
            public_part: text.digest(),
            commitments: vec![Hex32(dice.bytes()), Hex32(dice.bytes())],
        });
        let ballot = Hex32(comity_core::sha256(&command.to_payload()));
        Some(Signed::new(&command, decision, people, ballot, Some(text)))
    }

    /// The `n`-th member votes.
    pub fn vote(&self, n: usize, ballot: BallotId, choice: Choice, dice: &mut Dice) -> Option<Signed> {
        let Author { member, decision, people } = self.author(n)?;
        let command = Command::Vote(Vote {
            federation: self.federation,
            command_id: CommandId::new(dice.bytes()),
            member: *member,
            ballot,
            choice,
            replaces: None,
            reason: None,
        });
        Some(Signed::new(&command, decision, people, ballot, None))
    }
}

/// The members' nodes say that an instant has passed, each with its own key: what they do by themselves once it has. Time is what
/// a majority of them says, so that a test need not wait for it, and no node's clock is touched.
///
/// # Errors
/// A key cannot be read, or a command is not taken in time.
pub async fn pass_time(federation: &Federation, time: Timestamp) -> Result<(), Problem> {
    for seat in federation.voters() {
        let key = SigningKeyFile::load(&seat.folder.join("signing-node.key"))?;
        let command = Command::AttestTime(AttestTime {
            federation: federation.genesis.federation(),
            command_id: CommandId::new(Dice::fresh()?.bytes()),
            member: seat.member,
            time,
            supports: ListState::SUPPORTED_RULES,
        });
        let signed = Signed::new(&command, key.signing_key(), &[], Hex32([0; 32]), None);
        commit(federation, &signed).await?;
    }
    Ok(())
}

/// Hands a command in at one door after the other, whichever opens, until it is in the order of commands for good: where the
/// rules refuse it, every node does so when its turn comes.
///
/// # Errors
/// No node takes it in time.
pub async fn commit(federation: &Federation, command: &Signed) -> Result<(), Problem> {
    let mut doors = Door::to_all(federation)?;
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        let door = doors.first().ok_or("no nodes")?;
        match door.hand_in(command, PATIENCE).await {
            Ok(Answer::Committed) => return Ok(()),
            Ok(Answer::NotLeader(leader)) => {
                let at = leader.and_then(|leader| doors.iter().position(|door| door.member == leader));
                let count = doors.len();
                doors.rotate_left(at.unwrap_or(1).max(1) % count);
            }
            Err(status) => {
                said = status.to_string();
                let count = doors.len();
                doors.rotate_left(1 % count);
            }
        }
        tokio::time::sleep(RETRY).await;
    }
    Err(format!("a command was not committed: {said}").into())
}

/// Whether an envelope is one that nodes write of their own accord: an attestation of time.
pub fn is_of_a_node(envelope: &str) -> bool {
    envelope.contains("vnd.comity.list.attest-time.")
}

/// An invented subject of the usual size: about a kilobyte.
fn public_part() -> Vec<u8> {
    let statement = "The subject procured precursors for the programme through companies abroad. ".repeat(10);
    serde_json::json!({
        "subject": {
            "kind": "person",
            "names": [{"full": "EXAMPLE, Invented", "kind": "primary"}, {"full": "EXEMPLE, Inventé"}],
            "birth_dates": ["1961", "1960~"],
            "identifiers": [{"kind": "passport", "value": "X0000000", "country": "SY"}]
        },
        "statement_of_case": statement,
    })
    .to_string()
    .into_bytes()
}
