//! The documents of records: one for each kind, as people write them. Each has a marking; each is shown in three views.

mod evidence;
mod incident;
mod onward;
mod opinion;
mod recall;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use evidence::{Collected, CustodyEvent, Evidence, EvidenceRead, EvidenceSources, NotAppended};
pub use incident::{Attribution, Incident, IncidentRead};
pub use onward::{Grant, GrantDecision, Request};
pub use opinion::{Opinion, Stance};
pub use recall::Recall;

use crate::canonical;
use crate::list::EntryId;
use crate::marking::Marking;
use crate::member::MemberId;
use crate::proposal::{Proposal, ProposalRead, Source};
use crate::record::{RecordId, RecordKind};
use crate::violation::Violations;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A case for designation.
    Proposal(Box<Proposal>),
    /// An answer to one.
    Opinion(Opinion),
    /// An attack.
    Incident(Incident),
    /// Material that stays where it is.
    Evidence(Box<Evidence>),
    /// A wish that another's record go further.
    Request(Request),
    /// The answer to it.
    Grant(Grant),
    /// A wish to have a record back.
    Recall(Recall),
}

/// What `read` gives of a record, by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadBody {
    /// A proposal's body.
    Proposal(Box<ProposalRead>),
    /// An opinion, which has nothing beyond it.
    Opinion(Opinion),
    /// An incident's body.
    Incident(IncidentRead),
    /// An evidence reference without what reveals sources.
    Evidence(EvidenceRead),
    /// A request.
    Request(Request),
    /// A grant.
    Grant(Grant),
    /// A recall.
    Recall(Recall),
}

/// What `read_sources` gives beyond `read`, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcesBody {
    /// Where something is known from: of proposals and incidents.
    Sources(Vec<Source>),
    /// What an evidence reference reveals of its source.
    Evidence(Box<EvidenceSources>),
}

impl Document {
    /// The largest document, as JSON.
    pub const MAX_BYTES: usize = Proposal::MAX_BYTES;

    /// Reads and checks a JSON document of a kind.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn from_json(kind: RecordKind, bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Violations::one("document", format!("{} bytes: at most {}", bytes.len(), Self::MAX_BYTES)));
        }
        let document = match kind {
            RecordKind::Proposal => Self::Proposal(canonical::from_slice(bytes)?),
            RecordKind::Opinion => Self::Opinion(canonical::from_slice(bytes)?),
            RecordKind::Incident => Self::Incident(canonical::from_slice(bytes)?),
            RecordKind::Evidence => Self::Evidence(canonical::from_slice(bytes)?),
            RecordKind::Request => Self::Request(canonical::from_slice(bytes)?),
            RecordKind::Grant => Self::Grant(canonical::from_slice(bytes)?),
            RecordKind::Recall => Self::Recall(canonical::from_slice(bytes)?),
        };
        document.check()?;
        Ok(document)
    }

    /// Checks what the types do not carry.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Violations> {
        let mut violations = Violations::default();
        self.marking().check("marking", &mut violations);
        match self {
            Self::Proposal(proposal) => return proposal.check(),
            Self::Opinion(opinion) => opinion.check(&mut violations),
            Self::Incident(incident) => incident.check(&mut violations),
            Self::Evidence(evidence) => evidence.check(&mut violations),
            Self::Request(request) => request.check(&mut violations),
            Self::Grant(grant) => grant.check(&mut violations),
            Self::Recall(recall) => recall.check(&mut violations),
        }
        violations.into_result()
    }

    /// As JSON.
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Proposal(document) => canonical::to_vec(document),
            Self::Opinion(document) => canonical::to_vec(document),
            Self::Incident(document) => canonical::to_vec(document),
            Self::Evidence(document) => canonical::to_vec(document),
            Self::Request(document) => canonical::to_vec(document),
            Self::Grant(document) => canonical::to_vec(document),
            Self::Recall(document) => canonical::to_vec(document),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::Proposal(_) => RecordKind::Proposal,
            Self::Opinion(_) => RecordKind::Opinion,
            Self::Incident(_) => RecordKind::Incident,
            Self::Evidence(_) => RecordKind::Evidence,
            Self::Request(_) => RecordKind::Request,
            Self::Grant(_) => RecordKind::Grant,
            Self::Recall(_) => RecordKind::Recall,
        }
    }

    /// What restricts it.
    pub fn marking(&self) -> &Marking {
        match self {
            Self::Proposal(document) => &document.marking,
            Self::Opinion(document) => &document.marking,
            Self::Incident(document) => &document.marking,
            Self::Evidence(document) => &document.marking,
            Self::Request(document) => &document.marking,
            Self::Grant(document) => &document.marking,
            Self::Recall(document) => &document.marking,
        }
    }

    /// What officers call it.
    pub fn title(&self) -> String {
        match self {
            Self::Proposal(document) => document.title.clone(),
            Self::Opinion(document) => format!("{} on {}", document.stance, document.about),
            Self::Incident(document) => document.title.clone(),
            Self::Evidence(document) => document.title.clone(),
            Self::Request(document) => format!("{} for {}", document.about, document.to),
            Self::Grant(document) => format!("{} for {}: {}", document.about, document.to, document.decision),
            Self::Recall(document) => format!("recall of {}", document.about),
        }
    }

    /// The record of another that it answers, whose originator alone it goes to.
    pub fn about(&self) -> Option<RecordId> {
        match self {
            Self::Opinion(document) => Some(document.about),
            Self::Request(document) => Some(document.about),
            Self::Grant(document) => document.request,
            Self::Proposal(_) | Self::Incident(_) | Self::Evidence(_) | Self::Recall(_) => None,
        }
    }

    /// What it points to. A reader is shown of these only what it may discover.
    pub fn links(&self) -> &[LinkTarget] {
        match self {
            Self::Evidence(document) => &document.links,
            _ => &[],
        }
    }

    /// What `read` gives.
    pub fn read_body(&self) -> ReadBody {
        match self {
            Self::Proposal(document) => ReadBody::Proposal(Box::new(document.read_body())),
            Self::Opinion(document) => ReadBody::Opinion(document.clone()),
            Self::Incident(document) => ReadBody::Incident(document.read_body()),
            Self::Evidence(document) => ReadBody::Evidence(document.read_body()),
            Self::Request(document) => ReadBody::Request(document.clone()),
            Self::Grant(document) => ReadBody::Grant(document.clone()),
            Self::Recall(document) => ReadBody::Recall(document.clone()),
        }
    }

    /// What `read_sources` gives beyond it.
    pub fn sources_body(&self) -> SourcesBody {
        match self {
            Self::Proposal(document) => SourcesBody::Sources(document.sources.clone()),
            Self::Incident(document) => SourcesBody::Sources(document.sources.clone()),
            Self::Evidence(document) => SourcesBody::Evidence(Box::new(document.sources_body())),
            Self::Opinion(_) | Self::Request(_) | Self::Grant(_) | Self::Recall(_) => SourcesBody::Sources(Vec::new()),
        }
    }
}

impl ReadBody {
    /// Which kind it is of.
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::Proposal(_) => RecordKind::Proposal,
            Self::Opinion(_) => RecordKind::Opinion,
            Self::Incident(_) => RecordKind::Incident,
            Self::Evidence(_) => RecordKind::Evidence,
            Self::Request(_) => RecordKind::Request,
            Self::Grant(_) => RecordKind::Grant,
            Self::Recall(_) => RecordKind::Recall,
        }
    }

    /// What officers call it.
    pub fn title(&self) -> String {
        match self {
            Self::Proposal(body) => body.title.clone(),
            Self::Incident(body) => body.title.clone(),
            Self::Evidence(body) => body.title.clone(),
            Self::Opinion(body) => Document::Opinion(body.clone()).title(),
            Self::Request(body) => Document::Request(body.clone()).title(),
            Self::Grant(body) => Document::Grant(body.clone()).title(),
            Self::Recall(body) => Document::Recall(body.clone()).title(),
        }
    }

    /// The record of another that it answers.
    pub fn about(&self) -> Option<RecordId> {
        match self {
            Self::Opinion(body) => Some(body.about),
            Self::Request(body) => Some(body.about),
            Self::Grant(body) => body.request,
            Self::Proposal(_) | Self::Incident(_) | Self::Evidence(_) | Self::Recall(_) => None,
        }
    }
}

/// Where a link points: a record, or an entry of the list, which everybody may discover.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkTarget {
    /// A proposal or an incident.
    Record(RecordId),
    /// A subject on the list.
    Entry(EntryId),
}

/// A text is no target of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a proposal, an incident or an entry, such as FR-P-8K3M9QXT2V4N6R7W or CW-2026-0001")]
pub struct InvalidLinkTarget;

impl FromStr for LinkTarget {
    type Err = InvalidLinkTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(record) = text.parse::<RecordId>() {
            let links = matches!(record.kind(), RecordKind::Proposal | RecordKind::Incident);
            return if links { Ok(Self::Record(record)) } else { Err(InvalidLinkTarget) };
        }
        text.parse().map(Self::Entry).map_err(|_| InvalidLinkTarget)
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(record) => record.fmt(f),
            Self::Entry(entry) => entry.fmt(f),
        }
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        canonical::parse_str(d)
    }
}

/// The marking of an answer to another's record: as strict as that one's, for its originator alone.
pub fn answer_marking(about: RecordId, of: &Marking) -> Marking {
    Marking { releasable_to: BTreeSet::from([about.originator()]), ..of.clone() }
}

/// Checks that an answer protects what it answers: everything but releasability is at least as strict, and it goes to the
/// originator alone.
pub fn check_answer(own: MemberId, about: RecordId, of: &Marking, marking: &Marking, violations: &mut Violations) {
    if about.originator() == own {
        return;
    }
    let strict = Marking { releasable_to: marking.releasable_to.clone(), ..of.clone() };
    if !marking.is_at_least(&strict) {
        violations.push("marking", format!("expected at least as strict as what it answers, {}", strict));
    }
    if marking.releasable_to.iter().any(|party| *party != about.originator()) {
        violations.push(
            "marking.releasable_to",
            format!("an answer goes to {} alone, whose record it is about", about.originator()),
        );
    }
}

#[cfg(test)]
mod tests;
