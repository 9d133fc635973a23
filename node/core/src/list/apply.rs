//! Applying commands. Deterministic: no clock, randomness, file or configuration enters.

mod authorize;
mod enact;
mod keys;
mod measures;
mod motions;
mod settle;
mod silence;
mod table;
mod time;
mod votes;

use self::votes::Paper;
use crate::canonical::Hex32;
use crate::dsse::PublicKey;
use crate::fault::{self, Fault};
use crate::list::ballot::Ballot;
use crate::list::checked::{Checked, check_submission};
use crate::list::command::{BallotId, Command, Submission};
use crate::list::entry::EntryId;
use crate::list::publication::{Authority, Consent, Publication, PublishedEvent};
use crate::list::refusal::Refusal;
use crate::list::state::{Accepted, Event, ListState};
use crate::member::MemberId;

/// One command on its way into the state: what it will be known by, and what it has done so far.
pub(super) struct Step<'a> {
    pub(super) checked: &'a Checked,
    /// The decision key with which its member signs.
    decision_key: PublicKey,
    /// The leaf that it becomes.
    pub(super) leaf: u64,
    pub(super) events: Vec<Event>,
}

impl Step<'_> {
    /// The leaf hash by which publications name it.
    pub(super) fn public_hash(&self) -> Hex32 {
        self.checked.public_hash(&self.decision_key)
    }

    pub(super) fn consent(&self, member: MemberId) -> Consent {
        Consent { member, command: self.public_hash() }
    }
}

impl ListState {
    /// Checks and applies one command.
    ///
    /// # Errors
    /// Why every node refuses it. Nothing has changed then.
    pub fn apply(&mut self, submission: &Submission) -> Result<Accepted, Refusal> {
        let checked = check_submission(self.genesis.federation(), submission)?;
        self.apply_checked(&checked)
    }

    /// Applies a command whose form was checked. Signatures that were not verified before are verified here.
    ///
    /// # Errors
    /// Why every node refuses it. Nothing has changed then.
    pub fn apply_checked(&mut self, checked: &Checked) -> Result<Accepted, Refusal> {
        let command = checked.command();
        if command.federation() != self.genesis.federation() {
            let (found, expected) = (command.federation(), self.genesis.federation());
            return Err(Refusal::OtherFederation { found, expected });
        }
        self.ensure_known_rules()?;
        let id = command.id();
        if let Some(leaf) = self.spent.get(&id).copied().filter(|_| !fault::is(Fault::ApplyTwice)) {
            // INVARIANT: an id is spent once; handing in the very same envelope again answers what it did the first time.
            return if self.command_leaf(leaf) == Some(checked.leaf_hash()) {
                Ok(Accepted { leaf, command: id, events: Vec::new(), repeated: true })
            } else {
                Err(Refusal::CommandIdSpent(id))
            };
        }
        let decision_key = self.authorize(checked)?;
        let leaf = self.commands.size();
        if fault::is(Fault::RefusalsLeaveTraces) {
            self.spent.insert(id, leaf);
        }
        let mut step = Step { checked, decision_key, leaf, events: Vec::new() };
        match command {
            Command::Table(c) => self.table(c, &mut step)?,
            Command::Vote(c) => self.vote(c, &mut step)?,
            Command::Withdraw(c) => self.withdraw(c, &mut step)?,
            Command::AttestTime(c) => self.attest(c, &mut step)?,
            Command::Acknowledge(c) => self.acknowledge(c, &mut step)?,
            Command::Hold(c) => self.hold(c, &mut step)?,
            Command::ExtendHold(c) => self.extend_hold(c, &mut step)?,
            Command::LiftHold(c) => self.lift_hold(c, &mut step)?,
            Command::Object(c) => self.object(c, &mut step)?,
            Command::AttachMeasure(c) => self.attach_measure(c, &mut step)?,
            Command::EndMeasure(c) => self.end_measure(c, &mut step)?,
            Command::Review(c) => self.review(c, &mut step)?,
            Command::RotateKeys(c) => self.rotate_keys(c, &mut step)?,
            Command::RevokeKeys(c) => self.revoke_keys(c, &mut step)?,
            Command::EnrollPerson(c) => self.enroll_person(c, &mut step)?,
            Command::RevokePerson(c) => self.revoke_person(c, &mut step)?,
            Command::RequireSignatures(c) => self.require_signatures(c, &mut step)?,
        }
        // INVARIANT: everything above either refused without a change or was accepted; the leaf follows at once.
        self.commands.append(checked.leaf_hash());
        self.leaves.push(checked.leaf_hash());
        self.spent.insert(id, leaf);
        Ok(Accepted { leaf, command: id, events: step.events, repeated: false })
    }

    /// Whether this software can follow the rules by which the members decide now.
    ///
    /// # Errors
    /// They are newer than what it knows.
    pub fn ensure_known_rules(&self) -> Result<(), Refusal> {
        match (self.rules_version, Self::SUPPORTED_RULES) {
            (found, known) if found > known => Err(Refusal::RulesTooNew { found, known }),
            _ => Ok(()),
        }
    }

    /// Whether a ballot would take a command as things stand, by the very rules that apply it; false where the command acts on no
    /// ballot, and for a second vote in the place of one, which is kept and does not count. Changes nothing.
    pub fn would_count(&self, checked: &Checked) -> bool {
        let command = checked.command();
        if command.federation() != self.genesis.federation()
            || self.spent.contains_key(&command.id())
            || self.authorize(checked).is_err()
        {
            return false;
        }
        match command {
            Command::Vote(c) => self.may_vote(c).is_ok_and(|paper| paper == Paper::Counts),
            Command::Withdraw(c) => self.may_withdraw(c).is_ok(),
            Command::Acknowledge(c) => self.may_acknowledge(c).is_ok(),
            Command::Hold(c) => self.may_hold(c).is_ok(),
            Command::ExtendHold(c) => self.may_extend_hold(c).is_ok(),
            Command::LiftHold(c) => self.may_lift_hold(c).is_ok(),
            Command::Object(c) => self.may_object(c).is_ok(),
            _ => false,
        }
    }

    /// Adds a leaf to the public log, and to the history of the entry that it is about.
    fn publish(&mut self, event: PublishedEvent, by: Authority, step: &mut Step<'_>) {
        let leaf = self.public_log.size();
        if let Some(entry) = event.entry().and_then(|id| self.entries.get_mut(id)) {
            entry.history.push(leaf);
        }
        let bytes = Publication { event, by, list_time: self.list_time }.to_bytes();
        self.public_log.append(Publication::leaf_hash(&bytes));
        self.publications.push((step.leaf, bytes.into_boxed_slice()));
        step.events.push(Event::Published(leaf));
    }

    /// The members, keys, people or rules are others from this command on.
    fn roster_changed(&mut self, step: &mut Step<'_>) {
        self.roster.changed(step.leaf + 1);
        step.events.push(Event::RosterChanged);
    }

    /// A ballot that is open.
    fn open_ballot(&self, id: BallotId) -> Result<&Ballot, Refusal> {
        let ballot = self.ballots.get(&id).ok_or(Refusal::NoSuchBallot(id))?;
        if ballot.is_open() {
            Ok(ballot)
        } else {
            Err(Refusal::BallotClosed { ballot: id, state: ballot.state.to_string() })
        }
    }

    /// A ballot that is open and that this member decides, too.
    fn own_ballot(&self, id: BallotId, member: MemberId) -> Result<&Ballot, Refusal> {
        let ballot = self.open_ballot(id)?;
        if ballot.electorate.contains(&member) { Ok(ballot) } else { Err(Refusal::NotInElectorate(member)) }
    }

    /// An entry that is on the list.
    fn listed_entry(&self, id: &EntryId) -> Result<&crate::list::Entry, Refusal> {
        use crate::list::EntryStatus;
        let entry = self.entries.get(id).ok_or_else(|| Refusal::NoSuchEntry(id.clone()))?;
        let status = match &entry.status {
            EntryStatus::Listed => return Ok(entry),
            EntryStatus::Delisted { ground, .. } => format!("delisted ({ground})"),
            EntryStatus::Merged { into, .. } => format!("merged into {into}"),
        };
        Err(Refusal::EntryOffTheList { entry: id.clone(), status })
    }
}
