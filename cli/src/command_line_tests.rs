use clap::CommandFactory as _;

use super::CommandLine;
use crate::{Captured, Exit, Output};

async fn comity(args: &str) -> (Exit, Captured) {
    let (mut output, captured) = Output::captured();
    let args = std::iter::once("comity").chain(args.split_whitespace());
    (crate::run(args, &mut output).await, captured)
}

#[test]
fn the_command_line_is_sound() {
    CommandLine::command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_and_every_option_too() {
    fn walk(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} says nothing");
        for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{path} {} says nothing", argument.get_id());
        }
        for sub in command.get_subcommands() {
            walk(sub, &path);
        }
    }
    walk(&CommandLine::command(), "");
}

#[tokio::test]
async fn help_lists_the_nouns_and_the_exit_codes() {
    let (exit, said) = comity("--help").await;
    assert_eq!(exit, Exit::Ok);
    for noun in [
        "proposal", "opinion", "incident", "evidence", "release", "recall", "import", "approve", "ballot", "list",
        "measure", "policy", "audit", "member", "node", "pki", "context",
    ] {
        assert!(said.out().contains(&format!("\n  {noun} ")), "{noun}: {}", said.out());
    }
    assert!(said.out().contains("8 verification failed"));
    assert_eq!(said.err(), "");
}

#[tokio::test]
async fn the_verbs_are_those_that_the_documentation_names() {
    let mut verbs = Vec::new();
    for noun in CommandLine::command().get_subcommands() {
        for verb in noun.get_subcommands() {
            verbs.push(format!("{} {}", noun.get_name(), verb.get_name()));
        }
    }
    let expected = "proposal draft, proposal edit, proposal show, proposal list, proposal share, proposal table, \
        proposal withdraw, \
        opinion give, opinion show, opinion list, opinion withdraw, \
        incident add, incident edit, incident show, incident list, incident share, incident withdraw, \
        evidence add, evidence custody, evidence edit, evidence check, evidence show, evidence list, evidence share, \
        evidence withdraw, \
        release request, release grant, release refuse, release list, \
        recall start, recall status, recall list, recall retain, recall give-up, recall cannot-comply, \
        import ofac, \
        approve list, approve show, approve yes, approve sign, approve no, \
        ballot list, ballot show, ballot vote, ballot acknowledge, ballot hold, ballot extend-hold, ballot lift, \
        ballot object, ballot withdraw, \
        list show, list list, list history, list status, list diff, list watch, list delist, list merge, \
        list review, list export, list verify, \
        measure attach, measure end, measure list, \
        policy check, policy test, policy explain, policy simulate, policy apply, policy show, policy list, \
        policy history, policy people, \
        audit log, audit who-saw, audit person, audit summary, audit anomalies, audit verify, audit export, audit prove, \
        audit reconcile, audit checkpoint, audit witnesses, audit segments, audit conflicts, \
        member genesis, member list, member show, member invite, member join, member admit, member suspend, \
        member readmit, member expel, member replace-keys, member change-rule, member raise-version, \
        member rotate-keys, member revoke-keys, member enroll, member revoke-person, member require-signatures, \
        node status, node rotate-store-key, node restore, node archive, node start-unconfirmed, \
        pki init, pki issue, pki person, pki show, \
        context list, context use, context show, context add, context check";
    assert_eq!(verbs.join(", "), expected);
}

#[tokio::test]
async fn misuse_exits_with_2_and_names_the_argument() {
    for (args, named) in [
        ("", "Usage"),
        ("proposal show nonsense", "FR-P-8K3M9QXT2V4N6R7W"),
        ("proposal share FR-P-8K3M9QXT2V4N6R7W", "--with"),
        ("proposal share FR-P-8K3M9QXT2V4N6R7W --with Germany", "Germany"),
        ("proposal draft", "--file"),
        ("approve no A-7K3M9QXT", "--reason"),
        ("ballot vote 3f9a perhaps", "abstain"),
        ("audit log --since yesterday", "7d"),
        ("audit export", "--out"),
        ("audit export -o jsn", "jsn"),
        ("audit prove last", "last"),
        ("audit verify --list list.json", "name one"),
        ("pki issue --member FR --role king --name x", "operator"),
        ("pki init --member XX", "ISO 3166-1"),
        ("import ofac . --uid 1 --tier private", "confidential"),
        ("import ofac . --uid 1 --draft", "--tier"),
        ("import ofac . --uid 1 --releasable-to DE", "--tier"),
        ("proposal list --timeout-ms 0", "timeout-ms"),
    ] {
        let (exit, said) = comity(args).await;
        assert_eq!(exit, Exit::Usage, "{args}: {}", said.err());
        assert!(said.err().contains(named), "{args}: {}", said.err());
        assert_eq!(said.out(), "", "{args}");
    }
}

#[tokio::test]
async fn without_contexts_the_next_command_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("contexts.toml");
    let (exit, said) = comity(&format!("--config {} node status", config.display())).await;
    assert_eq!(exit, Exit::Error);
    assert!(
        said.err().contains("no contexts yet") && said.err().contains("next:  comity context add"),
        "{}",
        said.err()
    );
    let (exit, said) = comity(&format!("--config {} context list -o json", config.display())).await;
    assert_eq!((exit, said.out().contains("\"contexts\": []")), (Exit::Ok, true));
}

#[tokio::test]
async fn from_keys_to_a_context_without_any_node() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    for (member, port) in [("FR", 7101), ("DE", 7201), ("CA", 7301)] {
        let (exit, said) =
            comity(&format!("pki init --member {member} --dir {at}/pki --endpoint 127.0.0.1:{port}")).await;
        assert_eq!(exit, Exit::Ok, "{}", said.err());
        assert!(said.err().contains("next:  comity pki issue"));
    }
    let (exit, said) = comity(&format!("pki init --member FR --dir {at}/pki")).await;
    assert_eq!(exit, Exit::Error);
    assert!(said.err().contains("left as it is"), "{}", said.err());
    let (exit, said) = comity(&format!("pki init --member FR --dir {at}/pki --force")).await;
    assert_eq!(exit, Exit::Usage, "nobody can be asked: {}", said.err());

    let (exit, said) = comity(&format!("pki issue --member FR --role operator --name desk-7 --dir {at}/pki")).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    assert!(said.out().contains("spiffe://fr.comity.example/operator/desk-7"), "{}", said.out());
    let (_, said) = comity(&format!("pki show {at}/pki/fr/operator-desk-7.pem -o json")).await;
    assert!(said.out().contains("\"id\": \"spiffe://fr.comity.example/operator/desk-7\""), "{}", said.out());
    let (_, said) = comity(&format!("pki show {at}/pki/fr/ca.pem")).await;
    assert!(said.out().contains("an authority"), "{}", said.out());

    let (mut output, said) = Output::captured();
    let fragments = ["fr", "de", "ca"].map(|m| format!("{at}/pki/{m}/member.json"));
    let genesis = format!("{at}/genesis.json");
    let mut args = vec!["comity", "member", "genesis", "--name", "Trial Partnership", "-O", &genesis, "-o", "json"];
    args.extend(fragments.iter().map(String::as_str));
    assert_eq!(crate::run(args, &mut output).await, Exit::Ok, "{}", said.err());
    assert!(
        said.out().contains("\"yes_needed\": 2") && said.out().contains("\"cosigners_needed\": 2"),
        "{}",
        said.out()
    );
    let (_, said) = comity(&format!("member list --genesis {genesis}")).await;
    assert_eq!(said.out().lines().take_while(|line| !line.is_empty()).count(), 4, "{}", said.out());
    assert!(said.out().contains("quorum(2/3)"), "{}", said.out());

    let config = format!("--config {at}/contexts.toml");
    let (key, certificate) = (format!("{at}/pki/fr/operator-desk-7.key"), format!("{at}/pki/fr/operator-desk-7.pem"));
    // Nothing listens on port 1.
    let add = format!(
        "context add desk --endpoint 127.0.0.1:1 --certificate {certificate} --key {key} --genesis {genesis} {config}"
    );
    let (exit, said) = comity(&add).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    let (_, said) = comity(&format!("context list {config}")).await;
    assert!(said.out().contains("spiffe://fr.comity.example/operator/desk-7"), "{}", said.out());
    let (exit, said) = comity(&format!("context check {config}")).await;
    assert_eq!(exit, Exit::Error);
    assert!(
        said.err().contains("127.0.0.1:1: cannot connect") && !said.err().contains("transport error"),
        "{}",
        said.err()
    );
}

#[tokio::test]
async fn completions_and_man_pages_are_made() {
    let (exit, said) = comity("completions bash").await;
    assert_eq!(exit, Exit::Ok);
    assert!(said.out().contains("comity"));
    let folder = tempfile::tempdir().unwrap();
    let (exit, _) = comity(&format!("man {}", folder.path().display())).await;
    assert_eq!(exit, Exit::Ok);
    assert!(folder.path().join("comity-proposal-draft.1").exists());
}

#[tokio::test]
async fn a_list_that_is_none_is_not_proven() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let (exit, said) = comity(&format!("list verify {at}/list.json --genesis {at}/genesis.json")).await;
    assert_eq!(exit, Exit::Error, "{}", said.err());
    comity(&format!("pki init --member FR --dir {at} --endpoint 127.0.0.1:7101")).await;
    let (exit, said) = comity(&format!("member genesis {at}/fr/member.json --name Trial -O {at}/genesis.json")).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    std::fs::write(folder.path().join("list.json"), "{}").unwrap();
    let (exit, said) = comity(&format!("list verify {at}/list.json --genesis {at}/genesis.json")).await;
    assert_eq!(exit, Exit::VerificationFailed, "{}", said.err());
    assert!(said.err().contains("NOT PROVEN"), "{}", said.err());
}

#[tokio::test]
async fn a_bundle_is_written_where_o_names_a_file_and_an_access_is_shown_where_it_names_a_form() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("--config {}/contexts.toml", folder.path().display());
    // As far as to the node that is not there.
    for args in ["audit export -o march.bundle", "audit export -o json -O march.bundle", "audit prove 7 -o ./seven"] {
        let (exit, said) = comity(&format!("{config} {args}")).await;
        assert_eq!(exit, Exit::Error, "{args}: {}", said.err());
        assert!(said.err().contains("no contexts yet"), "{args}: {}", said.err());
    }
}

#[tokio::test]
async fn a_bundle_that_is_none_is_not_proven() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    comity(&format!("pki init --member FR --dir {at} --endpoint 127.0.0.1:7101")).await;
    comity(&format!("member genesis {at}/fr/member.json --name Trial -O {at}/genesis.json")).await;
    for (bytes, told) in
        [("", "CUT SHORT"), ("{}", "not an access bundle"), ("comity/access-bundle/v1\nx\n\n", "line 2")]
    {
        std::fs::write(folder.path().join("a.bundle"), bytes).unwrap();
        let (exit, said) =
            comity(&format!("--state {at} audit verify {at}/a.bundle --genesis {at}/genesis.json")).await;
        assert_eq!(exit, Exit::VerificationFailed, "{}", said.err());
        assert!(said.err().contains("NOT PROVEN") && said.err().contains(told), "{}", said.err());
    }
}

#[tokio::test]
async fn an_imported_subject_is_a_draft_that_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    crate::import::ofac::sample::write(folder.path()).unwrap();
    let uid = crate::import::ofac::sample::GENERAL;
    let (exit, said) = comity(&format!("import ofac {at} --uid {uid}")).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    assert!(said.out().contains("born") && said.out().contains("passport"), "{}", said.out());
    let (exit, said) =
        comity(&format!("import ofac {at} --uid {uid} --tier confidential --releasable-to DE,NO --orcon")).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    let draft = folder.path().join("draft.yaml");
    std::fs::write(&draft, said.out()).unwrap();
    let (exit, said) = comity(&format!("proposal draft -f {} --dry-run", draft.display())).await;
    assert_eq!(exit, Exit::Ok, "{}", said.err());
    assert!(said.out().contains("CONFIDENTIAL//ORCON//REL TO DE, NO"), "{}", said.out());
    let (exit, said) = comity(&format!("import ofac {at} --uid 1 --tier official")).await;
    assert_eq!(exit, Exit::NotFound, "{}", said.err());
}

#[tokio::test]
async fn a_draft_that_is_not_as_it_must_be_is_refused_before_any_node_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("draft.yaml");
    let (exit, said) = comity("proposal draft --example").await;
    assert_eq!(exit, Exit::Ok);
    let name = "x".repeat(10 * 1024 * 1024);
    let large = said.out().replacen("full: ", &format!("full: {name}"), 1);
    std::fs::write(&file, large).unwrap();
    let (exit, said) = comity(&format!("proposal draft -f {}", file.display())).await;
    assert_eq!(exit, Exit::Error);
    assert!(said.err().len() < 4_000, "{} bytes", said.err().len());
    assert!(said.err().contains("next:  comity proposal draft --example"), "{}", said.err());
}
