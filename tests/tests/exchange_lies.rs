//! What a partner's node could say that is not so, to a node that takes it for the partner's: nothing of it is kept, it is said what
//! was wrong, and what is right is taken afterwards.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use comity_cli::Exit;
use comity_cli::demo::federation::Federation;
use comity_core::canonical::Hex32;
use comity_core::document::Document;
use comity_core::dsse::Envelope;
use comity_core::recall::{RecallStatement, sign_recall};
use comity_core::release::Action;
use comity_core::view::{Change, PageItem, PageStatement, SealedItem, Views, sign_page, verify_receipt};
use comity_core::{MemberId, RecordId, RecordKind, Role, Timestamp, VersionId, merkle};
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use comity_proto::v1::exchange_response::Message as Answer;
use comity_tests::liar::{Heard, Liar};
use comity_tests::seed::Dice;
use comity_tests::staff::Staff;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use support::{Field, PATIENCE};

const BRISK: &str = "[exchange]\nbackoff_max_ms = 500\n";

/// The member in whose name lies are told, to DE; and its node key.
struct Teller {
    key: SigningKey,
    federation: Hex32,
    dice: Dice,
}

fn member(code: &str) -> MemberId {
    code.parse().unwrap()
}

fn node_key(federation: &Federation, member: &str) -> SigningKey {
    let path = federation.seat(member).unwrap().folder.join("signing-node.key");
    SigningKeyFile::load(&path).unwrap().signing_key().clone()
}

impl Teller {
    fn of(federation: &Federation) -> Self {
        let (key, dice) = (node_key(federation, "FR"), Dice::fresh().unwrap());
        Self { key, federation: federation.genesis.federation(), dice }
    }

    fn id(&mut self, originator: &str) -> RecordId {
        RecordId::new(member(originator), RecordKind::Incident, self.dice.bytes())
    }

    /// An item as an honest node makes it, of a record that DE may read, as JSON that can be bent.
    fn item(&mut self, number: u64, record: RecordId) -> Value {
        let document = json!({
            "title": "A title of FR", "marking": { "tier": "restricted", "releasable_to": ["DE"] },
            "date": "2017-04-04", "place": "Somewhere",
        });
        let document = Document::from_json(RecordKind::Incident, document.to_string().as_bytes()).unwrap();
        let salts = [Hex32(self.dice.bytes()), Hex32(self.dice.bytes())];
        let views = Views::of(record, VersionId::new(self.dice.bytes()), &document, salts);
        let documents = views.up_to(Action::Read, document.marking(), None, Vec::new());
        serde_json::to_value(PageItem { number, record, change: Change::Upsert(documents) }).unwrap()
    }

    fn sealed(&mut self, items: &[Value]) -> Vec<SealedItem> {
        items.iter().map(|i| SealedItem { salt: Hex32(self.dice.bytes()), bytes: i.to_string().into_bytes() }).collect()
    }

    /// What is signed for sealed items from number 1 on.
    fn statement(&self, items: &[SealedItem]) -> PageStatement {
        PageStatement {
            federation: self.federation,
            from: member("FR"),
            to: member("DE"),
            first_number: 1,
            count: items.len() as u64,
            root: merkle::root_of(items.iter().map(SealedItem::leaf)),
            released_at: Timestamp::from_jiff(jiff::Timestamp::now()),
        }
    }

    /// A page from number 1 on, signed.
    fn page(&mut self, items: &[Value]) -> v1::ExchangeResponse {
        let sealed = self.sealed(items);
        let statement = self.statement(&sealed);
        page(sign_page(&statement, &self.key).to_bytes(), &sealed)
    }

    /// A page whose statement is bent before it is signed.
    fn bent(&mut self, items: &[Value], bend: impl FnOnce(&mut PageStatement)) -> v1::ExchangeResponse {
        let sealed = self.sealed(items);
        let mut statement = self.statement(&sealed);
        bend(&mut statement);
        page(sign_page(&statement, &self.key).to_bytes(), &sealed)
    }
}

fn page(envelope: Vec<u8>, items: &[SealedItem]) -> v1::ExchangeResponse {
    let items = items.iter().map(|i| v1::SealedItem { salt: i.salt.0.to_vec(), item: i.bytes.clone() }).collect();
    let page = v1::Page { envelope, items, next_cursor: b"a cursor".to_vec() };
    v1::ExchangeResponse { message: Some(Answer::Page(page)) }
}

/// Changes one document of an item.
fn with_document(mut item: Value, n: usize, change: impl FnOnce(&mut Value)) -> Value {
    let text = item["change"]["upsert"][n]["text"].as_str().unwrap();
    let mut document: Value = serde_json::from_str(text).unwrap();
    change(&mut document);
    item["change"]["upsert"][n]["text"] = document.to_string().into();
    item
}

fn with(mut item: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut item);
    item
}

/// Each lie, and a word of what is said of it.
fn lies(teller: &mut Teller, federation: &Federation, own: RecordId) -> Vec<(&'static str, v1::ExchangeResponse)> {
    let record = teller.id("FR");
    let good = teller.item(1, record);
    let mut lies = Vec::new();

    // The page as a whole.
    let sealed = teller.sealed(std::slice::from_ref(&good));
    let signed = sign_page(&teller.statement(&sealed), &teller.key);
    let mut bent = sealed.clone();
    bent[0].bytes = with(good.clone(), |i| i["number"] = 2.into()).to_string().into_bytes();
    lies.push(("do not hash to the signed root", page(signed.to_bytes(), &bent)));
    let mut bent = sealed.clone();
    bent[0].salt.0[31] ^= 1;
    lies.push(("do not hash to the signed root", page(signed.to_bytes(), &bent)));
    let mut bent = signed.clone();
    bent.signatures[0].sig[7] ^= 1;
    lies.push(("signature", page(bent.to_bytes(), &sealed)));
    let others = sign_page(&teller.statement(&sealed), &node_key(federation, "CA"));
    lies.push(("signature", page(others.to_bytes(), &sealed)));
    lies.push(("payload type", page(Envelope::sign("text/plain", b"{}".to_vec(), &teller.key).to_bytes(), &sealed)));
    lies.push(("page: ", page(b"no envelope".to_vec(), &sealed)));
    let one = std::slice::from_ref(&good);
    lies.push(("page to: CA", teller.bent(one, |s| s.to = member("CA"))));
    lies.push(("page from: CA", teller.bent(one, |s| s.from = member("CA"))));
    lies.push(("page federation", teller.bent(one, |s| s.federation = Hex32([9; 32]))));
    lies.push(("page count", teller.bent(one, |s| s.count = 2)));
    lies.push(("32 bytes", {
        let mut short = teller.page(one);
        if let Some(Answer::Page(page)) = &mut short.message {
            page.items[0].salt.pop();
        }
        short
    }));
    lies.push(("kind that this node does not know", v1::ExchangeResponse { message: None }));
    lies.push(("page items: 0", teller.page(&[])));

    // Numbers.
    let second = with(good.clone(), |i| i["number"] = 2.into());
    lies.push(("expected 1", teller.bent(std::slice::from_ref(&second), |s| s.first_number = 2)));
    lies.push(("page number: 1, expected 2", teller.page(&[good.clone(), good.clone()])));
    lies.push((
        "page number: 3, expected 2",
        teller.page(&[good.clone(), with(good.clone(), |i| i["number"] = 3.into())]),
    ));
    lies.push(("number", teller.page(&[with(good.clone(), |i| i["number"] = (-1).into())])));
    lies.push(("number", teller.page(&[with(good.clone(), |i| i["number"] = 1.5.into())])));

    // What is another's. The last hides it behind an item of the sender's own.
    for foreign in [own, teller.id("DE"), teller.id("CA")] {
        let item = teller.item(1, foreign);
        lies.push(("is not the sender's", teller.page(&[item])));
        lies.push(("is not the sender's", {
            let retract = json!({ "number": 1, "record": foreign.to_string(), "change": "retract" });
            teller.page(&[retract])
        }));
        let nested = with_document(good.clone(), 0, |d| d["record"] = foreign.to_string().into());
        lies.push(("not this record's discover view", teller.page(&[nested])));
        let nested = with_document(good.clone(), 1, |d| d["record"] = foreign.to_string().into());
        lies.push(("another record or version", teller.page(&[nested])));
    }
    let claimed = with_document(good.clone(), 0, |d| d["originator"] = "DE".into());
    lies.push(("not this record's discover view", teller.page(&[claimed])));
    let kind = with_document(good.clone(), 0, |d| d["kind"] = "proposal".into());
    lies.push(("not this record's discover view", teller.page(&[kind])));

    // What restricts it.
    let marking = |change: fn(&mut Value)| with_document(good.clone(), 0, |d| change(&mut d["marking"]));
    lies.push(("marking", {
        let none = with_document(good.clone(), 0, |d| drop(d.as_object_mut().unwrap().remove("marking")));
        teller.page(&[none])
    }));
    for (word, change) in [
        ("releasable to JP", (|m| m["releasable_to"] = json!(["DE", "JP"])) as fn(&mut Value)),
        ("not releasable to this member", |m| m["releasable_to"] = json!(["CA"])),
        ("not releasable to this member", |m| m["releasable_to"] = json!([])),
        ("above this node's accreditation", |m| m["tier"] = "top_secret".into()),
        ("cosmic", |m| m["tier"] = "cosmic".into()),
        ("unknown field", |m| m["exempt"] = true.into()),
        ("caveats", |m| m["caveats"] = json!(["noone"])),
    ] {
        let item = marking(change);
        lies.push((word, teller.page(&[item])));
    }

    // Documents.
    let claimed = with_document(good.clone(), 1, |d| d["body"]["incident"]["title"] = "Another title".into());
    lies.push(("does not open its commitment", teller.page(&[claimed])));
    for (word, item) in [
        ("no document", with(good.clone(), |i| i["change"]["upsert"] = json!([]))),
        ("unknown variant", with(good.clone(), |i| i["change"]["upsert"][1]["view"] = "everything".into())),
        ("unknown variant", with(good.clone(), |i| i["change"] = "overwrite".into())),
        ("unknown field", with(good.clone(), |i| i["hurry"] = true.into())),
        ("unknown field", with_document(good.clone(), 0, |d| d["hurry"] = true.into())),
        ("unknown field", with_document(good.clone(), 1, |d| d["body"]["incident"]["hurry"] = true.into())),
        ("two discover views", with(good.clone(), |i| i["change"]["upsert"][1] = i["change"]["upsert"][0].clone())),
    ] {
        lies.push((word, teller.page(&[item])));
    }

    // Too much.
    let large = with_document(good.clone(), 1, |d| d["body"]["incident"]["description"] = "w".repeat(5 << 20).into());
    lies.push(("expected at most", teller.page(&[large])));
    let tiny: Vec<Value> = (1..=20_000)
        .map(|number| json!({ "number": number, "record": record.to_string(), "change": "retract" }))
        .collect();
    lies.push(("page items: 20000", teller.page(&tiny)));
    lies
}

/// DE's and CA's nodes run, a liar stands in the place of FR's.
async fn start() -> (Field, Liar) {
    let mut field = Field::laid_out_with(&["FR", "DE", "CA"], "quorum(2/3)", BRISK);
    let liar = Liar::in_place_of(&field.federation, member("FR"), member("DE")).await.unwrap();
    for seat in [1, 2] {
        field.federation.spawn(seat).unwrap();
    }
    for seat in [1, 2] {
        field.federation.wait_serving(seat, PATIENCE).await.unwrap();
    }
    (field, liar)
}

/// Hears until it is as wanted.
async fn hear(liar: &mut Liar, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
    let heard = async {
        loop {
            let heard = liar.hear().await.unwrap();
            if wanted(&heard) {
                return heard;
            }
            assert!(!matches!(heard, Heard::Receipt(_)), "{what}: DE signed for it");
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("DE's node does not come: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_page_that_is_not_as_it_must_be_is_kept() {
    let (field, mut liar) = start().await;
    let (staff, mut teller) = (Staff::of(&field.federation, member("DE")).unwrap(), Teller::of(&field.federation));
    let words = json!({
        "title": "A title of DE", "marking": { "tier": "restricted", "releasable_to": ["FR"] },
        "date": "2017-04-04", "place": "Somewhere",
    });
    let own = staff.draft(v1::RecordKind::Incident, &words.to_string()).await.unwrap();
    let lies = lies(&mut teller, &field.federation, own.id.parse().unwrap());
    let count = lies.len();
    for (word, lie) in lies {
        liar.say(lie);
        let opened = hear(&mut liar, word, |heard| matches!(heard, Heard::Opened(_))).await;
        assert_eq!(opened, Heard::Opened(Vec::new()), "something was kept before `{word}`");
        hear(&mut liar, word, |heard| *heard == Heard::Left).await;
        // It is said while the next stream is not opened yet, which says something else.
        let status = until_problem(&staff, word).await;
        assert_eq!(status.copies, 0, "{word}: {status:?}");
    }
    assert!(count > 40, "{count}");
    let listed = field.ok("DE", Role::Operator, &["incident", "list"]).await;
    assert_eq!(listed["records"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(staff.get(own.id.parse().unwrap()).await.unwrap(), own);
    field.ok("DE", Role::Auditor, &["audit", "verify"]).await;

    // What is right is taken, and signed for; what comes again under its number changes nothing.
    let record = teller.id("FR");
    let first = teller.item(1, record);
    let first = teller.page(&[first]);
    liar.say(first.clone());
    let receipt = hear(&mut liar, "a page that is right", |heard| matches!(heard, Heard::Receipt(_))).await;
    let (Heard::Receipt(receipt), Some(Answer::Page(page))) = (receipt, first.message) else { panic!() };
    let key = field.federation.genesis.member(member("DE")).unwrap().node_key;
    let receipt = verify_receipt(&Envelope::from_bytes(&receipt).unwrap(), &key.0).unwrap();
    let page: PageStatement =
        comity_core::canonical::from_slice(&Envelope::from_bytes(&page.envelope).unwrap().payload).unwrap();
    assert_eq!((receipt.root, receipt.last_number, receipt.to), (page.root, 1, member("DE")));
    let taken = staff.get(record).await.unwrap();
    assert_eq!((taken.title.as_str(), staff.partner(member("FR")).await.unwrap().copies), ("A title of FR", 1));
    let again = with_document(teller.item(1, record), 0, |d| d["marking"]["tier"] = "official".into());
    let again = teller.page(&[again]);
    liar.say(again);
    hear(&mut liar, "again", |heard| matches!(heard, Heard::Receipt(_))).await;
    assert_eq!(staff.get(record).await.unwrap(), taken);
    // The next stream goes on from there.
    liar.say(v1::ExchangeResponse { message: None });
    let opened = hear(&mut liar, "the next stream", |heard| matches!(heard, Heard::Opened(_))).await;
    assert_eq!(opened, Heard::Opened(b"a cursor".to_vec()));
}

/// What the node says of what broke the exchange off, once it names the word.
async fn until_problem(staff: &Staff, word: &str) -> v1::PeerStatus {
    let begin = std::time::Instant::now();
    loop {
        let status = staff.partner(member("FR")).await.unwrap();
        if status.problem.contains(word) {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "`{word}` is not in {:?}", status.problem);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_its_originator_has_a_record_given_back() {
    let (field, mut liar) = start().await;
    let (ca, de) =
        (Staff::of(&field.federation, member("CA")).unwrap(), Staff::of(&field.federation, member("DE")).unwrap());
    let policy = r#"@id("reads") permit (principal, action, resource) when { resource.tier <= 4 };"#;
    ca.apply_policy(member("DE"), policy).await.unwrap();
    let words = comity_tests::stock::incident(comity_core::Tier::Restricted, &[member("DE")], "Of CA.");
    let record: RecordId = ca.draft(v1::RecordKind::Incident, &words).await.unwrap().id.parse().unwrap();
    ca.share(&[record], member("DE")).await.unwrap();
    let context = field.context("DE", Role::Operator);
    let id = record.to_string();
    field.desk.until("the record", &context, &["incident", "show", &id], |_| true).await.unwrap();

    let (fr, federation) = (node_key(&field.federation, "FR"), field.federation.genesis.federation());
    let id_of = |originator: &str| RecordId::new(member(originator), RecordKind::Recall, [7; 10]);
    let statement = RecallStatement {
        federation,
        from: member("FR"),
        to: member("DE"),
        recall: id_of("FR"),
        record,
        recalled_at: Timestamp::from_jiff(jiff::Timestamp::now()),
    };
    let of_ca = RecallStatement { from: member("CA"), recall: id_of("CA"), ..statement.clone() };
    let own = RecordId::new(member("FR"), RecordKind::Incident, [8; 10]);
    let elsewhere = RecallStatement { record: own, to: member("CA"), ..statement.clone() };
    let stolen = RecallStatement { record: own, recall: id_of("CA"), ..statement.clone() };
    for lie in [&statement, &of_ca, &elsewhere, &stolen] {
        liar.recall(vec![sign_recall(lie, &fr).to_bytes()]);
        liar.forget();
        // Asked for a third time, whatever was asked before had this answer, and the answer has been looked at.
        for _ in 0..3 {
            liar.say(recalls());
            hear(&mut liar, "recalls", |heard| *heard == Heard::AskedForRecalls).await;
        }
        assert!(de.get(record).await.is_ok(), "{lie:?}");
    }
    let received = field.ok("DE", Role::Operator, &["recall", "list"]).await;
    assert_eq!(received["received"].as_array().map(Vec::len), Some(0), "{received}");

    // No notice is on its way any more.
    while tokio::time::timeout(Duration::from_millis(1_500), liar.hear()).await.is_ok() {}
    // What is the sender's own to recall is answered, whether or not a copy is here.
    let right = RecallStatement { record: own, ..statement };
    liar.recall(vec![sign_recall(&right, &fr).to_bytes()]);
    // Nobody says again that there are some: what could not be carried out is asked for again all the same.
    hear(&mut liar, "an answer", |heard| matches!(heard, Heard::AnsweredRecall(_))).await;
    field.refused(Exit::NotFound, "DE", Role::Operator, &["incident", "show", &own.to_string()], &[]).await;
    assert!(de.get(record).await.is_ok());
}

fn recalls() -> v1::ExchangeResponse {
    v1::ExchangeResponse { message: Some(Answer::Notice(v1::ExchangeNotice { up_to_date: false, recalls: true })) }
}
