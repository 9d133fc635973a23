//! The main job on real input: subjects of the official OFAC list, imported, tabled through three nodes, and found whole on every
//! member's list. Skips, saying so, where the list is not there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;

use comity_cli::import::ofac;
use comity_core::Role;
use support::Field;

const UIDS: [u64; 6] = [21623, 16235, 9352, 22253, 20069, 28264];

#[tokio::test(flavor = "multi_thread")]
async fn six_real_subjects_stand_whole_on_every_members_list() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/lists/us-ofac-sdn-2021-07"));
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is not there, so no real list was read", folder.display());
        return;
    }
    let folder_text = folder.display().to_string();
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    for uid in UIDS {
        let uid_text = uid.to_string();
        let import = ["import", "ofac", &folder_text, "--uid", &uid_text, "--draft", "--tier", "official"];
        let draft = field.ok("FR", Role::Operator, &import).await;
        let ballot = field.table("FR", draft["id"].as_str().unwrap()).await;
        field.vote("FR", &ballot).await;
        field.vote("DE", &ballot).await;
    }
    for member in ["FR", "DE", "CA"] {
        let operator = field.context(member, Role::Operator);
        let listed = field
            .desk
            .until("six agreed entries", &operator, &["list", "list"], |answer| {
                let entries = answer["entries"].as_array();
                entries.is_some_and(|e| e.len() == UIDS.len() && e.iter().all(|e| e["agreed"] == true))
            })
            .await
            .unwrap();
        for (uid, entry) in UIDS.iter().zip(listed["entries"].as_array().unwrap()) {
            let id = entry["id"].as_str().unwrap();
            let shown = field.ok(member, Role::Operator, &["list", "show", id]).await;
            let subject = &shown["public_part"]["subject"];
            // The whole subject as the importer reads it off the official files: names, dates, identifiers, addresses,
            // programmes, links, notes.
            let read = ofac::read_subject(folder, *uid).unwrap();
            let expected = serde_json::to_value(&read.subject).unwrap();
            assert_eq!(*subject, expected, "uid {uid} as {id} on the list of {member}");
        }
        spot_checks(&field, member, &listed).await;
    }
}

/// What the official files say, read by eye, so that importer and list cannot be wrong together.
async fn spot_checks(field: &Field, member: &str, listed: &serde_json::Value) {
    let expected: [(&str, &[&str], &[&str]); 6] = [
        (
            "METALLIC MANUFACTURING FACTORY",
            &["29 May Street", "P.O. Box 12184", "NPWMD", "MECHANICAL CONSTRUCTION FACTORY"],
            &[],
        ),
        (
            "AL-HASSAN, Bassam",
            &[
                "HASSAN, Bassam",
                "HASAN, Bassam",
                "HASAN, Basam",
                "1960",
                "1961",
                "1962",
                "Homs",
                "\"SYRIA\"",
                "Brigadier General",
            ],
            &["\"addresses\""],
        ),
        (
            "SCIENTIFIC STUDIES AND RESEARCH CENTER",
            &["CENTRE D'ETUDES ET RECHERCHES", "SSRC", "weak", "P.O. Box 4470", "Damascus"],
            &[],
        ),
        (
            "QUWAYDIR, Muhammed Bin-Muhammed Faris",
            &[
                "KWEIDER, Muhammad",
                "QUAYDIR, Muhammad",
                "KWEITER, Muhammad",
                "QASSAR, Samir",
                "004123298",
                "1967-07-21",
                "Damascus",
            ],
            &[],
        ),
        ("MAHROUS, Iyad Mohammad Esam", &["MAHRUS, Iyad", "N006478882", "1971-05-12"], &["\"addresses\""]),
        (
            "LI, Jiadong",
            &[
                "DPRK3",
                "CYBER2",
                "1EfMVkxQQuZfBdocpJu6RUsCJvenQWbQyE",
                "8613314257947",
                "210302198701102136",
                "blackjack1987",
                "khaleesi",
                "LAZARUS GROUP",
                "Anshan",
            ],
            &[],
        ),
    ];
    for ((name, holds, lacks), entry) in expected.iter().zip(listed["entries"].as_array().unwrap()) {
        assert_eq!(entry["subject"], *name);
        let shown = field.ok(member, Role::Operator, &["list", "show", entry["id"].as_str().unwrap()]).await;
        let text = shown["public_part"]["subject"].to_string();
        holds.iter().for_each(|word| assert!(text.contains(word), "{word} of {name} on the list of {member}:\n{text}"));
        lacks
            .iter()
            .for_each(|word| assert!(!text.contains(word), "{word} of {name} on the list of {member}:\n{text}"));
    }
}
