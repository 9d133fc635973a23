//! The command that the README shows first, as a new user runs it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::process::{Command, Stdio};

const COMITY: &str = env!("CARGO_BIN_EXE_comity-under-test");

#[test]
fn the_demo_tells_its_story_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().join("kept");
    let output =
        Command::new(COMITY).args(["demo", "--once", "--keep"]).arg(&keep).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    for word in ["CW-2", "agreed", "exit code 8", "Germany's node pulled it"] {
        assert!(told.contains(word), "{word} in:\n{told}");
    }
    // No node of this federation runs on: each has its configuration's path on its command line.
    let path = keep.canonicalize().unwrap().display().to_string();
    let left = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(&path))
    });
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    // INVARIANT: logs carry ids and reasons, never names or titles.
    for member in ["fr", "de", "ca", "au"] {
        let log = std::fs::read_to_string(keep.join(member).join("node.log")).unwrap();
        assert!(log.contains("serving"), "{member}");
        for secret in ["QASRELI", "MERIDAN", "000478882"] {
            assert!(!log.contains(secret), "{secret} in the log of {member}");
        }
    }
}
