//! What an administrator can do to the log on disk, and how an auditor finds it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role;
use comity_core::Timestamp;
use comity_core::access::{AccessLeaf, AccessRecord, Touched};
use comity_core::canonical::Hex32;
use comity_core::merkle::Frontier;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use support::{Field, PATIENCE};

const FR: usize = 0;
/// Large records of an access log.
const LARGE: usize = 220;

/// Lets the administrator at the database of a stopped node, then starts it again.
async fn tamper<F, O>(field: &mut Field, change: F) -> Result<(), String>
where
    F: FnOnce(SqlitePool) -> O,
    O: Future<Output = ()>,
{
    field.federation.stop(FR, Duration::from_secs(20)).await;
    let path: PathBuf = field.federation.seats[FR].folder.join("data").join("national.db");
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).foreign_keys(false)).await.unwrap();
    change(pool.clone()).await;
    pool.close().await;
    field.federation.spawn(FR).unwrap();
    field.federation.wait_serving(FR, PATIENCE).await.map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_a_removal_and_a_rewrite_are_found() {
    let mut field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    field.draft("FR", &[]).await;
    let old = field.federation.folder.join("old.checkpoint").display().to_string();
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
    let kept = field.run("FR", Role::Auditor, &["audit", "checkpoint", "-O", &old]).await;
    assert_eq!(kept.exit, Exit::Ok, "{}", kept.err);
    field.draft("FR", &[]).await;
    field.ok("FR", Role::Auditor, &["audit", "verify", "--against", &old]).await;

    // An edit: one record says something else.
    let find = "SELECT n, record FROM access_leaf WHERE action = 'RecordService/CreateRecord' ORDER BY n LIMIT 1";
    let mut original = None;
    tamper(&mut field, async |pool| {
        let row = sqlx::query(find).fetch_one(&pool).await.unwrap();
        let (n, record): (i64, Vec<u8>) = (row.get(0), row.get(1));
        let edited = String::from_utf8(record.clone()).unwrap().replace("desk-1", "desk-8").into_bytes();
        sqlx::query("UPDATE access_leaf SET record = $1 WHERE n = $2")
            .bind(edited)
            .bind(n)
            .execute(&pool)
            .await
            .unwrap();
        original = Some((n, record));
    })
    .await
    .unwrap();
    field.refused(Exit::VerificationFailed, "FR", Role::Auditor, &["audit", "verify"], &["EDIT"]).await;

    // Put back, it verifies; then a leaf is gone.
    let (n, record) = original.unwrap();
    tamper(&mut field, async |pool| {
        sqlx::query("UPDATE access_leaf SET record = $1 WHERE n = $2")
            .bind(record)
            .bind(n)
            .execute(&pool)
            .await
            .unwrap();
    })
    .await
    .unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify", "--against", &old]).await;
    // Only what a leaf is searched by is changed: the leaves hold, a search would miss it.
    let mut who = None;
    tamper(&mut field, async |pool| {
        who = sqlx::query("SELECT who FROM access_leaf WHERE n = $1")
            .bind(n)
            .fetch_one(&pool)
            .await
            .unwrap()
            .get::<Option<String>, _>(0);
        sqlx::query("UPDATE access_leaf SET who = 'nobody' WHERE n = $1").bind(n).execute(&pool).await.unwrap();
    })
    .await
    .unwrap();
    field.refused(Exit::VerificationFailed, "FR", Role::Auditor, &["audit", "verify"], &["INDEX"]).await;
    tamper(&mut field, async |pool| {
        sqlx::query("UPDATE access_leaf SET who = $1 WHERE n = $2").bind(who).bind(n).execute(&pool).await.unwrap();
    })
    .await
    .unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
    tamper(&mut field, async |pool| {
        sqlx::query("CREATE TABLE kept AS SELECT * FROM access_leaf WHERE n = $1")
            .bind(n)
            .execute(&pool)
            .await
            .unwrap();
        sqlx::query("DELETE FROM access_leaf WHERE n = $1").bind(n).execute(&pool).await.unwrap();
    })
    .await
    .unwrap();
    field.refused(Exit::VerificationFailed, "FR", Role::Auditor, &["audit", "verify"], &["REMOVAL"]).await;

    // A rewrite: the removed leaf comes back as another, every hash is computed anew, old checkpoints are dropped, the other members
    // were brought to forget what they cosigned, and the node itself signs the result. Only who holds an older checkpoint can tell, and
    // does.
    for seat in [1, 2] {
        field.federation.stop(seat, Duration::from_secs(20)).await;
        let path = field.federation.seats[seat].folder.join("data").join("national.db");
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
        sqlx::query("DELETE FROM witnessed_log WHERE member = 'FR'").execute(&pool).await.unwrap();
        pool.close().await;
    }
    // Started at one time with FR: each waits for the others.
    field.federation.stop(FR, Duration::from_secs(20)).await;
    for seat in [1, 2] {
        field.federation.spawn(seat).unwrap();
    }
    tamper(&mut field, async |pool| {
        // All that a search goes by says what the forged record says.
        sqlx::query(
            "UPDATE kept SET record = CAST(replace(record, 'desk-1', 'desk-8') AS BLOB), who = replace(who, 'desk-1', 'desk-8')",
        )
        .execute(&pool)
        .await
        .unwrap();
        sqlx::query("INSERT INTO access_leaf SELECT * FROM kept").execute(&pool).await.unwrap();
        sqlx::query("DROP TABLE kept").execute(&pool).await.unwrap();
        let rows = sqlx::query("SELECT n, salt, record FROM access_leaf ORDER BY n").fetch_all(&pool).await.unwrap();
        sqlx::query("DELETE FROM access_hash").execute(&pool).await.unwrap();
        sqlx::query("DELETE FROM access_checkpoint").execute(&pool).await.unwrap();
        let mut frontier = Frontier::default();
        for row in rows {
            let salt: Vec<u8> = row.get(1);
            let leaf = AccessLeaf { salt: Hex32(salt.try_into().unwrap()), record: row.get(2), annex: Vec::new() };
            let at = Frontier::stored_before(frontier.size());
            for (i, hash) in (at..).zip(frontier.append(leaf.hash())) {
                sqlx::query("INSERT INTO access_hash (idx, hash) VALUES ($1, $2)")
                    .bind(i as i64).bind(hash.0.to_vec()).execute(&pool).await.unwrap();
            }
            sqlx::query("UPDATE access_leaf SET hash = $1 WHERE n = $2")
                .bind(leaf.hash().0.to_vec()).bind(row.get::<i64, _>(0)).execute(&pool).await.unwrap();
        }
    })
    .await
    .unwrap();
    field
        .refused(Exit::VerificationFailed, "FR", Role::Auditor, &["audit", "verify", "--against", &old], &["REWRITE"])
        .await;
    // What this auditor's own machine remembers is enough, too.
    field.refused(Exit::VerificationFailed, "FR", Role::Auditor, &["audit", "verify"], &["REWRITE"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_large_records_is_read_and_proved() {
    let mut field = Field::laid_out(&["FR", "DE", "CA"], "quorum(2/3)");
    let fr = "FR".parse().unwrap();
    let store = comity_tests::stores::open(&field.federation, fr).await.unwrap();
    // As many and as large as the pages of a great exchange have them: together more than one answer holds.
    let touched = |n: usize| Touched { because: vec!["w".repeat(16_000); 10], ..Touched::resource(format!("R-{n}")) };
    for n in 0..LARGE {
        let now = Timestamp::from_jiff(jiff::Timestamp::now());
        let record = AccessRecord {
            member: Some(fr),
            touched: vec![touched(n)],
            ..AccessRecord::new(now, "this test", "a large one")
        };
        store.access_log().append(record).await.unwrap();
    }
    store.close().await;
    field.federation.start(PATIENCE).await.unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
    let command = ["audit", "log", "--action", "a large one", "--limit", "1000"];
    let log = field.ok("FR", Role::Auditor, &command).await;
    let read: std::collections::BTreeSet<&str> =
        log["records"].as_array().unwrap().iter().map(|r| r["touched"][0]["resource"].as_str().unwrap()).collect();
    assert_eq!(read.len(), LARGE);
    let fewer = field.ok("FR", Role::Auditor, &["audit", "log", "--action", "a large one", "--limit", "50"]).await;
    assert_eq!(fewer["records"].as_array().map(Vec::len), Some(50));
}
