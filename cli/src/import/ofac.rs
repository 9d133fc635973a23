//! One subject of OFAC's Specially Designated Nationals list, from the official CSV set: `sdn.csv`, `alt.csv`, `add.csv`
//! and, where remarks are long, `sdn_comments.csv`.
//!
//! Reads files and nothing else; the files are streamed, and no more than one record is held at a time.

mod countries;
mod dates;
mod identifiers;
mod remarks;
pub mod sample;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use comity_core::marking::Marking;
use comity_core::proposal::Proposal;
use comity_core::subject::{
    Address, Craft, InvalidSlug, Name, NameKind, NameQuality, Programme, SourceRecord, Subject, SubjectKind,
};
use comity_core::violation::Violations;

use self::remarks::{Linked, Remarks};
use self::table::{Row, Table};

/// The list, as [`SourceRecord`]s name it.
pub const LIST: &str = "us-ofac-sdn";

/// The authority, as [`Programme`]s name it.
pub const AUTHORITY: &str = "US-OFAC";

const SDN: (&str, usize) = ("sdn.csv", 12);
const ALT: (&str, usize) = ("alt.csv", 5);
const ADD: (&str, usize) = ("add.csv", 6);
const COMMENTS: (&str, usize) = ("sdn_comments.csv", 2);

/// Where the remarks of `sdn.csv` stop; the rest stands in `sdn_comments.csv`.
const REMARKS_MAX_CHARS: usize = 1_000;

/// A subject as the list has it. All that the source says is in `subject`: in a field or, as written, in its notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The subject, its programmes, and the record it comes from.
    pub subject: Subject,
    /// The record it comes from.
    pub source: SourceRecord,
    /// The whole remarks as published, from both files.
    pub remarks: String,
    /// What the operator should look at, in plain words. They may name people: show them, do not log them.
    pub warnings: Vec<String>,
}

/// Why a subject could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OfacError {
    /// The folder cannot be listed.
    #[error("{}: cannot read the folder: {source}; give the folder that holds OFAC's CSV files", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// One of the set is not there.
    #[error("{}: no `{name}` in this folder: expected OFAC's CSV set (sdn.csv, alt.csv, add.csv, sdn_comments.csv)", dir.display())]
    MissingFile {
        /// The folder.
        dir: PathBuf,
        /// The file's name.
        name: &'static str,
    },
    /// A file cannot be read.
    #[error("{}: cannot read: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is XML or a web page.
    #[error("{}: is XML or HTML, not CSV: download the list in its CSV form", file.display())]
    Markup {
        /// The file.
        file: PathBuf,
    },
    /// A row does not begin with a number.
    #[error("{}: line {line}: expected a uid (a number) in the first column, found `{found}`; OFAC's files have no header row", file.display())]
    Number {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What stands there.
        found: String,
    },
    /// A row has another number of columns.
    #[error("{}: line {line}: expected {expected} columns, found {found}: the file is another one, or cut short", file.display())]
    Columns {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// As many as OFAC documents.
        expected: usize,
        /// As many as there are.
        found: usize,
    },
    /// A record is longer than any can be.
    #[error("{}: line {line}: a record of more than {} bytes: a closing quote is missing, or this is not a list", file.display(), table::RECORD_MAX_BYTES)]
    RecordTooLong {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// Rows follow the mark that closes the file.
    #[error("{}: line {line}: rows follow the closing mark (0x1A): two files were joined; download the set again", file.display())]
    AfterEnd {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// The list has no such subject.
    #[error("uid {uid}: not among the {rows} rows of {}: look it up in the first column, or in a newer list", file.display())]
    UnknownUid {
        /// The number asked for.
        uid: u64,
        /// The file.
        file: PathBuf,
        /// How many subjects it has.
        rows: u64,
    },
    /// Two subjects of one number.
    #[error("uid {uid}: {} has it twice, again at line {line}: download the set again", file.display())]
    DuplicateUid {
        /// The number asked for.
        uid: u64,
        /// The file.
        file: PathBuf,
        /// The second row's line, from 1.
        line: u64,
    },
    /// The source says what no subject may hold.
    #[error("uid {uid}: cannot be taken over: {violations}")]
    Unfit {
        /// The number asked for.
        uid: u64,
        /// Every field that is not as it must be.
        violations: Violations,
    },
}

/// Reads the subject with that number from the CSV set in a folder. File names may be in upper or lower case; only
/// `sdn_comments.csv` may be missing.
///
/// # Errors
/// A file is missing or not what it should be, the list has no such subject, or its text breaks the bounds of a subject.
pub fn read_subject(dir: &Path, uid: u64) -> Result<Imported, OfacError> {
    let files = Files::in_folder(dir)?;
    let entry = Entry::find(&files.sdn, uid)?;
    let unfit = |violations| OfacError::Unfit { uid, violations };
    let list = LIST.parse().map_err(|e: InvalidSlug| unfit(Violations::one("source.list", e.to_string())))?;
    let source = SourceRecord { list, id: uid.to_string() };
    let (mut subject, mut warnings) = (entry.subject, entry.warnings);

    let mut text = entry.remarks;
    match &files.comments {
        // The cut falls anywhere, so nothing comes between.
        Some(comments) => each_of(comments, COMMENTS.1, uid, |row| text.push_str(&row.raw(1)))?,
        None if text.chars().count() >= REMARKS_MAX_CHARS => warnings.push(format!(
            "the remarks fill all {REMARKS_MAX_CHARS} characters and there is no {}: their end may be missing",
            COMMENTS.0
        )),
        None => {}
    }
    let text = text.trim().to_owned();
    let remarks = remarks::read(&text, subject.kind, &subject.positions);

    each_of(&files.alt, ALT.1, uid, |row| add_name(&mut subject, &mut warnings, row))?;
    each_of(&files.add, ADD.1, uid, |row| subject.addresses.extend(address(row)))?;
    let links = take_over(&mut subject, &mut warnings, remarks);
    resolve(&files.sdn, &source, links, &mut subject)?;
    subject.source_records.push(source.clone());

    let mut violations = Violations::default();
    subject.check("subject", &mut violations);
    violations.into_result().map_err(unfit)?;
    Ok(Imported { subject, source, remarks: text, warnings })
}

/// A proposal to be completed: the subject as listed, and a statement of case that says what is still to be written.
pub fn draft(imported: &Imported, marking: Marking) -> Proposal {
    let subject = imported.subject.clone();
    let title: String = subject.primary_name().chars().take(Proposal::TITLE_MAX_CHARS).collect();
    let codes: Vec<&str> = subject.programmes.iter().map(|p| p.code.as_str()).collect();
    let under = match codes.as_slice() {
        [] => String::new(),
        [one] => format!(", programme {one}"),
        many => format!(", programmes {}", many.join(", ")),
    };
    let statement_of_case = format!(
        "Listed by the United States (OFAC SDN, uid {}{under}).\n\n\
         To be completed before tabling: what the subject did, when and where, and what shows it.",
        imported.source.id
    );
    Proposal {
        title,
        marking,
        subject,
        statement_of_case,
        measures: Vec::new(),
        incidents: Vec::new(),
        assessment: None,
        sources: Vec::new(),
    }
}

struct Files {
    sdn: PathBuf,
    alt: PathBuf,
    add: PathBuf,
    comments: Option<PathBuf>,
}

impl Files {
    fn in_folder(dir: &Path) -> Result<Self, OfacError> {
        let folder = |source| OfacError::Folder { dir: dir.to_owned(), source };
        let mut found = BTreeMap::new();
        for item in std::fs::read_dir(dir).map_err(folder)? {
            let item = item.map_err(folder)?;
            let name = item.file_name().to_string_lossy().to_ascii_lowercase();
            if let Some((known, _)) = [SDN, ALT, ADD, COMMENTS].into_iter().find(|(known, _)| *known == name) {
                found.insert(known, item.path());
            }
        }
        let mut take =
            |name: &'static str| found.remove(name).ok_or_else(|| OfacError::MissingFile { dir: dir.to_owned(), name });
        Ok(Self { sdn: take(SDN.0)?, alt: take(ALT.0)?, add: take(ADD.0)?, comments: take(COMMENTS.0).ok() })
    }
}

/// What a row of `sdn.csv` says.
struct Entry {
    subject: Subject,
    /// As far as the row goes, its spaces kept.
    remarks: String,
    warnings: Vec<String>,
}

impl Entry {
    fn find(file: &Path, uid: u64) -> Result<Self, OfacError> {
        let mut table = Table::open(file, SDN.1)?;
        let (mut found, mut rows) = (None, 0);
        while let Some(row) = table.next_row()? {
            rows += 1;
            if row.uid != uid {
                continue;
            }
            if found.is_some() {
                return Err(OfacError::DuplicateUid { uid, file: file.to_owned(), line: row.line });
            }
            found = Some(Self::of(&row));
        }
        found.ok_or_else(|| OfacError::UnknownUid { uid, file: table.file().to_owned(), rows })
    }

    fn of(row: &Row<'_>) -> Self {
        let (mut warnings, mut notes) = (Vec::new(), Vec::new());
        let kind = match row.text(2).as_deref() {
            None => SubjectKind::Organization,
            Some("individual") => SubjectKind::Person,
            Some("vessel") => SubjectKind::Vessel,
            Some("aircraft") => SubjectKind::Aircraft,
            Some(other) => {
                warnings.push(format!("type `{other}` is not known: taken for an organisation, kept in the notes"));
                notes.push(format!("type: {other}"));
                SubjectKind::Organization
            }
        };
        let primary = row.text(1).map(|full| name(full, NameKind::Primary));
        // `NPWMD] [SYRIA`: the brackets around the whole are left out.
        let programmes = row.text(3).unwrap_or_default();
        let programmes = programmes.split("] [").map(|code| code.trim_matches(['[', ']', ' ']));
        let programme = |code: &str| Programme { authority: AUTHORITY.to_owned(), code: code.to_owned() };
        let positions = row.text(4).unwrap_or_default();
        let craft = Craft {
            call_sign: row.text(5),
            craft_type: row.text(6),
            tonnage: row.text(7),
            gross_tonnage: row.text(8),
            flag: row.text(9),
            owner: row.text(10),
        };
        let subject = Subject {
            kind,
            names: primary.into_iter().collect(),
            birth_dates: Vec::new(),
            birth_places: Vec::new(),
            nationalities: Vec::new(),
            gender: None,
            positions: remarks::split(&positions).into_iter().map(str::to_owned).collect(),
            identifiers: Vec::new(),
            addresses: Vec::new(),
            contacts: Vec::new(),
            programmes: programmes.filter(|code| !code.is_empty()).map(programme).collect(),
            links: Vec::new(),
            craft: (craft != Craft::default()).then_some(craft),
            source_records: Vec::new(),
            notes,
        };
        let remarks = row.text(11).map_or_else(String::new, |_| row.raw(11));
        Self { subject, remarks, warnings }
    }
}

/// Reads a whole file for the rows of one subject. Rows beyond what a subject may hold are not kept: one too many is, so
/// that the check which follows says so.
fn each_of(file: &Path, columns: usize, uid: u64, mut each: impl FnMut(&Row<'_>)) -> Result<(), OfacError> {
    let mut table = Table::open(file, columns)?;
    let mut left = Subject::MAX_ITEMS + 1;
    while let Some(row) = table.next_row()? {
        if row.uid == uid && left > 0 {
            left -= 1;
            each(&row);
        }
    }
    Ok(())
}

fn name(full: String, kind: NameKind) -> Name {
    Name { full, kind, quality: NameQuality::Strong, script: None, language: None }
}

fn add_name(subject: &mut Subject, warnings: &mut Vec<String>, row: &Row<'_>) {
    let stated = row.text(2);
    let kind = match stated.as_deref() {
        Some("aka") => NameKind::Alias,
        Some("fka") => NameKind::Former,
        Some("nka") => NameKind::Current,
        other => {
            let other = other.unwrap_or("none");
            warnings.push(format!("alias {}: kind `{other}` is not known: taken for an alias", row.raw(1)));
            NameKind::Alias
        }
    };
    if let Some(full) = row.text(3) {
        if let Some(remark) = row.text(4) {
            subject.notes.push(format!("{full}: {remark}"));
        }
        subject.names.push(name(full, kind));
    }
}

/// A row of `add.csv`, or nothing where it has only nulls, as every subject without an address has one.
fn address(row: &Row<'_>) -> Option<Address> {
    let mut address = Address { street: row.text(2), city: row.text(3), remark: row.text(5), ..Address::default() };
    if let Some(country) = row.text(4) {
        match (countries::code(&country), country.strip_prefix("Region: ")) {
            (Some(code), _) => address.country = Some(code),
            (None, Some(region)) => address.region = Some(region.trim().to_owned()),
            (None, None) if country == "West Bank" => address.region = Some(country),
            (None, None) => {
                let said = format!("country: {country}");
                address.remark = Some(address.remark.map_or(said.clone(), |remark| format!("{said}; {remark}")));
            }
        }
    }
    (address != Address::default()).then_some(address)
}

/// Puts what the remarks say into the subject, all but the links, which need the list.
fn take_over(subject: &mut Subject, warnings: &mut Vec<String>, remarks: Remarks) -> Vec<Linked> {
    for name in remarks.names {
        if !subject.names.contains(&name) {
            subject.names.push(name);
        }
    }
    for position in remarks.positions {
        if !subject.positions.contains(&position) {
            subject.positions.push(position);
        }
    }
    subject.birth_dates = remarks.birth_dates;
    subject.birth_places = remarks.birth_places;
    subject.nationalities = remarks.nationalities;
    subject.gender = remarks.gender;
    subject.identifiers = remarks.identifiers;
    subject.contacts = remarks.contacts;
    if remarks.is_public_body {
        subject.kind = SubjectKind::PublicBody;
    }
    if let Some(model) = remarks.craft_type {
        let craft = subject.craft.get_or_insert_default();
        match &craft.craft_type {
            None => craft.craft_type = Some(model),
            Some(_) => subject.notes.push(format!("Aircraft Model {model}")),
        }
    }
    subject.notes.extend(remarks.notes);
    warnings.extend(remarks.warnings);
    remarks.links
}

/// Finds the records of the linked subjects: a name leads to one where exactly one subject is listed under it.
fn resolve(file: &Path, source: &SourceRecord, links: Vec<Linked>, subject: &mut Subject) -> Result<(), OfacError> {
    /// Who is listed under a name.
    enum Listed {
        Once(u64),
        Often,
    }
    if links.is_empty() {
        return Ok(());
    }
    let mut wanted: BTreeMap<String, Option<Listed>> = BTreeMap::new();
    for linked in &links {
        wanted.extend(linked.spellings().map(|spelling| (spelling.to_owned(), None)));
    }
    let mut table = Table::open(file, SDN.1)?;
    while let Some(row) = table.next_row()? {
        if let Some(listed) = row.text(1).and_then(|name| wanted.get_mut(&name)) {
            *listed = Some(if listed.is_none() { Listed::Once(row.uid) } else { Listed::Often });
        }
    }
    for linked in links {
        let known = linked.spellings().find(|s| matches!(wanted.get(*s), Some(Some(_)))).map(str::to_owned);
        let mut link = linked.link;
        if let Some(spelling) = known {
            if let Some(Some(Listed::Once(uid))) = wanted.get(&spelling) {
                link.record = Some(SourceRecord { list: source.list.clone(), id: uid.to_string() });
            }
            link.name = spelling;
        }
        if !subject.links.contains(&link) {
            subject.links.push(link);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
