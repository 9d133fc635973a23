//! What a ballot is, one operation after another; and histories of operations, checked against it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

/// What people do to a ballot.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// A member votes, for the first time.
    Vote { member: String, yes: bool },
    /// Somebody looks.
    Look,
}

/// What they are told.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The vote stands.
    Accepted,
    /// The ballot is closed.
    Closed,
    /// How it stands: who voted yes, and who no.
    Seen { votes: BTreeMap<String, bool>, open: bool },
    /// There is no such ballot. No order of operations explains that, since it was tabled before.
    Missing,
}

/// A ballot under `quorum`.
#[derive(Debug, Clone)]
pub struct Ballot {
    voters: usize,
    needed: usize,
    votes: BTreeMap<String, bool>,
}

impl Ballot {
    /// A ballot that was just tabled.
    pub fn tabled(voters: usize, needed: usize) -> Self {
        Self { voters, needed, votes: BTreeMap::new() }
    }

    fn is_open(&self) -> bool {
        let yes = self.votes.values().filter(|yes| **yes).count();
        let no = self.votes.len() - yes;
        yes < self.needed && no <= self.voters - self.needed
    }
}

impl SequentialSpec for Ballot {
    type Op = Operation;
    type Ret = Answer;

    fn invoke(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Vote { .. } if !self.is_open() => Answer::Closed,
            Operation::Vote { member, yes } => {
                self.votes.insert(member.clone(), *yes);
                Answer::Accepted
            }
            Operation::Look => Answer::Seen { votes: self.votes.clone(), open: self.is_open() },
        }
    }
}

/// Operations on one ballot, as clients saw them begin and end.
#[derive(Debug, Default)]
pub struct History {
    clock: AtomicU64,
    operations: Mutex<Vec<Recorded>>,
}

#[derive(Debug, Clone)]
struct Recorded {
    operation: Operation,
    begun: u64,
    /// Nothing where nobody knows: it may have been done or not, or be done later.
    ended: Option<(u64, Answer)>,
}

impl History {
    /// The instant at which an operation begins: to be asked before anything is sent.
    pub fn begin(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Writes down an operation that has just ended, or whose end nobody will know.
    pub fn record(&self, operation: Operation, begun: u64, answer: Option<Answer>) {
        let ended = answer.map(|answer| (self.clock.fetch_add(1, Ordering::SeqCst), answer));
        // A look that brought nothing says nothing.
        if ended.is_some() || operation != Operation::Look {
            let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
            operations.push(Recorded { operation, begun, ended });
        }
    }

    /// How many operations are known to have ended.
    pub fn known(&self) -> usize {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.iter().filter(|recorded| recorded.ended.is_some()).count()
    }

    /// Whether some order of the operations, each done at one instant between its beginning and its end, explains all
    /// answers.
    pub fn is_linearizable(&self, ballot: Ballot) -> bool {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut instants = Vec::new();
        for (thread, recorded) in operations.iter().enumerate() {
            instants.push((recorded.begun, thread, None));
            if let Some((ended, answer)) = &recorded.ended {
                instants.push((*ended, thread, Some(answer.clone())));
            }
        }
        instants.sort_by_key(|(instant, ..)| *instant);
        // Each operation is a thread of its own: what came before it, the instants say.
        let mut tester = LinearizabilityTester::new(ballot);
        for (_, thread, answer) in instants {
            match answer {
                None => tester.on_invoke(thread, operations[thread].operation.clone()).unwrap(),
                Some(answer) => tester.on_return(thread, answer).unwrap(),
            };
        }
        tester.is_consistent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(member: &str) -> Operation {
        Operation::Vote { member: member.into(), yes: true }
    }

    fn seen(members: &[&str], open: bool) -> Option<Answer> {
        Some(Answer::Seen { votes: members.iter().map(|m| ((*m).to_owned(), true)).collect(), open })
    }

    #[test]
    fn an_order_that_explains_everything_is_found() {
        let history = History::default();
        let (unknown, slow) = (history.begin(), history.begin());
        let look = history.begin();
        history.record(Operation::Look, look, seen(&["DE"], true));
        history.record(vote("FR"), slow, Some(Answer::Accepted));
        history.record(vote("DE"), unknown, None);
        let late = history.begin();
        history.record(vote("CA"), late, Some(Answer::Closed));
        assert!(history.is_linearizable(Ballot::tabled(3, 2)), "{history:?}");
    }

    #[test]
    fn an_acknowledged_vote_that_is_not_seen_is_found_out() {
        let history = History::default();
        let begun = history.begin();
        history.record(vote("FR"), begun, Some(Answer::Accepted));
        let look = history.begin();
        history.record(Operation::Look, look, seen(&[], true));
        assert!(!history.is_linearizable(Ballot::tabled(3, 2)));
    }

    #[test]
    fn a_vote_too_many_is_found_out() {
        let history = History::default();
        for member in ["FR", "DE", "CA"] {
            let begun = history.begin();
            history.record(vote(member), begun, Some(Answer::Accepted));
        }
        assert!(!history.is_linearizable(Ballot::tabled(3, 2)));
    }
}
