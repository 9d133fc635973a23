//! What other members see of an access log: they cosign what continues, keep what does not, and a node that is behind what they saw
//! serves nothing until the newer store is back or the loss is declared.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role;
use serde_json::Value;
use support::{Field, PATIENCE};

const FR: usize = 0;
const STOP: Duration = Duration::from_secs(20);
/// Heads are offered each second, so that a test need not wait for a minute.
const SETTINGS: &str = "[access_log]\ncheckpoint_interval_s = 1\n";

async fn start() -> Field {
    let mut field = Field::laid_out_with(&["FR", "DE", "CA"], "quorum(2/3)", SETTINGS);
    field.federation.start(PATIENCE).await.unwrap();
    field
}

async fn witnesses(field: &Field, member: &str) -> Value {
    field.ok(member, Role::Auditor, &["audit", "witnesses"]).await
}

/// Waits until enough others have cosigned so many leaves.
async fn witnessed(field: &Field, member: &str, leaves: u64) -> Value {
    loop {
        let found = witnesses(field, member).await;
        if found["witnessed"].as_u64().unwrap() >= leaves {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn status(field: &Field) -> Value {
    field.ok("FR", Role::Admin, &["node", "status"]).await
}

/// Waits until FR's node says that it stands so.
async fn stands(field: &Field, standing: &str) -> Value {
    for _ in 0..600 {
        let answer = field.run("FR", Role::Admin, &["node", "status", "-o", "json"]).await;
        if answer.exit == Exit::Ok {
            let status: Value = serde_json::from_str(&answer.out).unwrap();
            if status["standing"] == standing {
                return status;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {standing}");
}

fn data(field: &Field) -> PathBuf {
    field.federation.seats[FR].folder.join("data")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

/// A federation in which the others have seen all of FR's access log, a copy of FR's data from before the last of it, and how long it is.
async fn grown() -> (Field, PathBuf, u64) {
    let mut field = start().await;
    field.draft("FR", &[]).await;
    field.federation.stop(FR, STOP).await;
    let older = field.federation.folder.join("older");
    copy(&data(&field), &older);
    field.federation.spawn(FR).unwrap();
    field.federation.wait_serving(FR, PATIENCE).await.unwrap();
    for _ in 0..5 {
        field.draft("FR", &[]).await;
    }
    let size = status(&field).await["access_log_size"].as_u64().unwrap();
    witnessed(&field, "FR", size).await;
    (field, older, size)
}

/// Puts an older copy of the national store in the place of the newer, as a backup or an administrator would.
fn put_back(field: &Field, copy_of: &Path) {
    for name in ["national.db", "national.db-wal", "national.db-shm"] {
        let (old, now) = (copy_of.join(name), data(field).join(name));
        fs::remove_file(&now).ok();
        if old.exists() {
            fs::copy(old, now).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rolled_back_serves_nothing_until_its_loss_is_declared() {
    let (mut field, older, size) = grown().await;
    let seen = witnesses(&field, "FR").await;
    assert_eq!((seen["needed"].as_u64(), seen["witnesses"].as_array().unwrap().len()), (Some(2), 2));
    field.federation.stop(FR, STOP).await;
    let newer = field.federation.folder.join("newer");
    copy(&data(&field), &newer);

    // Rolled back: it says what is missing, to its administrator alone, and does nothing else.
    put_back(&field, &older);
    field.federation.spawn(FR).unwrap();
    let behind = stands(&field, "behind").await;
    let lost = &behind["lost"][0];
    assert!(lost["origin"].as_str().unwrap().ends_with("/access-log/1"), "{lost}");
    assert!(lost["last"].as_u64().unwrap() + 1 >= size, "{lost} {size}");
    for (role, command) in [
        (Role::Operator, &["proposal", "list"][..]),
        (Role::Auditor, &["audit", "log"]),
        (Role::Admin, &["node", "rotate-store-key"]),
        (Role::Operator, &["list", "list", "--stale-ok"]),
    ] {
        field.refused(Exit::Error, "FR", role, command, &["ACCESS_LOG_BEHIND"]).await;
    }
    let words = ["nobody can be asked here"];
    field
        .refused(Exit::Usage, "FR", Role::Admin, &["node", "restore", "--declare-loss", "--reason", "x"], &words)
        .await;
    field
        .refused(
            Exit::Conflict,
            "FR",
            Role::Admin,
            &["node", "start-unconfirmed", "--reason", "x", "--yes"],
            &["ACCESS_LOG_BEHIND"],
        )
        .await;

    // The newer store again: nothing is lost.
    field.federation.stop(FR, STOP).await;
    put_back(&field, &newer);
    field.federation.spawn(FR).unwrap();
    field.federation.wait_serving(FR, PATIENCE).await.unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
    let size = status(&field).await["access_log_size"].as_u64().unwrap();
    witnessed(&field, "FR", size).await;

    // Rolled back once more, and this time the newer one is gone.
    field.federation.stop(FR, STOP).await;
    put_back(&field, &older);
    field.federation.spawn(FR).unwrap();
    stands(&field, "behind").await;
    let reason = "the disk of the 14th failed";
    let asked =
        field.approved("FR", Role::Admin, &["node", "restore", "--declare-loss", "--reason", reason, "--yes"]).await;
    assert!(asked["outcome"].as_str().unwrap().contains("incarnation 2"), "{asked}");
    field.federation.wait_serving(FR, PATIENCE).await.unwrap();
    let log = field.ok("FR", Role::Auditor, &["audit", "log", "--action", "declare loss"]).await;
    let leaf = &log["records"][0];
    assert!(leaf["touched"][0]["resource"].as_str().unwrap().ends_with("/access-log/1"), "{leaf}");
    assert!(leaf["who"].as_str().unwrap().contains("/admin/"), "{leaf}");
    let size = status(&field).await["access_log_size"].as_u64().unwrap();
    let seen = witnessed(&field, "FR", size).await;
    assert_eq!(seen["incarnation"], 2);
    // The others keep what they saw of the first, and hold nothing against the second.
    for member in ["DE", "CA"] {
        let theirs = witnesses(&field, member).await;
        let of_fr: Vec<_> = theirs["others"].as_array().unwrap().iter().filter(|o| o["member"] == "FR").collect();
        assert_eq!(of_fr.len(), 2, "{theirs}");
        assert_eq!(theirs["conflicts"], 0, "{theirs}");
    }
    // And it starts again as it is.
    field.federation.stop(FR, STOP).await;
    field.federation.spawn(FR).unwrap();
    field.federation.wait_serving(FR, PATIENCE).await.unwrap();
    assert_eq!(status(&field).await["access_log_incarnation"], 2);
    // What went back once is not forgotten: the first store does not pass for the log any more.
    field.federation.stop(FR, STOP).await;
    put_back(&field, &newer);
    field.federation.spawn(FR).unwrap();
    stands(&field, "behind").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_answers_waits_or_starts_on_a_persons_word() {
    let mut field = start().await;
    field.draft("FR", &[]).await;
    for seat in [FR, 1, 2] {
        field.federation.stop(seat, STOP).await;
    }
    field.federation.spawn(FR).unwrap();
    let waiting = stands(&field, "waiting").await;
    assert_eq!((&waiting["witnesses_heard"], &waiting["witnesses_asked"]), (&0.into(), &1.into()));
    field.refused(Exit::Error, "FR", Role::Operator, &["proposal", "list"], &["ACCESS_LOG_UNCONFIRMED"]).await;
    field
        .refused(Exit::Error, "FR", Role::Admin, &["node", "start-unconfirmed", "--reason", " ", "--yes"], &["reason"])
        .await;
    field
        .refused(Exit::RoleMayNot, "FR", Role::Operator, &["node", "start-unconfirmed", "--reason", "x", "--yes"], &[])
        .await;
    field.run("FR", Role::Admin, &["node", "start-unconfirmed", "--reason", "the line is cut", "--yes"]).await;
    stands(&field, "serving").await;
    let log = field.ok("FR", Role::Auditor, &["audit", "log", "--limit", "1000"]).await;
    let said = log["records"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["action"].as_str().unwrap().starts_with("start unconfirmed"));
    let said = said.unwrap();
    assert_eq!(said["touched"][0]["view"], "the line is cut", "{said}");
    assert!(said["who"].as_str().unwrap().contains("/admin/"), "{said}");
    // The others come back: one answer is enough for each, and the head that nobody cosigned is.
    field.federation.spawn(1).unwrap();
    field.federation.wait_serving(1, PATIENCE).await.unwrap();
    field.federation.spawn(2).unwrap();
    field.federation.wait_serving(2, PATIENCE).await.unwrap();
    let size = status(&field).await["access_log_size"].as_u64().unwrap();
    witnessed(&field, "FR", size).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_falls_behind_while_it_serves_stops() {
    let (mut field, older, _) = grown().await;
    // Rolled back, and started on somebody's word while nobody could say otherwise.
    for seat in [FR, 1, 2] {
        field.federation.stop(seat, STOP).await;
    }
    put_back(&field, &older);
    field.federation.spawn(FR).unwrap();
    stands(&field, "waiting").await;
    field.run("FR", Role::Admin, &["node", "start-unconfirmed", "--reason", "all is well", "--yes"]).await;
    stands(&field, "serving").await;
    // It goes on until the first of the others is there.
    field.federation.spawn(1).unwrap();
    let ended = async {
        loop {
            if field
                .federation
                .wait_serving(FR, Duration::ZERO)
                .await
                .is_err_and(|e| e.to_string().contains("rolled back"))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    field.federation.spawn(FR).unwrap();
    stands(&field, "behind").await;
}
