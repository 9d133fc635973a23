//! Bundles of the access log, from the node that writes them to a reader who calls none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role::{self, Auditor, Operator};
use support::Field;

const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;

/// France and Germany have shown one another a proposal each.
async fn exchanged(field: &Field) -> (String, String) {
    for (of, party) in [("FR", "DE"), ("DE", "FR")] {
        let file = field.file(&format!("{of}-{party}.cedar"), READS);
        field.approved(of, Role::Policy, &["policy", "apply", "--party", party, &file]).await;
    }
    let mut shown = Vec::new();
    for (of, to) in [("FR", "DE"), ("DE", "FR")] {
        let proposal = field.draft(of, &[to]).await;
        field.approved(of, Operator, &["proposal", "share", &proposal, "--with", to]).await;
        let operator = field.context(to, Operator);
        field.desk.until("the record", &operator, &["proposal", "show", &proposal], |_| true).await.unwrap();
        shown.push(proposal);
    }
    (shown[0].clone(), shown[1].clone())
}

fn at(field: &Field, name: &str) -> String {
    field.file_at(name).display().to_string()
}

/// Peers of this federation may not have cosigned yet: what vouches for a bundle is looked at in core's own tests.
fn verify<'a>(bundle: &'a str, genesis: &'a str) -> Vec<&'a str> {
    vec!["audit", "verify", bundle, "--genesis", genesis, "--accept-uncosigned"]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_exported_is_proved_without_any_node_and_reconciled() {
    let mut field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let (from_fr, from_de) = exchanged(&field).await;
    let [fr, de, de_for_fr, one, old, late, genesis] =
        ["fr.bundle", "de.bundle", "de-for-fr.bundle", "one.bundle", "old.checkpoint", "late.bundle", "genesis.json"]
            .map(|name| at(&field, name));
    field.run("FR", Auditor, &["audit", "checkpoint", "-O", &old]).await;
    field.ok("FR", Auditor, &["audit", "verify"]).await;

    // All of it; what went to one partner; one access; and the end of it.
    let whole = field.ok("FR", Auditor, &["audit", "export", "-O", &fr, "--against", &old]).await;
    assert_eq!((&whole["shape"], &whole["first_leaf"], &whole["member"]), (&"range".into(), &0.into(), &"FR".into()));
    assert_eq!(whole["continues"].as_array().map(Vec::len), Some(2), "{whole}");
    assert_eq!(std::fs::metadata(&fr).unwrap().permissions().mode() & 0o777, 0o600);
    field.ok("DE", Auditor, &["audit", "export", "-O", &de]).await;
    field.ok("DE", Auditor, &["audit", "export", "--for", "FR", "-O", &de_for_fr]).await;
    let log = field.ok("FR", Auditor, &["audit", "log", "--resource", &from_fr, "--member", "DE"]).await;
    let leaf = log["records"][0]["leaf"].to_string();
    let proved = field.ok("FR", Auditor, &["audit", "prove", &leaf, "-O", &one]).await;
    assert_eq!(proved["access"]["action"], "PeerService/Exchange page");
    assert!(proved["access"]["touched"][0]["because"].to_string().contains("reads"), "{proved}");
    let page = field.read("FR", Auditor, &["audit", "prove", &leaf]).await;
    assert!(page.contains("PROVEN") && page.contains(&from_fr), "{page}");
    field.ok("FR", Auditor, &["audit", "export", "--since", "10m", "--until", "0s", "-O", &late]).await;
    // Who took what away stands in the log.
    let asked = field.ok("DE", Auditor, &["audit", "log", "--action", "AuditService/ExportAccessLog"]).await;
    assert!(asked.to_string().contains("for=FR"), "{asked}");

    // What is there already stays, and what does not exist is told.
    field.refused(Exit::Error, "FR", Auditor, &["audit", "export", "-O", &fr], &["exists already"]).await;
    field.refused(Exit::NotFound, "FR", Auditor, &["audit", "prove", "99999999"], &[]).await;
    field
        .refused(
            Exit::NotFound,
            "FR",
            Auditor,
            &["audit", "export", "--for", "CA", "-O", &at(&field, "ca.bundle")],
            &[],
        )
        .await;
    assert!(!field.file_at("ca.bundle").exists());
    field.refused(Exit::RoleMayNot, "FR", Operator, &["audit", "prove", "0"], &[]).await;

    for member in ["FR", "DE", "CA"] {
        let seat = field.seat_of(member);
        field.federation.stop(seat, Duration::from_secs(20)).await;
    }
    for bundle in [&fr, &de, &de_for_fr, &one, &late] {
        let proved = field.ok("CA", Operator, &verify(bundle, &genesis)).await;
        assert_eq!(proved["proven"], true);
    }
    let told = field.read("CA", Operator, &verify(&fr, &genesis)).await;
    assert!(told.contains("cosigned by") && told.contains("2 are needed"), "{told}");
    let against = [verify(&fr, &genesis), vec!["--against", &old]].concat();
    let proved = field.ok("CA", Operator, &against).await;
    assert!(proved["continues"].as_array().is_some_and(|c| !c.is_empty()), "{proved}");
    // The whole of Germany's log names what decided; what France is given does not.
    let text = |bundle: &str| String::from_utf8_lossy(&std::fs::read(bundle).unwrap()).into_owned();
    assert!(text(&de).contains("\"reads\"") && !text(&de_for_fr).contains("\"reads\""));
    assert!(text(&de_for_fr).contains(&from_de) && !text(&de_for_fr).contains("desk-"), "only what was exchanged");

    for theirs in [&de, &de_for_fr] {
        let reconcile =
            ["audit", "reconcile", &fr, theirs, "--genesis", &genesis, "--accept-uncosigned", "--exit-code"];
        let found = field.ok("FR", Auditor, &reconcile).await;
        assert_eq!(found["agrees"], true, "{found}");
        let matched: u64 = found["directions"].as_array().unwrap().iter().map(|d| d["matched"].as_u64().unwrap()).sum();
        assert!(matched >= 2, "{found}");
        let page = field.read("FR", Auditor, &reconcile).await;
        assert!(page.contains("from FR to DE") && page.contains("Each release has its receipt"), "{page}");
    }
    let twice = ["audit", "reconcile", &fr, &one, "--genesis", &genesis, "--accept-uncosigned"];
    field.refused(Exit::Usage, "FR", Auditor, &twice, &["both of FR"]).await;
    refuses_what_was_changed(&field, &fr, &genesis).await;
}

/// What a person is told of a bundle that was tampered with.
async fn refuses_what_was_changed(field: &Field, bundle: &str, genesis: &str) {
    let bytes = std::fs::read(bundle).unwrap();
    let bent = at(field, "bent.bundle");
    let wrong = async |bytes: &[u8], words: &[&str]| {
        std::fs::write(&bent, bytes).unwrap();
        field.refused(Exit::VerificationFailed, "CA", Operator, &verify(&bent, genesis), words).await;
    };
    let find = |word: &str| bytes.windows(word.len()).position(|part| part == word.as_bytes()).unwrap();
    let mut changed = bytes.clone();
    let at_word = find("desk-1");
    changed[at_word + 5] = b'8';
    wrong(&changed, &["NOT PROVEN", "EDIT: leaf "]).await;
    wrong(&bytes[..bytes.len() - 1], &["CUT SHORT"]).await;
    wrong(&[&bytes, b"more".as_slice()].concat(), &["something follows"]).await;
    wrong(b"{\"format\":\"comity-list-export/1\"}", &["not an access bundle"]).await;
    let federation = find("federation ") + 11;
    let mut other = bytes.clone();
    other[federation..federation + 64].copy_from_slice(&[b'a'; 64]);
    wrong(&other, &["of federation aaaa"]).await;
    let mut origin = bytes.clone();
    let at_origin = find("fr.comity.example/access-log/1\n");
    origin[at_origin..at_origin + 2].copy_from_slice(b"de");
    wrong(&origin, &["checkpoint: not signed by a node key of DE"]).await;
    field.refused(Exit::Error, "CA", Operator, &verify("/nowhere", genesis), &["/nowhere: cannot be read"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rolled_back_or_grew_elsewhere_is_told_from_one_that_grew() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    field.draft("FR", &[]).await;
    let [early, later, now, genesis] =
        ["early.bundle", "later.checkpoint", "now.bundle", "genesis.json"].map(|name| at(&field, name));
    field.ok("FR", Auditor, &["audit", "export", "-O", &early]).await;
    field.draft("FR", &[]).await;
    field.run("FR", Auditor, &["audit", "checkpoint", "-O", &later]).await;
    // Nobody's peers are asked here: where too few cosigned, that is told, with what to do.
    let few = field.run("FR", Auditor, &["audit", "verify", &early, "--genesis", &genesis]).await;
    assert!(few.exit == Exit::Ok || few.err.contains("--accept-uncosigned"), "{}", few.err);
    field.ok("FR", Auditor, &["audit", "export", "-O", &now]).await;
    let against = |bundle: &str| -> Vec<String> {
        let command = ["audit", "verify", bundle, "--genesis", &genesis, "--accept-uncosigned", "--against", &later];
        command.map(str::to_owned).to_vec()
    };
    let rolled_back = against(&early);
    let rolled_back: Vec<&str> = rolled_back.iter().map(String::as_str).collect();
    field.refused(Exit::VerificationFailed, "FR", Auditor, &rolled_back, &["REMOVAL"]).await;
    let grown = against(&now);
    field.ok("FR", Auditor, &grown.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Another member's checkpoint is of another log.
    field.run("DE", Auditor, &["audit", "checkpoint", "-O", &at(&field, "de.checkpoint")]).await;
    let other = [&grown[..grown.len() - 1], &[at(&field, "de.checkpoint")]].concat();
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    field.refused(Exit::VerificationFailed, "FR", Auditor, &other, &["another log"]).await;
}
