//! The policy file for one partner.

mod reader;
mod term;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use cedar_policy::{Effect, Policy, PolicySet};
use comity_core::{MemberId, RecordId, Timestamp};

use crate::bounds::outline;
use crate::finding::{Fault, Finding, InvalidPolicy, Note, Place, Warning};
use crate::lint;
use crate::schema::model;
use reader::Reader;
pub(crate) use term::Term;
use term::Terms;

/// Names one policy, in the access log and to the policy officer: 1 to 64 letters, digits, `-`, `_`, `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(String);

impl PolicyId {
    /// The longest id.
    pub const MAX_CHARS: usize = 64;
    /// What the access log says where no policy permits; no policy may be called so.
    pub const RESERVED: &str = "default-deny";

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    // INVARIANT: an id has no `:`, so that none reads like `hard:…`, `error:…` or `local:…` in the access log.
    fn parse(text: &str) -> Result<Self, Fault> {
        let fits = (1..=Self::MAX_CHARS).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && text != Self::RESERVED;
        if fits { Ok(Self(text.to_owned())) } else { Err(Fault::BadId { id: text.chars().take(40).collect() }) }
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The policies for one partner: read, checked against the schema, ready to decide.
#[derive(Debug, Clone)]
pub struct PartnerPolicy {
    party: MemberId,
    text: String,
    sha256: [u8; 32],
    ids: Vec<PolicyId>,
    entries: Vec<Entry>,
    records: BTreeSet<RecordId>,
    terms: Terms,
    read: Vec<Warning>,
    warnings: OnceLock<Vec<Warning>>,
}

/// One policy of a file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: PolicyId,
    pub(crate) place: Place,
    /// From when on it neither permits nor forbids.
    pub(crate) until: Option<Timestamp>,
    pub(crate) policy: Policy,
}

impl Entry {
    pub(crate) fn permits(&self) -> bool {
        self.policy.effect() == Effect::Permit
    }

    pub(crate) fn has_ended(&self, at: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= at)
    }

    pub(crate) fn finding(&self, what: Note) -> Warning {
        Finding { place: Some(self.place), policy: Some(self.id.to_string()), what }
    }
}

impl PartnerPolicy {
    /// The longest file, in bytes.
    pub const TEXT_MAX_BYTES: usize = 64 * 1024;
    /// The most policies in a file.
    pub const POLICIES_MAX: usize = 200;
    /// The deepest nesting of brackets.
    pub const NESTING_MAX: usize = 20;
    /// The most operators in one policy.
    pub const OPERATORS_MAX: usize = 500;

    /// Reads the file for `party`. An empty file is valid, and permits nothing.
    ///
    /// A policy's id is its `@id("…")`, or `DE.0`, `DE.1`, … by its place in the file. Its principal is
    /// `Party::"DE"` or nobody in particular, which means the same, since the file decides for that party alone.
    /// `@until("2026-12-31T00:00:00Z")` ends a policy: from that instant on it neither permits nor forbids.
    ///
    /// # Errors
    /// Everything that is wrong with it: bounds, syntax, ids, another party's name, types that do not fit the schema,
    /// values that an attribute never has.
    pub fn parse(party: MemberId, text: &str) -> Result<Self, InvalidPolicy> {
        let whole = |what| InvalidPolicy::new(party, vec![Finding { place: None, policy: None, what }]);
        if text.len() > Self::TEXT_MAX_BYTES {
            return Err(whole(Fault::TooLong { bytes: text.len() }));
        }
        let model = model().ok_or_else(|| whole(Fault::NoSchema))?;
        let outline = outline(text).map_err(|(at, what)| {
            InvalidPolicy::new(party, vec![Finding { place: Some(Place::of(text, at)), policy: None, what }])
        })?;
        if outline.policies.len() > Self::POLICIES_MAX {
            return Err(whole(Fault::TooMany { policies: outline.policies.len() }));
        }
        let parsed: PolicySet =
            text.parse().map_err(|errors| InvalidPolicy::new(party, reader::syntax(text, &errors)))?;
        let mut reader = Reader::new(party, text, model, outline);
        let set = reader.read(&parsed);
        reader.validate(&set);
        if !reader.problems.is_empty() {
            return Err(InvalidPolicy::new(party, reader.problems));
        }
        reader.entries.sort_by_key(|entry| entry.place);
        Ok(Self {
            party,
            text: text.to_owned(),
            sha256: comity_core::sha256(text.as_bytes()),
            ids: reader.entries.iter().map(|entry| entry.id.clone()).collect(),
            terms: Terms::new(set, &reader.entries),
            entries: reader.entries,
            records: reader.records,
            read: reader.warnings,
            warnings: OnceLock::new(),
        })
    }

    /// Whom it decides for.
    pub fn party(&self) -> MemberId {
        self.party
    }

    /// The file, as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The policies, in the order of the file.
    pub fn ids(&self) -> &[PolicyId] {
        &self.ids
    }

    /// When policies of this file end, past ends included.
    pub fn ends(&self) -> impl Iterator<Item = Timestamp> {
        self.entries.iter().filter_map(|entry| entry.until)
    }

    /// What deserves a second look, in the order of the file. The first call tries the policies out, which takes a moment.
    pub fn warnings(&self) -> &[Warning] {
        self.warnings.get_or_init(|| {
            let mut warnings = self.read.clone();
            lint::check(self.party, &self.entries, &mut warnings);
            warnings.sort_by_key(|warning| warning.place);
            warnings
        })
    }

    /// The same as of an instant: with the policies that have ended by then.
    pub fn warnings_at(&self, at: Timestamp) -> Vec<Warning> {
        let ended = self.entries.iter().filter_map(|entry| {
            let on = entry.until.filter(|until| *until <= at)?;
            Some(entry.finding(Note::Ended { on }))
        });
        let mut warnings: Vec<Warning> = self.warnings().iter().cloned().chain(ended).collect();
        warnings.sort_by_key(|warning| warning.place);
        warnings
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether some policy names this very record, so that what is decided on it is not what is decided on its like.
    pub(crate) fn names(&self, record: RecordId) -> bool {
        self.records.contains(&record)
    }

    /// What is in force then, and until when.
    pub(crate) fn term(&self, at: Timestamp) -> Term<'_> {
        self.terms.at(at)
    }
}

#[cfg(test)]
mod tests;
