//! Applying commands. Deterministic: no clock, randomness, file or configuration enters.

use crate::canonical::Hex32;
use crate::fault::{self, Fault};
use crate::list::ballot::{Ballot, BallotState, CastVote};
use crate::list::checked::{Checked, check_submission};
use crate::list::command::{AttestTime, BallotId, Choice, Command, Submission, TableProposal, Vote, WithdrawBallot};
use crate::list::entry::{Entry, EntryId};
use crate::list::publication::{Consent, Publication, PublishedEvent};
use crate::list::refusal::Refusal;
use crate::list::state::{Accepted, Event, ListState};

/// The most ballots of one member that may be open at once.
const MAX_OPEN_BALLOTS: usize = 1_000;
/// How much later than its last a member's next attestation must be.
const ATTESTATION_MIN_SECONDS: u32 = 60;

impl ListState {
    /// Checks and applies one command.
    ///
    /// # Errors
    /// Why every node refuses it. Nothing has changed then.
    pub fn apply(&mut self, submission: &Submission) -> Result<Accepted, Refusal> {
        let checked = check_submission(&self.genesis, submission)?;
        self.apply_checked(&checked)
    }

    /// Applies a command whose form and signature were checked against this state's genesis.
    ///
    /// # Errors
    /// Why every node refuses it. Nothing has changed then.
    pub fn apply_checked(&mut self, checked: &Checked) -> Result<Accepted, Refusal> {
        let Checked { command, leaf_hash, payload_hash } = checked;
        if command.federation() != self.genesis.federation() {
            let (found, expected) = (command.federation(), self.genesis.federation());
            return Err(Refusal::OtherFederation { found, expected });
        }
        let id = command.id();
        if let Some(leaf) = self.spent.get(&id).copied().filter(|_| !fault::is(Fault::ApplyTwice)) {
            // INVARIANT: an id is spent once; handing in the very same envelope again answers what it did the first time.
            return if self.command_leaf(leaf) == Some(*leaf_hash) {
                Ok(Accepted { leaf, command: id, events: Vec::new(), repeated: true })
            } else {
                Err(Refusal::CommandIdSpent(id))
            };
        }
        let leaf = self.commands.size();
        if fault::is(Fault::RefusalsLeaveTraces) {
            self.spent.insert(id, leaf);
        }
        let events = match command {
            Command::Table(table) => self.table(table, *payload_hash, leaf)?,
            Command::Vote(vote) => self.vote(vote, *leaf_hash, leaf)?,
            Command::Withdraw(withdraw) => self.withdraw(withdraw)?,
            Command::AttestTime(attest) => self.attest(attest)?,
        };
        // INVARIANT: everything above either refused without a change or was accepted; the leaf follows at once.
        self.commands.append(*leaf_hash);
        self.leaves.push(*leaf_hash);
        self.spent.insert(id, leaf);
        Ok(Accepted { leaf, command: id, events, repeated: false })
    }

    fn table(&mut self, table: &TableProposal, ballot: BallotId, leaf: u64) -> Result<Vec<Event>, Refusal> {
        if let Some(standing) = self.ballot_of(table.proposal) {
            return Err(Refusal::AlreadyTabled(standing.id));
        }
        if self.open.get(&table.member).is_some_and(|open| *open >= MAX_OPEN_BALLOTS) {
            return Err(Refusal::TooManyOpen { member: table.member, limit: MAX_OPEN_BALLOTS });
        }
        *self.open.entry(table.member).or_default() += 1;
        self.proposals.insert(table.proposal, ballot);
        self.tabled.push(ballot);
        self.ballots.insert(
            ballot,
            Ballot {
                id: ballot,
                proposer: table.member,
                proposal: table.proposal,
                public_part: table.public_part,
                electorate: self.genesis.voters().map(|m| m.member).collect(),
                rule: self.genesis.document().listing_rule,
                tabled_at: self.list_time,
                leaf,
                votes: Default::default(),
                state: BallotState::Open,
            },
        );
        Ok(vec![Event::Tabled(ballot)])
    }

    fn vote(&mut self, vote: &Vote, leaf_hash: Hex32, leaf: u64) -> Result<Vec<Event>, Refusal> {
        let year = self.list_time.year();
        let next_number = self.numbers.get(&year).copied().unwrap_or(0) + 1;
        let ballot = self.ballots.get_mut(&vote.ballot).ok_or(Refusal::NoSuchBallot(vote.ballot))?;
        ensure_open(ballot)?;
        if !ballot.electorate.contains(&vote.member) {
            return Err(Refusal::NotInElectorate(vote.member));
        }
        match (ballot.votes.get(&vote.member), vote.replaces) {
            (None, None) => {}
            (Some(standing), Some(replaced)) if standing.command == replaced => {}
            (Some(_), None) if fault::is(Fault::ReplaceSilently) => {}
            (Some(standing), None) => {
                return Err(Refusal::AlreadyVoted {
                    member: vote.member,
                    choice: standing.choice.to_string(),
                    command: standing.command,
                });
            }
            (_, Some(replaced)) => return Err(Refusal::NothingToReplace(replaced)),
        }
        let adopts = {
            let others = ballot.votes.iter().filter(|(m, v)| **m != vote.member && v.choice == Choice::Yes).count();
            let yes = others + 1 + usize::from(fault::is(Fault::CountOneMore));
            vote.choice == Choice::Yes && yes >= ballot.needed()
        };
        if adopts && next_number > EntryId::MAX_NUMBER {
            let last = EntryId::new(&self.genesis.document().entry_prefix, year, EntryId::MAX_NUMBER);
            return Err(Refusal::EntryNumbersSpent(last));
        }
        // Nothing is refused from here on.
        let cast = CastVote { command: vote.command_id, choice: vote.choice, reason: vote.reason.clone(), leaf };
        ballot.votes.insert(vote.member, cast);
        let mut events = vec![Event::Voted(ballot.id, vote.member)];
        if adopts {
            let entry = EntryId::new(&self.genesis.document().entry_prefix, year, next_number);
            ballot.state = BallotState::Adopted(entry.clone());
            events.push(Event::Listed(ballot.id, entry.clone()));
            let ballot = ballot.clone();
            self.numbers.insert(year, next_number);
            self.close(&ballot);
            self.list(&ballot, entry, leaf_hash, leaf);
        } else if ballot.is_lost() {
            ballot.state = BallotState::Rejected;
            events.push(Event::Rejected(ballot.id));
            let ballot = ballot.clone();
            self.close(&ballot);
            self.proposals.remove(&ballot.proposal);
        }
        Ok(events)
    }

    fn list(&mut self, ballot: &Ballot, id: EntryId, last_vote: Hex32, leaf: u64) {
        let yes = || ballot.votes.iter().filter(|(_, v)| v.choice == Choice::Yes);
        let consents = yes()
            .map(|(member, vote)| Consent {
                member: *member,
                // The vote that adopts has no leaf yet.
                vote: self.command_leaf(vote.leaf).unwrap_or(last_vote),
            })
            .collect();
        let publication = Publication {
            event: PublishedEvent::Listed,
            entry: id.clone(),
            ballot: ballot.id,
            proposer: ballot.proposer,
            public_part: ballot.public_part,
            consents,
            list_time: self.list_time,
        };
        let bytes = publication.to_bytes();
        let entry = Entry {
            id: id.clone(),
            ballot: ballot.id,
            proposer: ballot.proposer,
            proposal: ballot.proposal,
            public_part: ballot.public_part,
            listed_at: self.list_time,
            consents: yes().map(|(member, _)| *member).collect(),
            command_leaf: leaf,
            public_leaf: self.public_log.size(),
        };
        self.public_log.append(Publication::leaf_hash(&bytes));
        self.publications.push((leaf, bytes.into_boxed_slice()));
        self.entries.insert(id, entry);
    }

    fn withdraw(&mut self, withdraw: &WithdrawBallot) -> Result<Vec<Event>, Refusal> {
        let ballot = self.ballots.get_mut(&withdraw.ballot).ok_or(Refusal::NoSuchBallot(withdraw.ballot))?;
        ensure_open(ballot)?;
        if ballot.proposer != withdraw.member {
            return Err(Refusal::NotTheProposer { ballot: ballot.id, proposer: ballot.proposer });
        }
        ballot.state = BallotState::Withdrawn;
        let ballot = ballot.clone();
        self.close(&ballot);
        self.proposals.remove(&ballot.proposal);
        Ok(vec![Event::Withdrawn(ballot.id)])
    }

    fn close(&mut self, ballot: &Ballot) {
        if let Some(open) = self.open.get_mut(&ballot.proposer) {
            *open = open.saturating_sub(1);
        }
    }

    fn attest(&mut self, attest: &AttestTime) -> Result<Vec<Event>, Refusal> {
        if let Some(last) = self.attested(attest.member) {
            let later = attest.time.as_micros().saturating_sub(last.as_micros());
            if later < i64::from(ATTESTATION_MIN_SECONDS) * 1_000_000 {
                let (member, minimum_seconds) = (attest.member, ATTESTATION_MIN_SECONDS);
                return Err(Refusal::TooSoon { member, last, minimum_seconds });
            }
        }
        self.attested.insert(attest.member, attest.time);
        // INVARIANT: a majority says that it has passed, and it never goes back: a minority that lies moves nothing.
        let mut times: Vec<_> = self.genesis.voters().filter_map(|m| self.attested(m.member)).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let majority = if fault::is(Fault::TrustOneClock) { 1 } else { self.genesis.voters().count() / 2 + 1 };
        match times.get(majority - 1) {
            Some(time) if *time > self.list_time => {
                self.list_time = *time;
                Ok(vec![Event::TimeMoved(*time)])
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn ensure_open(ballot: &Ballot) -> Result<(), Refusal> {
    match &ballot.state {
        BallotState::Open => Ok(()),
        state => Err(Refusal::BallotClosed { ballot: ballot.id, state: state.to_string() }),
    }
}
