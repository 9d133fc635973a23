//! Records, public parts and subjects as pages to read.

use comity_core::document::{Attribution, Collected, CustodyEvent, Document, ReadBody, SourcesBody};
use comity_core::marking::Marking;
use comity_core::proposal::{IncidentMention, MeasureSought, Proposal, PublicPart, Source};
use comity_core::subject::{Address, NameKind, NameQuality, Subject};
use comity_core::view::{DiscoverView, LinksView, ReadSourcesView, ReadView};
use serde_json::Value;

use crate::page::Page;
use crate::when;

/// A whole document of this member.
pub(crate) fn document(page: &mut Page, document: &Document) {
    if let Document::Proposal(whole) = document {
        return proposal(page, whole);
    }
    marking(page, document.marking());
    body(page, &document.read_body());
    sources_body(page, &document.sources_body());
    if let Document::Evidence(evidence) = document {
        page.field("kept at", evidence.locator.as_deref().unwrap_or_default());
    }
    links(page, document.links().iter().map(ToString::to_string));
}

/// What `read` gives, of any kind.
fn body(page: &mut Page, body: &ReadBody) {
    match body {
        ReadBody::Proposal(body) => {
            subject(page, &body.subject);
            case(page, &body.statement_of_case, &body.measures, &body.incidents);
            assessment(page, body.assessment.as_deref());
        }
        ReadBody::Opinion(body) => {
            page.heading(&format!("Opinion on {}: {}", body.about, body.stance));
            page.prose(body.text.as_deref().unwrap_or_default());
        }
        ReadBody::Incident(body) => {
            page.heading("Incident");
            page.field("date", body.date.to_string());
            page.field("place", &body.place);
            page.field("country", body.country.as_ref().map(ToString::to_string).unwrap_or_default());
            page.field("agent", body.agent.as_deref().unwrap_or_default());
            page.prose(body.description.as_deref().unwrap_or_default());
            body.attributions.iter().for_each(|attribution| attributed(page, attribution));
        }
        ReadBody::Evidence(body) => {
            page.heading("Evidence reference");
            page.field("material", body.material.as_str());
            page.field("reliability", body.reliability.map(|r| format!("{r:?}")).unwrap_or_default());
            page.field("credibility", body.credibility.map(|c| c.to_string()).unwrap_or_default());
            page.prose(body.description.as_deref().unwrap_or_default());
        }
        ReadBody::Request(body) => {
            page.heading(&format!("Request to release {} to {}", body.about, body.to));
            page.field("until", body.until.map(when::local_core).unwrap_or_default());
            page.prose(&body.purpose);
        }
        ReadBody::Grant(body) => {
            page.heading(&format!("{} for {}: {}", body.about, body.to, body.decision));
            page.field("answers", body.request.map(|request| request.to_string()).unwrap_or_default());
            page.field("until", body.until.map(when::local_core).unwrap_or_default());
            page.prose(&body.purpose);
        }
        ReadBody::Recall(body) => {
            page.heading(&format!("Recall of {}", body.about));
            page.prose(&body.reason);
        }
    }
}

fn attributed(page: &mut Page, attribution: &Attribution) {
    let date = attribution.date.map(|date| format!(" ({date})")).unwrap_or_default();
    let finding = attribution.finding.as_ref().map(|f| format!(". {f}")).unwrap_or_default();
    page.prose(&format!("{}: {}{date}{finding}", attribution.by, attribution.to));
}

/// What `read_sources` gives beyond it.
fn sources_body(page: &mut Page, body: &SourcesBody) {
    let evidence = match body {
        SourcesBody::Sources(found) => return sources(page, found),
        SourcesBody::Evidence(evidence) => evidence,
    };
    page.heading("Sources (source-revealing)");
    page.field("holder", evidence.holder.as_deref().unwrap_or_default());
    page.field("sha256", evidence.sha256.map(|digest| digest.to_string()).unwrap_or_default());
    page.field("bytes", evidence.bytes.map(|bytes| bytes.get().to_string()).unwrap_or_default());
    if let Some(Collected { date, by, place }) = &evidence.collected {
        let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let place = place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
        page.field("collected", format!("{date}{by}{place}"));
    }
    page.fields("custody", evidence.custody.iter().map(handed_over));
}

fn handed_over(event: &CustodyEvent) -> String {
    let seal = event.seal.as_ref().map(|seal| format!(", seal {seal}")).unwrap_or_default();
    let hash = if event.hash_checked { ", hash checked" } else { "" };
    let note = event.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{}  {} to {}{seal}{hash}{note}", when::local_core(event.at), event.from, event.to)
}

fn links(page: &mut Page, links: impl Iterator<Item = String>) {
    page.fields("bears on", links);
}

/// A whole proposal.
pub(crate) fn proposal(page: &mut Page, proposal: &Proposal) {
    marking(page, &proposal.marking);
    subject(page, &proposal.subject);
    case(page, &proposal.statement_of_case, &proposal.measures, &proposal.incidents);
    assessment(page, proposal.assessment.as_deref());
    sources(page, &proposal.sources);
}

/// What all members see of it.
pub(crate) fn public_part(page: &mut Page, part: &PublicPart) {
    subject(page, &part.subject);
    case(page, &part.statement_of_case, &part.measures, &part.incidents);
}

/// What a partner released, document by document.
pub(crate) fn view(page: &mut Page, name: &str, document: &[u8]) {
    match name {
        "discover" if let Ok(view) = comity_core::canonical::from_slice::<DiscoverView>(document) => {
            marking(page, &view.marking);
            let terms = view.terms.unwrap_or_default();
            page.field("held until", terms.until.map(when::local_core).unwrap_or_default());
            page.field("released for", terms.purpose.unwrap_or_default());
        }
        "read" if let Ok(view) = comity_core::canonical::from_slice::<ReadView>(document) => {
            body(page, &view.body);
        }
        "read_sources" if let Ok(view) = comity_core::canonical::from_slice::<ReadSourcesView>(document) => {
            sources_body(page, &view.body);
        }
        "links" if let Ok(view) = comity_core::canonical::from_slice::<LinksView>(document) => {
            links(page, view.links.iter().map(ToString::to_string));
        }
        _ => unknown(page, name, document),
    }
}

/// A document that this version has no page for.
pub(crate) fn unknown(page: &mut Page, heading: &str, document: &[u8]) {
    page.heading(heading);
    page.json(&crate::wire::embedded(document).unwrap_or(Value::Null));
}

fn marking(page: &mut Page, marking: &Marking) {
    page.heading("Marking");
    page.field("banner", marking.to_string());
    page.field("in proceedings", marking.handling.as_str().replace('_', " "));
    page.field("national", marking.national.as_deref().unwrap_or_default());
}

/// A subject, every field of it.
pub(crate) fn subject(page: &mut Page, subject: &Subject) {
    page.heading(&format!("Subject: {}", subject.primary_name()));
    page.field("kind", subject.kind.as_str().replace('_', " "));
    page.fields("names", subject.names.iter().map(name_line));
    let birth = match subject.kind {
        comity_core::subject::SubjectKind::Person => "born",
        _ => "founded",
    };
    page.fields(birth, subject.birth_dates.iter().map(ToString::to_string));
    page.fields("birth place", &subject.birth_places);
    page.fields("nationality", subject.nationalities.iter().map(ToString::to_string));
    page.field("gender", subject.gender.as_deref().unwrap_or_default());
    page.fields("position", &subject.positions);
    page.fields("identifier", identifier_lines(subject));
    page.fields("address", subject.addresses.iter().map(address_line));
    page.fields("contact", subject.contacts.iter().map(|c| format!("{}: {}", c.kind, c.value)));
    page.fields("programme", subject.programmes.iter().map(|p| format!("{} {}", p.authority, p.code)));
    page.fields(
        "link",
        subject.links.iter().map(|link| {
            let record = link.record.as_ref().map(|r| format!(" ({} {})", r.list, r.id)).unwrap_or_default();
            format!("{}: {}{record}", link.relation.as_str().replace('_', " "), link.name)
        }),
    );
    if let Some(craft) = &subject.craft {
        for (label, value) in [
            ("call sign", &craft.call_sign),
            ("type", &craft.craft_type),
            ("tonnage", &craft.tonnage),
            ("gross tonnage", &craft.gross_tonnage),
            ("flag", &craft.flag),
            ("owner", &craft.owner),
        ] {
            page.field(label, value.as_deref().unwrap_or_default());
        }
    }
    page.fields("listed as", subject.source_records.iter().map(|r| format!("{} {}", r.list, r.id)));
    page.fields("note", &subject.notes);
}

fn name_line(name: &comity_core::subject::Name) -> String {
    let mut said = Vec::new();
    match name.kind {
        NameKind::Primary => {}
        NameKind::Alias => said.push("alias".to_owned()),
        NameKind::Former => said.push("former".to_owned()),
        NameKind::Current => said.push("current".to_owned()),
    }
    if name.quality == NameQuality::Weak {
        said.push("weak".to_owned());
    }
    said.extend(name.script.as_ref().map(ToString::to_string));
    said.extend(name.language.as_ref().map(ToString::to_string));
    if said.is_empty() { name.full.clone() } else { format!("{} ({})", name.full, said.join(", ")) }
}

/// Kind, value and country, aligned among themselves.
fn identifier_lines(subject: &Subject) -> Vec<String> {
    let kind = |i: &comity_core::subject::Identifier| match &i.scheme {
        Some(scheme) => format!("{} {scheme}", i.kind.as_str().replace('_', " ")),
        None => i.kind.as_str().replace('_', " "),
    };
    let width = subject.identifiers.iter().map(|i| kind(i).chars().count()).max().unwrap_or(0).min(40);
    let lines = subject.identifiers.iter().map(|i| {
        let country = i.country.as_ref().map(|c| format!(" ({c})")).unwrap_or_default();
        format!("{:width$}  {}{country}", kind(i), i.value)
    });
    lines.collect()
}

fn address_line(address: &Address) -> String {
    let parts = [&address.street, &address.city, &address.region, &address.postal_code]
        .into_iter()
        .flatten()
        .map(String::as_str);
    let country = address.country.as_ref().map(ToString::to_string);
    let line = parts.chain(country.as_deref()).collect::<Vec<_>>().join(", ");
    match &address.remark {
        Some(remark) if line.is_empty() => remark.clone(),
        Some(remark) => format!("{line} ({remark})"),
        None => line,
    }
}

fn case(page: &mut Page, statement: &str, measures: &[MeasureSought], incidents: &[IncidentMention]) {
    page.heading("Statement of case");
    page.prose(statement);
    if !measures.is_empty() {
        page.heading("Measures sought");
        for measure in measures {
            let note = measure.note.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
            page.prose(&format!("{}{note}", measure.kind.as_str().replace('_', " ")));
        }
    }
    if !incidents.is_empty() {
        page.heading("Incidents");
        for incident in incidents {
            let country = incident.country.as_ref().map(|c| format!(" ({c})")).unwrap_or_default();
            let agent = incident.agent.as_ref().map(|a| format!(", {a}")).unwrap_or_default();
            let finding = incident.finding.as_ref().map(|f| format!(". {f}")).unwrap_or_default();
            page.prose(&format!("{}, {}{country}{agent}{finding}", incident.date, incident.place));
        }
    }
}

fn assessment(page: &mut Page, assessment: Option<&str>) {
    if let Some(assessment) = assessment {
        page.heading("Assessment (never published)");
        page.prose(assessment);
    }
}

fn sources(page: &mut Page, sources: &[Source]) {
    if sources.is_empty() {
        return;
    }
    page.heading("Sources (source-revealing)");
    for source in sources {
        let reliability = source.reliability.map(|r| format!("{r:?}")).unwrap_or_default();
        let credibility = source.credibility.map(|c| c.to_string()).unwrap_or_default();
        let grade = format!("{reliability}{credibility}");
        let grade = if grade.is_empty() { grade } else { format!(" [{grade}]") };
        page.prose(&format!("{}{grade}", source.description));
        page.field("kept at", source.locator.as_deref().unwrap_or_default());
    }
}
