//! Two stores of France that differ in what Germany may not learn of. Ids, versions, salts and instants are drawn from one seed, so
//! that what both have is the same to the byte.

use std::collections::BTreeSet;

use comity_cli::demo::federation::Federation;
use comity_core::canonical::Hex32;
use comity_core::document::Document;
use comity_core::{MemberId, RecordId, RecordKind, SpiffeId, Timestamp, VersionId};
use comity_store::policies::NewPolicy;
use comity_store::records::{NewRecord, NewShare, StoredShare};
use comity_store::{KeyFile, NationalStore, StoreLocation};
use comity_tests::seed::Dice;
use serde_json::{Value, json};

/// More than two pages hold.
const VISIBLE: usize = 1_100;
/// So many visible records to one of each hidden kind.
const EVERY: usize = 8;
pub const READS: &str = r#"@id("reads") permit (principal, action, resource) when { resource.tier <= 3 };"#;

/// What a test goes on to do something with.
pub struct Ids {
    /// To be shared with Germany while it listens.
    pub later: RecordId,
    pub last: RecordId,
    /// To be recalled from Germany.
    pub recalled: RecordId,
    /// What Canada has and Germany does not.
    pub recalled_elsewhere: Vec<RecordId>,
    /// An id that nothing has.
    pub absent: RecordId,
}

struct Writer {
    store: NationalStore,
    author: SpiffeId,
    at: Timestamp,
}

/// Fills France's store, while its node is down.
pub async fn put(federation: &Federation, laden: bool) -> Ids {
    let seat = federation.seat("FR").unwrap();
    let data = seat.folder.join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(seat.folder.join("policies")).unwrap();
    let store = NationalStore::open(
        &StoreLocation::File(data.join("national.db")),
        KeyFile::at(seat.folder.join("store.key")),
        data.join("erasures"),
        seat.member,
        federation.genesis.federation(),
    )
    .await
    .unwrap();
    let person = |path: &str| format!("spiffe://fr.comity.example/{path}").parse().unwrap();
    let at = "2026-11-24T09:00:00Z".parse().unwrap();
    let policy = |party: &str, text: &str| NewPolicy {
        party: party.parse().unwrap(),
        text: text.to_owned(),
        author: person("policy/legal-1"),
        approver: person("approver/desk-2"),
        at,
    };
    store.policies().apply(policy("DE", READS)).await.unwrap();
    if laden {
        let all = "permit (principal, action, resource) when { resource.tier >= 0 };";
        store.policies().apply(policy("CA", all)).await.unwrap();
    }
    let writer = Writer { store, author: person("operator/desk-1"), at };
    let ids = writer.fill(laden).await;
    writer.store.close().await;
    ids
}

fn incident(title: &str, tier: &str, to: &[&str]) -> Value {
    json!({
        "title": title,
        "marking": { "tier": tier, "releasable_to": to },
        "date": "2017-04-04",
        "place": "Somewhere",
    })
}

impl Writer {
    async fn fill(&self, laden: bool) -> Ids {
        let (mut open, mut hidden) = (Dice::new(1), Dice::new(2));
        let mut recalled_elsewhere = Vec::new();
        let mut visible = Vec::new();
        for n in 0..VISIBLE {
            let document = incident(&format!("Visible {n}"), "restricted", &["DE"]);
            let record = self.write(&mut open, RecordKind::Incident, document).await;
            self.share(record, "DE", None).await;
            visible.push(record.0);
            if laden && n % EVERY == 0 {
                let for_canada = self.hide(&mut hidden, n).await;
                recalled_elsewhere.push(for_canada);
                if n < 10 * EVERY {
                    self.point_to(&mut open, visible[n], Some(for_canada), n).await;
                }
            } else if n % EVERY == 0 && n < 10 * EVERY {
                self.point_to(&mut open, visible[n], None, n).await;
            }
        }
        let mut kept_back = Vec::new();
        for title in ["Later", "Last"] {
            let document = incident(title, "restricted", &["DE"]);
            kept_back.push(self.write(&mut open, RecordKind::Incident, document).await.0);
        }
        Ids {
            later: kept_back[0],
            last: kept_back[1],
            recalled: visible[3],
            recalled_elsewhere,
            absent: RecordId::new("FR".parse().unwrap(), RecordKind::Incident, [9; 10]),
        }
    }

    /// Evidence that Germany sees, about a record that it sees and, in one of the stores, one that it does not.
    async fn point_to(&self, dice: &mut Dice, seen: RecordId, unseen: Option<RecordId>, n: usize) {
        let links: Vec<RecordId> = std::iter::once(seen).chain(unseen).collect();
        let document = json!({
            "title": format!("Evidence {n}"),
            "marking": { "tier": "restricted", "releasable_to": ["DE"] },
            "material": "audio",
            "links": links,
        });
        let record = self.write(dice, RecordKind::Evidence, document).await;
        self.share(record, "DE", None).await;
    }

    /// One record of each kind that Germany must not learn of. Returns one that Canada is shown.
    async fn hide(&self, dice: &mut Dice, n: usize) -> RecordId {
        let title = |what: &str| format!("{what} {n}");
        let kind = RecordKind::Incident;
        self.write(dice, kind, incident(&title("Nobody's"), "restricted", &[])).await;
        self.write(dice, kind, incident(&title("Not shared"), "restricted", &["DE"])).await;
        let not_releasable = self.write(dice, kind, incident(&title("Not releasable"), "restricted", &["CA"])).await;
        self.share(not_releasable, "DE", None).await;
        let denied = self.write(dice, kind, incident(&title("Denied"), "secret", &["DE"])).await;
        self.share(denied, "DE", None).await;
        let above = self.write(dice, kind, incident(&title("Above the ceiling"), "top_secret", &["DE"])).await;
        self.share(above, "DE", None).await;
        let withdrawn = self.write(dice, kind, incident(&title("Withdrawn"), "restricted", &["DE"])).await;
        self.share(withdrawn, "DE", None).await;
        self.store.records().withdraw(withdrawn.0, self.at).await.unwrap();
        let ended = self.write(dice, kind, incident(&title("Ended"), "restricted", &["DE"])).await;
        self.share(ended, "DE", Some(self.at)).await;
        let opinion = json!({
            "marking": { "tier": "restricted", "releasable_to": ["CA"] },
            "about": RecordId::new("CA".parse().unwrap(), RecordKind::Proposal, dice.bytes()),
            "stance": "support",
        });
        let opinion = self.write(dice, RecordKind::Opinion, opinion).await;
        self.share(opinion, "DE", None).await;
        let elsewhere = self.write(dice, kind, incident(&title("Canada's"), "restricted", &["CA"])).await;
        self.share(elsewhere, "CA", None).await;
        elsewhere.0
    }

    async fn write(&self, dice: &mut Dice, kind: RecordKind, document: Value) -> (RecordId, VersionId) {
        let new = NewRecord {
            id: RecordId::new(self.store.member(), kind, dice.bytes()),
            version: VersionId::new(dice.bytes()),
            document: Document::from_json(kind, document.to_string().as_bytes()).unwrap(),
            author: self.author.clone(),
            at: self.at,
            salts: [Hex32(dice.bytes()), Hex32(dice.bytes())],
            request_id: None,
        };
        let row = self.store.records().create(new).await.unwrap();
        (row.id, row.version)
    }

    async fn share(&self, record: (RecordId, VersionId), party: &str, until: Option<Timestamp>) {
        let parties: BTreeSet<MemberId> = [party.parse().unwrap()].into();
        let terms = StoredShare { until, onward: None };
        let share = NewShare { records: vec![record], parties, terms, at: self.at };
        self.store.records().share(share).await.unwrap();
    }
}
