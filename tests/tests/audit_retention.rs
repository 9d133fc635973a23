//! Old leaves are moved into files that prove them; what is left in the store proves what it did.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role;
use support::{Field, PATIENCE};

const SETTINGS: &str = "[access_log]\ncheckpoint_interval_s = 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn old_leaves_lie_in_files_that_prove_them() {
    let mut field = Field::laid_out_with(&["FR", "DE", "CA"], "quorum(2/3)", SETTINGS);
    field.federation.start(PATIENCE).await.unwrap();
    let draft = field.draft("FR", &[]).await;
    let old = field.file_at("old.checkpoint").display().to_string();
    field.ok("FR", Role::Auditor, &["audit", "verify", "--save", &old]).await;
    let leaves = field.ok("FR", Role::Auditor, &["audit", "log", "--record", &draft]).await;
    let leaf = leaves["records"][0]["leaf"].as_u64().unwrap();
    // Nothing is moved that others have not seen.
    let witnessed = loop {
        let status = field.ok("FR", Role::Admin, &["node", "status"]).await;
        let witnessed = status["access_log_witnessed"].as_u64().unwrap();
        if witnessed > leaf + 1 {
            break witnessed;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let nothing = field.ok("FR", Role::Admin, &["node", "archive", "--before", "2020-01-01"]).await;
    assert_eq!(nothing["segments"].as_array().unwrap().len(), 0);
    let moved = field.ok("FR", Role::Admin, &["node", "archive", "--before", "0s"]).await;
    let segment = &moved["segments"][0];
    assert_eq!(segment["first"], 0, "{moved}");
    // The last leaf that is signed over stays.
    assert!(segment["last"].as_u64().unwrap() + 2 >= witnessed, "{segment} {witnessed}");

    // The log is proved as before, from older checkpoints, too; what is searched says what it leaves out.
    let verified = field.ok("FR", Role::Auditor, &["audit", "verify", "--against", &old]).await;
    assert!(verified["archived"].as_u64().unwrap() > leaf, "{verified}");
    let answer = field.run("FR", Role::Auditor, &["audit", "log", "--record", &draft, "-o", "json"]).await;
    assert!(answer.err.contains("lie in archives"), "{}", answer.err);
    let n = leaf.to_string();
    let out = field.file_at("one.bundle").display().to_string();
    let file = segment["file"].as_str().unwrap();
    field
        .refused(Exit::Conflict, "FR", Role::Auditor, &["audit", "prove", &n, "-O", &out], &["LEAF_ARCHIVED", file])
        .await;
    // The file proves them, without any node, and says what the draft's leaf said.
    let path = field.federation.seats[0].folder.join("data").join("access-archive").join(file);
    let path = path.display().to_string();
    field.ok("FR", Role::Auditor, &["audit", "verify", &path]).await;
    let segments = field.ok("FR", Role::Auditor, &["audit", "segments"]).await;
    assert_eq!(
        (&segments["segments"][0]["sha256"], &segments["segments"][0]["is_there"]),
        (&segment["sha256"], &true.into())
    );

    // What is exported from here on begins where the archive ends; the node starts again as it is.
    field.federation.stop(0, Duration::from_secs(20)).await;
    field.federation.spawn(0).unwrap();
    field.federation.wait_serving(0, PATIENCE).await.unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify", "--against", &old]).await;
    let rest = field.file_at("rest.bundle").display().to_string();
    field.ok("FR", Role::Auditor, &["audit", "export", "-O", &rest]).await;
    field.ok("FR", Role::Auditor, &["audit", "verify", &rest, "--accept-uncosigned"]).await;
    // A file that is gone is told, and the log holds all the same.
    std::fs::remove_file(&path).unwrap();
    let segments = field.ok("FR", Role::Auditor, &["audit", "segments"]).await;
    assert_eq!(segments["segments"][0]["is_there"], false);
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
}
