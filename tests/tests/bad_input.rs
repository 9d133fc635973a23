//! Bad input, as people and machines give it: a clear error that names the field or the reason, and nothing half-written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::process::Command as Process;
use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role;
use comity_core::canonical::Hex32;
use comity_core::list::{Choice, Command, CommandId, Vote};
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use comity_proto::v1::consensus_service_client::ConsensusServiceClient;
use comity_tests::federation::{certificate, dial};
use support::{Field, PATIENCE, program};

const DRAFT: &str = "title: A title\nmarking: {tier: official}\nsubject:\n  kind: person\n  names: [{full: 'DOE, Ada', kind: primary}]\n  birth_dates: ['1961']\n  nationalities: [SY]\nstatement_of_case: The case.\n";

#[tokio::test(flavor = "multi_thread")]
async fn drafts_that_are_not_as_they_must_be() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let ten_megabytes = "A".repeat(10 * 1024 * 1024);
    let cases: Vec<(String, Vec<&str>)> = vec![
        ("title: [unclosed".into(), vec!["line"]),
        ("\u{0}\u{1}\u{2}not yaml at all: : :".into(), vec!["draft.yaml"]),
        (DRAFT.replace("title:", "titel:"), vec!["titel"]),
        (DRAFT.replace("[SY]", "[ZZ]"), vec!["nationalities", "ZZ", "ISO 3166"]),
        (DRAFT.replace("'1961'", "'1961-13-01'"), vec!["birth_dates", "month 13"]),
        (DRAFT.replace("DOE, Ada", &ten_megabytes), vec!["names[0].full", "at most 500"]),
        (DRAFT.replace("marking: {tier: official}\n", ""), vec!["marking"]),
        (DRAFT.replace("tier: official", "tier: cosmic"), vec!["tier"]),
        (DRAFT.replace("tier: official", "tier: official, releasable_to: [JP]"), vec!["releasable_to", "JP"]),
        (DRAFT.replace("tier: official", "tier: top_secret"), vec!["marking.tier", "accreditation"]),
        (DRAFT.replace("kind: primary", "kind: alias"), vec!["subject.names", "primary"]),
        (String::new(), vec!["empty"]),
    ];
    for (text, words) in cases {
        let path = field.file("draft.yaml", &text);
        field.refused(Exit::Error, "FR", Role::Operator, &["proposal", "draft", "-f", &path], &words).await;
    }
    // Nothing of it was written, and a good one still is.
    assert_eq!(
        field.ok("FR", Role::Operator, &["proposal", "list"]).await["records"].as_array().map(Vec::len),
        Some(0)
    );
    let path = field.file("draft.yaml", DRAFT);
    field.ok("FR", Role::Operator, &["proposal", "draft", "-f", &path]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_no_node_accepts() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(3/3)").await;
    let proposal = field.draft("FR", &[]).await;
    let ballot = field.table("FR", &proposal).await;
    field.vote("FR", &ballot).await;
    let status = field.ok("FR", Role::Admin, &["list", "status"]).await;
    let before = status["commands"].as_u64().unwrap();

    let federation = field.federation.genesis.federation();
    let key = |member: &str, which: &str| {
        let path = field.federation.seat(member).unwrap().folder.join(format!("signing-{which}.key"));
        SigningKeyFile::load(&path).unwrap().signing_key().clone()
    };
    let vote = |member: &str, id: u8| {
        Command::Vote(Vote {
            federation,
            command_id: CommandId::new([id; 16]),
            member: member.parse().unwrap(),
            ballot: ballot.parse().unwrap(),
            choice: Choice::Yes,
            replaces: None,
            reason: None,
        })
    };
    let other_federation = Command::Vote(Vote {
        federation: Hex32([9; 32]),
        command_id: CommandId::new([1; 16]),
        member: "DE".parse().unwrap(),
        ballot: ballot.parse().unwrap(),
        choice: Choice::Yes,
        replaces: None,
        reason: None,
    });
    let mut bent = vote("DE", 2).sign(&key("DE", "decision"));
    bent.signatures[0].sig[5] ^= 1;
    let cases = [
        ("a stranger", vote("JP", 3).sign(&key("DE", "decision")).to_bytes()),
        ("another member's key", vote("DE", 4).sign(&key("CA", "decision")).to_bytes()),
        ("the node key", vote("DE", 5).sign(&key("DE", "node")).to_bytes()),
        ("a bad signature", bent.to_bytes()),
        ("another federation", other_federation.sign(&key("DE", "decision")).to_bytes()),
        ("twice", vote("FR", 6).sign(&key("FR", "decision")).to_bytes()),
        ("no envelope", b"{}".to_vec()),
    ];
    let seat = field.federation.seat("FR").unwrap();
    let channel =
        dial(&field.federation, &seat.peer, seat.member, &certificate(&field.federation, "DE", Role::Node, "node-1"))
            .await
            .unwrap();
    let mut client = ConsensusServiceClient::new(channel);
    for (what, envelope) in cases {
        let request = v1::SubmitRequest {
            sender: Some(v1::ConsensusSender { federation: federation.0.to_vec(), node_id: 2 }),
            command: Some(v1::RaftCommand { envelope, public_text: None }),
        };
        // Turned away at once, or ordered and refused by every node's apply: either way no leaf.
        let _ = client.submit(request).await.map_err(|status| assert!(!status.message().is_empty(), "{what}"));
    }
    for member in ["FR", "DE", "CA"] {
        let shown = field.ok(member, Role::Operator, &["ballot", "show", &ballot]).await;
        assert_eq!(shown["votes"].as_array().map(Vec::len), Some(1), "{member}: {shown}");
    }
    let after = field.ok("FR", Role::Admin, &["list", "status"]).await["commands"].as_u64().unwrap();
    // Attestations of time may have come in between; forged votes have not.
    assert!(after - before <= 3, "{before} to {after}");
    // The federation goes on.
    field.vote("DE", &ballot).await;
    field.vote("CA", &ballot).await;
    let shown = field.ok("CA", Role::Operator, &["ballot", "show", &ballot]).await;
    assert!(shown["entry"].as_str().unwrap().starts_with("CW-"), "{shown}");
}

fn node(arguments: &[&str]) -> (bool, String) {
    let output = Process::new(program())
        .arg(comity_cli::NODE_PROCESS)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_and_files_that_do_not_fit() {
    let field = Field::laid_out(&["FR", "DE", "CA"], "quorum(2/3)");
    let seat = field.federation.seat("FR").unwrap().clone();
    let config = seat.config();
    let good = std::fs::read_to_string(&config).unwrap();
    let path = config.display().to_string();
    let (ok, said) = node(&["config", "check", "--config", &path]);
    assert!(ok && said.contains("ok"), "{said}");
    let cases = [
        (good.replace("policy_dir", "polciy_dir"), vec!["polciy_dir"]),
        (good.replace("\"FR\"", "\"ZZ\""), vec!["member", "ISO 3166"]),
        (good.replace("\"FR\"", "\"JP\""), vec!["JP", "genesis"]),
        (good.replace("signing-decision.key", "signing-node.key"), vec!["keys.decision", "FR"]),
        (good.replace("node-node-1.", "operator-desk-1."), vec!["tls.certificate", "operator/desk-1", "/node/"]),
        (
            good.replace("node-node-1.pem", "../de/node-node-1.pem")
                .replace("node-node-1.key", "../de/node-node-1.key"),
            vec!["de.comity.example", "fr.comity.example"],
        ),
        (good.replace("genesis.json", "nowhere.json"), vec!["nowhere.json"]),
    ];
    for (text, words) in cases {
        std::fs::write(&config, text).unwrap();
        let (ok, said) = node(&["config", "check", "--config", &path]);
        assert!(!ok, "{words:?}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word} in: {said}"));
    }
    std::fs::write(&config, &good).unwrap();
    let (ok, said) = {
        use std::os::unix::fs::PermissionsExt as _;
        let key = seat.folder.join("signing-decision.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let result = node(&["config", "check", "--config", &path]);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        result
    };
    assert!(!ok && said.contains("signing-decision.key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_changed_by_hand_and_another_genesis_keep_a_node_from_serving() {
    let mut field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let policy =
        field.file("DE.cedar", "permit (principal == Party::\"DE\", action, resource) when { resource.tier <= 2 };\n");
    field.approved("FR", Role::Policy, &["policy", "apply", "--party", "DE", &policy]).await;
    let seat = field.federation.seat("FR").unwrap().clone();
    let applied = seat.folder.join("policies").join("DE.cedar");
    let approved = std::fs::read_to_string(&applied).unwrap();
    field.federation.stop(0, Duration::from_secs(20)).await;

    for (text, words) in [
        ("permit (principal, action, resource) when { resource.tear <= 2 };", vec!["DE.cedar", "tear"]),
        ("permit (principal, action, resource);", vec!["DE.cedar", "changed by hand"]),
    ] {
        std::fs::write(&applied, text).unwrap();
        field.federation.spawn(0).unwrap();
        let error = field.federation.wait_serving(0, PATIENCE).await.unwrap_err().to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{word} in: {error}"));
    }
    std::fs::write(&applied, &approved).unwrap();

    // Another genesis: the store says which federation it belongs to.
    let genesis = std::fs::read_to_string(seat.folder.join("genesis.json")).unwrap();
    std::fs::write(seat.folder.join("genesis.json"), genesis.replace("Test Partnership", "Other Partnership")).unwrap();
    field.federation.spawn(0).unwrap();
    let error = field.federation.wait_serving(0, PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("federation") && error.contains("genesis"), "{error}");
    // With an empty store it starts, and its peers tell it that it is not of their federation.
    std::fs::rename(seat.folder.join("data"), seat.folder.join("data.old")).unwrap();
    std::fs::remove_file(&applied).unwrap();
    field.federation.spawn(0).unwrap();
    let waited = field.federation.wait_serving(0, Duration::from_secs(6)).await;
    let log = std::fs::read_to_string(seat.log()).unwrap();
    assert!(waited.is_err(), "{log}");
    let waited = waited.unwrap_err().to_string();
    assert!(waited.contains("did not serve"), "{waited}");
    assert!(log.contains("federation"), "{log}");
    field.federation.kill(0);
    // The others never minded.
    field.ok("DE", Role::Operator, &["list", "status"]).await;

    std::fs::write(seat.folder.join("genesis.json"), genesis).unwrap();
    std::fs::remove_dir_all(seat.folder.join("data")).unwrap();
    std::fs::rename(seat.folder.join("data.old"), seat.folder.join("data")).unwrap();
    field.federation.spawn(0).unwrap();
    field.federation.wait_serving(0, PATIENCE).await.unwrap();
    field.ok("FR", Role::Policy, &["policy", "show", "--party", "DE"]).await;
    // The officer's copy that was gone is written anew.
    assert_eq!(std::fs::read_to_string(&applied).unwrap(), approved);
}
