//! Cases: what a policy officer expects of the policies, to be run before they are put into force.

use std::collections::BTreeSet;
use std::fmt;

use comity_core::marking::{Caveat, Compartment, Handling};
use comity_core::release::{Action, Party, RecordHeader, Share};
use comity_core::{Marking, MemberId, RecordId, RecordKind, Tier, Timestamp, Violations, canonical};
use serde::Deserialize;

use crate::decide::{Level, Policies};

/// The cases of one document:
///
/// ```json
/// {"cases": [{"name": "DE reads restricted proposals", "party": "DE", "expect": "read",
///             "record": {"kind": "proposal", "tier": "restricted"}, "because": ["de-proposals"]}]}
/// ```
///
/// A record may also have `caveats`, `compartments`, `handling` (`with_consent` unless given), `releasable_to` (the party),
/// `originator` (the member whose policies they are), `id` (one that no policy names) and `about` (nothing). A case may say
/// `"shared": false`, or `"onward": true` of a record whose originator granted its onward release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cases(Vec<Case>);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    cases: Vec<Case>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    party: MemberId,
    record: Record,
    #[serde(default = "yes")]
    shared: bool,
    #[serde(default)]
    onward: bool,
    expect: Expected,
    #[serde(default)]
    because: Option<BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    kind: RecordKind,
    tier: Tier,
    #[serde(default)]
    caveats: BTreeSet<Caveat>,
    #[serde(default)]
    compartments: BTreeSet<Compartment>,
    #[serde(default)]
    handling: Option<Handling>,
    #[serde(default)]
    releasable_to: Option<BTreeSet<MemberId>>,
    #[serde(default)]
    id: Option<RecordId>,
    #[serde(default)]
    originator: Option<MemberId>,
    #[serde(default)]
    about: Option<RecordId>,
}

/// How much a case expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Nothing,
    Discover,
    Read,
    ReadSources,
}

fn yes() -> bool {
    true
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseOutcome {
    /// Its name.
    pub name: String,
    /// The party that it is about.
    pub party: MemberId,
    /// How much was expected; `None`: nothing.
    pub expected: Option<Action>,
    /// The reasons that were expected, sorted, where the case names any.
    pub expected_because: Option<Vec<String>>,
    /// What is decided; `None` where the party is unknown.
    pub found: Option<Level>,
    /// Whether the one is the other.
    pub passed: bool,
}

impl Cases {
    /// The largest document, in bytes.
    pub const MAX_BYTES: usize = 1024 * 1024;
    /// The most cases of a document.
    pub const MAX_CASES: usize = 1_000;
    /// The longest name of a case.
    pub const NAME_MAX_CHARS: usize = 200;

    /// Reads and checks a JSON document.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Violations::one("document", format!("{} bytes: at most {}", bytes.len(), Self::MAX_BYTES)));
        }
        let Document { cases } = canonical::from_slice(bytes)?;
        if cases.len() > Self::MAX_CASES {
            return Err(Violations::one("cases", format!("{} cases: at most {}", cases.len(), Self::MAX_CASES)));
        }
        let (mut violations, mut names) = (Violations::default(), BTreeSet::new());
        for (n, case) in cases.iter().enumerate() {
            case.check(&format!("cases[{n}]"), &mut violations);
            if !names.insert(case.name.as_str()) {
                violations.push(format!("cases[{n}].name"), "another case has this name");
            }
        }
        violations.into_result()?;
        Ok(Self(cases))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decides every case with the policies of `own`, in the order of the document. `party` looks one up in the roster; a case
    /// about a party that is not there has failed.
    pub fn run(
        &self,
        policies: &Policies,
        own: MemberId,
        party: impl Fn(MemberId) -> Option<Party>,
        at: Timestamp,
    ) -> Vec<CaseOutcome> {
        self.0.iter().map(|case| case.run(policies, own, party(case.party), at)).collect()
    }
}

impl Case {
    fn check(&self, field: &str, violations: &mut Violations) {
        let record = &self.record;
        let chars = self.name.chars().count();
        if !(1..=Cases::NAME_MAX_CHARS).contains(&chars) {
            violations.push(format!("{field}.name"), format!("expected 1 to {} characters", Cases::NAME_MAX_CHARS));
        }
        if self.onward && !self.shared {
            violations
                .push(format!("{field}.onward"), "what is released onward is shared: leave out \"shared\": false");
        }
        if record.id.is_some_and(|id| id.kind() != record.kind) {
            violations
                .push(format!("{field}.record.id"), format!("expected the id of a record of kind {}", record.kind));
        }
        if let (Some(id), Some(originator)) = (record.id, record.originator)
            && id.originator() != originator
        {
            violations.push(format!("{field}.record.id"), format!("expected the id of a record of {originator}"));
        }
        self.marking().check(&format!("{field}.record"), violations);
    }

    fn marking(&self) -> Marking {
        let record = &self.record;
        Marking {
            caveats: record.caveats.clone(),
            compartments: record.compartments.clone(),
            handling: record.handling.unwrap_or(Handling::WithConsent),
            releasable_to: record.releasable_to.clone().unwrap_or_else(|| BTreeSet::from([self.party])),
            ..Marking::originator_only(record.tier)
        }
    }

    fn run(&self, policies: &Policies, own: MemberId, party: Option<Party>, at: Timestamp) -> CaseOutcome {
        let originator = self.record.originator.unwrap_or(own);
        // An id from fresh random bytes is never this one.
        let id = self.record.id.unwrap_or_else(|| RecordId::new(originator, self.record.kind, [0; 10]));
        let header = RecordHeader { about: self.record.about, ..RecordHeader::new(id, self.marking()) };
        let share = self.shared.then_some(Share { until: None, granted: self.onward });
        let found = party.map(|party| policies.level(own, &party, &header, share.as_ref(), at));
        let expected = match self.expect {
            Expected::Nothing => None,
            Expected::Discover => Some(Action::Discover),
            Expected::Read => Some(Action::Read),
            Expected::ReadSources => Some(Action::ReadSources),
        };
        let expected_because: Option<Vec<String>> = self.because.as_ref().map(|ids| ids.iter().cloned().collect());
        let passed = found.as_ref().is_some_and(|found| {
            found.action == expected && expected_because.as_ref().is_none_or(|because| *because == found.because)
        });
        CaseOutcome { name: self.name.clone(), party: self.party, expected, expected_because, found, passed }
    }
}

impl CaseOutcome {
    /// The word for a level in a document of cases: `nothing`, `discover`, `read` or `read_sources`.
    pub fn word(level: Option<Action>) -> &'static str {
        level.map_or("nothing", Action::as_str)
    }
}

/// `ok` or what is wrong, in one line.
impl fmt::Display for CaseOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        let Some(found) = &self.found else {
            return write!(f, "{} is in no roster: correct the case or admit the party", self.party);
        };
        if self.passed {
            return f.write_str("ok");
        }
        write!(f, "expected {}", Self::word(self.expected))?;
        if let Some(because) = &self.expected_because {
            write!(f, " because of {}", because.join(", "))?;
        }
        write!(f, ", came out {} because of {}", Self::word(found.action), found.because.join(", "))
    }
}

#[cfg(test)]
mod tests;
