//! Deliberate faults, one for each thing that the software must not get wrong, for the simulation to find.
//!
//! INVARIANT: without the `simulation` feature, which no program that members run is built with, [`is`] is a constant `false`:
//! there is no switch.

use std::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        /// Something that the software gets wrong when it is told to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $fault,)* }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$fault,)*];

            /// Its name on a command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$fault => $name,)* }
            }
        }
    };
}

faults! {
    /// Commands are taken whoever signed them.
    SkipSignatureCheck = "skip-signature-check",
    /// An envelope that was accepted before is applied once more.
    ApplyTwice = "apply-twice",
    /// A vote in an election is answered and not written down.
    ForgetVote = "forget-vote",
    /// Entries are confirmed before they are on the disk.
    AnswerBeforeSync = "answer-before-sync",
    /// A follower that does not answer counts as one that confirmed.
    CommitWithoutQuorum = "commit-without-quorum",
    /// One member's attestation moves list time.
    TrustOneClock = "trust-one-clock",
    /// One consent less than the rule asks adopts.
    CountOneMore = "count-one-more",
    /// A vote need not name the one that it replaces.
    ReplaceSilently = "replace-silently",
    /// A refused command spends its id.
    RefusalsLeaveTraces = "refusals-leave-traces",
    /// Silence consents for those who took no notice, too.
    CountTheAbsent = "count-the-absent",
    /// Time runs on while a hold stands.
    HoldsHoldNothing = "holds-hold-nothing",
    /// Whoever was suspended or expelled goes on deciding.
    HearTheExpelled = "hear-the-expelled",
    /// The votes of whoever was suspended or expelled go on counting.
    KeepVotesOfTheExpelled = "keep-votes-of-the-expelled",
    /// What two people must sign goes through without them.
    OnePersonIsEnough = "one-person-is-enough",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no fault of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such fault: expected one of {}", Fault::ALL.iter().map(|f| f.name()).collect::<Vec<_>>().join(", "))]
pub struct NoSuchFault;

impl std::str::FromStr for Fault {
    type Err = NoSuchFault;

    fn from_str(name: &str) -> Result<Self, NoSuchFault> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name).ok_or(NoSuchFault)
    }
}

/// Whether this thread was told to get that wrong.
#[cfg(not(feature = "simulation"))]
#[inline]
pub const fn is(_: Fault) -> bool {
    false
}

#[cfg(feature = "simulation")]
pub use switch::{is, set, without};

#[cfg(feature = "simulation")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Whether this thread was told to get that wrong.
    pub fn is(fault: Fault) -> bool {
        FAULT.get() == Some(fault)
    }

    /// Switches a fault on in this thread, or every fault off.
    pub fn set(fault: Option<Fault>) {
        FAULT.set(fault);
    }

    /// Runs `judge` without any fault: what looks for a fault must not have it.
    pub fn without<R>(judge: impl FnOnce() -> R) -> R {
        let fault = FAULT.take();
        let judged = judge();
        FAULT.set(fault);
        judged
    }
}
