//! Proposals: a member's case for designating a subject, as an operator writes it.

use serde::{Deserialize, Serialize};

use crate::edtf::DateRange;
use crate::marking::Marking;
use crate::subject::{CountryCode, Slug, Subject, check_prose, check_text};
use crate::violation::Violations;

/// A whole proposal. The public part is what tabling lays before all members; `assessment` goes to those who may read;
/// `sources` to those who may read sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// What officers call it.
    pub title: String,
    /// Who may have it at all.
    pub marking: Marking,
    /// Who or what is to be designated.
    pub subject: Subject,
    /// The statement of case, written for publication.
    pub statement_of_case: String,
    /// What the proposer asks of the members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<MeasureSought>,
    /// The attacks that the subject is held responsible for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentMention>,
    /// What the proposer knows beyond the statement; never published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assessment: Option<String>,
    /// Where it comes from; source-revealing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

/// What `read` gives of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalRead {
    /// What officers call it.
    pub title: String,
    /// Who or what.
    pub subject: Subject,
    /// The statement of case.
    pub statement_of_case: String,
    /// What is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<MeasureSought>,
    /// The attacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentMention>,
    /// What the originator knows beyond the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assessment: Option<String>,
}

/// A sanction that the proposer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureSought {
    /// `asset_freeze`, `travel_ban`, `arms_embargo`, …
    pub kind: Slug,
    /// What else is to be said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An attack, as far as it may be told in public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentMention {
    /// When.
    pub date: DateRange,
    /// Where.
    pub place: String,
    /// In which country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<CountryCode>,
    /// The agent used: `sarin`, `chlorine`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Who found what: a report's title and paragraph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
}

/// Where something is known from. NATO's two grades (STANAG 2511): who says it, and how likely it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is.
    pub description: String,
    /// A (completely reliable) to F (cannot be judged).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// 1 (confirmed) to 6 (cannot be judged).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credibility: Option<u8>,
    /// Where the originator keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locator: Option<String>,
}

/// How far the source can be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reliability {
    /// Completely reliable.
    A,
    /// Usually reliable.
    B,
    /// Fairly reliable.
    C,
    /// Not usually reliable.
    D,
    /// Unreliable.
    E,
    /// Cannot be judged.
    F,
}

/// The part of a proposal that tabling lays before all members, and that is published once it is agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicPart {
    /// Who or what.
    pub subject: Subject,
    /// The statement of case.
    pub statement_of_case: String,
    /// What is asked of the members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<MeasureSought>,
    /// The attacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentMention>,
}

impl Proposal {
    /// The longest title.
    pub const TITLE_MAX_CHARS: usize = 200;
    /// The longest statement of case, assessment or source description.
    pub const PROSE_MAX_CHARS: usize = 20_000;
    /// The most measures, incidents or sources.
    pub const MAX_ITEMS: usize = 100;
    /// The largest document, as JSON.
    pub const MAX_BYTES: usize = 512 * 1024;

    /// Reads and checks a JSON document.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Violations::one("document", format!("{} bytes: at most {}", bytes.len(), Self::MAX_BYTES)));
        }
        let proposal: Self = crate::canonical::from_slice(bytes)?;
        proposal.check()?;
        Ok(proposal)
    }

    /// Checks what the types do not carry.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        check_text(&mut violations, "title", &self.title, Self::TITLE_MAX_CHARS);
        self.marking.check("marking", &mut violations);
        self.public_part().check_into(&mut violations);
        if let Some(assessment) = &self.assessment {
            check_prose(&mut violations, "assessment", assessment, Self::PROSE_MAX_CHARS);
        }
        check_sources(&mut violations, &self.sources);
        violations.into_result()
    }

    /// What `read` gives: all but marking and sources.
    pub fn read_body(&self) -> ProposalRead {
        ProposalRead {
            title: self.title.clone(),
            subject: self.subject.clone(),
            statement_of_case: self.statement_of_case.clone(),
            measures: self.measures.clone(),
            incidents: self.incidents.clone(),
            assessment: self.assessment.clone(),
        }
    }

    /// What tabling would lay before all members.
    pub fn public_part(&self) -> PublicPart {
        PublicPart {
            subject: self.subject.clone(),
            statement_of_case: self.statement_of_case.clone(),
            measures: self.measures.clone(),
            incidents: self.incidents.clone(),
        }
    }
}

impl PublicPart {
    /// The largest public part, as JSON: what one list command may carry beside it.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Reads and checks a JSON document.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Violations::one("public_part", format!("{} bytes: at most {}", bytes.len(), Self::MAX_BYTES)));
        }
        let part: Self = crate::canonical::from_slice(bytes)?;
        let mut violations = Violations::default();
        part.check_into(&mut violations);
        violations.into_result()?;
        Ok(part)
    }

    fn check_into(&self, violations: &mut Violations) {
        self.subject.check("subject", violations);
        check_prose(violations, "statement_of_case", &self.statement_of_case, Proposal::PROSE_MAX_CHARS);
        check_count(violations, "measures", self.measures.len());
        for (i, measure) in self.measures.iter().take(Proposal::MAX_ITEMS).enumerate() {
            if let Some(note) = &measure.note {
                check_text(violations, &format!("measures[{i}].note"), note, Subject::TEXT_MAX_CHARS);
            }
        }
        check_count(violations, "incidents", self.incidents.len());
        for (i, incident) in self.incidents.iter().take(Proposal::MAX_ITEMS).enumerate() {
            let at = format!("incidents[{i}]");
            check_text(violations, &format!("{at}.place"), &incident.place, Subject::TEXT_MAX_CHARS);
            if let Some(agent) = &incident.agent {
                check_text(violations, &format!("{at}.agent"), agent, Subject::TEXT_MAX_CHARS);
            }
            if let Some(finding) = &incident.finding {
                check_prose(violations, &format!("{at}.finding"), finding, Proposal::PROSE_MAX_CHARS);
            }
        }
    }
}

pub(crate) fn check_sources(violations: &mut Violations, sources: &[Source]) {
    check_count(violations, "sources", sources.len());
    for (i, source) in sources.iter().take(Proposal::MAX_ITEMS).enumerate() {
        let at = format!("sources[{i}]");
        check_prose(violations, &format!("{at}.description"), &source.description, Proposal::PROSE_MAX_CHARS);
        if source.credibility.is_some_and(|c| !(1..=6).contains(&c)) {
            violations.push(format!("{at}.credibility"), "expected 1 (confirmed) to 6 (cannot be judged)");
        }
        if let Some(locator) = &source.locator {
            check_text(violations, &format!("{at}.locator"), locator, Subject::TEXT_MAX_CHARS);
        }
    }
}

pub(crate) fn check_count(violations: &mut Violations, field: &str, count: usize) {
    if count > Proposal::MAX_ITEMS {
        violations.push(field, format!("{count} items: at most {}", Proposal::MAX_ITEMS));
    }
}
