//! What goes into and comes out of the table of approvals.

use std::fmt;
use std::str::FromStr;

use comity_core::{KeyId, SpiffeId, Timestamp, VersionId};

use crate::error::StoreError;

/// What waits for a second person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApprovalKind {
    /// Showing records to parties.
    Share,
    /// Laying it before the members.
    Table,
    /// Voting.
    Vote,
    /// A policy for a partner.
    Policy,
    /// Taking a proposal or a motion back.
    Withdraw,
    /// Laying a motion before the members that comes from no proposal.
    Motion,
    /// Stopping silence for a time.
    Hold,
    /// Consenting to the extension of another's hold.
    ExtendHold,
    /// Ending the own hold.
    LiftHold,
    /// Objecting.
    Object,
    /// Attaching or ending a national measure.
    Measure,
    /// Recording that an entry was reviewed.
    Review,
    /// The member's own keys and people.
    Keys,
    /// Releasing a record onward, or refusing to.
    Grant,
    /// Asking for a record back, and how this member answers when it is asked.
    Recall,
    /// Declaring what the access log lost.
    Restore,
}

impl ApprovalKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Share,
        Self::Table,
        Self::Vote,
        Self::Policy,
        Self::Withdraw,
        Self::Motion,
        Self::Hold,
        Self::ExtendHold,
        Self::LiftHold,
        Self::Object,
        Self::Measure,
        Self::Review,
        Self::Keys,
        Self::Grant,
        Self::Recall,
        Self::Restore,
    ];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Table => "table",
            Self::Vote => "vote",
            Self::Policy => "policy",
            Self::Withdraw => "withdraw",
            Self::Motion => "motion",
            Self::Hold => "hold",
            Self::ExtendHold => "extend_hold",
            Self::LiftHold => "lift_hold",
            Self::Object => "object",
            Self::Measure => "measure",
            Self::Review => "review",
            Self::Keys => "keys",
            Self::Grant => "grant",
            Self::Recall => "recall",
            Self::Restore => "restore",
        }
    }
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    /// Nobody has decided. It may have expired.
    Pending,
    /// Somebody said yes; the action is under way.
    Running,
    /// The action was carried out.
    Done,
    /// Somebody said no.
    Refused,
    /// Somebody said yes, and the action could not be carried out.
    Failed,
}

impl ApprovalState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Done, Self::Refused, Self::Failed];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A text is no kind or state of an approval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}")]
pub struct InvalidApprovalWord {
    expected: &'static str,
}

const KINDS: &str = "share, table, vote, policy, withdraw, motion, hold, extend_hold, lift_hold, object, measure, review, keys, \
                     grant, recall, restore";

impl FromStr for ApprovalKind {
    type Err = InvalidApprovalWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = InvalidApprovalWord { expected: KINDS };
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(invalid)
    }
}

impl FromStr for ApprovalState {
    type Err = InvalidApprovalWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = InvalidApprovalWord { expected: "pending, running, done, refused, failed" };
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(invalid)
    }
}

impl fmt::Display for ApprovalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ApprovalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An action that is to wait for a second person.
#[derive(Debug, Clone)]
pub struct NewApproval {
    /// Short and random, as people say it to each other: `A-7K3M9QXT`.
    pub id: String,
    /// What kind of action.
    pub kind: ApprovalKind,
    /// Who asks.
    pub author: SpiffeId,
    /// The whole action, as JSON: what is approved is what is done.
    pub payload: Vec<u8>,
    /// What an approver reads.
    pub summary: String,
    /// What it is about, by id.
    pub resource: String,
    /// Which version of it.
    pub resource_version: Option<VersionId>,
    /// When it was asked.
    pub created: Timestamp,
    /// From when on nobody can say yes.
    pub expires: Timestamp,
}

/// An action that waits, or waited, for a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// Order of asking: what [`super::Approvals::list`] continues from.
    pub position: u64,
    /// What kind of action.
    pub kind: ApprovalKind,
    /// Where it stands.
    pub state: ApprovalState,
    /// Who asks.
    pub author: SpiffeId,
    /// The whole action, as JSON.
    pub payload: Vec<u8>,
    /// What an approver reads.
    pub summary: String,
    /// What it is about, by id.
    pub resource: String,
    /// Which version of it.
    pub resource_version: Option<VersionId>,
    /// When it was asked.
    pub created: Timestamp,
    /// From when on nobody can say yes.
    pub expires: Timestamp,
    /// Who said yes or no.
    pub decided_by: Option<SpiffeId>,
    /// When.
    pub decided: Option<Timestamp>,
    /// What came of it: the action's result or error, or the reason of the refusal.
    pub outcome: Option<String>,
}

/// A person's signature over the command that an approval will hand in. Whoever keeps one has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalSignature {
    /// Who signed, as the roster has them: a pseudonym.
    pub person: String,
    /// With which key.
    pub keyid: KeyId,
    /// Ed25519, over the command's DSSE encoding.
    pub sig: [u8; 64],
    /// When it came.
    pub at: Timestamp,
}

/// Why an approval did not move. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// There is none.
    #[error("no approval {id}: `comity approve list` shows what waits")]
    NotFound {
        /// Which was asked for.
        id: String,
    },
    /// The id is not fresh.
    #[error("approval {id} exists already: draw a fresh id")]
    IdTaken {
        /// Which.
        id: String,
    },
    /// The author has too many waiting.
    #[error("{author} has {limit} actions waiting for approval: have some decided first")]
    TooMany {
        /// Who.
        author: SpiffeId,
        /// How many may wait.
        limit: u64,
    },
    /// The author cannot be the second person.
    #[error("approval {id} was asked for by the same person: another person must decide")]
    SamePerson {
        /// Which.
        id: String,
    },
    /// It is too late.
    #[error("approval {id} expired at {expired}: ask for it again")]
    Expired {
        /// Which.
        id: String,
        /// When.
        expired: Timestamp,
    },
    /// It was decided before.
    #[error("approval {id} is {state} already{}", by(decided_by))]
    NotPending {
        /// Which.
        id: String,
        /// Where it stands.
        state: ApprovalState,
        /// By whom.
        decided_by: Option<SpiffeId>,
    },
    /// It left this node, and may take effect whatever is said now.
    #[error(
        "approval {id}: it was handed in already and may still take effect, so that it cannot be refused: approve it again to know what came of it"
    )]
    Underway {
        /// Which.
        id: String,
    },
    /// Only a running action ends.
    #[error("approval {id} is {state}: expected running")]
    NotRunning {
        /// Which.
        id: String,
        /// Where it stands.
        state: ApprovalState,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn by(decided_by: &Option<SpiffeId>) -> String {
    decided_by.as_ref().map(|who| format!(", by {who}")).unwrap_or_default()
}
