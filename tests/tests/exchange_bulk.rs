//! More than a page, and more than what waits in memory: what is told, taken back, told again and refused in great numbers. Sockets
//! have no part in it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use comity_app::Decided;
use comity_core::access::Outcome;
use comity_core::view::{Change, PageItem};
use comity_core::{MemberId, RecordId, Tier, canonical};
use comity_node::config::Config;
use comity_node::{Opened, open};
use comity_store::access_log::{AccessFilter, Order};
use comity_tests::federation::{lay_out, plan};
use comity_tests::stock::Stock;

const RECORDS: usize = 3_000;
const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;
const PUBLIC: &str = r#"@id("public") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier == 0 };"#;

/// A node with records that are shared with a partner.
struct Field {
    opened: Opened,
    partner: MemberId,
    /// Those of each tier.
    ids: Vec<BTreeSet<RecordId>>,
    sent: u64,
    _folder: tempfile::TempDir,
}

impl Field {
    /// With so many records of each of these tiers.
    async fn stocked(policy: &'static str, tiers: &[Tier]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let members = plan(&["FR", "DE", "CA"], "quorum(2/3)").unwrap();
        let federation = lay_out(folder.path(), &members, std::env::current_exe().unwrap()).unwrap();
        let partner: MemberId = "DE".parse().unwrap();
        let (member, parties) = ("FR".parse().unwrap(), vec![partner]);
        let (mut stock, mut ids) =
            (Stock { member, records: RECORDS, bytes: 300, tier: Tier::Public, parties, policy }, Vec::new());
        for tier in tiers {
            stock.tier = *tier;
            ids.push(stock.put(&federation).await.unwrap().into_iter().collect());
        }
        let mut config = Config::load(&federation.seat("FR").unwrap().config(), std::iter::empty()).unwrap();
        config.exchange.answer_tick_ms = 0;
        Self { opened: open(&config).await.unwrap(), partner, ids, sent: 0, _folder: folder }
    }

    async fn policy(&self, text: &str) {
        let person = |path: &str| format!("spiffe://fr.comity.example/{path}").parse().unwrap();
        let node = &self.opened.node;
        let asked = node.ask_policy(&person("policy/legal-1"), self.partner, text.to_owned()).await.unwrap();
        node.decide(&person("approver/desk-2"), &asked.approval.id, Decided::Yes(None)).await.unwrap();
    }

    /// Pulls until there is nothing more: what is told, and what is taken back. Numbers follow one another.
    async fn pull(&mut self) -> (BTreeSet<RecordId>, BTreeSet<RecordId>) {
        let (mut told, mut taken_back) = (BTreeSet::new(), BTreeSet::new());
        while let Some(page) = self.opened.node.next_page(self.partner, self.sent).await.unwrap() {
            for sealed in &page.items {
                let item: PageItem = canonical::from_slice(&sealed.bytes).unwrap();
                self.sent += 1;
                assert_eq!(item.number, self.sent, "numbers are dense");
                let new = match item.change {
                    Change::Upsert(_) => told.insert(item.record),
                    Change::Retract => taken_back.insert(item.record),
                };
                assert!(new, "{} is told once", item.record);
            }
            assert_eq!(page.sent.last_number, self.sent);
        }
        self.opened.node.record_refusals(self.partner).await.unwrap();
        assert_eq!(self.opened.node.outbox_lag(self.partner).await.unwrap().queued, 0, "nothing waits any more");
        (told, taken_back)
    }

    /// What the access log says was refused to the partner.
    async fn refused(&self) -> Vec<String> {
        let filter = AccessFilter {
            action: Some("release".into()),
            outcome: Some(Outcome::Denied),
            member: Some(self.partner),
            ..AccessFilter::default()
        };
        let log = self.opened.store.access_log();
        let found = log.query(&filter, Order::NewestFirst, None, 1_000).await.unwrap();
        found.iter().flat_map(|leaf| leaf.record().unwrap().touched).map(|touched| touched.resource).collect()
    }

    async fn close(self) {
        self.opened.consensus.shutdown().await;
        self.opened.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_in_great_numbers_is_taken_back_once() {
    let mut field = Field::stocked(READS, &[Tier::Restricted]).await;
    let all = field.ids[0].clone();
    assert_eq!(field.pull().await, (all.clone(), BTreeSet::new()));
    field.policy(PUBLIC).await;
    assert_eq!(field.pull().await, (BTreeSet::new(), all.clone()));
    field.policy(READS).await;
    assert_eq!(field.pull().await, (all, BTreeSet::new()));
    field.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_in_great_numbers_is_recorded_once_and_waits_no_more() {
    let mut field = Field::stocked(PUBLIC, &[Tier::Restricted]).await;
    assert_eq!(field.pull().await, (BTreeSet::new(), BTreeSet::new()));
    let mut refused = field.refused().await;
    refused.sort();
    assert_eq!(refused, field.ids[0].iter().map(ToString::to_string).collect::<Vec<_>>());
    field.policy(READS).await;
    let all = field.ids[0].clone();
    assert_eq!(field.pull().await, (all, BTreeSet::new()));
    field.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_between_what_is_refused_comes_without_another_event() {
    let mut field = Field::stocked(PUBLIC, &[Tier::Public, Tier::Restricted]).await;
    let (public, restricted) = (field.ids[0].clone(), field.ids[1].clone());
    assert_eq!(field.pull().await, (public.clone(), BTreeSet::new()));
    field.policy(READS).await;
    assert_eq!(field.pull().await, (restricted.clone(), BTreeSet::new()));
    field.policy(PUBLIC).await;
    assert_eq!(field.pull().await, (BTreeSet::new(), restricted.clone()));
    field.policy("").await;
    assert_eq!(field.pull().await, (BTreeSet::new(), public));
    field.policy(READS).await;
    let (told, taken_back) = field.pull().await;
    assert_eq!((told.len(), taken_back.len()), (2 * RECORDS, 0));
    field.close().await;
}
