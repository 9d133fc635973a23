//! Whether a record may go to a party: the hard rules of core first, then the member's own Cedar policies.
//!
//! It may use `comity-core` and Cedar, and it is the only crate that knows Cedar. It must not touch files, clocks,
//! network or the store: callers hand in the text of the policies and the header of the record, and keep what they get.
//!
//! - [`PartnerPolicy::parse`] reads the file for one partner and finds every problem in it.
//! - [`Policies::decide`] is the release decision, for one action; [`Policies::level`] is how much a party may have.
//! - [`Policies::explain`] says what stands in the way, and what would change it; [`Cases`] are what a policy officer expects.
//! - [`decide_local`] is the decision for the node's own people.
//!
//! Denied is the default everywhere: no file, an empty file, no policy that applies, or any error of evaluation.

mod bounds;
mod cases;
mod decide;
mod explain;
mod finding;
mod lint;
mod local;
mod partner_policy;
mod probe;
mod schema;
mod vocabulary;

pub use cases::{CaseOutcome, Cases};
pub use decide::{Decision, Level, Policies};
pub use explain::{ActionState, Condition, Conjunct, Explanation, PolicyState, RuleState};
pub use finding::{Fault, Finding, InvalidPolicy, Note, Place, Problem, Warning};
pub use local::{Held, decide_local};
pub use partner_policy::{PartnerPolicy, PolicyId};
pub use probe::Truth;
pub use schema::{SCHEMA, TIERS};

/// A policy for one partner, to begin from. It is the one that the documentation explains.
pub const EXAMPLE: &str = include_str!("example.cedar");
