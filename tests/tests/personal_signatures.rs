//! A member whose people sign: nothing is decided without two of them, and nobody signs for another.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use comity_cli::Exit;
use comity_core::Role::{Admin, Approver, Operator};
use comity_core::list::Choice;
use comity_core::rule::BallotKind;
use comity_tests::commands::{Authors, commit};
use comity_tests::seed::Dice;
use serde_json::Value;
use support::{Field, flat};

const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];

/// A person's key, and a context of theirs that names it.
struct Signer {
    context: String,
}

impl Signer {
    /// Makes a key for the certificate of a role and name, and a context with both.
    async fn new(field: &Field, role: comity_core::Role, name: &str, key: &str) -> Self {
        let folder = field.federation.seat("FR").unwrap().folder.clone();
        let key = folder.join(format!("{key}.key"));
        if !key.exists() {
            let made = ["pki", "person", "--name", name, "-O", key.to_str().unwrap()];
            field.ok("FR", Operator, &made).await;
        }
        let context = format!("signs-{role}-{name}-{}", key.file_stem().unwrap().to_str().unwrap());
        let file = |ending: &str| folder.join(format!("{role}-{name}.{ending}")).display().to_string();
        let endpoint = field.federation.seat("FR").unwrap().operator.clone();
        let genesis = field.federation.folder.join("genesis.json").display().to_string();
        let (certificate, certificate_key) = (file("pem"), file("key"));
        let add = [
            "context",
            "add",
            &context,
            "--endpoint",
            &endpoint,
            "--certificate",
            &certificate,
            "--key",
            &certificate_key,
            "--genesis",
            &genesis,
            "--signing-key",
            key.to_str().unwrap(),
        ];
        let added = field.run("FR", Operator, &add).await;
        assert_eq!(added.exit, Exit::Ok, "{}", added.err);
        Self { context }
    }

    async fn asks(&self, field: &Field, arguments: &[&str]) -> Value {
        field.desk.json(&self.context, arguments).await.unwrap()
    }

    async fn is_refused(&self, field: &Field, exit: Exit, arguments: &[&str], words: &[&str]) {
        let answer = field.desk.run(&self.context, arguments).await;
        assert_eq!(answer.exit, exit, "{arguments:?}: {}{}", answer.out, answer.err);
        words.iter().for_each(|word| assert!(answer.err.contains(word), "`{word}` in\n{}", answer.err));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_sign_what_decides_and_one_takes_notice() {
    let silence = [(BallotKind::List, "no_objection(period=10,notice=5)")];
    let field = Field::start_by(&MEMBERS, "quorum(2/3)", &silence).await;
    let (desk_1, desk_2) = (
        Signer::new(&field, Operator, "desk-1", "desk-1").await,
        Signer::new(&field, Approver, "desk-2", "desk-2").await,
    );
    let ops_1 = Signer::new(&field, Admin, "ops-1", "ops-1").await;
    let fr = |name: &str| field.federation.seat("FR").unwrap().folder.join(name).display().to_string();

    // Nobody is enrolled yet, so that nothing can require them.
    let require = ["member", "require-signatures", "on"];
    field.refused(Exit::Conflict, "FR", Admin, &require, &["TOO_FEW_PEOPLE"]).await;
    for (name, role, key) in [
        ("desk-1", "operator", fr("desk-1.key")),
        ("desk-2", "approver", fr("desk-2.key")),
        ("ops-1", "admin", fr("ops-1.key")),
    ] {
        field.approved("FR", Admin, &["member", "enroll", name, "--role", role, "--key", &key]).await;
    }
    field.approved("FR", Admin, &require).await;
    let shown = field.read("DE", Operator, &["member", "show", "FR"]).await;
    assert!(flat(&shown).contains("two different enrolled people") && shown.contains("desk-1, operator"), "{shown}");

    // Without keys: what was asked for waits unsigned, and cannot be approved.
    let proposal = field.draft_of("FR", "DOE, Ada", "The case for publication.").await;
    let table = ["proposal", "table", &proposal];
    let asked = field.run("FR", Operator, &table).await;
    assert!(asked.err.contains("comity approve sign"), "{}", asked.err);
    let asked = field.ok("FR", Operator, &table).await;
    let id = asked["id"].as_str().unwrap().to_owned();
    assert_eq!((asked["signatures_needed"].as_i64(), &asked["signed_by"]), (Some(2), &serde_json::json!([])));
    field.refused(Exit::Error, "FR", Approver, &["approve", "yes", &id], &["--signing-key"]).await;
    // The approver has signed, the author has not.
    desk_2.is_refused(&field, Exit::Conflict, &["approve", "yes", &id], &["SIGNATURE_MISSING", "desk-1"]).await;
    // Nobody signs in another's name, nor twice in their own.
    let twice = Signer::new(&field, Approver, "desk-1", "desk-1").await;
    twice.is_refused(&field, Exit::RoleMayNot, &["approve", "yes", &id], &["same person"]).await;
    let stolen = Signer::new(&field, Approver, "desk-2", "desk-1").await;
    stolen.is_refused(&field, Exit::Error, &["approve", "yes", &id], &["enrolled for desk-1"]).await;

    let signed = desk_1.asks(&field, &["approve", "sign", &id]).await;
    // The approver's signature of before is kept: it was their own.
    assert_eq!(signed["signed_by"], serde_json::json!(["desk-2", "desk-1"]));
    let done = desk_2.asks(&field, &["approve", "yes", &id]).await;
    assert_eq!(done["state"], "done", "{done}");
    let ballot = field.ok("FR", Operator, &["proposal", "show", &proposal]).await["ballot"].clone();
    let ballot = ballot.as_str().unwrap();

    // Whoever asks with a key in the context has signed what they asked for.
    let hold = desk_1.asks(&field, &["ballot", "hold", ballot, "--reason", "One moment."]).await;
    assert_eq!(hold["signed_by"], serde_json::json!(["desk-1"]));
    desk_2.asks(&field, &["approve", "yes", hold["id"].as_str().unwrap()]).await;
    field.ballot("DE", ballot, |b| b["silence"]["holds"][0]["member"] == "FR").await;

    // Notice is one person's act, signed all the same.
    let proposal = field.draft_of("DE", "ROE, Rita", "The case for publication.").await;
    let ballot = field.table("DE", &proposal).await;
    field.ballot("FR", &ballot, |_| true).await;
    let acknowledge = ["ballot", "acknowledge", &ballot];
    field.refused(Exit::Conflict, "FR", Operator, &acknowledge, &["SIGNATURE_MISSING"]).await;
    let seen = desk_1.asks(&field, &acknowledge).await;
    assert_eq!(seen["silence"]["acknowledged"].as_array().unwrap().len(), 2, "{seen}");

    // The member's decision key alone decides nothing: put in order, and refused by every node. An accepted `no` would end it.
    let authors = Authors::of(&field.federation).unwrap();
    let alone = authors.vote(0, ballot.parse().unwrap(), Choice::No, &mut Dice::fresh().unwrap()).unwrap();
    commit(&field.federation, &alone).await.unwrap();
    for member in MEMBERS {
        let shown = field.ok(member, Operator, &["ballot", "show", &ballot]).await;
        assert_eq!((&shown["state"], &shown["votes"]), (&"open".into(), &serde_json::json!([])), "{member}");
    }

    // A person's key that is revoked signs nothing any more; but two must stay.
    let people = field.ok("DE", Operator, &["member", "show", "FR"]).await["people"].clone();
    let key_of = |name: &str| {
        let person = people.as_array().unwrap().iter().find(|person| person["name"] == name).unwrap();
        person["key"].as_str().unwrap().to_owned()
    };
    let revoke = ops_1.asks(&field, &["member", "revoke-person", &key_of("desk-1")]).await;
    desk_2.asks(&field, &["approve", "yes", revoke["id"].as_str().unwrap()]).await;
    desk_1.is_refused(&field, Exit::Error, &["ballot", "vote", &ballot, "yes"], &["no enrolled person"]).await;
    let revoke = ops_1.asks(&field, &["member", "revoke-person", &key_of("ops-1")]).await;
    let last = ["approve", "yes", revoke["id"].as_str().unwrap()];
    desk_2.is_refused(&field, Exit::Conflict, &last, &["TOO_FEW_PEOPLE"]).await;
    field.verified("DE").await;
}
