//! The types that openraft is told to work with.

use std::fmt;
use std::sync::{Arc, OnceLock};

use comity_core::canonical::Hex32;
use comity_core::list::{Accepted, Checked, ListState, Refusal, Submission, check_accepted, check_submission};
use comity_core::merkle;
use comity_core::roster::Keyring;
use openraft::BasicNode;
use openraft::impls::leader_id_adv::LeaderId;

openraft::declare_raft_types!(
    /// Raft as this crate runs it: several leaders may follow each other in a term, so that two candidates do not block each
    /// other, and the metadata of a node is its member's code, so that no address enters the log.
    pub(crate) TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = BasicNode,
        AsyncRuntime = crate::random::Runtime,
);

pub(crate) type NodeId = u64;
pub(crate) type RaftLeaderId = LeaderId<u64, NodeId>;
pub(crate) type LogId = openraft::LogId<RaftLeaderId>;
pub(crate) type Vote = openraft::Vote<RaftLeaderId>;
pub(crate) type Payload = openraft::EntryPayload<Command, NodeId, BasicNode>;
pub(crate) type Entry = openraft::Entry<RaftLeaderId, Payload>;
pub(crate) type Membership = openraft::Membership<NodeId, BasicNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<RaftLeaderId, NodeId, BasicNode>;
pub(crate) type SnapshotMeta = openraft::storage::SnapshotMeta<RaftLeaderId, NodeId, BasicNode>;
pub(crate) type Snapshot = openraft::storage::Snapshot<RaftLeaderId, NodeId, BasicNode, crate::snapshot::SnapshotData>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state_machine::StateMachine>;

/// What a log entry carries: a command as it was handed in, and what the check of it found, once. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Command(Arc<CommandInner>);

struct CommandInner {
    submission: Submission,
    source: Source,
    checked: OnceLock<Result<Checked, Refusal>>,
    text_digest: OnceLock<Hex32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Handed in here or sent by a peer: its public part must be there.
    Arriving,
    /// Decided already: read back from where this node put it after it had been checked, or sent below the leader's commit,
    /// or as part of a snapshot. The public part may have been erased since.
    Settled,
}

impl Command {
    pub(crate) fn arriving(submission: Submission) -> Self {
        Self::new(submission, Source::Arriving)
    }

    pub(crate) fn settled(submission: Submission) -> Self {
        Self::new(submission, Source::Settled)
    }

    /// As it came from elsewhere after it was committed there: a text that is there is held against the command, one that is
    /// not was erased.
    pub(crate) fn committed_elsewhere(submission: Submission) -> Self {
        let source = if submission.public_text.is_some() { Source::Arriving } else { Source::Settled };
        Self::new(submission, source)
    }

    /// The same without its text.
    pub(crate) fn without_text(&self) -> Self {
        let (envelope, checked) = (self.0.submission.envelope.clone(), OnceLock::new());
        if let Some(Ok(found)) = self.0.checked.get() {
            let _ = checked.set(Ok(found.clone()));
        }
        let submission = Submission { envelope, public_text: None };
        Self(Arc::new(CommandInner { submission, source: Source::Settled, checked, text_digest: OnceLock::new() }))
    }

    /// Takes over what the check of the very same submission found.
    pub(crate) fn adopt(&self, known: &Self) {
        if self.0.submission == known.0.submission
            && let Some(Ok(found)) = known.0.checked.get()
        {
            let _ = self.0.checked.set(Ok(found.clone()));
        }
    }

    fn new(submission: Submission, source: Source) -> Self {
        let (checked, text_digest) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(CommandInner { submission, source, checked, text_digest }))
    }

    pub(crate) fn submission(&self) -> &Submission {
        &self.0.submission
    }

    pub(crate) fn has_text(&self) -> bool {
        self.0.submission.public_text.is_some()
    }

    /// The digest under which the text beside it is kept: also where the text is not there, if it was checked.
    pub(crate) fn text_digest(&self) -> Option<Hex32> {
        if let Some(text) = &self.0.submission.public_text {
            return Some(*self.0.text_digest.get_or_init(|| text.digest()));
        }
        match self.0.checked.get() {
            Some(Ok(checked)) => checked.command().public_part(),
            _ => None,
        }
    }

    /// The RFC 9162 leaf hash of its envelope, by which a command is known wherever it turns up.
    pub(crate) fn leaf_hash(&self) -> Hex32 {
        match self.0.checked.get() {
            Some(Ok(checked)) => checked.leaf_hash(),
            _ => merkle::leaf_hash(&self.0.submission.envelope),
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        let text = self.0.submission.public_text.as_ref().map_or(0, |text| text.bytes.len() + 32);
        self.0.submission.envelope.len() + text
    }

    /// Form, federation, public part and signatures, checked the first time and remembered. A signature by a key that is not
    /// known here yet is left to whoever applies it: the roster may say more by then.
    ///
    /// INVARIANT: an entry is appended only after its command passed this as [`Source::Arriving`]; or, where its text is gone, as
    /// [`Source::Settled`], if the leader says that it is committed or it is a leaf already. A text is erased only once its
    /// command is committed, so that an honest leader has no other entries without theirs; one that a lying leader left out is
    /// asked of the others (`texts`). What is applied is the same either way, because applying does not look at the text.
    pub(crate) fn check(&self, keys: &Keys) -> Result<&Checked, &Refusal> {
        let check = || {
            let checked = match self.0.source {
                Source::Arriving => check_submission(keys.federation, &self.0.submission),
                Source::Settled => check_accepted(keys.federation, &self.0.submission.envelope),
            };
            checked.and_then(|checked| checked.verify_with(&keys.keyring))
        };
        self.0.checked.get_or_init(check).as_ref()
    }

    /// Whether [`Self::check`] has nothing left to do.
    pub(crate) fn is_checked(&self) -> bool {
        self.0.checked.get().is_some()
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        self.0.submission.envelope == other.0.submission.envelope
    }
}

// INVARIANT: openraft logs entries; what a command says stays out of the logs.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.size_bytes())
    }
}

/// What applying an entry came to.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A command was decided on.
    Decided(Result<Accepted, Refusal>),
    /// The entry held no command.
    NoCommand,
}

/// What commands are checked against before they are applied: the federation, and the keys that are known so far.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) federation: Hex32,
    pub(crate) keyring: Arc<Keyring>,
}

impl Keys {
    pub(crate) fn of(list: &ListState) -> Self {
        Self { federation: list.genesis().federation(), keyring: Arc::clone(list.roster().keyring()) }
    }
}
