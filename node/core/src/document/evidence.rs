//! Evidence references: pointers to material that stays with its originator, never the material.

use serde::{Deserialize, Serialize};

use super::LinkTarget;
use crate::canonical::{Hex32, SafeInt};
use crate::edtf::DateRange;
use crate::marking::Marking;
use crate::proposal::{Proposal, Reliability, check_count};
use crate::subject::{Slug, Subject, check_prose, check_text};
use crate::timestamp::Timestamp;
use crate::violation::Violations;

/// A reference to material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What officers call it.
    pub title: String,
    /// Who may have it at all. It may be stricter than that of the proposal that it supports.
    pub marking: Marking,
    /// What sort of material: `document`, `image`, `video`, `sample`, `testimony`, …
    pub material: Slug,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who keeps the material; source-revealing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Where the holder finds it. Stays on the originator's node: no view has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locator: Option<String>,
    /// SHA-256 of the material; source-revealing, since whoever has the material can tell by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Hex32>,
    /// How many bytes the material has; source-revealing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<SafeInt>,
    /// When and by whom it was collected; source-revealing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected: Option<Collected>,
    /// How far the source can be relied upon: A to F (STANAG 2511).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// How likely the information is: 1 (confirmed) to 6 (cannot be judged).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credibility: Option<u8>,
    /// Through whose hands it went, in order; only ever appended to. Source-revealing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custody: Vec<CustodyEvent>,
    /// The proposals, incidents and entries that it bears on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkTarget>,
}

/// When and by whom material was collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collected {
    /// When.
    pub date: DateRange,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Material went from one hand to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodyEvent {
    /// Who gave it.
    pub from: String,
    /// Who took it.
    pub to: String,
    /// When.
    pub at: Timestamp,
    /// The number of the seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// Whether the receiver computed the hash and found it the same.
    pub hash_checked: bool,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What `read` gives of an evidence reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRead {
    /// What officers call it.
    pub title: String,
    /// What sort of material.
    pub material: Slug,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How far the source can be relied upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// How likely the information is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credibility: Option<u8>,
}

/// What `read_sources` gives of an evidence reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceSources {
    /// Who keeps the material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// SHA-256 of the material.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Hex32>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<SafeInt>,
    /// When and by whom it was collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected: Option<Collected>,
    /// Through whose hands it went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custody: Vec<CustodyEvent>,
}

/// A new version does not continue the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAppended {
    /// Custody was rewritten.
    #[error("custody[{0}] is not what it was: events are only ever added at the end")]
    Custody(usize),
    /// The material is another.
    #[error("the SHA-256 is not what it was: other material is another reference")]
    Material,
}

impl Evidence {
    /// Checks that this version continues an earlier one: custody is only ever appended to, and the material stays the same.
    ///
    /// # Errors
    /// What was rewritten.
    pub fn continues(&self, earlier: &Self) -> Result<(), NotAppended> {
        for (i, event) in earlier.custody.iter().enumerate() {
            if self.custody.get(i) != Some(event) {
                return Err(NotAppended::Custody(i));
            }
        }
        if earlier.sha256.is_some() && self.sha256 != earlier.sha256 {
            return Err(NotAppended::Material);
        }
        Ok(())
    }

    pub(super) fn check(&self, violations: &mut Violations) {
        check_text(violations, "title", &self.title, Proposal::TITLE_MAX_CHARS);
        for (field, text) in [("holder", &self.holder), ("locator", &self.locator)] {
            if let Some(text) = text {
                check_text(violations, field, text, Subject::TEXT_MAX_CHARS);
            }
        }
        if let Some(description) = &self.description {
            check_prose(violations, "description", description, Proposal::PROSE_MAX_CHARS);
        }
        if let Some(collected) = &self.collected {
            for (field, text) in [("collected.by", &collected.by), ("collected.place", &collected.place)] {
                if let Some(text) = text {
                    check_text(violations, field, text, Subject::TEXT_MAX_CHARS);
                }
            }
        }
        if self.credibility.is_some_and(|c| !(1..=6).contains(&c)) {
            violations.push("credibility", "expected 1 (confirmed) to 6 (cannot be judged)");
        }
        check_count(violations, "links", self.links.len());
        check_count(violations, "custody", self.custody.len());
        let mut before: Option<Timestamp> = None;
        for (i, event) in self.custody.iter().take(Proposal::MAX_ITEMS).enumerate() {
            let at = format!("custody[{i}]");
            check_text(violations, &format!("{at}.from"), &event.from, Subject::TEXT_MAX_CHARS);
            check_text(violations, &format!("{at}.to"), &event.to, Subject::TEXT_MAX_CHARS);
            for (field, text) in [("seal", &event.seal), ("note", &event.note)] {
                if let Some(text) = text {
                    check_text(violations, &format!("{at}.{field}"), text, Subject::TEXT_MAX_CHARS);
                }
            }
            if event.hash_checked && self.sha256.is_none() {
                violations.push(format!("{at}.hash_checked"), "there is no sha256 to check against");
            }
            if before.is_some_and(|before| event.at < before) {
                violations.push(format!("{at}.at"), "is before the event that it follows");
            }
            before = Some(event.at);
        }
    }

    pub(super) fn read_body(&self) -> EvidenceRead {
        EvidenceRead {
            title: self.title.clone(),
            material: self.material.clone(),
            description: self.description.clone(),
            reliability: self.reliability,
            credibility: self.credibility,
        }
    }

    pub(super) fn sources_body(&self) -> EvidenceSources {
        EvidenceSources {
            holder: self.holder.clone(),
            sha256: self.sha256,
            bytes: self.bytes,
            collected: self.collected.clone(),
            custody: self.custody.clone(),
        }
    }
}
