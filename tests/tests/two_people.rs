//! Sharing, two people, and what a partner without permission can tell.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use comity_cli::Exit;
use comity_core::Role;
use support::Field;

const PERMIT: &str = r#"@id("de-reads") permit (principal == Party::"DE", action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 3 };"#;
const DISCOVER: &str = r#"@id("de-discovers") permit (principal == Party::"DE", action == Action::"discover", resource)
    when { resource.tier <= 3 };"#;
const FORBID: &str =
    r#"@id("de-never") forbid (principal == Party::"DE", action, resource) when { resource.tier >= 0 };"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_goes_where_two_people_and_the_policy_let_it_go() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let proposal = field.draft("FR", &["DE"]).await;
    let de = field.context("DE", Role::Operator);

    // Shared, but no policy for DE: nothing goes.
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let hidden = field.refused(Exit::NotFound, "DE", Role::Operator, &["proposal", "show", &proposal], &[]).await;
    let absent =
        field.refused(Exit::NotFound, "DE", Role::Operator, &["proposal", "show", "FR-P-0000000000000000"], &[]).await;
    assert_eq!(hidden.replace(&proposal, "ID"), absent.replace("FR-P-0000000000000000", "ID"));

    // discover: that it exists, and no more.
    let policy = field.file("DE.cedar", DISCOVER);
    field.approved("FR", Role::Policy, &["policy", "apply", "--party", "DE", &policy]).await;
    let seen = field.desk.until("the discover view", &de, &["proposal", "show", &proposal], |_| true).await.unwrap();
    let text = seen.to_string();
    assert!(text.contains("confidential"), "{text}");
    for secret in ["quiet title", "Ada", "What we think", "nobody may know"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }

    // read: the body, and no sources.
    let policy = field.file("DE.cedar", PERMIT);
    field.approved("FR", Role::Policy, &["policy", "apply", "--party", "DE", &policy]).await;
    let read = |p: &serde_json::Value| p.to_string().contains("What we think");
    let seen = field.desk.until("the read view", &de, &["proposal", "show", &proposal], read).await.unwrap();
    assert!(!seen.to_string().contains("nobody may know"), "{seen}");

    // One person edits it: what two people decided to show was another version, so DE loses it until two people share the new one.
    let edited = field.file(
        "edited.json",
        &std::fs::read_to_string(field.federation.folder.join("draft.json"))
            .unwrap()
            .replace("What we think.", "What one person thinks."),
    );
    field.ok("FR", Role::Operator, &["proposal", "edit", &proposal, "-f", &edited]).await;
    until_hidden(&field, "DE", &proposal).await;
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE"]).await;
    let read = |p: &serde_json::Value| p.to_string().contains("What one person thinks");
    field.desk.until("the new version", &de, &["proposal", "show", &proposal], read).await.unwrap();

    // A policy that does not validate changes nothing, and says where.
    let bad =
        field.file("bad.cedar", r#"permit (principal == Party::"DE", action, resource) when { resource.tear <= 3 };"#);
    field.refused(Exit::Error, "FR", Role::Policy, &["policy", "apply", "--party", "DE", &bad], &["tear"]).await;
    field.ok("DE", Role::Operator, &["proposal", "show", &proposal]).await;

    // Narrowed: what DE holds is taken back.
    let policy = field.file("DE.cedar", FORBID);
    field.approved("FR", Role::Policy, &["policy", "apply", "--party", "DE", &policy]).await;
    until_hidden(&field, "DE", &proposal).await;
    // Canada never learnt of it.
    assert_eq!(
        field.ok("CA", Role::Operator, &["proposal", "list"]).await["records"].as_array().map(Vec::len),
        Some(0)
    );
    // No byte of it is on Canada's disk, and no source on Germany's.
    for (member, secrets) in [
        ("CA", ["quiet title", "DOE, Ada", "What we think", "nobody may know"].as_slice()),
        ("DE", &["nobody may know"]),
    ] {
        let data = field.federation.seat(member).unwrap().folder.join("data");
        for file in std::fs::read_dir(data).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            secrets.iter().for_each(|s| assert!(!text.contains(s), "{s} in {}", path.display()));
        }
    }
    // What went out is in FR's log, with the policy that let it.
    let log = field
        .ok("FR", Role::Auditor, &["audit", "log", "--resource", &proposal, "--action", "PeerService/Exchange page"])
        .await;
    let log = log.to_string();
    // What was refused is in it, too, with the reason.
    let denied = field.ok("FR", Role::Auditor, &["audit", "log", "--resource", &proposal, "--outcome", "denied"]).await;
    for word in ["default-deny", "de-never", "NOT_RELEASED"] {
        assert!(denied.to_string().contains(word), "{word} in {denied}");
    }
    for word in ["de-reads", "de-discovers", "read", "retract", "spiffe://de.comity.example/node/node-1"] {
        assert!(log.contains(word), "{word} in {log}");
    }
}

/// Waits until a member's people no longer see a proposal.
async fn until_hidden(field: &Field, member: &str, proposal: &str) {
    let begin = std::time::Instant::now();
    loop {
        let answer = field.run(member, Role::Operator, &["proposal", "show", proposal]).await;
        if answer.exit == Exit::NotFound {
            return;
        }
        assert!(begin.elapsed() < support::PATIENCE, "{member} still holds it: {}", answer.out);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_their_own_second_person() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let proposal = field.draft("FR", &["DE"]).await;
    let asked = field.ok("FR", Role::Operator, &["proposal", "table", &proposal]).await;
    let id = asked["id"].as_str().unwrap();
    // An operator may not approve at all; the same person may not as an approver either.
    field.refused(Exit::RoleMayNot, "FR", Role::Operator, &["approve", "yes", id], &["approver"]).await;
    let same = field.federation.seat("FR").unwrap().context(Role::Approver, "desk-1");
    let answer = field.desk.run(&same, &["approve", "yes", id]).await;
    assert_eq!(answer.exit, Exit::RoleMayNot, "{}", answer.err);
    assert!(answer.err.contains("same person"), "{}", answer.err);
    // Another member's approver does not even connect.
    let foreign = field.federation.folder.join("contexts.toml");
    let text = std::fs::read_to_string(&foreign).unwrap();
    let fr = &field.federation.seat("FR").unwrap().operator;
    let extra = format!(
        "\n[context.intruder]\nendpoint = \"{fr}\"\ncertificate = \"de/approver-desk-2.pem\"\nkey = \"de/approver-desk-2.key\"\ngenesis = \"genesis.json\"\n"
    );
    std::fs::write(&foreign, text + &extra).unwrap();
    let answer = field.desk.run("intruder", &["approve", "yes", id]).await;
    assert_eq!(answer.exit, Exit::NotAuthenticated, "{}", answer.err);
    // Nothing happened so far; another person says yes, once.
    assert_eq!(field.ok("FR", Role::Operator, &["proposal", "show", &proposal]).await["ballot"], "");
    field.ok("FR", Role::Approver, &["approve", "yes", id]).await;
    field.refused(Exit::Conflict, "FR", Role::Approver, &["approve", "yes", id], &["already"]).await;
    // A vote: once, then only as a correction; a closed ballot takes none.
    let shown = field.ok("FR", Role::Operator, &["proposal", "show", &proposal]).await;
    let ballot = shown["ballot"].as_str().unwrap();
    field.vote("FR", ballot).await;
    field.refused(Exit::Conflict, "FR", Role::Operator, &["ballot", "vote", ballot, "no"], &["--correct"]).await;
    field.vote("DE", ballot).await;
    field
        .refused(Exit::Conflict, "FR", Role::Operator, &["ballot", "vote", ballot, "no", "--correct"], &["closed"])
        .await;
    // A draft that is refused by its approver stays a draft.
    let other = field.draft("FR", &[]).await;
    let asked = field.ok("FR", Role::Operator, &["proposal", "table", &other]).await;
    let id = asked["id"].as_str().unwrap();
    field.ok("FR", Role::Approver, &["approve", "no", id, "--reason", "Not yet."]).await;
    field.refused(Exit::Conflict, "FR", Role::Approver, &["approve", "yes", id], &["refused"]).await;
    assert_eq!(field.ok("FR", Role::Operator, &["proposal", "show", &other]).await["ballot"], "");
}
