//! Bundles as a person verifies and reconciles them, without any node.

use std::path::Path;

use comity_core::access::bundle::Header;
use comity_core::access::{AccessRecord, PAGE_RECEIVED, PAGE_SENT};
use comity_core::testing::{AccessLogOf, Federation, instant, member};
use serde_json::Value;

use crate::{Captured, Exit, Output};

/// A folder with a genesis and bundles.
struct Desk {
    folder: tempfile::TempDir,
    federation: Federation,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap(), federation: Federation::new(3) };
        desk.file("genesis.json", &desk.federation.bytes);
        desk
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    async fn run(&self, arguments: &[&str]) -> (Exit, Captured) {
        let (mut output, captured) = Output::captured();
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let is_file = |word: &&str| Path::new(word).extension().is_some() && !word.starts_with('-');
        let words = arguments.iter().map(|word| if is_file(word) { at(word) } else { (*word).to_owned() });
        let state = ["comity".to_owned(), "--state".to_owned(), at("state")];
        (crate::run(state.into_iter().chain(words), &mut output).await, captured)
    }

    async fn verify(&self, bundle: &str, more: &[&str]) -> (Exit, Captured) {
        self.run(&[["audit", "verify", bundle, "--genesis", "genesis.json"].as_slice(), more].concat()).await
    }

    /// A bundle of a whole log whose checkpoint these cosigned.
    fn bundle(&self, name: &str, log: &AccessLogOf, cosigners: &[&str]) {
        let size = log.leaves.len() as u64;
        let cosigners: Vec<_> = cosigners.iter().map(|code| member(code)).collect();
        let note = log.head(&self.federation, size, &cosigners);
        let header = Header { note, ..log.header(&self.federation, 0, size, &[]) };
        self.file(name, &log.bundle(&header, 0..size));
    }
}

#[tokio::test]
async fn more_than_half_of_the_others_must_have_cosigned() {
    let desk = Desk::new();
    let log = AccessLogOf::sample(member("FR"), member("DE"), 30);
    desk.bundle("both.bundle", &log, &["DE", "CA"]);
    desk.bundle("one.bundle", &log, &["DE"]);
    // Its own cosignature is none, nor is that of somebody who is no member.
    desk.bundle("own.bundle", &log, &["FR", "DE"]);
    let (exit, said) = desk.verify("both.bundle", &[]).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    assert!(
        said.out().contains("PROVEN") && said.out().contains("CA, DE: 2 of 2 others, 2 are needed"),
        "{}",
        said.out()
    );
    assert!(said.err().contains("no older checkpoint"), "{}", said.err());
    for few in ["one.bundle", "own.bundle"] {
        let (exit, said) = desk.verify(few, &[]).await;
        assert_eq!(exit, Exit::VerificationFailed, "{}", said.out());
        assert!(said.err().contains("1 of the 2 other members") && said.err().contains("next:"), "{}", said.err());
        let (exit, said) = desk.verify(few, &["--accept-uncosigned", "-o", "json"]).await;
        assert_eq!(exit, Exit::Ok, "{}", said.err());
        let view: Value = serde_json::from_str(&said.out()).unwrap();
        assert_eq!((&view["witnessed"], &view["cosigners"][0]["member"]), (&false.into(), &"DE".into()));
    }
}

#[tokio::test]
async fn the_vectors_are_proven_and_continue_the_older_checkpoint() {
    let desk = Desk::new();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/core/src/access/vectors");
    for name in ["genesis.json", "range.bundle", "middle.bundle", "selected.bundle", "older.checkpoint"] {
        desk.file(name, &std::fs::read(vectors.join(name)).unwrap());
    }
    for bundle in ["range.bundle", "middle.bundle"] {
        let (exit, said) = desk.verify(bundle, &["--against", "older.checkpoint"]).await;
        assert_eq!(exit, Exit::Ok, "{}", said.err());
        assert!(said.out().contains("older.checkpoint at 9 leaves"), "{}", said.out());
    }
    // Of single leaves it does not show, and the command says what to export.
    let (exit, said) = desk.verify("selected.bundle", &["--against", "older.checkpoint"]).await;
    assert_eq!(exit, Exit::VerificationFailed, "{}", said.out());
    assert!(
        said.err().contains("does not tell") && said.err().contains("comity audit export --against"),
        "{}",
        said.err()
    );
    let (exit, said) = desk.verify("selected.bundle", &[]).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    assert!(said.out().contains("withheld"), "{}", said.out());
}

#[tokio::test]
async fn a_log_that_was_shortened_or_rewritten_does_not_continue_the_older_one() {
    let desk = Desk::new();
    let log = AccessLogOf::sample(member("FR"), member("DE"), 30);
    let mut rewritten = AccessLogOf::new(member("FR"));
    rewritten.push(AccessRecord::new(instant(0), "nobody", "looked"));
    for n in 1..40 {
        rewritten.push(AccessRecord::new(instant(n), "a", "b"));
    }
    let short = AccessLogOf::sample(member("FR"), member("DE"), 12);
    desk.bundle("rewritten.bundle", &rewritten, &["DE", "CA"]);
    desk.bundle("short.bundle", &short, &["DE", "CA"]);
    desk.file("old.checkpoint", &log.head(&desk.federation, 30, &[]).to_bytes());
    for (bundle, told) in [("rewritten.bundle", "REWRITE"), ("short.bundle", "REMOVAL")] {
        let (exit, said) = desk.verify(bundle, &["--against", "old.checkpoint"]).await;
        assert_eq!(exit, Exit::VerificationFailed, "{}", said.out());
        assert!(said.err().contains(told) && said.err().contains("30 leaves"), "{}", said.err());
    }
    // An older checkpoint that nobody of the roster signed is none.
    desk.file("old.checkpoint", b"fr.comity.example/access-log/1\n3\nAAAA\n\n\xe2\x80\x94 x AAAAAAA=\n");
    let (exit, said) = desk.verify("short.bundle", &["--against", "old.checkpoint"]).await;
    assert_eq!(exit, Exit::VerificationFailed, "{}", said.err());
}

#[tokio::test]
async fn a_release_whose_receipt_is_missing_is_named() {
    let desk = Desk::new();
    let (mut fr, mut de) = (AccessLogOf::new(member("FR")), AccessLogOf::new(member("DE")));
    for number in 1..=5 {
        fr.page(PAGE_SENT, member("DE"), number, &[number]);
        if number != 3 {
            de.page(PAGE_RECEIVED, member("FR"), number, &[number]);
        }
    }
    de.page(PAGE_SENT, member("FR"), 1, &[9]);
    fr.page(PAGE_RECEIVED, member("DE"), 1, &[9]);
    desk.bundle("fr.bundle", &fr, &["DE", "CA"]);
    desk.bundle("de.bundle", &de, &["FR", "CA"]);
    let reconcile = ["audit", "reconcile", "fr.bundle", "de.bundle", "--genesis", "genesis.json"];
    let (exit, said) = desk.run(&reconcile).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    let out = said.out();
    assert!(
        out.contains("RELEASED by FR, NO RECEIPT at DE: 1") && out.contains("THEY DIFFER: 1 without a receipt"),
        "{out}"
    );
    assert!(!out.contains("for-DE"), "what decided is nobody else's: {out}");
    let (exit, said) = desk.run(&[reconcile.as_slice(), &["--exit-code", "-o", "json"]].concat()).await;
    assert_eq!(exit, Exit::Different, "{}", said.err());
    let view: Value = serde_json::from_str(&said.out()).unwrap();
    let there = &view["directions"][0];
    assert_eq!(
        (&there["from"], &there["matched"], &there["no_receipt"][0]["number"]),
        (&"FR".into(), &4.into(), &3.into())
    );
    assert_eq!(there["no_receipt"][0]["leaf"], 2);
    assert_eq!((&view["directions"][1]["matched"], &view["agrees"]), (&1.into(), &false.into()));

    let (exit, said) = desk.run(&["audit", "reconcile", "fr.bundle", "fr.bundle", "--genesis", "genesis.json"]).await;
    assert_eq!(exit, Exit::Usage, "{}", said.err());
    desk.bundle("de.bundle", &de, &["FR"]);
    let (exit, said) = desk.run(&reconcile).await;
    assert_eq!(exit, Exit::VerificationFailed, "{}", said.err());
}
