use super::*;

fn person(text: &str) -> Remarks {
    read(text, SubjectKind::Person, &["Lt. Col.".to_owned(), "Minister (acting)".to_owned()])
}

#[test]
fn every_statement_ends_in_a_field_or_in_the_notes() {
    let remarks = person(
        "DOB 1961; alt. DOB 1960; DOB soon; POB Homs, Syria; nationality Syria; citizen Lebanon; nationality possibly \
         Palestinian;arrested 23 Apr 2002; Gender Male; Passport N1 (Syria) expires 2019; Minister (acting); a.k.a. 'O'NEIL'; \
         f.k.a. 'X'; Secondary sanctions risk: section 1; said to be tall; Linked To: HOLDING, S.A.",
    );
    let Counts { statements, mapped, stated, noted } = remarks.counts;
    assert_eq!((statements, mapped, stated, noted), (15, 11, 1, 3));
    let dates: Vec<String> = remarks.birth_dates.iter().map(ToString::to_string).collect();
    assert_eq!(dates, ["1961", "1960"]);
    assert_eq!(remarks.birth_places, ["Homs, Syria"]);
    assert_eq!(remarks.nationalities.iter().map(|c| c.as_str()).collect::<Vec<_>>(), ["SY", "LB"]);
    let names: Vec<_> = remarks.names.iter().map(|n| (n.full.as_str(), n.kind, n.quality)).collect();
    assert_eq!(names, [("O'NEIL", NameKind::Alias, NameQuality::Weak), ("X", NameKind::Former, NameQuality::Weak)]);
    assert_eq!(
        remarks.notes,
        [
            "DOB soon",
            "nationality possibly Palestinian;arrested 23 Apr 2002",
            "Passport N1 (Syria) expires 2019",
            "Secondary sanctions risk: section 1",
            "said to be tall",
        ]
    );
    assert_eq!(remarks.warnings.len(), 2, "{:?}", remarks.warnings);
}

#[test]
fn brackets_hold_together() {
    let said = "DOB 1960; (From a passport of another: Alt. DOB: 10 October 1969; nationality: Eritrea); Gender Male";
    assert_eq!(split(said).len(), 3);
    assert_eq!(person(said).birth_dates.len(), 1);
    // Brackets that never close hold nothing.
    assert_eq!(split("a (b; c; d").len(), 3);
    assert_eq!(split("").len(), 0);
    assert_eq!(split("; ; a; "), ["a"]);
    assert_eq!(split(&"(; ".repeat(20_000)).len(), 20_000);
}

#[test]
fn the_last_full_stop_is_the_remarks_own() {
    assert_eq!(person("DOB 1961.").birth_dates.len(), 1);
    assert_eq!(person("Lt. Col.").counts.mapped, 1);
    assert_eq!(person("a.k.a. 'SSRC'.").names.first().unwrap().full, "SSRC");
    let linked = |text: &str| person(text).links.remove(0);
    assert_eq!(linked("Linked To: HIZBALLAH.").link.name, "HIZBALLAH");
    assert_eq!(linked("Linked To: HOLDING, S.A.").link.name, "HOLDING, S.A.");
    let spellings: Vec<String> = linked("Linked To: X CO.").spellings().map(str::to_owned).collect();
    assert_eq!(spellings, ["X CO.", "X CO"]);
    let spellings: Vec<String> = linked("Linked To: X CO.; DOB 1961").spellings().map(str::to_owned).collect();
    assert_eq!(spellings, ["X CO."]);
}

#[test]
fn words_that_only_begin_alike_are_left() {
    let remarks = person("DOBROVOLSKY aide; POBEDA; Genderless; nationality; Linked To:; a.k.a. X; é");
    assert_eq!(remarks.counts.noted, 7, "{:?}", remarks.notes);
}

#[test]
fn a_government_entity_is_a_public_body() {
    assert!(read("Target Type Government Entity.", SubjectKind::Organization, &[]).is_public_body);
    assert_eq!(person("Target Type Government Entity.").counts.stated, 1);
}

proptest::proptest! {
    #[test]
    fn any_text_is_safe(parts in proptest::collection::vec("(alt\\. )?(DOB|POB|Passport|a\\.k\\.a\\. '|NIT #|Linked To:|\\(|\\)|Email)? ?\\PC{0,12}\\.?", 0..8)) {
        let read = person(&parts.join("; "));
        let Counts { statements, mapped, stated, noted } = read.counts;
        proptest::prop_assert_eq!(statements, mapped + stated + noted);
    }
}
