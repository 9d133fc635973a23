//! Incidents: attacks, as the originator knows of them.

use serde::{Deserialize, Serialize};

use crate::edtf::DateRange;
use crate::marking::Marking;
use crate::proposal::{Proposal, Source, check_count, check_sources};
use crate::subject::{CountryCode, Subject, check_prose, check_text};
use crate::violation::Violations;

/// An attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// What officers call it.
    pub title: String,
    /// Who may have it at all.
    pub marking: Marking,
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
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who attributed it to whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributions: Vec<Attribution>,
    /// Where it is known from; source-revealing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

/// Somebody held somebody responsible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// Who said so: `OPCW Investigation and Identification Team`.
    pub by: String,
    /// Whom they held responsible.
    pub to: String,
    /// Where they said it: a report's title and paragraph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// When they said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateRange>,
}

/// What `read` gives of an incident: all but its sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentRead {
    /// What officers call it.
    pub title: String,
    /// When.
    pub date: DateRange,
    /// Where.
    pub place: String,
    /// In which country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<CountryCode>,
    /// The agent used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who attributed it to whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributions: Vec<Attribution>,
}

impl Incident {
    pub(super) fn check(&self, violations: &mut Violations) {
        check_text(violations, "title", &self.title, Proposal::TITLE_MAX_CHARS);
        check_text(violations, "place", &self.place, Subject::TEXT_MAX_CHARS);
        if let Some(agent) = &self.agent {
            check_text(violations, "agent", agent, Subject::TEXT_MAX_CHARS);
        }
        if let Some(description) = &self.description {
            check_prose(violations, "description", description, Proposal::PROSE_MAX_CHARS);
        }
        check_count(violations, "attributions", self.attributions.len());
        for (i, attribution) in self.attributions.iter().take(Proposal::MAX_ITEMS).enumerate() {
            let at = format!("attributions[{i}]");
            check_text(violations, &format!("{at}.by"), &attribution.by, Subject::TEXT_MAX_CHARS);
            check_text(violations, &format!("{at}.to"), &attribution.to, Subject::TEXT_MAX_CHARS);
            if let Some(finding) = &attribution.finding {
                check_prose(violations, &format!("{at}.finding"), finding, Proposal::PROSE_MAX_CHARS);
            }
        }
        check_sources(violations, &self.sources);
    }

    pub(super) fn read_body(&self) -> IncidentRead {
        IncidentRead {
            title: self.title.clone(),
            date: self.date,
            place: self.place.clone(),
            country: self.country,
            agent: self.agent.clone(),
            description: self.description.clone(),
            attributions: self.attributions.clone(),
        }
    }
}
