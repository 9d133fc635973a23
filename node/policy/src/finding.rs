//! What is wrong, or worth a second look, in the policy file for a partner.

use std::fmt;

use comity_core::{MemberId, Timestamp};

use crate::partner_policy::{PartnerPolicy, PolicyId};

/// Where in a policy file: both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Place {
    /// The place of a byte; past the end, the end.
    pub(crate) fn of(text: &str, byte: usize) -> Self {
        let before = text.char_indices().take_while(|(at, _)| *at < byte);
        before.fold(Self { line: 1, column: 1 }, |at, (_, c)| match c {
            '\n' => Self { line: at.line + 1, column: 1 },
            _ => Self { column: at.column + 1, ..at },
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Something found in a policy file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<T> {
    /// Where; `None` if it concerns the whole file.
    pub place: Option<Place>,
    /// In which policy, where that is known.
    pub policy: Option<String>,
    /// What.
    pub what: T,
}

/// What keeps a file from being used.
pub type Problem = Finding<Fault>;
/// What does not keep a file from being used.
pub type Warning = Finding<Note>;

impl<T: fmt::Display> fmt::Display for Finding<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, "policy `{policy}`: ")?;
        }
        self.what.fmt(f)
    }
}

/// Why a policy file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More text than [`PartnerPolicy::TEXT_MAX_BYTES`].
    #[error(
        "the file has {bytes} bytes; at most {} are accepted: join policies that say the same",
        PartnerPolicy::TEXT_MAX_BYTES
    )]
    TooLong {
        /// What it has.
        bytes: usize,
    },
    /// More policies than [`PartnerPolicy::POLICIES_MAX`].
    #[error(
        "the file has {policies} policies; at most {} are accepted: join those that say the same",
        PartnerPolicy::POLICIES_MAX
    )]
    TooMany {
        /// What it has.
        policies: usize,
    },
    /// Brackets nest too deeply.
    #[error(
        "brackets nest more than {} deep: close the brackets before it, or write it as several policies",
        PartnerPolicy::NESTING_MAX
    )]
    TooDeep,
    /// One policy has too many operators.
    #[error(
        "more than {} operators in one policy: close its brackets and end it with `;`, or write it as several policies",
        PartnerPolicy::OPERATORS_MAX
    )]
    TooComplex,
    /// Cedar cannot read it.
    #[error("{message}{}", hint(.help.as_deref()))]
    Syntax {
        /// What Cedar says.
        message: String,
        /// What Cedar advises.
        help: Option<String>,
    },
    /// It does not fit the schema.
    #[error("{message}{}; the schema (comity.cedarschema) lists what a policy may speak of", hint(.help.as_deref()))]
    Schema {
        /// What Cedar says.
        message: String,
        /// What Cedar advises.
        help: Option<String>,
    },
    /// It has slots to fill.
    #[error(
        "templates are not used here: write Party::\"{party}\" instead of ?principal, and a record or nothing instead of ?resource"
    )]
    Template {
        /// The party of the file.
        party: MemberId,
    },
    /// The `@id` has another shape.
    #[error(
        "@id(\"{}\"): expected 1 to {} letters, digits, `-`, `_` or `.`, beginning with a letter or digit, \
         and not `{}`",
        id.escape_debug(), PolicyId::MAX_CHARS, PolicyId::RESERVED
    )]
    BadId {
        /// Its first characters.
        id: String,
    },
    /// The `@until` is no instant.
    #[error("@until(\"{}\"): expected an RFC 3339 instant such as 2026-12-31T00:00:00Z", text.escape_debug())]
    BadUntil {
        /// Its first characters.
        text: String,
    },
    /// Two policies have one id.
    #[error("the id is taken by the policy at {first}: give each policy an @id of its own, the access log names it")]
    DuplicateId {
        /// The first that has it.
        first: Place,
    },
    /// It names a party that this file is not for.
    #[error("Party::\"{}\" is named in the file for {party}, where it never applies: move it to the file of that party", named.escape_debug())]
    OtherParty {
        /// The party of the file.
        party: MemberId,
        /// The party named.
        named: String,
    },
    /// `Record::"…"` with something that is no record id.
    #[error("Record::\"{}\" names no record: expected an id such as FR-P-8K3M9QXT2V4N6R7W", id.escape_debug())]
    NotARecord {
        /// What stands there.
        id: String,
    },
    /// A value that the attribute never has, so that the policy would silently never apply, or always.
    #[error("`{attribute}` is compared with \"{}\", which it never is: expected {expected}", value.escape_debug())]
    NeverEqual {
        /// Such as `resource.kind`.
        attribute: String,
        /// What stands there.
        value: String,
        /// What may stand there.
        expected: String,
    },
    /// The schema within this program does not parse.
    #[error("the policy schema of this program is damaged: install it again")]
    NoSchema,
}

/// What is worth a second look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// Cedar's validator warns.
    #[error("{message}{}", hint(.help.as_deref()))]
    Cedar {
        /// What it says.
        message: String,
        /// What it advises.
        help: Option<String>,
    },
    /// A `permit` of all three actions whose conditions always hold.
    #[error(
        "permits every record of every tier that may be released at all: add a condition such as `when {{ resource.tier <= 3 }}`"
    )]
    PermitsEverything,
    /// No `permit` at all.
    #[error("no policy permits anything: the party is shown nothing")]
    PermitsNothing,
    /// No `@id`.
    #[error("it has no @id, so the access log names it by its place in the file: add @id(\"…\") before it")]
    NoId,
    /// An annotation that nothing reads; where `@until` was meant, the policy would never end.
    #[error("@{} means nothing here: @id names a policy and @until ends it", name.escape_debug())]
    Annotation {
        /// Its name.
        name: String,
    },
    /// It has ended, and neither permits nor forbids.
    #[error("ended on {on}: remove it")]
    Ended {
        /// When.
        on: Timestamp,
    },
    /// It applies to nothing that may be released at all.
    #[error("it never applies, whatever the record: correct its conditions or remove it")]
    Unreachable,
    /// A `permit` without which every decision would be the same.
    #[error(
        "it changes no decision, which is made by {} wherever it applies: correct its conditions or remove it",
        quoted(by)
    )]
    Shadowed {
        /// The policies that decide in its place, in the order of the file.
        by: Vec<PolicyId>,
    },
    /// There are more combinations of what the policies speak of than are tried.
    #[error(
        "the policies speak of too many different things to try them all: it was not checked whether each of them ever \
         changes a decision"
    )]
    Untried,
}

/// The parts of what Cedar says that are kept; a message may quote a whole token, and a token a whole file.
pub(crate) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let mut short: String = text.chars().take(MAX_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn quoted(ids: &[PolicyId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    ids.join(" and ")
}

fn hint(help: Option<&str>) -> String {
    help.map(|help| format!(" ({help})")).unwrap_or_default()
}

/// A policy file that is refused, with everything that is wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPolicy {
    /// The party whose file it is.
    pub party: MemberId,
    /// The problems in the order of the file, at most [`InvalidPolicy::PROBLEMS_MAX`]. Never empty.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl InvalidPolicy {
    /// The most problems that are listed.
    pub const PROBLEMS_MAX: usize = 50;

    pub(crate) fn new(party: MemberId, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        let more = problems.len().saturating_sub(Self::PROBLEMS_MAX);
        problems.truncate(Self::PROBLEMS_MAX);
        Self { party, problems, more }
    }
}

impl std::error::Error for InvalidPolicy {}

/// One line for the file, then one for each problem.
impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len() + self.more;
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "the policy for {} has {count} problem{plural}:", self.party)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}
