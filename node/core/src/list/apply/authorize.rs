//! Who may say what a command says: the member's standing, and which keys must have signed.

use std::collections::BTreeSet;

use crate::dsse::{KeyId, PublicKey};
use crate::fault::{self, Fault};
use crate::list::checked::Checked;
use crate::list::command::Command;
use crate::list::refusal::Refusal;
use crate::list::state::ListState;
use crate::roster::{MemberStatus, PersonName, Standing};

impl ListState {
    /// Checks standing and signatures; returns the member's decision key.
    pub(super) fn authorize(&self, checked: &Checked) -> Result<PublicKey, Refusal> {
        let command = checked.command();
        let member = command.member();
        let standing = self.roster.get(member).ok_or(Refusal::NotAMember(member))?;
        match standing.status {
            MemberStatus::Active => {}
            _ if fault::is(Fault::HearTheExpelled) => {}
            // Its keys may have been stolen while it is suspended.
            MemberStatus::Suspended if matches!(command, Command::RevokeKeys(_)) => {}
            MemberStatus::Suspended => return Err(Refusal::Suspended(member)),
            MemberStatus::Expelled => return Err(Refusal::Expelled(member)),
        }
        match command {
            Command::AttestTime(_) if !standing.is_voter() => return Err(Refusal::NotAMember(member)),
            Command::AttestTime(_) => {
                if standing.node_revoked {
                    return Err(Refusal::KeyRevoked { member, which: "node" });
                }
                only_signed_by(checked, &standing.row.node_key, "node")?;
            }
            Command::RevokeKeys(_) => only_signed_by(checked, &standing.row.recovery_key, "recovery")?,
            command => {
                let is_housekeeping = matches!(
                    command,
                    Command::RotateKeys(_)
                        | Command::EnrollPerson(_)
                        | Command::RevokePerson(_)
                        | Command::RequireSignatures(_)
                );
                // Recipients keep their own keys and decide nothing.
                if !is_housekeeping && !standing.is_voter() {
                    return Err(Refusal::NotAMember(member));
                }
                if standing.decision_revoked {
                    return Err(Refusal::KeyRevoked { member, which: "decision" });
                }
                signed_by_member(checked, standing)?;
            }
        }
        Ok(standing.row.decision_key)
    }
}

fn refused(checked: &Checked, problem: String) -> Refusal {
    Refusal::Signature { member: checked.command().member(), problem }
}

fn must_sign(checked: &Checked, key: &PublicKey, which: &str) -> Result<(), Refusal> {
    if checked.is_signed_by(key) {
        return Ok(());
    }
    Err(refused(checked, format!("not signed with the {which} key {} of the roster", KeyId::of(&key.0))))
}

fn only_signed_by(checked: &Checked, key: &PublicKey, which: &str) -> Result<(), Refusal> {
    must_sign(checked, key, which)?;
    match checked.envelope().signatures.len() {
        1 => Ok(()),
        count => Err(refused(checked, format!("{count} signatures: the {which} key alone signs this"))),
    }
}

/// INVARIANT: the decision key signed, new keys prove that they are held, and where the member requires it two different
/// enrolled people signed. No other signature is there: an envelope that was accepted is complete.
fn signed_by_member(checked: &Checked, standing: &Standing) -> Result<(), Refusal> {
    let command = checked.command();
    must_sign(checked, &standing.row.decision_key, "decision")?;
    let mut accounted = BTreeSet::from([KeyId::of(&standing.row.decision_key.0)]);
    let new_keys: Vec<(&str, PublicKey)> = match command {
        Command::RotateKeys(rotate) => {
            let decision = rotate.decision_key.map(|key| ("new decision", key));
            decision.into_iter().chain(rotate.node_key.map(|key| ("new node", key))).collect()
        }
        Command::EnrollPerson(enroll) => vec![("person's", enroll.key)],
        _ => Vec::new(),
    };
    for (which, key) in &new_keys {
        if !checked.is_signed_by(key) {
            let id = KeyId::of(&key.0);
            return Err(refused(
                checked,
                format!("not signed with the {which} key {id}, which must prove that it is held"),
            ));
        }
        accounted.insert(KeyId::of(&key.0));
    }
    let signed: BTreeSet<KeyId> = checked.envelope().signatures.iter().map(|signature| signature.keyid).collect();
    let mut people: BTreeSet<&PersonName> = BTreeSet::new();
    for person in standing.enrolled() {
        let id = KeyId::of(&person.key.0);
        if signed.contains(&id) && !accounted.contains(&id) {
            must_sign(checked, &person.key, "person's")?;
            accounted.insert(id);
            people.insert(&person.name);
        }
    }
    if let Some(stranger) = signed.difference(&accounted).next() {
        return Err(refused(checked, format!("key {stranger} is none that signs this command")));
    }
    // Taking notice is one person's act; what decides is two people's.
    let needed = if matches!(command, Command::Acknowledge(_)) { 1 } else { 2 };
    if standing.personal_signatures && people.len() < needed && !fault::is(Fault::OnePersonIsEnough) {
        let (member, found) = (command.member(), people.len());
        return Err(Refusal::PersonalSignatures { member, needed, found });
    }
    Ok(())
}
