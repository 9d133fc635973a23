//! Documents as officers write them: one in a YAML or JSON file, or on standard input.
//!
//! Reads and checks; sends nothing. Whatever is wrong is said with the file, the line where it is known, and the field.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use comity_core::document::Document;
use comity_core::proposal::{Proposal, PublicPart};
use comity_core::violation::Violations;
use comity_core::{RecordKind, canonical};
use serde::de::DeserializeOwned;
use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{Error as YamlError, Options};

/// The largest file that is read at all.
pub const FILE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A draft to begin from: every common field, explained.
pub const EXAMPLE: &str = include_str!("draft_file/example.yaml");

/// An incident to begin from.
pub const INCIDENT_EXAMPLE: &str = include_str!("draft_file/incident.yaml");

/// An evidence reference to begin from.
pub const EVIDENCE_EXAMPLE: &str = include_str!("draft_file/evidence.yaml");

/// Why a file is no draft.
#[derive(Debug, thiserror::Error)]
pub enum DraftFileError {
    /// The file cannot be read.
    #[error("{file}: cannot read: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file is too large.
    #[error("{file}: larger than {FILE_MAX_BYTES} bytes: at most that")]
    TooLarge {
        /// The file.
        file: String,
    },
    /// The file is not UTF-8.
    #[error("{file}: line {line}: not UTF-8 text: save the file as UTF-8")]
    NotUtf8 {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// There is nothing in it.
    #[error("{file}: is empty: the verb's `--example` prints one to begin from")]
    Empty {
        /// The file.
        file: String,
    },
    /// The text is not YAML, or uses it as no draft may.
    #[error("{file}: {place}not a YAML draft: {problem}")]
    Syntax {
        /// The file.
        file: String,
        /// Where.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// The record says not who may have it.
    #[error(
        "{file}: marking: a record without a marking is refused: add `marking: {{tier: official}}` (or public, restricted, \
         confidential, secret, top_secret)"
    )]
    NoMarking {
        /// The file.
        file: String,
    },
    /// A field is not as it must be.
    #[error("{file}: {place}{path}: {problem}")]
    Field {
        /// The file.
        file: String,
        /// Where.
        place: Place,
        /// The field, as `subject.names[0].script`.
        path: String,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// Fields are well-formed one by one and yet not as they must be.
    #[error("{file}: {violations}")]
    Invalid {
        /// The file.
        file: String,
        /// All of them.
        violations: Violations,
    },
}

/// A line and column from 1, where known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(Option<(u64, u64)>);

impl Place {
    /// From `3 column 5`, as serde_json ends its errors.
    fn of_json(text: &str) -> Self {
        let parts = text.split_once(" column ");
        Self(parts.and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?))))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(line, column)| write!(f, "line {line}, column {column}: "))
    }
}

/// Reads a draft of a record from a path, or from standard input where it is `-`. What begins with `{` is JSON, all else YAML.
///
/// # Errors
/// The file cannot be read, or it is no valid document of that kind.
pub fn read(kind: RecordKind, source: &str) -> Result<Document, DraftFileError> {
    let document = match kind {
        RecordKind::Proposal => Document::Proposal(read_as(source)?),
        RecordKind::Opinion => Document::Opinion(read_as(source)?),
        RecordKind::Incident => Document::Incident(read_as(source)?),
        RecordKind::Evidence => Document::Evidence(read_as(source)?),
        RecordKind::Request => Document::Request(read_as(source)?),
        RecordKind::Grant => Document::Grant(read_as(source)?),
        RecordKind::Recall => Document::Recall(read_as(source)?),
    };
    let checked = match &document {
        Document::Proposal(proposal) => check(proposal),
        other => other.check(),
    };
    checked.map_err(|violations| DraftFileError::Invalid { file: name_of(source), violations })?;
    Ok(document)
}

/// Reads any document that a person wrote, YAML or JSON, as it is; what it says is the caller's to check.
///
/// # Errors
/// The file cannot be read, or does not have the document's fields.
pub fn read_as<T: DeserializeOwned>(source: &str) -> Result<T, DraftFileError> {
    if source == "-" {
        return read_from(&name_of(source), io::stdin().lock());
    }
    let file = File::open(source).map_err(|error| DraftFileError::Read { file: source.to_owned(), source: error })?;
    read_from(source, file)
}

fn name_of(source: &str) -> String {
    if source == "-" { "standard input".to_owned() } else { source.to_owned() }
}

fn read_from<T: DeserializeOwned>(file: &str, input: impl Read) -> Result<T, DraftFileError> {
    let name = || file.to_owned();
    let mut bytes = Vec::new();
    let read = input.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| DraftFileError::Read { file: name(), source })?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(DraftFileError::TooLarge { file: name() });
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        DraftFileError::NotUtf8 { file: name(), line: 1 + good.iter().filter(|b| **b == b'\n').count() }
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(DraftFileError::Empty { file: name() });
    }
    if text.trim_start().starts_with('{') { json(file, text) } else { yaml(file, text) }
}

/// What the node would refuse is said here, before anything is sent.
fn check(proposal: &Proposal) -> Result<(), Violations> {
    proposal.check()?;
    let whole = ("document", canonical::to_vec(proposal).len(), Proposal::MAX_BYTES);
    let public = ("public part", canonical::to_vec(&proposal.public_part()).len(), PublicPart::MAX_BYTES);
    for (what, bytes, most) in [whole, public] {
        if bytes > most {
            return Err(Violations::one(what, format!("{bytes} bytes as JSON: at most {most}")));
        }
    }
    Ok(())
}

fn json<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, DraftFileError> {
    canonical::from_slice(text.as_bytes()).map_err(|error| {
        let file = file.to_owned();
        if error.problem.starts_with("missing field `marking`") {
            return DraftFileError::NoMarking { file };
        }
        let (mut problem, place) = match error.problem.rsplit_once(" at line ") {
            Some((problem, at)) => (problem.to_owned(), Place::of_json(at)),
            None => (error.problem.clone(), Place(None)),
        };
        if error.path == "document" && !problem.contains(" field `") {
            problem.push_str("; what begins with `{` is read as JSON");
        }
        DraftFileError::Field { file, place, path: short(&error.path), problem: short(&problem) }
    })
}

fn yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, DraftFileError> {
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        let mut track = serde_path_to_error::Track::new();
        T::deserialize(serde_path_to_error::Deserializer::new(yaml, &mut track))
            .inspect_err(|_| path = track.path().to_string())
    });
    read.map_err(|error| refusal(file, &path, error.without_snippet()))
}

/// Drafts need no anchors: what little use of them is allowed cannot grow.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 16,
            // The second is refused by name, not by the budget.
            max_documents: 2,
            max_anchors: 100,
            max_aliases: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    }
}

fn refusal(file: &str, path: &str, error: &YamlError) -> DraftFileError {
    let file = file.to_owned();
    let place = Place(error.location().map(|at| (at.line(), at.column())));
    let error = match error {
        YamlError::AliasError { error, .. } => error.without_snippet(),
        other => other,
    };
    // The path of what is no field yet ends in `?`; that of the whole is `.`.
    let path = path.trim_end_matches('?').trim_end_matches('.');
    let inside = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let (path, problem) = match error {
        YamlError::SerdeMissingField { field: "marking", .. } => return DraftFileError::NoMarking { file },
        YamlError::Eof { .. } if path.is_empty() => return DraftFileError::Empty { file },
        YamlError::SerdeMissingField { field, .. } => (inside(field), "is missing".to_owned()),
        YamlError::SerdeUnknownField { expected, .. } => {
            (path.to_owned(), format!("unknown field: expected one of {}", expected.join(", ")))
        }
        YamlError::DuplicateMappingKey { key: Some(key), .. } => (inside(key), "stands twice: keep one".to_owned()),
        YamlError::NullIntoString { .. } => (path.to_owned(), "is empty: expected a text, or leave it out".to_owned()),
        YamlError::Unexpected { expected: "mapping start", .. } => {
            (path.to_owned(), "expected fields with values".to_owned())
        }
        YamlError::Unexpected { expected: "sequence start", .. } => (path.to_owned(), "expected a list".to_owned()),
        YamlError::Unexpected { expected: "string scalar", .. } => (path.to_owned(), "expected a text".to_owned()),
        YamlError::MergeKeyNotAllowed { .. } => {
            (path.to_owned(), "`<<` is not allowed: write the fields out".to_owned())
        }
        YamlError::Budget { breach, .. } => {
            (path.to_owned(), format!("more than any draft needs ({breach:?}): write it plainly, without anchors"))
        }
        YamlError::MultipleDocuments { .. } => {
            (String::new(), "a second document: expected one draft in the file".to_owned())
        }
        other => (path.to_owned(), without_place(other)),
    };
    let (path, problem) = (short(&path), short(&problem));
    if path.is_empty() {
        DraftFileError::Syntax { file, place, problem }
    } else {
        DraftFileError::Field { file, place, path, problem }
    }
}

/// The reader's own words, without the line and column that are said before them.
fn without_place(error: &YamlError) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(problem, _)| problem.to_owned())
}

/// Errors quote what they were given, which may be a file full of one word.
fn short(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    match text.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
