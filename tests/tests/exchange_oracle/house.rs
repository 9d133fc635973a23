//! The nodes of a case, opened in one process and served by nobody: what one gives another is handed over here, in the order in
//! which the edge does it.

use std::sync::Arc;

use comity_app::{AppError, Decided, Node, Page};
use comity_cli::demo::federation::{Federation, Seat};
use comity_core::access::{self, AccessRecord, Outcome, Touched};
use comity_core::genesis::{Genesis, GenesisDocument};
use comity_core::{MemberId, SpiffeId, Tier, Timestamp};
use comity_node::config::Config;
use comity_node::{Opened, open};
use comity_store::access_log::{AccessFilter, Order};
use comity_tests::federation::{lay_out, plan};
use serde_json::json;

use crate::oracle::WORDING;
use crate::plan::{CEILINGS, MEMBERS, TIERS};
use crate::suspension::list_without;

const PEOPLE: &str = r#"{"default":{"tier":"TIER","compartments":["TIGER"]}}"#;

/// A federation on disk, and its nodes.
pub struct House {
    federation: Federation,
    genesis: Arc<Genesis>,
    config: Vec<String>,
    rooms: Vec<Room>,
    _folder: tempfile::TempDir,
}

/// One member's node.
pub struct Room {
    opened: Opened,
    /// When what has ended was last looked for.
    looked: Timestamp,
    pub operator: SpiffeId,
    pub officer: SpiffeId,
    approver: SpiffeId,
}

impl House {
    pub async fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let federation = lay_out(folder.path(), &plan(&MEMBERS, "quorum(2/3)").unwrap(), "nothing is started".into());
        let federation = federation.unwrap();
        let mut document: GenesisDocument = federation.genesis.document().clone();
        for (row, ceiling) in document.members.iter_mut().zip(CEILINGS) {
            row.ceiling = Tier::ALL[usize::from(ceiling)];
        }
        let bytes = comity_core::canonical::to_vec(&document);
        let genesis = Arc::new(Genesis::from_bytes(&bytes).unwrap());
        let counts = json!({
            "format": "comity-equivalences/1",
            "equivalences": [{ "country": "FR", "wording": WORDING, "tier": "secret", "source": "invented" }],
        });
        let knows_nothing = json!({ "format": "comity-equivalences/1", "equivalences": [] });
        let mut config = Vec::new();
        for seat in &federation.seats {
            std::fs::write(seat.folder.join("genesis.json"), &bytes).unwrap();
            std::fs::write(seat.folder.join("wording-counts.json"), counts.to_string()).unwrap();
            std::fs::write(seat.folder.join("wording-is-unknown.json"), knows_nothing.to_string()).unwrap();
            config.push(std::fs::read_to_string(seat.config()).unwrap());
        }
        let mut house = Self { federation, genesis, config, rooms: Vec::new(), _folder: folder };
        house.open(false, None).await;
        for (n, ceiling) in CEILINGS.into_iter().enumerate() {
            let people = PEOPLE.replace("TIER", TIERS[usize::from(ceiling)]);
            let room = &house.rooms[n];
            let asked = room.node().ask_people(&room.officer, people.as_bytes()).await.unwrap();
            room.approve(&asked.approval.id).await;
        }
        house
    }

    async fn open(&mut self, wording_counts: bool, suspended: Option<usize>) {
        for (seat, config) in self.federation.seats.iter().zip(&self.config) {
            let table = if wording_counts { "wording-counts" } else { "wording-is-unknown" };
            let mut settings = format!("equivalences = \"{table}.json\"\n");
            if let Some(member) = suspended {
                let target = MEMBERS[member].parse().unwrap();
                let list = list_without(&self.federation, &self.genesis, target);
                std::fs::write(seat.folder.join("list.json"), list).unwrap();
                settings.push_str("bootstrap = \"list.json\"\n");
            }
            std::fs::write(seat.config(), settings + config).unwrap();
            self.rooms.push(Room::open(seat).await);
        }
    }

    /// Closes every node, and opens it again. Nobody who was suspended is welcomed back, as if the nodes had been down when it was
    /// readmitted: what changed meanwhile is told all the same.
    pub async fn reopen(&mut self, wording_counts: bool, suspended: Option<usize>) {
        for room in std::mem::take(&mut self.rooms) {
            room.opened.consensus.shutdown().await;
            room.opened.store.close().await;
        }
        self.open(wording_counts, suspended).await;
    }

    pub fn room(&self, member: usize) -> &Room {
        &self.rooms[member]
    }

    /// Every node decides again what has ended.
    pub async fn end_validities(&mut self) {
        for room in &mut self.rooms {
            let now = room.node().now();
            room.node().end_validities(room.looked).await.unwrap();
            room.looked = now;
        }
    }
}

impl Room {
    async fn open(seat: &Seat) -> Self {
        let mut config = Config::load(&seat.config(), std::iter::empty()).unwrap();
        // What a partner is told is looked at, not when.
        config.exchange.answer_tick_ms = 0;
        let opened = open(&config).await.unwrap();
        opened.node.apply_equivalences().await.unwrap();
        let domain = format!("{}.comity.example", seat.member.as_str().to_lowercase());
        let person = |path: &str| format!("spiffe://{domain}/{path}").parse().unwrap();
        Self {
            looked: opened.node.validity_begin(),
            opened,
            operator: person("operator/desk-1"),
            officer: person("policy/legal-1"),
            approver: person("approver/desk-2"),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.opened.node
    }

    pub fn store(&self) -> &comity_store::NationalStore {
        &self.opened.store
    }

    pub fn member(&self) -> MemberId {
        self.opened.node.member()
    }

    /// Another person approves what waits.
    pub async fn approve(&self, id: &str) {
        self.node().decide(&self.approver, id, Decided::Yes(None)).await.unwrap();
    }

    /// Makes the next page for a partner and records it: it may leave now.
    pub async fn page(&self, partner: MemberId, sent: u64) -> Result<Option<Page>, AppError> {
        let page = self.node().next_page(partner, sent).await?;
        self.node().record_refusals(partner).await?;
        let Some(page) = page else { return Ok(None) };
        let record = AccessRecord {
            member: Some(partner),
            touched: page.touched.clone(),
            page: Some(page.sent.exchanged()),
            ..AccessRecord::new(self.node().now(), "a test", access::PAGE_SENT)
        };
        self.node().record_access(record).await?;
        Ok(Some(page))
    }

    /// Takes a partner's page in; returns the receipt.
    pub async fn take(&self, from: MemberId, page: Page) -> Vec<u8> {
        let node = self.node();
        let verified = node.verify_page(from, page.envelope, page.items, page.next_cursor).unwrap();
        node.store_page(verified).await.unwrap()
    }

    /// What the access log says last of an action, with this outcome, about a member.
    pub async fn last_record(&self, action: &str, outcome: Outcome, member: MemberId) -> Option<Vec<Touched>> {
        let filter = AccessFilter {
            action: Some(action.into()),
            outcome: Some(outcome),
            member: Some(member),
            ..AccessFilter::default()
        };
        let found = self.store().access_log().query(&filter, Order::NewestFirst, None, 1).await.unwrap();
        found.first().map(|leaf| leaf.record().unwrap().touched)
    }

    /// Whether the access log says that a record was refused to a member at this instant or later.
    pub async fn refused_since(&self, record: &str, member: MemberId, since: i64) -> bool {
        let filter = AccessFilter {
            action: Some("release".into()),
            outcome: Some(Outcome::Denied),
            member: Some(member),
            resource: Some(record.to_owned()),
            since: Timestamp::from_micros(since),
            ..AccessFilter::default()
        };
        !self.store().access_log().query(&filter, Order::NewestFirst, None, 1).await.unwrap().is_empty()
    }

    /// Fetches what another member recalls, carries it out, and answers.
    pub async fn give_back(&self, originator: &Self) {
        let (node, from, to) = (self.node(), originator.member(), self.member());
        loop {
            let after = node.recall_position(from).await.unwrap();
            let told = originator.node().tell_recalls(to, after).await.unwrap();
            if told.recalls.is_empty() {
                break;
            }
            for recall in &told.recalls {
                node.carry_out_recall(from, recall).await.unwrap();
            }
            node.set_recall_position(from, told.position).await.unwrap();
        }
        for answer in node.answers_due(from).await.unwrap() {
            originator.node().keep_answer(to, &answer.reply).await.unwrap();
            node.answer_delivered(&answer).await.unwrap();
        }
    }
}
