//! What the log does while its disk does not.

use std::path::{Path, PathBuf};

use comity_core::access::AccessRecord;

use super::{AccessLogError, Trouble};
use crate::error::StoreError;
use crate::test_store::{TestStore, at, skipped_without_a_file};

fn access(n: i64) -> AccessRecord {
    AccessRecord::new(at(n), "127.0.0.1:4000", "GetProposal")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    path.with_file_name(format!("{}{ending}", path.file_name().unwrap().to_string_lossy()))
}

fn moves(error: &AccessLogError, file: &str) -> bool {
    let (AccessLogError::Unwritable(error) | AccessLogError::Unreadable(error)) = error else { return false };
    matches!(&**error, StoreError::Moved { file: moved } if moved == file)
}

#[tokio::test]
async fn a_log_whose_file_was_moved_takes_nothing_until_the_very_file_is_back() {
    if skipped_without_a_file() {
        return;
    }
    for ending in ["", "-wal"] {
        let test = TestStore::new().await;
        let log = test.store.access_log();
        assert_eq!(log.append(access(0)).await.unwrap(), 0);
        let (path, aside) = (beside(&test.path(), ending), beside(&test.path(), ".aside"));
        std::fs::rename(&path, &aside).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let gone = log.append(access(1)).await.unwrap_err();
        assert!(moves(&gone, &name), "{gone:?}");
        assert_eq!((log.trouble(), log.head().size), (Some(Trouble::Moved), 1));
        // A copy is not the file that is written to.
        std::fs::copy(&aside, &path).unwrap();
        let copied = log.append(access(1)).await.unwrap_err();
        assert!(moves(&copied, &name), "{copied:?}");
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(log.append(access(1)).await.unwrap(), 1);
        assert_eq!(log.trouble(), None);
        assert!(log.verify_stored().await.unwrap().is_sound());
        // Nothing else was written meanwhile, either.
        let test = test.reopen().await;
        assert_eq!(test.store.access_log().head().size, 2);
        assert!(test.store.access_log().verify_stored().await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn other_writes_are_not_acknowledged_into_a_file_that_is_gone() {
    if skipped_without_a_file() {
        return;
    }
    let test = TestStore::with_drafts(1).await;
    std::fs::rename(test.path(), beside(&test.path(), ".aside")).unwrap();
    assert!(test.store.records().create(crate::test_store::draft(2)).await.is_err());
    std::fs::rename(beside(&test.path(), ".aside"), test.path()).unwrap();
    test.store.records().create(crate::test_store::draft(2)).await.unwrap();
}
