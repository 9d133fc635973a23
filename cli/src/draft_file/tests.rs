use comity_core::subject::Subject;

use super::*;

fn from(text: &str) -> Result<Proposal, DraftFileError> {
    let proposal = read_from("draft.yaml", text.as_bytes())?;
    check(&proposal).map_err(|violations| DraftFileError::Invalid { file: "draft.yaml".to_owned(), violations })?;
    Ok(proposal)
}

fn refused(text: &str) -> String {
    from(text).unwrap_err().to_string()
}

/// A draft in full, with so much more in its subject.
fn draft(subject: &str) -> String {
    format!(
        "title: x\nmarking: {{tier: official, releasable_to: [NO]}}\nstatement_of_case: y\nsubject:\n  kind: person\n  {subject}\n"
    )
}

const NAMED: &str = "names: [{full: A, kind: primary}]";

#[test]
fn the_example_is_a_draft() {
    let proposal = from(EXAMPLE).unwrap();
    assert_eq!(proposal.subject.names.len(), 3);
    assert_eq!(proposal.subject.birth_dates.len(), 3);
    let json = canonical::to_vec(&proposal);
    assert_eq!(read_from::<Proposal>("draft.json", json.as_slice()).unwrap(), proposal, "JSON is read as well as YAML");
}

#[test]
fn the_other_examples_are_documents_of_their_kinds() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, text) in [(RecordKind::Incident, INCIDENT_EXAMPLE), (RecordKind::Evidence, EVIDENCE_EXAMPLE)] {
        let path = folder.path().join("example.yaml");
        std::fs::write(&path, text).unwrap();
        let document = read(kind, &path.display().to_string()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(document.kind(), kind);
    }
}

#[test]
fn words_and_numbers_stay_as_they_are_written() {
    let more = format!(
        "{NAMED}\n  nationalities: [NO]\n  birth_dates: [1961, 1960-02]\n  gender: no\n  identifiers:\n{}",
        ["004123298", "0x10", "1e3", "yes", "1_000", "2001-01-01", "1.10"]
            .map(|value| format!("    - {{kind: passport, value: {value}, country: NO}}\n"))
            .concat()
    );
    let Subject { nationalities, identifiers, birth_dates, gender, .. } = from(&draft(&more)).unwrap().subject;
    assert_eq!(nationalities, ["NO".parse().unwrap()], "Norway is no `false`");
    assert_eq!(gender.as_deref(), Some("no"));
    assert_eq!(birth_dates.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1961", "1960-02"]);
    let values: Vec<&str> = identifiers.iter().map(|i| i.value.as_str()).collect();
    assert_eq!(values, ["004123298", "0x10", "1e3", "yes", "1_000", "2001-01-01", "1.10"]);
}

#[test]
fn errors_name_the_line_and_the_field() {
    for (text, expected) in [
        ("title: 'x\n".to_owned(), "draft.yaml: line 1, column 8: not a YAML draft: unclosed quote"),
        ("just text".to_owned(), "draft.yaml: line 1, column 1: not a YAML draft: expected fields with values"),
        ("- a\n".to_owned(), "draft.yaml: line 1, column 1: not a YAML draft: expected fields with values"),
        (
            "title: x\nfoo: 1\n".to_owned(),
            "draft.yaml: line 2, column 1: foo: unknown field: expected one of title, marking",
        ),
        ("title: x\ntitle: y\n".to_owned(), "draft.yaml: line 2, column 1: title: stands twice: keep one"),
        ("title: {a: 1}\n".to_owned(), "draft.yaml: line 1, column 8: title: expected a text"),
        ("title: ~\n".to_owned(), "draft.yaml: line 1, column 8: title: is empty"),
        (
            "marking: {tier: pub}\n".to_owned(),
            "draft.yaml: line 1, column 17: marking.tier: unknown variant `pub`, expected one of public",
        ),
        ("marking: {<<: {tier: public}}\n".to_owned(), "draft.yaml: line 1, column 11: marking: `<<` is not allowed"),
        (
            "title: x\nstatement_of_case: y\nsubject: {kind: person, names: []}\n".to_owned(),
            "draft.yaml: marking: a record without a marking is refused: add `marking: {tier: official}`",
        ),
        (
            "title: x\nmarking: {tier: public}\nsubject: {kind: person}\n".to_owned(),
            "draft.yaml: line 3, column 11: subject.names: is missing",
        ),
        (
            draft("names: [{full: a, foo: b}]"),
            "draft.yaml: line 6, column 21: subject.names[0].foo: unknown field: expected one of full",
        ),
        (draft("names: [{full: a, full: b}]"), "draft.yaml: line 6, column 21: subject.names[0].full: stands twice"),
        (draft("names: a"), "draft.yaml: line 6, column 10: subject.names: expected a list"),
        (
            draft("nationalities: [SY, XX]"),
            "draft.yaml: line 6, column 23: subject.nationalities[1]: `XX` is not a country",
        ),
        (
            draft("birth_dates: [1961-13]"),
            "draft.yaml: line 6, column 17: subject.birth_dates[0]: month 13: expected 01 to 12",
        ),
        (draft("birth_dates: [1961-02-30]"), "draft.yaml: line 6, column 17: subject.birth_dates[0]: day 30"),
        (draft("names: [{full: a}]"), "draft.yaml: subject.names: 0 names are primary"),
        (
            format!("{}---\ntitle: z\n", draft(NAMED)),
            "draft.yaml: line 8, column 1: not a YAML draft: a second document",
        ),
    ] {
        let error = refused(&text);
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
}

#[test]
fn json_is_held_to_the_same() {
    for (text, expected) in [
        (
            "{",
            "draft.yaml: line 1, column 1: document: EOF while parsing an object; what begins with `{` is read as JSON",
        ),
        ("{title: x}", "draft.yaml: line 1, column 2: document: key must be a string"),
        (r#"{"title": "x", "foo": 1}"#, "draft.yaml: line 1, column 20: foo: unknown field `foo`"),
        (r#"{"title": "x", "title": "y"}"#, "draft.yaml: line 1, column 22: document: duplicate field `title`"),
        (
            r#"{"title": "x", "subject": {"kind": "person", "names": []}, "statement_of_case": "x"}"#,
            "draft.yaml: marking: a record without a marking is refused",
        ),
        (
            r#"{"subject": {"nationalities": ["XX"]}}"#,
            "draft.yaml: line 1, column 35: subject.nationalities[0]: `XX` is not a country",
        ),
        (
            r#"{"subject": {"birth_dates": ["1961-13"]}}"#,
            "draft.yaml: line 1, column 38: subject.birth_dates[0]: month 13",
        ),
    ] {
        let error = refused(text);
        assert!(error.starts_with(expected), "{text}\n{error}");
    }
}

#[test]
fn files_that_are_no_text_are_refused() {
    for empty in ["", " \n\n", "# only a comment\n", "\u{FEFF}"] {
        assert!(refused(empty).contains("--example"), "{empty:?}: {}", refused(empty));
    }
    let error = read_from::<Proposal>("f", &b"title: x\nsubject: \xFF\xFE\n"[..]).unwrap_err().to_string();
    assert_eq!(error, "f: line 2: not UTF-8 text: save the file as UTF-8");
    let error = read_from::<Proposal>("f", io::repeat(b'x')).unwrap_err().to_string();
    assert_eq!(error, "f: larger than 16777216 bytes: at most that");
    let error = read(RecordKind::Proposal, "/nowhere/draft.yaml").unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/draft.yaml: cannot read: "), "{error}");
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read(RecordKind::Proposal, dir.path().to_str().unwrap()), Err(DraftFileError::Read { .. })));
}

#[test]
fn sizes_are_bounded() {
    let name = "x".repeat(10 << 20);
    let error = refused(&draft(&format!("names: [{{full: {name}, kind: primary}}]")));
    assert_eq!(error, "draft.yaml: subject.names[0].full: 10485760 characters: at most 500");
    let error = refused(&format!("{name}: 1\n"));
    assert!(error.chars().count() < 1_000, "{} characters", error.chars().count());

    let notes: String = (0..60).map(|_| format!("    - {}\n", "n".repeat(9_000))).collect();
    let error = refused(&draft(&format!("{NAMED}\n  notes:\n{notes}")));
    assert!(error.contains("as JSON: at most 524288"), "{error}");
    let notes: String = (0..40).map(|_| format!("    - {}\n", "n".repeat(9_000))).collect();
    let error = refused(&draft(&format!("{NAMED}\n  notes:\n{notes}")));
    assert!(error.contains("public part") && error.contains("at most 262144"), "{error}");
}

#[test]
fn bombs_do_not_go_off() {
    let mut bomb = "subject:\n  notes:\n    - &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let before = i - 1;
        bomb.push_str(&format!("    - &a{i} [{}]\n", vec![format!("*a{before}"); 10].join(", ")));
    }
    assert!(refused(&bomb).contains("subject.notes[0]"), "{}", refused(&bomb));

    // Aliases alone, each in a place where its value may stand.
    let many = format!("    - &n n\n{}", "    - *n\n".repeat(400));
    let error = refused(&draft(&format!("{NAMED}\n  notes:\n{many}")));
    assert!(error.contains("alias"), "{error}");

    let deep = format!("title: {}", "[".repeat(100_000));
    assert!(refused(&deep).starts_with("draft.yaml: line 1"), "{}", refused(&deep));
    let deep = format!("{{\"subject\": {}", "{\"subject\":".repeat(100_000));
    assert!(refused(&deep).starts_with("draft.yaml: line 1"), "{}", refused(&deep));
}
