//! Records of every kind, as their originator allows: what partners see, what they do not, and what a member's own people may.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use comity_cli::Exit;
use comity_core::Role;
use serde_json::Value;
use support::Field;

/// All that France shares, up to secret, without its sources.
const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;

async fn policy(field: &Field, of: &str, party: &str, text: &str) {
    let file = field.file(&format!("{of}-{party}.cedar"), text);
    field.approved(of, Role::Policy, &["policy", "apply", "--party", party, &file]).await;
}

fn view<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    record["views"].as_array()?.iter().find(|v| v["view"] == name).map(|v| &v["document"])
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_shows_what_its_reader_may_discover_and_nothing_of_its_source() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    policy(&field, "FR", "DE", READS).await;
    let (shown, hidden) = (field.draft("FR", &["DE"]).await, field.draft("FR", &["DE"]).await);
    let incident = field.file(
        "attack.yaml",
        "title: Attack of 4 April\nmarking: {tier: restricted, releasable_to: [DE]}\ndate: 2017-04-04\nplace: Khan Shaykhun\n\
         country: SY\nagent: sarin\nattributions: [{by: OPCW-UN JIM, to: Syrian Arab Republic}]\n\
         sources: [{description: A witness nobody may know}]\n",
    );
    let incident = field.ok("FR", Role::Operator, &["incident", "add", "-f", &incident]).await;
    let incident = incident["id"].as_str().unwrap().to_owned();

    // The material is hashed here and stays here.
    let material = field.file("tape.wav", "the sound of two officers");
    let description = field.file(
        "tape.yaml",
        &format!(
            "title: Intercepted call\nmarking: {{tier: secret, caveats: [orcon], releasable_to: [DE]}}\nmaterial: audio\n\
             description: Two officers speak.\nholder: The quiet service\nlocator: vault/7/41\nreliability: B\ncredibility: 2\n\
             links: [{shown}, {hidden}, {incident}]\n\
             custody: [{{from: Station 9, to: The quiet service, at: 2017-04-05T10:00:00Z, hash_checked: true}}]\n"
        ),
    );
    let added = field.ok("FR", Role::Operator, &["evidence", "add", &material, "-f", &description]).await;
    let evidence = added["id"].as_str().unwrap().to_owned();
    let digest = hex(&comity_core::sha256(b"the sound of two officers"));
    assert_eq!(added["document"]["sha256"], digest.as_str());
    assert_eq!(added["document"]["bytes"], 25);
    field
        .ok(
            "FR",
            Role::Operator,
            &[
                "evidence",
                "custody",
                &evidence,
                "--from",
                "The quiet service",
                "--to",
                "The court",
                "--check",
                &material,
            ],
        )
        .await;
    let other = field.file("other.wav", "other material");
    field
        .refused(Exit::VerificationFailed, "FR", Role::Operator, &["evidence", "check", &evidence, &other], &[&digest])
        .await;
    let rewritten = std::fs::read_to_string(&description).unwrap().replace("Station 9", "Station 8");
    let rewritten = field.file("rewritten.yaml", &rewritten);
    field
        .refused(Exit::Conflict, "FR", Role::Operator, &["evidence", "edit", &evidence, "-f", &rewritten], &["custody"])
        .await;

    field.approved("FR", Role::Operator, &["proposal", "share", &shown, "--with", "DE"]).await;
    field.approved("FR", Role::Operator, &["incident", "share", &incident, "--with", "DE"]).await;
    field.approved("FR", Role::Operator, &["evidence", "share", &evidence, "--with", "DE"]).await;
    let de = field.context("DE", Role::Operator);
    let links = |record: &Value| {
        let links = view(record, "links").map(|v| v["links"].as_array().unwrap().clone()).unwrap_or_default();
        links.iter().map(|link| link.as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    let two = std::collections::BTreeSet::from([shown.clone(), incident.clone()]);
    let seen =
        field.desk.until("the reference", &de, &["evidence", "show", &evidence], |e| links(e) == two).await.unwrap();
    let text = seen.to_string();
    for secret in [digest.as_str(), "quiet service", "vault/7", "Station 9", "The court", &hidden] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("Two officers speak"), "{text}");
    let attack = field.ok("DE", Role::Operator, &["incident", "show", &incident]).await.to_string();
    assert!(attack.contains("OPCW-UN JIM") && !attack.contains("witness"), "{attack}");

    // What it may discover from now on is named from now on, without a new version; and no longer when it is taken back.
    field.approved("FR", Role::Operator, &["proposal", "share", &hidden, "--with", "DE"]).await;
    let mut three = two.clone();
    three.insert(hidden.clone());
    field.desk.until("the third link", &de, &["evidence", "show", &evidence], |e| links(e) == three).await.unwrap();
    field.ok("FR", Role::Operator, &["proposal", "withdraw", &hidden, "--yes"]).await;
    field.desk.until("two links", &de, &["evidence", "show", &evidence], |e| links(e) == two).await.unwrap();

    // A receiver cannot pass it on by any path; and neither can it tell that Canada knows nothing of it.
    for arguments in [
        ["evidence", "share", &evidence, "--with", "CA"].as_slice(),
        &["proposal", "share", &shown, "--with", "CA"],
        &["proposal", "table", &shown],
        &["evidence", "custody", &evidence, "--from", "a", "--to", "b"],
        &["recall", "start", &evidence, "--reason", "r", "--yes"],
    ] {
        let answer = field.run("DE", Role::Operator, arguments).await;
        assert_ne!(answer.exit, Exit::Ok, "{arguments:?}: {}", answer.out);
    }
    let nothing = field.ok("CA", Role::Operator, &["evidence", "list"]).await;
    assert_eq!(nothing["records"].as_array().map(Vec::len), Some(0));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opinion_goes_to_the_proposals_originator_alone() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    for (of, party) in [("FR", "DE"), ("FR", "CA"), ("DE", "FR"), ("DE", "CA")] {
        policy(&field, of, party, READS).await;
    }
    let proposal = field.draft("FR", &["DE", "CA"]).await;
    field
        .refused(
            Exit::Usage,
            "FR",
            Role::Operator,
            &["opinion", "give", &proposal, "--stance", "veto"],
            &["co-sponsor"],
        )
        .await;
    field
        .refused(Exit::Error, "FR", Role::Operator, &["opinion", "give", &proposal, "--stance", "support"], &["own"])
        .await;
    field
        .refused(Exit::NotFound, "DE", Role::Operator, &["opinion", "give", &proposal, "--stance", "support"], &[])
        .await;
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE,CA"]).await;
    let de = field.context("DE", Role::Operator);
    field.desk.until("the proposal", &de, &["proposal", "show", &proposal], |_| true).await.unwrap();
    let give = ["opinion", "give", &proposal, "--stance", "question", "-m", "On what does it rest?"];
    field.approved("DE", Role::Operator, &give).await;
    let fr = field.context("FR", Role::Operator);
    let one = |l: &Value| l["records"].as_array().is_some_and(|r| r.len() == 1);
    let listed = field.desk.until("the opinion", &fr, &["opinion", "list", "--on", &proposal], one).await.unwrap();
    let opinion = listed["records"][0]["id"].as_str().unwrap().to_owned();
    let shown = field.ok("FR", Role::Operator, &["opinion", "show", &opinion]).await;
    assert_eq!(shown["originator"], "DE");
    assert!(shown.to_string().contains("On what does it rest?") && shown["banner"].as_str().unwrap().contains("FR"));
    // It cannot be shown to anybody else, whatever the policy.
    field.refused(Exit::NotFound, "CA", Role::Operator, &["opinion", "show", &opinion], &[]).await;
    let listed = field.ok("CA", Role::Operator, &["opinion", "list"]).await;
    assert_eq!(listed["records"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_own_people_see_what_they_are_cleared_for() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    policy(&field, "FR", "DE", READS).await;
    let secret = field.draft("FR", &["DE"]).await;
    field.approved("FR", Role::Operator, &["proposal", "share", &secret, "--with", "DE"]).await;
    let de = field.context("DE", Role::Operator);
    field.desk.until("the proposal", &de, &["proposal", "show", &secret], |_| true).await.unwrap();
    let people = "default: {tier: official}\npeople:\n  desk-2: {tier: secret, compartments: [TIGER]}\n";
    for member in ["FR", "DE"] {
        let file = field.file("people.yaml", people);
        field.approved(member, Role::Policy, &["policy", "people", "--apply", &file]).await;
        // Denied is what absent is, for own records and received ones.
        let hidden = field.refused(Exit::NotFound, member, Role::Operator, &["proposal", "show", &secret], &[]).await;
        let absent = "FR-P-0000000000000000";
        let missing = field.refused(Exit::NotFound, member, Role::Operator, &["proposal", "show", absent], &[]).await;
        assert_eq!(hidden.replace(&secret, "ID"), missing.replace(absent, "ID"));
        let listed = field.ok(member, Role::Operator, &["proposal", "list"]).await;
        assert_eq!(listed["records"].as_array().map(Vec::len), Some(0));
        // The approver is cleared.
        field.ok(member, Role::Approver, &["proposal", "show", &secret]).await;
    }
    let shown = field.read("FR", Role::Policy, &["policy", "people"]).await;
    assert!(shown.contains("desk-2") && shown.contains("TIGER"), "{shown}");
    // Nobody drafts above their clearance, or in a compartment that they are not in.
    for marking in ["{tier: restricted}", "{tier: official, compartments: [TIGER]}"] {
        let draft = format!(
            "title: x\nmarking: {marking}\nstatement_of_case: y\nsubject: {{kind: person, names: [{{full: A, kind: primary}}]}}\n"
        );
        let draft = field.file("above.yaml", &draft);
        field.refused(Exit::Error, "FR", Role::Operator, &["proposal", "draft", "-f", &draft], &["clearance"]).await;
    }
    // What waits for approval is hidden from whoever is not cleared for what it is about.
    let history = field.ok("FR", Role::Auditor, &["policy", "history", "--party", "FR"]).await;
    assert_eq!(history["policies"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_tried_before_it_is_applied() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    policy(&field, "FR", "DE", READS).await;
    let proposal = field.draft("FR", &["DE"]).await;
    let not_shared = field.ok("FR", Role::Policy, &["policy", "explain", &proposal, "--party", "DE"]).await;
    assert!(not_shared["missing"].to_string().contains("share"), "{not_shared}");
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE"]).await;
    let text = field.read("FR", Role::Policy, &["policy", "explain", &proposal, "--party", "DE"]).await;
    for word in ["not-releasable", "passes", "read_sources", "reads", "What is missing"] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
    assert!(!text.contains("quiet title"), "an officer reads no bodies:\n{text}");

    let narrow = field.file(
        "narrow.cedar",
        r#"@id("only-public") permit (principal, action, resource) when { resource.tier == 0 };"#,
    );
    let simulated = field.ok("FR", Role::Policy, &["policy", "simulate", "--party", "DE", &narrow]).await;
    assert_eq!((&simulated["considered"], &simulated["lost"], &simulated["gained"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(simulated["changes"][0]["before"], "read");
    assert_eq!(simulated["changes"][0]["after"], "nothing");
    field.ok("DE", Role::Operator, &["proposal", "list"]).await;

    let cases = "cases:\n  - {name: reads, party: DE, record: {kind: proposal, tier: confidential}, expect: read}\n";
    let cases = field.file("cases.yaml", cases);
    field.ok("FR", Role::Policy, &["policy", "test", &cases]).await;
    let with = ["policy", "test", &cases, "--party", "DE", "--with", &narrow];
    field.refused(Exit::VerificationFailed, "FR", Role::Policy, &with, &["1 of 1 cases failed"]).await;
    let everything = field.file("all.cedar", r#"permit (principal, action, resource) when { resource.tier >= 0 };"#);
    let checked = field.ok("FR", Role::Policy, &["policy", "check", "--party", "DE", &everything]).await;
    assert!(checked["warnings"].to_string().contains("permits every"), "{checked}");
    policy(&field, "FR", "DE", "").await;
    let history = field.ok("FR", Role::Policy, &["policy", "history", "--party", "DE"]).await;
    assert_eq!(history["policies"].as_array().map(Vec::len), Some(2));
    let first = field.ok("FR", Role::Policy, &["policy", "show", "--party", "DE", "--number", "1"]).await;
    assert_eq!(first["text"], READS);
}
