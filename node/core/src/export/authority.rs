//! What one publication stands on: the members' signed commands, and enough of them.

use std::collections::BTreeSet;

use crate::canonical::Hex32;
use crate::dsse::PublicKey;
use crate::export::entries::PublicList;
use crate::export::public_roster::PublicRoster;
use crate::export::{ExportedPublication, ExportedText};
use crate::list::{
    Authority, Checked, Choice, Command, Consent, Decided, Motion, Publication, PublishedEvent, PublishedMember,
    PublishedProcedure, Statement, check_accepted, public_part_digest,
};
use crate::member::MemberId;
use crate::proposal::PublicPart;
use crate::rule::Rule;

/// What a publication is held against: what the publications before it say.
pub(super) struct Proof<'a> {
    pub(super) federation: Hex32,
    pub(super) roster: &'a PublicRoster,
    pub(super) list: &'a PublicList,
}

impl Proof<'_> {
    pub(super) fn check(&self, publication: &Publication, exported: &ExportedPublication) -> Result<(), String> {
        match &publication.by {
            Authority::Member(consent) => self.by_member(&publication.event, consent, exported),
            Authority::Ballot(decided) => self.by_ballot(&publication.event, decided, exported),
        }
    }

    /// A command that a member signed with a key that it has, or has had.
    fn command(&self, envelope: &str, consent: &Consent) -> Result<Checked, String> {
        let checked = check_accepted(self.federation, envelope.as_bytes()).map_err(|e| e.to_string())?;
        let (command, member) = (checked.command(), consent.member);
        if command.member() != member {
            return Err(format!("a command of {} stands for {member}", command.member()));
        }
        let keys: Vec<PublicKey> = match command {
            Command::RevokeKeys(_) => self.roster.published(member).map(|row| row.recovery_key).into_iter().collect(),
            _ => self.roster.decision_keys(member).to_vec(),
        };
        let signed = |key: &PublicKey| checked.envelope().verify(&key.0).is_ok();
        if !keys.iter().any(signed) {
            return Err(format!("the command of {member} is not signed with a key of its own"));
        }
        if checked.leaf_hash() != consent.command {
            return Err(format!("the command of {member} is not the one that was published"));
        }
        Ok(checked)
    }

    fn by_member(
        &self,
        event: &PublishedEvent,
        consent: &Consent,
        exported: &ExportedPublication,
    ) -> Result<(), String> {
        let [envelope] = exported.evidence.as_slice() else {
            return Err(format!("{} commands: a member that acts alone signs one", exported.evidence.len()));
        };
        if exported.text.is_some() {
            return Err("a text stands beside what no ballot decided".into());
        }
        let checked = self.command(envelope, consent)?;
        let says_so = match (event, checked.command()) {
            (PublishedEvent::MeasureAttached { entry, measure }, Command::AttachMeasure(c)) => {
                c.entry == *entry && c.measure == *measure
            }
            (PublishedEvent::MeasureEnded { entry, measure, ended }, Command::EndMeasure(c)) => {
                c.entry == *entry && c.measure == *measure && c.ended == *ended
            }
            (PublishedEvent::Reviewed { entry }, Command::Review(c)) => c.entry == *entry,
            (PublishedEvent::KeysRevoked { member, decision, node }, Command::RevokeKeys(c)) => {
                c.member == *member && c.decision == *decision && c.node == *node
            }
            (PublishedEvent::KeysRotated { member }, Command::RotateKeys(c)) => {
                self.roster.published(c.member).is_some_and(|before| {
                    let expected = PublishedMember {
                        decision_key: c.decision_key.unwrap_or(before.decision_key),
                        node_key: c.node_key.unwrap_or(before.node_key),
                        ..before.clone()
                    };
                    *member == expected
                })
            }
            _ => false,
        };
        if says_so { Ok(()) } else { Err(format!("the command of {} does not say so", consent.member)) }
    }

    fn by_ballot(
        &self,
        event: &PublishedEvent,
        decided: &Decided,
        exported: &ExportedPublication,
    ) -> Result<(), String> {
        let expected = 1 + decided.consents.len() + decided.silent.len();
        let [tabling, rest @ ..] = exported.evidence.as_slice() else { return Err("its tabling is missing".into()) };
        if exported.evidence.len() != expected {
            return Err(format!("{} commands, expected {expected}", exported.evidence.len()));
        }
        let motion = self.tabling(tabling, decided)?;
        if !self.proposes(&motion, event) {
            return Err(format!("it was tabled to {motion}, which is not what is published"));
        }
        check_text(exported.text.as_ref(), decided, &motion)?;
        let mut consents = BTreeSet::new();
        for (envelope, consent) in rest.iter().zip(&decided.consents) {
            let checked = self.command(envelope, consent)?;
            let is_yes = matches!(checked.command(), Command::Vote(vote) if vote.choice == Choice::Yes);
            if !is_yes || checked.command().ballot() != Some(decided.ballot) || !consents.insert(consent.member) {
                return Err(format!("the vote of {} is not a consent to this", consent.member));
            }
        }
        let mut silent = BTreeSet::new();
        for (envelope, consent) in rest.iter().skip(decided.consents.len()).zip(&decided.silent) {
            let checked = self.command(envelope, consent)?;
            // Whoever objected, or spoke of another's hold, did not fall silent.
            let took_notice = match checked.command() {
                Command::Table(_) => checked.payload_hash() == decided.ballot,
                Command::Acknowledge(notice) => notice.ballot == decided.ballot,
                Command::Hold(hold) => hold.ballot == decided.ballot,
                Command::Vote(vote) => vote.ballot == decided.ballot && vote.choice != Choice::No,
                _ => false,
            };
            if !took_notice || !silent.insert(consent.member) {
                return Err(format!("the command of {} does not show that it took notice of this", consent.member));
            }
        }
        self.enough(event, decided, &motion, &consents, &silent)
    }

    /// Whether carrying the motion out is what the event says.
    fn proposes(&self, motion: &Motion, event: &PublishedEvent) -> bool {
        match (motion, event) {
            (Motion::List { .. }, PublishedEvent::Listed { .. }) => true,
            (Motion::Amend { entry, .. }, PublishedEvent::Amended { entry: found }) => entry == found,
            (Motion::Delist { entry, ground }, PublishedEvent::Delisted { entry: found, ground: why }) => {
                entry == found && ground == why
            }
            (Motion::Merge { entry, into }, PublishedEvent::Merged { entry: found, into: other }) => {
                entry == found && into == other
            }
            (Motion::Admit { member }, PublishedEvent::Admitted { member: found }) => {
                PublishedMember::from(&**member) == *found
            }
            (Motion::Suspend { target }, PublishedEvent::Suspended { member })
            | (Motion::Readmit { target }, PublishedEvent::Readmitted { member })
            | (Motion::Expel { target }, PublishedEvent::Expelled { member }) => target == member,
            (Motion::ReplaceKeys { target, keys }, PublishedEvent::KeysReplaced { member }) => {
                // Everything but its keys it keeps: who cosigns under which name, and whether it votes.
                self.roster.published(*target).is_some_and(|before| {
                    let expected = PublishedMember {
                        decision_key: keys.decision_key,
                        node_key: keys.node_key,
                        recovery_key: keys.recovery_key,
                        ..before.clone()
                    };
                    *member == expected
                })
            }
            (Motion::ChangeRule { kind, rule }, PublishedEvent::RuleChanged { kind: found, rule: other }) => {
                kind == found && rule == other
            }
            (Motion::RaiseVersion { version }, PublishedEvent::VersionRaised { version: found }) => version == found,
            _ => false,
        }
    }

    fn tabling(&self, envelope: &str, decided: &Decided) -> Result<Motion, String> {
        let checked = check_accepted(self.federation, envelope.as_bytes()).map_err(|e| format!("tabling: {e}"))?;
        let Command::Table(table) = checked.command() else {
            return Err("it was not tabled by the command that it names".into());
        };
        let names_it = checked.payload_hash() == decided.ballot
            && table.public_part == decided.public_part
            && table.member == decided.proposer;
        if !names_it {
            return Err("the tabling command is of another ballot or text".into());
        }
        let signed = |key: &PublicKey| checked.envelope().verify(&key.0).is_ok();
        if !self.roster.decision_keys(table.member).iter().any(signed) {
            return Err(format!("the tabling is not signed with a decision key of {}", table.member));
        }
        Ok(table.motion.clone())
    }

    fn enough(
        &self,
        event: &PublishedEvent,
        decided: &Decided,
        motion: &Motion,
        consents: &BTreeSet<MemberId>,
        silent: &BTreeSet<MemberId>,
    ) -> Result<(), String> {
        if !self.roster.had_electorate(&decided.electorate, motion.excluded()) {
            return Err("its electorate is none that the members ever were".into());
        }
        let electorate: BTreeSet<MemberId> = decided.electorate.iter().copied().collect();
        if let Some(stranger) = consents.union(silent).find(|member| !electorate.contains(member)) {
            return Err(format!("{stranger} does not decide it"));
        }
        match &decided.procedure {
            PublishedProcedure::Rule(rule) => {
                if !self.roster.had_rule(motion.kind(), rule) {
                    return Err(format!("ballots of kind {} were never decided by {rule}", motion.kind()));
                }
                match rule {
                    Rule::NoObjection(parameters) => {
                        let absent: BTreeSet<MemberId> = decided.absent.iter().copied().collect();
                        let complete = (silent | &absent) == electorate && silent.is_disjoint(&absent);
                        let needed = parameters.presence.of(electorate.len()).max(1);
                        if complete && silent.len() >= needed {
                            Ok(())
                        } else {
                            Err(format!("{} were present, {needed} are needed", silent.len()))
                        }
                    }
                    Rule::Unanimity | Rule::Quorum(_) => {
                        let needed = rule.needed(electorate.len()).unwrap_or(usize::MAX).max(1);
                        if consents.len() >= needed && silent.is_empty() {
                            Ok(())
                        } else {
                            Err(format!("{} consents, {needed} are needed", consents.len()))
                        }
                    }
                }
            }
            PublishedProcedure::ReverseSilence { days } => {
                let fits = event.entry().and_then(|id| self.list.get(id)).is_some_and(|entry| {
                    entry.proposer == decided.proposer || entry.all_measures_ended(decided.proposer)
                });
                let is_delisting = matches!(event, PublishedEvent::Delisted { .. });
                if is_delisting && fits && *days == self.roster.reverse_silence_days {
                    Ok(())
                } else {
                    Err("reverse silence does not decide this".into())
                }
            }
        }
    }
}

fn check_text(text: Option<&ExportedText>, decided: &Decided, motion: &Motion) -> Result<(), String> {
    let Some(text) = text else {
        // Whether it may be missing shows at the end: only the text of what was annulled since may.
        let may_go = motion.has_subject() || matches!(motion, Motion::Merge { .. });
        return if may_go { Ok(()) } else { Err("its statement is missing".into()) };
    };
    if public_part_digest(text.salt, text.text.as_bytes()) != decided.public_part {
        return Err("the text is not the one that was agreed".into());
    }
    let read = match motion.has_subject() {
        true => PublicPart::from_json(text.text.as_bytes()).map(drop),
        false => Statement::from_json(text.text.as_bytes()).map(drop),
    };
    read.map_err(|e| e.to_string())
}
