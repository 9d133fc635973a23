use std::collections::BTreeMap;
use std::path::Path;

use comity_core::marking::Tier;
use tempfile::TempDir;

use super::remarks::Counts;
use super::*;

fn sample() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path()).unwrap();
    dir
}

fn names(subject: &Subject) -> Vec<(&str, NameKind, NameQuality)> {
    subject.names.iter().map(|n| (n.full.as_str(), n.kind, n.quality)).collect()
}

fn identifiers(subject: &Subject) -> Vec<String> {
    let one = |i: &comity_core::subject::Identifier| {
        let country = i.country.map_or("--", |c| c.as_str());
        format!("{} {} {country}", i.kind, i.value)
    };
    subject.identifiers.iter().map(one).collect()
}

#[test]
fn the_sample_is_as_ofac_publishes() {
    for (name, bytes) in sample::FILES {
        assert!(bytes.ends_with(b"\r\n\x1a"), "{name}");
        let bare = bytes.iter().zip(&bytes[1..]).filter(|(a, b)| **b == b'\n' && **a != b'\r').count();
        assert_eq!(bare, 0, "{name}");
    }
}

#[test]
fn reads_a_person() {
    let dir = sample();
    let imported = read_subject(dir.path(), sample::GENERAL).unwrap();
    let subject = &imported.subject;
    assert_eq!(subject.kind, SubjectKind::Person);
    let strong = NameQuality::Strong;
    assert_eq!(
        names(subject),
        [
            ("QASRELI, Bahur Imdad", NameKind::Primary, strong),
            ("QASRALI, Bahur", NameKind::Alias, strong),
            ("AL-QASRELI, Bahour", NameKind::Alias, strong),
            ("KASRELI, Bahur I.", NameKind::Alias, strong),
            ("ABU SAHN", NameKind::Alias, NameQuality::Weak),
        ]
    );
    assert_eq!(subject.birth_dates.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1961", "1960", "1962"]);
    assert_eq!(subject.positions, ["Brigadier General", "Meridan Center Production Director"]);
    assert_eq!(identifiers(subject), ["passport 000478882 SY", "national_id 000000001 SY"]);
    assert_eq!(subject.addresses, [], "a row of nulls is no address");
    assert_eq!(subject.programmes.iter().map(|p| p.code.as_str()).collect::<Vec<_>>(), ["SYRIA", "NPWMD"]);
    assert_eq!(subject.links[0].record.as_ref().unwrap().id, sample::CENTRE.to_string());
    assert_eq!(subject.notes, ["Passport 000478882 (Syria) expires 12 May 2019"]);
    assert_eq!(imported.source.id, "900002");
    assert_eq!(imported.warnings, [] as [&str; 0]);
}

#[test]
fn remarks_go_on_in_the_comments_in_the_middle_of_a_word() {
    let dir = sample();
    let imported = read_subject(dir.path(), sample::FINANCIER).unwrap();
    assert!(imported.remarks.len() > 1000);
    let subject = &imported.subject;
    assert_eq!(subject.identifiers.len(), 13, "eleven digital currency addresses, a passport and a tax id");
    assert_eq!(subject.contacts.len(), 3);
    assert_eq!(subject.links.len(), 2);
    assert!(subject.links.iter().all(|link| link.record.is_some()));
    assert_eq!(subject.notes.len(), 2, "{:?}", subject.notes);

    std::fs::remove_file(dir.path().join("sdn_comments.csv")).unwrap();
    let cut = read_subject(dir.path(), sample::FINANCIER).unwrap();
    assert!(cut.warnings.iter().any(|w| w.contains("sdn_comments.csv")), "{:?}", cut.warnings);
}

#[test]
fn every_sample_subject_says_all_that_the_source_says() {
    let dir = sample();
    let read = |uid| read_subject(dir.path(), uid).unwrap().subject;

    let centre = read(sample::CENTRE);
    assert_eq!(centre.kind, SubjectKind::PublicBody);
    assert_eq!(centre.addresses.len(), 2);
    assert!(names(&centre).contains(&("MCMR", NameKind::Alias, NameQuality::Weak)));
    assert!(names(&centre).contains(&(
        "INSTITUTE FOR INDUSTRIAL CERAMICS, MERIDAN",
        NameKind::Former,
        NameQuality::Strong
    )));

    let factory = read(sample::FACTORY);
    assert_eq!(factory.addresses[0].city.as_deref(), Some("Homs, Homs Governorate, 00012"));
    assert!(names(&factory).contains(&("TELLBAN ENGINEERING", NameKind::Current, NameQuality::Strong)));

    let buyer = read(sample::BUYER);
    assert_eq!(
        buyer.birth_dates.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["1974-01-01/1976-12-31", "1970~"]
    );
    assert_eq!(buyer.addresses[0].region.as_deref(), Some("Northern Uplands"));
    assert_eq!(buyer.notes, ["owner of a trading house in Istel"]);

    let ship = read(sample::SHIP);
    let craft = ship.craft.as_ref().unwrap();
    assert_eq!(craft.gross_tonnage.as_deref(), Some("2,870"));
    assert_eq!(craft.owner.as_deref(), Some("Tellban Shipping Co. Ltd."));
    assert_eq!(identifiers(&ship), ["imo_number 0000006 --", "mmsi 000000006 --"]);
    assert_eq!(ship.links[0].name, "TELLBAN SHIPPING CO. LTD.", "the full stop is the name's: the list has it so");
    assert_eq!(ship.links[0].record.as_ref().unwrap().id, "900007");

    let company = read(900_007);
    assert_eq!(company.addresses[0].remark.as_deref(), Some("country: undetermined"));
}

#[test]
fn a_draft_is_a_valid_proposal() {
    let dir = sample();
    let imported = read_subject(dir.path(), sample::GENERAL).unwrap();
    let proposal = draft(&imported, Marking::originator_only(Tier::Official));
    proposal.check().unwrap();
    assert_eq!(proposal.title, "QASRELI, Bahur Imdad");
    let said = &proposal.statement_of_case;
    assert!(said.starts_with("Listed by the United States (OFAC SDN, uid 900002, programmes SYRIA, NPWMD)."), "{said}");
    assert!(said.contains("To be completed"), "{said}");
}

#[test]
fn names_of_files_may_be_in_capitals() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in sample::FILES {
        std::fs::write(dir.path().join(name.to_uppercase()), bytes).unwrap();
    }
    assert!(read_subject(dir.path(), sample::CENTRE).is_ok());
}

/// The error of reading a set of which one file is another.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let dir = sample();
    std::fs::write(dir.path().join(name), bytes).unwrap();
    let error = read_subject(dir.path(), sample::GENERAL).unwrap_err().to_string();
    error.replace(&dir.path().display().to_string(), "DIR")
}

const REST: &str = r#"-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- "#;

#[test]
fn what_is_no_list_is_refused_with_file_and_line() {
    for (name, bytes, expected) in [
        ("sdn.csv", b"<?xml version=\"1.0\"?><sdnList/>".to_vec(), "DIR/sdn.csv: is XML or HTML, not CSV"),
        ("add.csv", b"\xEF\xBB\xBF <!DOCTYPE html>".to_vec(), "DIR/add.csv: is XML or HTML"),
        ("sdn.csv", b"ent_num,SDN_Name\r\n".to_vec(), "DIR/sdn.csv: line 1: expected a uid"),
        ("alt.csv", b"1,2,\"aka\",\"X\",-0- \r\n2,3\r\n".to_vec(), "DIR/alt.csv: line 2: expected 5 columns, found 2"),
        ("add.csv", b"PK\x03\x04\xFF\xFE".to_vec(), "DIR/add.csv: line 1: expected a uid"),
        ("sdn.csv", Vec::new(), "uid 900002: not among the 0 rows of DIR/sdn.csv"),
        (
            "alt.csv",
            b"1,2,\"aka\",\"X\",-0- \r\n\x1a\r\n1,2,\"aka\",\"X\",-0- ".to_vec(),
            "DIR/alt.csv: line 3: rows follow",
        ),
        (
            "alt.csv",
            [b"1,2,\"aka\",\"".to_vec(), vec![b'x'; 2 << 20]].concat(),
            "DIR/alt.csv: line 1: a record of more than",
        ),
        (
            "sdn.csv",
            format!("900002,\"X\",{REST},-0- \n900002,\"Y\",{REST},-0- \n").into(),
            "uid 900002: DIR/sdn.csv has it twice, again at line 2",
        ),
        (
            "sdn.csv",
            format!("900002,-0- ,{REST},-0- \n").into(),
            "uid 900002: cannot be taken over: subject.names: 0 names are primary",
        ),
        (
            "alt.csv",
            format!("900002,1,\"aka\",\"{}\",-0- ", "x".repeat(501)).into(),
            "uid 900002: cannot be taken over: subject.names[1].full: 501 characters",
        ),
        (
            "alt.csv",
            "900002,1,\"aka\",\"a\u{202E}b\",-0- ".into(),
            "uid 900002: cannot be taken over: subject.names[1].full: holds a bidi",
        ),
        (
            "alt.csv",
            "900002,1,\"aka\",\"X\",-0- \n".repeat(600).into(),
            "uid 900002: cannot be taken over: subject.names: 50",
        ),
    ] {
        let error = refusal(name, &bytes);
        assert!(error.starts_with(expected), "{name}: {error}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let dir = sample();
    std::fs::remove_file(dir.path().join("alt.csv")).unwrap();
    let error = read_subject(dir.path(), sample::GENERAL).unwrap_err().to_string();
    assert!(error.contains("no `alt.csv` in this folder"), "{error}");
    let error = read_subject(&dir.path().join("none"), 1).unwrap_err().to_string();
    assert!(error.contains("cannot read the folder"), "{error}");
    let dir = sample();
    let error = read_subject(dir.path(), 7).unwrap_err().to_string();
    assert!(error.contains("uid 7: not among the 7 rows") && error.contains("sdn.csv"), "{error}");
}

#[test]
fn old_files_are_read_too() {
    let dir = sample();
    let row = b"7,\"JOS\xC9, \"\"El\"\"\",\"individual\",\"SDNT\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,\"DOB 1961.\"\n";
    std::fs::write(dir.path().join("sdn.csv"), row).unwrap();
    std::fs::write(dir.path().join("add.csv"), "7,1,-0- ,-0- ,-0- ,-0").unwrap();
    std::fs::write(dir.path().join("alt.csv"), "7,1,\"xka\",\"Y\",\"a remark\"\x1a").unwrap();
    let imported = read_subject(dir.path(), 7).unwrap();
    assert_eq!(imported.subject.primary_name(), "JOSÉ, \"El\"");
    assert_eq!(imported.subject.addresses, []);
    assert_eq!(imported.subject.notes, ["Y: a remark"]);
    assert_eq!(imported.warnings.len(), 1, "{:?}", imported.warnings);
}

/// A folder of the lists as published, which are no part of the project.
fn published(list: &str) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/lists").join(list);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: {} is not there", dir.display());
    None
}

#[test]
fn loses_no_statement_of_the_published_list() {
    for list in ["us-ofac-sdn-2019-01", "us-ofac-sdn-2021-07"] {
        let Some(dir) = published(list) else { continue };
        let files = Files::in_folder(&dir).unwrap();
        let mut rest: BTreeMap<u64, String> = BTreeMap::new();
        if let Some(comments) = &files.comments {
            let mut table = Table::open(comments, COMMENTS.1).unwrap();
            while let Some(row) = table.next_row().unwrap() {
                rest.entry(row.uid).or_default().push_str(&row.raw(1));
            }
        }
        let (mut total, mut warnings) = (Counts::default(), 0);
        let mut table = Table::open(&files.sdn, SDN.1).unwrap();
        while let Some(row) = table.next_row().unwrap() {
            let entry = Entry::of(&row);
            let text = entry.remarks + rest.get(&row.uid).map_or("", String::as_str);
            let parts = text.trim().split("; ").filter(|part| !part.trim().is_empty()).count();
            let read = remarks::read(text.trim(), entry.subject.kind, &entry.subject.positions);
            let Counts { statements, mapped, stated, noted } = read.counts;
            assert_eq!(statements, mapped + stated + noted, "uid {}", row.uid);
            assert!(statements <= parts && statements + 16 > parts, "uid {}", row.uid);
            assert!(read.notes.len() >= stated + noted, "uid {}", row.uid);
            total.statements += statements;
            total.mapped += mapped;
            total.stated += stated;
            total.noted += noted;
            warnings += read.warnings.len();
        }
        eprintln!("{list}: {total:?}, {warnings} warnings");
        assert!(total.statements > 20_000);
        assert!(total.noted * 50 < total.statements, "more than 2 % not understood: {total:?}");
    }
}

#[test]
fn reads_the_published_subjects() {
    let Some(dir) = published("us-ofac-sdn-2021-07") else { return };
    let read = |uid| read_subject(&dir, uid).unwrap();

    let factory = read(21_623).subject;
    assert_eq!(factory.addresses[0].street.as_deref().map(|s| s.contains("P.O. Box 12184")), Some(true));
    assert_eq!(factory.links.len(), 2);
    assert!(factory.links.iter().all(|link| link.record.is_some()), "{:?}", factory.links);

    let general = read(16_235).subject;
    assert_eq!((general.names.len(), general.birth_dates.len(), general.positions.len()), (4, 3, 2));
    assert_eq!(general.notes, [] as [&str; 0]);

    let centre = read(9_352).subject;
    assert!(names(&centre).contains(&("SSRC", NameKind::Alias, NameQuality::Weak)));

    let director = read(22_253).subject;
    assert_eq!((director.names.len(), director.addresses.len()), (5, 1));
    assert_eq!(identifiers(&director), ["passport 004123298 --"]);

    let engineer = read(20_069).subject;
    assert_eq!(engineer.addresses, []);
    assert_eq!(identifiers(&engineer), ["passport N006478882 --"]);

    let trader = read(28_264);
    assert_eq!(trader.subject.identifiers.len(), 13);
    assert_eq!(trader.subject.contacts.len(), 2);
    assert_eq!(trader.subject.programmes.len(), 2);
    assert_eq!(trader.warnings, [] as [&str; 0]);
}
