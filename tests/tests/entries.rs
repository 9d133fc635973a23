//! What becomes of entries: amended, measured, reviewed, merged, delisted; and how operators read what happened.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use comity_cli::Exit;
use comity_core::Role::{Approver, Operator};
use serde_json::Value;
use support::{Field, assert_fit_to_print, flat};

const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];
const VOTERS: [&str; 2] = ["FR", "DE"];

fn attach<'a>(entry: &'a str, id: &'a str) -> Vec<&'a str> {
    let act = ["--programme", "Chemical weapons", "--legal-act", "Act 1 of 2026", "--from", "2026-11-01"];
    [["measure", "attach", entry, "--id", id, "--imposes", "asset_freeze,travel_ban"].as_slice(), &act].concat()
}

/// The members decide a motion of one of them.
async fn decided(field: &Field, member: &str, motion: &[&str], state: &str) -> Value {
    let ballot = field.moved(member, motion).await;
    for voter in VOTERS {
        field.vote(voter, &ballot).await;
    }
    field.ballot(member, &ballot, |b| b["state"] == state).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_amended_measured_reviewed_and_its_history_told() {
    let field = Field::start(&MEMBERS, "quorum(2/3)").await;
    let entry = field.listed("FR", &VOTERS, "DOE, Ada").await;
    let before = field.export("CA", "before.json", &[]).await;

    // Another text, tabled as a proposal of any member's.
    let proposal = field.draft_of("DE", "DOE, Ada", "The case, with what was found since.").await;
    field.approved("DE", Operator, &["proposal", "table", &proposal, "--amends", &entry]).await;
    let shown = field.ok("DE", Operator, &["proposal", "show", &proposal]).await;
    let ballot = shown["ballot"].as_str().unwrap();
    for voter in VOTERS {
        field.vote(voter, ballot).await;
    }
    field.ballot("DE", ballot, |b| b["state"] == "adopted").await;

    // Measures are each state's own: no ballot; no name twice; nobody ends another's.
    field.approved("CA", Operator, &attach(&entry, "CA-1")).await;
    field.approved("FR", Operator, &attach(&entry, "FR-1")).await;
    field.refused(Exit::Conflict, "CA", Operator, &attach(&entry, "CA-1"), &["MEASURE_ID_USED"]).await;
    let end = ["measure", "end", &entry, "--id", "CA-1", "--ended", "2026-11-20"];
    field.refused(Exit::Conflict, "DE", Operator, &end, &["NO_MEASURE"]).await;
    field.approved("CA", Operator, &end).await;
    let none = field.ok("DE", Operator, &["measure", "list", &entry]).await;
    assert_eq!(none["measures"].as_array().unwrap().len(), 1, "{none}");
    let all = field.read("DE", Operator, &["measure", "list", &entry, "--all"]).await;
    assert!(all.contains("2026-11-20") && all.contains("asset_freeze,travel_ban"), "{all}");
    field.approved("DE", Operator, &["list", "review", &entry]).await;

    let history = flat(&field.read("CA", Operator, &["list", "history", &entry]).await);
    let told = [
        "listed",
        "amended",
        "statement_of_case: The case for publication. is now The case, with what was found since.",
        "measure CA-1 attached: asset freeze, travel ban",
        "measure FR-1 attached",
        "measure CA-1 ended 2026-11-20",
        "reviewed and kept",
        "DE on its own authority",
        "consents DE, FR",
    ];
    let mut at = 0;
    for words in &told[..7] {
        let found = history[at..].find(words);
        assert!(found.is_some(), "`{words}` in its place in\n{history}");
        at += found.unwrap();
    }
    assert!(told.iter().all(|words| history.contains(words)), "{history}");

    // The list at two positions, of files and of a node.
    let after = field.export("CA", "after.json", &[]).await;
    for (a, b) in [(before.as_str(), after.as_str()), ("@1", "@agreed"), (&before, "@agreed")] {
        let diff = ["list", "diff", a, b, "--exit-code"];
        let answer = field.run("CA", Operator, &diff).await;
        assert_eq!(answer.exit, Exit::Different, "{a} {b}: {}", answer.err);
        assert_fit_to_print(&answer.out);
        for words in ["amended         CW-", "statement_of_case: ", "measures        CW-", "measures ended  CW-"] {
            assert!(answer.out.contains(words), "`{words}` in\n{}", answer.out);
        }
    }
    let same = field.run("CA", Operator, &["list", "diff", &after, "@agreed", "--exit-code"]).await;
    assert_eq!(same.exit, Exit::Ok, "{}{}", same.out, same.err);
    let all = field.ok("CA", Operator, &["list", "diff", "@0", "@agreed"]).await;
    assert_eq!(all["added"][0]["entry"], entry.as_str());
    field.refused(Exit::NotFound, "CA", Operator, &["list", "diff", "@0", "@1000"], &["leaves"]).await;
    field.verified("CA").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_become_one_and_a_redirect_stays() {
    let field = Field::start(&MEMBERS, "quorum(2/3)").await;
    let stays = field.listed("FR", &VOTERS, "DOE, Ada").await;
    let gives_way = field.listed("DE", &VOTERS, "DO, Aida").await;
    field.approved("CA", Operator, &attach(&gives_way, "CA-1")).await;
    let statement = ["--statement", "One woman, two transliterations."];
    let merge = [["list", "merge", &gives_way, "--into", &stays].as_slice(), &statement].concat();
    decided(&field, "CA", &merge, "adopted").await;
    let redirect = field.run("DE", Operator, &["list", "show", &gives_way]).await;
    assert!(redirect.out.contains("merged on ") && redirect.err.contains(&stays), "{}{}", redirect.out, redirect.err);
    let one = field.ok("DE", Operator, &["list", "show", &stays]).await;
    assert_eq!(one["measures"][0]["id"], "CA-1");
    let listed = field.ok("DE", Operator, &["list", "list"]).await;
    assert_eq!(listed["entries"].as_array().unwrap().len(), 1);
    // What is off the list changes no more, and is told in both histories.
    field.refused(Exit::Conflict, "FR", Operator, &attach(&gives_way, "FR-1"), &["ENTRY_OFF_THE_LIST"]).await;
    for entry in [&stays, &gives_way] {
        let history = field.read("DE", Operator, &["list", "history", entry]).await;
        assert!(history.contains("One woman, two transliterations."), "{history}");
    }
    // Numbers are never used again.
    let next = field.listed("FR", &VOTERS, "ROE, Rita").await;
    assert!(next > gives_way && gives_way > stays, "{stays} {gives_way} {next}");
    field.verified("DE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_leaves_the_list_by_time_or_by_ballot() {
    let field = Field::start(&MEMBERS, "quorum(2/3)").await;
    let dead = field.listed("FR", &VOTERS, "DOE, Ada").await;
    let mistaken = field.listed("FR", &VOTERS, "ROE, Rita").await;

    // Its proposer's motion: adopted by time, unless all the others vote to keep it.
    let delist = |ground| ["list", "delist", dead.as_str(), "--ground", ground, "--statement", "Died on 3 May."];
    let kept = field.moved("FR", &delist("death")).await;
    let shown = flat(&field.read("FR", Operator, &["ballot", "show", &kept]).await);
    assert!(shown.contains("unless all other voting members vote no to keep the entry: 0 of 2 so far"), "{shown}");
    for member in ["DE", "CA"] {
        field.ballot(member, &kept, |_| true).await;
        field.approved(member, Operator, &["ballot", "vote", &kept, "no", "--reason", "He was seen."]).await;
    }
    let kept = field.ballot("FR", &kept, |b| b["state"] == "rejected").await;
    assert_eq!(kept["outcome"], "rejected: all others voted to keep the entry");
    let again = field.moved("FR", &delist("death")).await;
    let until = field.ok("FR", Operator, &["ballot", "show", &again]).await["reverse_silence_until"].clone();
    field.until(until.as_str().unwrap()).await;
    field.ballot("FR", &again, |b| b["state"] == "adopted").await;
    let tombstone = field.read("CA", Operator, &["list", "show", &dead]).await;
    assert!(tombstone.contains("delisted on ") && tombstone.contains(": death"), "{tombstone}");
    assert!(tombstone.contains("DOE, Ada"), "the dead are not erased:\n{tombstone}");

    // Another member's motion is a ballot; a mistaken identity is erased everywhere, and the list still proves itself.
    let motion = ["list", "delist", &mistaken, "--ground", "mistaken_identity", "--statement", "It was her sister."];
    decided(&field, "DE", &motion, "adopted").await;
    for member in MEMBERS {
        let operator = field.context(member, Operator);
        let gone = |e: &Value| e["status"] == "delisted" && !e.to_string().contains("ROE, Rita");
        field.desk.until("its erasure", &operator, &["list", "show", &mistaken], gone).await.unwrap();
        let history = field.read(member, Operator, &["list", "history", &mistaken]).await;
        assert!(history.contains("delisted: mistaken identity") && !history.contains("ROE, Rita"), "{history}");
    }
    let proven = field.verified("CA").await;
    assert!(!proven.to_string().contains("ROE, Rita"), "{proven}");
    field
        .refused(
            Exit::Usage,
            "DE",
            Operator,
            &["list", "delist", &dead, "--ground", "dead", "--statement", "x"],
            &["mistaken_identity"],
        )
        .await;
    field.refused(Exit::NotFound, "DE", Operator, &["list", "history", "CW-2026-0999"], &["CW-2026-0999"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_drives_no_terminal() {
    let field = Field::start(&MEMBERS, "quorum(2/3)").await;
    let entry = field.listed("FR", &VOTERS, "DOE, Ada").await;
    let statement = "Fine.\u{1b}[2J\u{202e}Not fine.";
    let delist = ["list", "delist", &entry, "--ground", "other", "--statement", statement];
    let answer = field.run("DE", Operator, &delist).await;
    // Refused with the field named, or shown harmlessly: never passed on.
    assert!(!format!("{}{}", answer.out, answer.err).contains('\u{1b}'), "{}", answer.err);
    let ballots = if answer.exit == Exit::Ok {
        let approvals = field.read("DE", Approver, &["approve", "list"]).await;
        assert!(!approvals.contains('\u{202e}'));
        String::new()
    } else {
        assert!(answer.err.contains("statement"), "{}", answer.err);
        field.read("DE", Operator, &["ballot", "list"]).await
    };
    assert!(!ballots.contains('\u{1b}'));
}
