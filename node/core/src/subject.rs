//! Subjects: who or what a designation is about. Terms follow FollowTheMoney where they fit.

mod country;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::country::{CountryCode, InvalidCountry, country_codes, is_country_code};
use crate::edtf::DateRange;
use crate::violation::Violations;

/// What sort of thing the subject is. FollowTheMoney: the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A natural person.
    Person,
    /// A company or other organisation.
    Organization,
    /// A ship.
    Vessel,
    /// An aircraft.
    Aircraft,
    /// A government body.
    PublicBody,
}

impl SubjectKind {
    /// As it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Organization => "organization",
            Self::Vessel => "vessel",
            Self::Aircraft => "aircraft",
            Self::PublicBody => "public_body",
        }
    }
}

/// Which of the subject's names this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// The name it is listed under; exactly one.
    Primary,
    /// Also known as.
    Alias,
    /// Formerly known as.
    Former,
    /// Now known as.
    Current,
}

/// How much a match on a name is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameQuality {
    /// Screened against.
    #[default]
    Strong,
    /// Broad or generic; a hint only (OFAC's "weak a.k.a.", the UN's "low quality").
    Weak,
}

/// One name in one script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// The whole name as the source writes it.
    pub full: String,
    /// Which name it is.
    #[serde(default = "Name::default_kind")]
    pub kind: NameKind,
    /// What a match is worth.
    #[serde(default)]
    pub quality: NameQuality,
    /// ISO 15924, as `Arab`, `Cyrl`, `Latn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// BCP 47, as `ar`, `fr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Slug>,
}

impl Name {
    /// The longest name.
    pub const MAX_CHARS: usize = 500;

    fn default_kind() -> NameKind {
        NameKind::Alias
    }
}

/// A four-letter script code of ISO 15924.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Script(String);

/// A text is no script code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an ISO 15924 script code such as Arab, Cyrl or Latn")]
pub struct InvalidScript;

impl FromStr for Script {
    type Err = InvalidScript;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() == 4
            && text.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
            && text.bytes().skip(1).all(|b| b.is_ascii_lowercase());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidScript) }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Script {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

/// A short lower-case term: 1 to 48 of `a-z`, `0-9`, `_`, `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

impl Slug {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is no [`Slug`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 48 of a-z, 0-9, `_` and `-`, beginning with a letter, such as passport or national_id")]
pub struct InvalidSlug;

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=48).contains(&text.len())
            && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSlug) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

/// A number or code by which an authority knows the subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// `passport`, `national_id`, `tax_id`, `registration_number`, `imo_number`, `digital_currency_address`, …
    pub kind: Slug,
    /// As printed.
    pub value: String,
    /// Who issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<CountryCode>,
    /// What narrows the kind: the currency of an address (`XBT`), the register of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
}

/// Where the subject lives, works or is registered. At least one part is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Street, building, post-office box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    /// City, as the source writes it, with region and postal code where it does not part them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Province, governorate, state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// Country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<CountryCode>,
    /// The source's own remark on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// A way to reach the subject that a source names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// `phone`, `email`, `website`.
    pub kind: Slug,
    /// As written.
    pub value: String,
}

/// A sanctions programme of an authority: `NPWMD` of `US-OFAC`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programme {
    /// Whose programme.
    pub authority: String,
    /// Its code or title.
    pub code: String,
}

/// A tie to another subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// `linked_to`, `owned_by`, `acts_for`, …
    pub relation: Slug,
    /// The other subject's name.
    pub name: String,
    /// The other subject's record in an official list, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<SourceRecord>,
}

/// A record in an official list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// The list: `us-ofac-sdn`, `un-sc`, …
    pub list: Slug,
    /// The record's id there.
    pub id: String,
}

/// What only ships and aircraft have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Craft {
    /// Radio call sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_sign: Option<String>,
    /// The source's word for its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub craft_type: Option<String>,
    /// Deadweight, as the source writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tonnage: Option<String>,
    /// Gross registered tonnage, as the source writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross_tonnage: Option<String>,
    /// Flag, as the source writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// Owner, as the source writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A person, organisation, vessel, aircraft or government body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What sort of thing.
    pub kind: SubjectKind,
    /// All names; exactly one is `primary`.
    pub names: Vec<Name>,
    /// Birth or foundation, every claim that a source makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub birth_dates: Vec<DateRange>,
    /// Places of birth, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub birth_places: Vec<String>,
    /// Nationalities and citizenships.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nationalities: Vec<CountryCode>,
    /// As the source says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<String>,
    /// Titles, ranks, functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<String>,
    /// Passports, registrations, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Telephones, e-mail, web sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
    /// Programmes under which authorities sanction it already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programmes: Vec<Programme>,
    /// Ties to other subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Ships and aircraft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub craft: Option<Craft>,
    /// Its records in official lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_records: Vec<SourceRecord>,
    /// What a source says and no field above holds, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Subject {
    /// The most items of any one list of a subject.
    pub const MAX_ITEMS: usize = 500;
    /// The longest short text: an address part, an identifier, a position.
    pub const TEXT_MAX_CHARS: usize = 1_000;
    /// The longest note.
    pub const NOTE_MAX_CHARS: usize = 10_000;

    /// The name it is listed under.
    pub fn primary_name(&self) -> &str {
        self.names.iter().find(|n| n.kind == NameKind::Primary).or(self.names.first()).map_or("", |n| &n.full)
    }

    /// Checks what the types do not carry: bounds, and exactly one primary name.
    pub fn check(&self, field: &str, violations: &mut Violations) {
        let primaries = self.names.iter().filter(|n| n.kind == NameKind::Primary).count();
        if primaries != 1 {
            violations.push(
                format!("{field}.names"),
                format!("{primaries} names are primary: mark exactly one with `kind: primary`"),
            );
        }
        let mut lists = Lists { field, violations };
        lists.check("names", &self.names, |name, at, v| {
            check_text(v, &format!("{at}.full"), &name.full, Name::MAX_CHARS)
        });
        lists.check("birth_dates", &self.birth_dates, |_, _, _| {});
        lists.check("birth_places", &self.birth_places, |text, at, v| short(text, at, v));
        lists.check("nationalities", &self.nationalities, |_, _, _| {});
        lists.check("positions", &self.positions, |text, at, v| short(text, at, v));
        lists.check("identifiers", &self.identifiers, |identifier, at, v| {
            short(&identifier.value, &format!("{at}.value"), v);
            optional(identifier.scheme.as_ref(), &format!("{at}.scheme"), v);
        });
        lists.check("addresses", &self.addresses, check_address);
        lists.check("contacts", &self.contacts, |contact, at, v| short(&contact.value, &format!("{at}.value"), v));
        lists.check("programmes", &self.programmes, |programme, at, v| {
            short(&programme.authority, &format!("{at}.authority"), v);
            short(&programme.code, &format!("{at}.code"), v);
        });
        lists.check("links", &self.links, |link, at, v| {
            short(&link.name, &format!("{at}.name"), v);
            optional(link.record.as_ref().map(|r| &r.id), &format!("{at}.record.id"), v);
        });
        lists.check("source_records", &self.source_records, |record, at, v| short(&record.id, &format!("{at}.id"), v));
        lists.check("notes", &self.notes, |note, at, v| check_prose(v, at, note, Self::NOTE_MAX_CHARS));
        optional(self.gender.as_ref(), &format!("{field}.gender"), violations);
        if let Some(craft) = &self.craft {
            for (part, text) in [
                ("call_sign", &craft.call_sign),
                ("craft_type", &craft.craft_type),
                ("tonnage", &craft.tonnage),
                ("gross_tonnage", &craft.gross_tonnage),
                ("flag", &craft.flag),
                ("owner", &craft.owner),
            ] {
                optional(text.as_ref(), &format!("{field}.craft.{part}"), violations);
            }
        }
    }
}

struct Lists<'a> {
    field: &'a str,
    violations: &'a mut Violations,
}

impl Lists<'_> {
    fn check<T>(&mut self, name: &str, items: &[T], each: impl Fn(&T, &str, &mut Violations)) {
        if items.len() > Subject::MAX_ITEMS {
            let problem = format!("{} items: at most {}", items.len(), Subject::MAX_ITEMS);
            self.violations.push(format!("{}.{name}", self.field), problem);
        }
        for (i, item) in items.iter().take(Subject::MAX_ITEMS).enumerate() {
            each(item, &format!("{}.{name}[{i}]", self.field), self.violations);
        }
    }
}

fn short(text: &str, at: &str, violations: &mut Violations) {
    check_text(violations, at, text, Subject::TEXT_MAX_CHARS);
}

fn optional(text: Option<&String>, at: &str, violations: &mut Violations) {
    if let Some(text) = text {
        short(text, at, violations);
    }
}

fn check_address(address: &Address, at: &str, violations: &mut Violations) {
    let parts = [
        ("street", &address.street),
        ("city", &address.city),
        ("region", &address.region),
        ("postal_code", &address.postal_code),
        ("remark", &address.remark),
    ];
    if parts.iter().all(|(_, text)| text.is_none()) && address.country.is_none() {
        violations.push(at, "the address is empty: give street, city, region, postal_code or country, or leave it out");
    }
    for (part, text) in parts {
        optional(text.as_ref(), &format!("{at}.{part}"), violations);
    }
}

/// One line of text: not blank, within its length, nothing that a terminal or a reader could be misled by.
pub(crate) fn check_text(violations: &mut Violations, field: &str, text: &str, max_chars: usize) {
    check(violations, field, text, max_chars, |c| c.is_control());
}

/// Text of several lines, under the same rules.
pub(crate) fn check_prose(violations: &mut Violations, field: &str, text: &str, max_chars: usize) {
    check(violations, field, text, max_chars, |c| c.is_control() && c != '\n' && c != '\t');
}

fn check(violations: &mut Violations, field: &str, text: &str, max_chars: usize, control: impl Fn(char) -> bool) {
    // A char is at least a byte, so short texts need no counting.
    if text.len() > max_chars {
        let chars = text.chars().count();
        if chars > max_chars {
            violations.push(field, format!("{chars} characters: at most {max_chars}"));
            return;
        }
    }
    if text.trim().is_empty() {
        violations.push(field, "is empty");
    }
    if text.chars().any(control) {
        violations.push(field, "holds a control character: remove it");
    }
    // Overrides of writing direction make a name read as another; right-to-left scripts do not need them.
    if text.chars().any(|c| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')) {
        violations.push(field, "holds a bidirectional override (U+202A to U+202E, U+2066 to U+2069): remove it");
    }
}
