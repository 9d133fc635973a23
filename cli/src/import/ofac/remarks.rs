//! OFAC's remarks: one line of statements joined by `; `, which carries most of what is known of a subject.

use comity_core::edtf::DateRange;
use comity_core::subject::{Contact, CountryCode, Identifier, Link, Name, NameKind, NameQuality, SubjectKind};

use super::{countries, dates, identifiers};

/// Statements that have no field, by how they begin. They are kept as written; that they are known tells them from
/// those that were not understood.
const STATEMENTS: &[&str] = &[
    "Additional Sanctions Information",
    "Secondary sanctions risk",
    "Transactions Prohibited For Persons Owned or Controlled By U.S. Financial Institutions",
    "Executive Order",
    "CAATSA Section",
    "IFCA Determination",
    "Organization Type",
    "Target Type",
    "Nationality of Registration",
    "Effective Date",
    "Listing Date",
    "For more information on directives",
    "Former Vessel Flag",
    "Other Vessel Flag",
    "Former Vessel Type",
    "Other Vessel Type",
    "Vessel Type",
    "Vessel Flag",
    "Vessel Year of Build",
    "Vessel Owner",
    "Aircraft Manufacture Date",
    "Aircraft Model",
    "Aircraft Manufacturer",
    "ICTY indictee",
    "Member ETA",
    "all offices worldwide",
    "All Branches Worldwide",
    "and all other locations worldwide",
];

/// What became of the statements; nothing is lost, so the last three make the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Statements in the remarks.
    pub(super) statements: usize,
    /// In a field.
    pub(super) mapped: usize,
    /// Known, without a field: in the notes.
    pub(super) stated: usize,
    /// Not understood: in the notes.
    pub(super) noted: usize,
}

/// What the remarks say, by field.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    pub(super) names: Vec<Name>,
    pub(super) birth_dates: Vec<DateRange>,
    pub(super) birth_places: Vec<String>,
    pub(super) nationalities: Vec<CountryCode>,
    pub(super) gender: Option<String>,
    /// Those that the title column does not give.
    pub(super) positions: Vec<String>,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) contacts: Vec<Contact>,
    pub(super) links: Vec<Linked>,
    pub(super) craft_type: Option<String>,
    pub(super) is_public_body: bool,
    pub(super) notes: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) counts: Counts,
}

/// A tie to another subject. The full stop that closes the remarks may belong to its name (`HOLDING, S.A.`): which it is
/// only the list tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Linked {
    pub(super) link: Link,
    /// The name with the full stop, where one closed the remarks.
    pub(super) dotted: Option<String>,
}

impl Linked {
    /// How the list may spell the name, the likelier first: OFAC adds no second full stop.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &str> {
        let undotted = self.dotted.as_deref().map_or(self.link.name.as_str(), |name| name.trim_end_matches('.'));
        self.dotted.as_deref().into_iter().chain([undotted])
    }
}

enum Fate {
    Mapped,
    /// In a field, and kept as written too, since the field does not hold all of it.
    MappedInPart,
    Stated,
    Noted,
}

/// Reads remarks. `positions` are those that the title column gives, which the remarks repeat.
pub(super) fn read(text: &str, kind: SubjectKind, positions: &[String]) -> Remarks {
    let mut remarks = Remarks::default();
    let statements = split(text);
    let count = statements.len();
    for (i, raw) in statements.into_iter().enumerate() {
        let is_last = i + 1 == count;
        let undotted = if is_last { raw.strip_suffix('.').unwrap_or(raw) } else { raw };
        remarks.counts.statements += 1;
        let is_position = positions.iter().any(|p| p == raw || p.trim_end_matches('.') == undotted);
        let fate = if is_position { Fate::Mapped } else { remarks.statement(raw, undotted.trim(), kind) };
        match fate {
            Fate::Mapped | Fate::MappedInPart => remarks.counts.mapped += 1,
            Fate::Stated => remarks.counts.stated += 1,
            Fate::Noted => remarks.counts.noted += 1,
        }
        if !matches!(fate, Fate::Mapped) {
            remarks.notes.push(raw.to_owned());
        }
    }
    remarks
}

/// Parts text at `; `, but not within brackets: what stands in them may be said of somebody else.
pub(super) fn split(text: &str) -> Vec<&str> {
    /// Where brackets do not close within so many parts, they are a mistake of the source and hold nothing together.
    const MOST_JOINED: usize = 16;
    let mut starts = vec![0];
    starts.extend(text.match_indices("; ").map(|(at, _)| at + 2));
    let end_of = |i: usize| starts.get(i + 1).map_or(text.len(), |next| next - 2);
    let mut parts = Vec::new();
    let mut i = 0;
    while let Some(start) = starts.get(i) {
        let closed = (i..starts.len().min(i + MOST_JOINED))
            .find(|last| text.get(*start..end_of(*last)).is_some_and(|part| open_brackets(part) <= 0));
        let last = closed.unwrap_or(i);
        parts.extend(text.get(*start..end_of(last)).map(str::trim).filter(|part| !part.is_empty()));
        i = last + 1;
    }
    parts
}

fn open_brackets(text: &str) -> i64 {
    text.bytes().fold(0, |open, byte| match byte {
        b'(' => open + 1,
        b')' => open - 1,
        _ => open,
    })
}

impl Remarks {
    fn statement(&mut self, raw: &str, text: &str, kind: SubjectKind) -> Fate {
        let text = text.strip_prefix("alt. ").or_else(|| text.strip_prefix("Alt. ")).unwrap_or(text);
        let says = |label: &str| {
            let rest = text.strip_prefix(label).filter(|rest| rest.starts_with([' ', ':']))?;
            Some(rest.trim_start_matches([' ', ':'])).filter(|rest| !rest.is_empty())
        };
        if let Some(date) = says("DOB").or_else(|| says("Organization Established Date")) {
            return self.date(date);
        }
        if let Some(place) = says("POB") {
            self.birth_places.push(place.to_owned());
            return Fate::Mapped;
        }
        if let Some(country) = says("nationality").or_else(|| says("citizen")) {
            return self.nationality(country);
        }
        if let Some(gender) = says("Gender").filter(|_| self.gender.is_none()) {
            self.gender = Some(gender.to_owned());
            return Fate::Mapped;
        }
        if let Some(name) = weak_name(text) {
            self.names.push(name);
            return Fate::Mapped;
        }
        if let Some(name) = says("Linked To") {
            return self.link("linked_to", name, raw);
        }
        if let Some(position) = says("Position").or_else(|| says("Title")).or_else(|| says("Rank")) {
            push_new(&mut self.positions, position.to_owned());
            return Fate::Mapped;
        }
        if let Some(operator) = says("Aircraft Operator") {
            return self.link("operated_by", operator, raw);
        }
        if let Some(model) = says("Aircraft Model").filter(|_| self.craft_type.is_none()) {
            self.craft_type = Some(model.to_owned());
            return Fate::Mapped;
        }
        if text == "Target Type Government Entity" && kind == SubjectKind::Organization {
            self.is_public_body = true;
            return Fate::Mapped;
        }
        if let Some(contact) = identifiers::contact(text) {
            self.contacts.push(contact);
            return Fate::Mapped;
        }
        if let Some(found) = identifiers::identifier(text, kind) {
            return self.identifier(found);
        }
        let known = STATEMENTS.iter().any(|s| text.get(..s.len()).is_some_and(|head| head.eq_ignore_ascii_case(s)));
        if known { Fate::Stated } else { Fate::Noted }
    }

    fn date(&mut self, text: &str) -> Fate {
        match dates::parse(text) {
            Some(date) => {
                push_new(&mut self.birth_dates, date);
                Fate::Mapped
            }
            None => {
                self.warnings.push(format!("`{text}` is not a date: kept in the notes"));
                Fate::Noted
            }
        }
    }

    fn nationality(&mut self, text: &str) -> Fate {
        match countries::code(text) {
            Some(code) => {
                push_new(&mut self.nationalities, code);
                Fate::Mapped
            }
            None => {
                self.warnings.push(format!("`{text}` is not a country: kept in the notes"));
                Fate::Noted
            }
        }
    }

    fn link(&mut self, relation: &str, name: &str, raw: &str) -> Fate {
        let Ok(relation) = relation.parse() else { return Fate::Noted };
        let dotted = (raw.ends_with('.') && !name.ends_with('.')).then(|| format!("{name}."));
        // `HOLDING S.A.` with its full stop taken is no name: one within the last word says that it was an abbreviation.
        let abbreviated = name.rsplit(' ').next().is_some_and(|word| word.contains('.'));
        let stands = dotted.clone().filter(|_| abbreviated).unwrap_or_else(|| name.to_owned());
        self.links.push(Linked { link: Link { relation, name: stands, record: None }, dotted });
        Fate::Mapped
    }

    fn identifier(&mut self, found: identifiers::Found) -> Fate {
        if let Some(unknown) = found.unknown_country {
            let value = &found.identifier.value;
            self.warnings.push(format!("`{unknown}` is not a country: kept in the identifier `{value}`"));
        }
        push_new(&mut self.identifiers, found.identifier);
        if found.has_validity { Fate::MappedInPart } else { Fate::Mapped }
    }
}

/// `a.k.a. 'SSRC'`: OFAC puts its weak aliases in the remarks, in single quotes.
fn weak_name(text: &str) -> Option<Name> {
    let kinds = [
        ("a.k.a. ", NameKind::Alias),
        ("d.b.a. ", NameKind::Alias),
        ("f.k.a. ", NameKind::Former),
        ("n.k.a. ", NameKind::Current),
    ];
    let (kind, quoted) = kinds.into_iter().find_map(|(label, kind)| Some((kind, text.strip_prefix(label)?)))?;
    let full = quoted.trim().strip_prefix('\'')?.strip_suffix('\'')?.trim().to_owned();
    (!full.is_empty()).then_some(Name { full, kind, quality: NameQuality::Weak, script: None, language: None })
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
#[path = "remarks_tests.rs"]
mod tests;
