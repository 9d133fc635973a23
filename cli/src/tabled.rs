//! What a ballot's id stands for, checked here before a person signs: a stolen node must not show one text and have another
//! decided.

use comity_core::canonical::{self, Hex32};
use comity_core::list::{BallotId, Command, Motion, PublicText, Statement, Table};
use comity_core::proposal::PublicPart;
use comity_core::sha256;
use comity_identity::certificate::fingerprint;
use comity_proto::v1;

use crate::connection::Node;
use crate::documents;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::Page;

/// A tabling command and its text, which the ballot's id binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tabled {
    table: Table,
    text: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Subject(Box<PublicPart>),
    Statement(Statement),
    /// It was erased, or has not come.
    Missing,
}

impl Tabled {
    /// Holds what the node says against the id.
    ///
    /// # Errors
    /// It is not what the id stands for: exit 8.
    pub(crate) fn read(node: &Node, ballot: BallotId, wire: Option<&v1::Tabled>) -> Result<Self, Failure> {
        Self::check(node.genesis().federation(), ballot, wire).map_err(|problem| {
            let message = format!("ballot {ballot}: {problem}; nothing was signed");
            Failure::new(Exit::VerificationFailed, message).next(format!("comity ballot show {ballot}"))
        })
    }

    fn check(federation: Hex32, ballot: BallotId, wire: Option<&v1::Tabled>) -> Result<Self, String> {
        let wire = wire.ok_or("the node does not say what was tabled")?;
        if Hex32(sha256(&wire.payload)) != ballot {
            return Err("what the node says was tabled is not what this id stands for".into());
        }
        let table: Table = canonical::from_slice(&wire.payload).map_err(|e| format!("what was tabled: {e}"))?;
        if table.federation != federation {
            return Err(format!("it was tabled in another federation, {}", table.federation));
        }
        let Some(text) = &wire.text else { return Ok(Self { table, text: Text::Missing }) };
        let salt = text.salt.as_slice().try_into().map_err(|_| "the text's salt is not 32 bytes")?;
        let text = PublicText { salt: Hex32(salt), bytes: text.text.clone() };
        if text.digest() != table.public_part {
            return Err("the text that the node shows is not the one that was tabled".into());
        }
        let read = if table.motion.has_subject() {
            PublicPart::from_json(&text.bytes).map(|part| Text::Subject(Box::new(part)))
        } else {
            Statement::from_json(&text.bytes).map(Text::Statement)
        };
        Ok(Self { text: read.map_err(|e| format!("the text that was tabled: {e}"))?, table })
    }

    /// Its text is there: without it nobody consents.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn ensure_text(&self, ballot: BallotId) -> Result<(), Failure> {
        if self.text != Text::Missing {
            return Ok(());
        }
        let message =
            format!("ballot {ballot}: its text is not there, it was erased or has not come; nothing was signed");
        Err(Failure::new(Exit::Conflict, message).next(format!("comity ballot show {ballot}")))
    }

    /// The proposal that it comes from, where it comes from one.
    pub(crate) fn proposal(&self) -> Option<comity_core::RecordId> {
        self.table.motion.proposal()
    }

    /// What is decided, in one line.
    pub(crate) fn in_words(&self) -> String {
        match &self.text {
            Text::Subject(part) => format!("{}: {}", self.table.motion, part.subject.primary_name()),
            Text::Statement(_) => self.table.motion.to_string(),
            Text::Missing => format!("{} (its text is not there)", self.table.motion),
        }
    }

    /// Whether what a node says of a ballot in other fields is what was tabled.
    pub(crate) fn is_told_by(&self, ballot: &v1::Ballot) -> bool {
        ballot.motion == self.table.motion.to_string()
            && ballot.proposer == self.table.member.to_string()
            && ballot.motion_json == canonical::to_vec(&self.table.motion)
    }

    /// The motion and the text, whole.
    pub(crate) fn show(&self, page: &mut Page) {
        page.field("decides", self.in_words());
        page.field("tabled by", self.table.member.to_string());
        self.show_rest(page);
    }

    /// What the motion's one line does not tell.
    pub(crate) fn show_rest(&self, page: &mut Page) {
        show_keys(page, &self.table.motion);
        match &self.text {
            Text::Missing => {
                page.heading("Text");
                page.prose("There is none: it was erased, or has not come.");
            }
            Text::Subject(part) => documents::public_part(page, part),
            Text::Statement(statement) => {
                page.heading("Statement");
                page.prose(&statement.statement);
            }
        }
    }
}

/// The keys and the authority that the members would count from then on, where a motion names some.
fn show_keys(page: &mut Page, motion: &Motion) {
    match motion {
        Motion::Admit { member } => {
            page.heading("The member's row");
            page.field("part", if member.voting { "votes" } else { "receives" });
            page.field("trust domain", member.trust_domain.to_string());
            page.field("endpoint", &member.endpoint);
            page.field("ceiling", member.ceiling.to_string());
            page.field("decision key", member.decision_key.to_string());
            page.field("node key", member.node_key.to_string());
            page.field("recovery key", member.recovery_key.to_string());
            page.fields("authority", fingerprints(&member.roots_pem));
        }
        Motion::ReplaceKeys { target, keys } => {
            page.heading(&format!("What {target} would be known by"));
            page.field("endpoint", &keys.endpoint);
            page.field("node", format!("incarnation {}", keys.incarnation));
            page.field("decision key", keys.decision_key.to_string());
            page.field("node key", keys.node_key.to_string());
            page.field("recovery key", keys.recovery_key.to_string());
            page.fields("authority", fingerprints(&keys.roots_pem));
        }
        _ => {}
    }
}

/// SHA-256 of each certificate, as `comity pki show` has it.
pub(crate) fn fingerprints(roots_pem: &[String]) -> Vec<String> {
    roots_pem.iter().map(|pem| fingerprint(pem).unwrap_or_else(|| "no certificate".to_owned())).collect()
}

/// The salted digest that a command must name if it tables this text: with the salt that the node drew.
pub(crate) fn expected_digest(approval: &v1::Approval, text: Vec<u8>) -> Option<Hex32> {
    let salt = approval.tabled.as_ref()?.text.as_ref()?.salt.as_slice().try_into().ok()?;
    Some(PublicText { salt: Hex32(salt), bytes: text }.digest())
}

/// The ballot that a command acts on, or will be.
pub(crate) fn ballot_of(command: &Command) -> Option<BallotId> {
    match command {
        Command::Table(_) => Some(Hex32(sha256(&command.to_payload()))),
        _ => command.ballot(),
    }
}

#[cfg(test)]
mod tests {
    use comity_core::list::CommandId;

    use super::*;

    fn tabled(motion: Motion, text: &[u8]) -> (Hex32, BallotId, v1::Tabled) {
        let (federation, salt) = (Hex32([7; 32]), Hex32([9; 32]));
        let public_part = PublicText { salt, bytes: text.to_vec() }.digest();
        let (command_id, member) = (CommandId::new([1; 16]), "FR".parse().unwrap());
        let payload =
            canonical::to_vec(&Table { federation, command_id, member, motion, public_part, commitments: Vec::new() });
        let text = Some(v1::PublicText { salt: salt.0.to_vec(), text: text.to_vec() });
        (federation, Hex32(sha256(&payload)), v1::Tabled { payload, text })
    }

    #[test]
    fn an_id_stands_for_one_motion_and_one_text() {
        let motion = Motion::Suspend { target: "DE".parse().unwrap() };
        let (federation, id, wire) = tabled(motion, br#"{"statement":"It voted twice."}"#);
        let read = Tabled::check(federation, id, Some(&wire)).unwrap();
        assert_eq!(read.in_words(), "suspend DE");

        let is_refused = |wire: Option<&v1::Tabled>, id, problem: &str| {
            let refused = Tabled::check(federation, id, wire).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        };
        is_refused(None, id, "does not say what was tabled");
        is_refused(Some(&wire), Hex32([0; 32]), "not what this id stands for");
        let bare = Tabled::check(federation, id, Some(&v1::Tabled { text: None, ..wire.clone() })).unwrap();
        assert!(bare.in_words().contains("its text is not there") && bare.ensure_text(id).is_err());
        let mut other = wire.clone();
        other.text.as_mut().unwrap().text = br#"{"statement":"It paid."}"#.to_vec();
        is_refused(Some(&other), id, "not the one that was tabled");
        other.text.as_mut().unwrap().salt.pop();
        is_refused(Some(&other), id, "not 32 bytes");
        // Each byte of what was tabled counts.
        for at in 0..wire.payload.len() {
            let mut other = wire.clone();
            other.payload[at] ^= 1;
            is_refused(Some(&other), id, "not what this id stands for");
        }
        let (_, id, wire) = tabled(Motion::Suspend { target: "DE".parse().unwrap() }, b"no statement");
        is_refused(Some(&wire), id, "the text that was tabled");
        let elsewhere = Tabled::check(Hex32([8; 32]), id, Some(&wire)).unwrap_err();
        assert!(elsewhere.contains("another federation"), "{elsewhere}");
    }
}
