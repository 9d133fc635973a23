//! A node whose national store is PostgreSQL: it serves as the others do, and comes back after a kill under a new lease.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::io::Write as _;

use comity_core::Role;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use support::Field;

const READS: &str = r#"@id("reads") permit (principal, action, resource) when { resource.tier <= 4 };"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_postgres_shares_audits_and_comes_back_after_a_kill() {
    let Ok(url) = std::env::var("COMITY_TEST_POSTGRES") else {
        eprintln!("skipped: there is no PostgreSQL (COMITY_TEST_POSTGRES is not set)");
        return;
    };
    let options: PgConnectOptions = url.parse().unwrap();
    let name = format!("federation_{}", std::process::id());
    let mut shell = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")))
        .execute(&mut shell)
        .await
        .unwrap();
    let mut field = Field::laid_out(&["FR", "DE", "CA"], "quorum(2/3)");
    let seat = field.seat_of("FR");
    let join = if url.contains('?') { '&' } else { '?' };
    let setting = format!("\n[store]\nurl = \"{url}{join}options=-c%20search_path%3D{name}\"\n");
    let config = field.federation.seats[seat].config();
    std::fs::OpenOptions::new().append(true).open(config).unwrap().write_all(setting.as_bytes()).unwrap();
    field.federation.start(support::PATIENCE).await.unwrap();
    assert!(!field.federation.seats[seat].folder.join("data").join("national.db").exists());

    let policy = field.file("de.cedar", READS);
    field.approved("FR", Role::Policy, &["policy", "apply", "--party", "DE", &policy]).await;
    let proposal = field.draft("FR", &["DE"]).await;
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE"]).await;
    let de = field.context("DE", Role::Operator);
    field.desk.until("the proposal", &de, &["proposal", "show", &proposal], |_| true).await.unwrap();
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
    let rows =
        sqlx::query(AssertSqlSafe(format!("SELECT document FROM {name}.record_version"))).fetch_all(&mut shell).await;
    for row in rows.unwrap() {
        let document: Vec<u8> = row.get(0);
        assert!(!String::from_utf8_lossy(&document).contains("quiet title"), "it is sealed there, too");
    }

    field.federation.kill(seat);
    field.federation.spawn(seat).unwrap();
    field.federation.wait_serving(seat, support::PATIENCE).await.unwrap();
    field.ok("FR", Role::Operator, &["proposal", "show", &proposal]).await;
    field.ok("FR", Role::Admin, &["node", "rotate-store-key"]).await;
    field.ok("FR", Role::Operator, &["proposal", "withdraw", &proposal, "--yes"]).await;
    let begin = std::time::Instant::now();
    while field.run("DE", Role::Operator, &["proposal", "show", &proposal]).await.exit == comity_cli::Exit::Ok {
        assert!(begin.elapsed() < support::PATIENCE, "Germany has it still");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    shell.close().await.unwrap();
}
