//! What a partner's node could ask that it must not have, of the node that releases: nothing is given for it, nothing is lost by it,
//! and what is denied is answered as what is not there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use comity_cli::demo::federation::Federation;
use comity_core::canonical::{self, Hex32};
use comity_core::dsse::Envelope;
use comity_core::recall::{Answer as Answered, AnswerStatement, sign_answer};
use comity_core::view::{PageItem, PageStatement, RECEIPT_TYPE, ReceiptStatement, sign_receipt};
use comity_core::{MemberId, RecordId, RecordKind, Role, Tier, Timestamp};
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use comity_proto::v1::exchange_request::Message as Ask;
use comity_proto::v1::exchange_response::Message as Answer;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use comity_tests::federation::{certificate, dial, dial_narrowly};
use comity_tests::staff::Staff;
use comity_tests::stock::{Stock, incident};
use ed25519_dalek::SigningKey;
use support::{Field, PATIENCE};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;
/// More than the pages that may be on their way.
const RECORDS: usize = 2_200;
const RECORD_BYTES: usize = 2_000;
const MESSAGE_MAX_BYTES: usize = 8 * 1024 * 1024;
/// What the node that releases lets be open at one time for one partner.
const STREAMS: usize = 4;
/// What it lets be on its way.
const PAGES: usize = 4;

/// What is made of an answer before it is signed.
type Forge<'a> = &'a dyn Fn(&mut AnswerStatement);

fn member(code: &str) -> MemberId {
    code.parse().unwrap()
}

/// A partner's node, as far as FR's can tell.
struct Partner {
    member: MemberId,
    key: SigningKey,
    federation: Hex32,
    client: PeerServiceClient<Channel>,
}

/// What comes next on a stream.
#[derive(Debug)]
enum Next {
    Page(v1::Page),
    NothingNew,
    End,
}

/// A stream that it has open.
struct Stream {
    asks: mpsc::Sender<v1::ExchangeRequest>,
    answers: Streaming<v1::ExchangeResponse>,
}

impl Partner {
    async fn of(federation: &Federation, code: &str) -> Self {
        let fr = federation.seat("FR").unwrap();
        let path = certificate(federation, code, Role::Node, "node-1");
        Self::over(federation, code, dial(federation, &fr.peer, fr.member, &path).await.unwrap())
    }

    /// One that takes little before it reads.
    async fn narrow(federation: &Federation, code: &str) -> Self {
        let fr = federation.seat("FR").unwrap();
        let path = certificate(federation, code, Role::Node, "node-1");
        Self::over(federation, code, dial_narrowly(federation, &fr.peer, fr.member, &path).await.unwrap())
    }

    fn over(federation: &Federation, code: &str, channel: Channel) -> Self {
        let seat = federation.seat(code).unwrap();
        Self {
            member: member(code),
            key: SigningKeyFile::load(&seat.folder.join("signing-node.key")).unwrap().signing_key().clone(),
            federation: federation.genesis.federation(),
            client: PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES),
        }
    }

    fn opening(&self, cursor: &[u8]) -> v1::ExchangeRequest {
        let open = v1::ExchangeOpen { federation: self.federation.0.to_vec(), cursor: cursor.to_vec() };
        v1::ExchangeRequest { message: Some(Ask::Open(open)) }
    }

    async fn say_first(&self, first: v1::ExchangeRequest) -> Result<Stream, Status> {
        let (asks, outgoing) = mpsc::channel(16);
        asks.send(first).await.unwrap();
        let answers = self.client.clone().exchange(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Stream { asks, answers })
    }

    async fn open(&self, cursor: &[u8]) -> Result<Stream, Status> {
        self.say_first(self.opening(cursor)).await
    }

    /// A stream where there is room for one: those that were left are noticed a little later.
    async fn open_in_time(&self, cursor: &[u8]) -> Stream {
        let begin = Instant::now();
        loop {
            match self.open(cursor).await {
                Ok(stream) => return stream,
                Err(status) => assert!(begin.elapsed() < PATIENCE, "{status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it would sign for a page.
    fn receipt(&self, page: &v1::Page) -> ReceiptStatement {
        let page: PageStatement =
            canonical::from_slice(&Envelope::from_bytes(&page.envelope).unwrap().payload).unwrap();
        ReceiptStatement {
            federation: self.federation,
            from: member("FR"),
            to: self.member,
            root: page.root,
            last_number: page.first_number + page.count - 1,
            received_at: Timestamp::from_jiff(jiff::Timestamp::now()),
        }
    }
}

impl Stream {
    async fn say(&self, message: Ask) {
        self.asks.send(v1::ExchangeRequest { message: Some(message) }).await.unwrap();
    }

    async fn next(&mut self) -> Result<Next, Status> {
        let next = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.answers.message().await?.map(|answer| answer.message) {
                    Some(Some(Answer::Page(page))) => return Ok(Next::Page(page)),
                    Some(Some(Answer::Notice(notice))) if notice.up_to_date => return Ok(Next::NothingNew),
                    Some(Some(Answer::Notice(notice))) => panic!("{notice:?}"),
                    Some(None) => {}
                    None => return Ok(Next::End),
                }
            }
        });
        next.await.expect("the stream stands still")
    }

    /// The page that comes next.
    async fn page(&mut self) -> v1::Page {
        match self.next().await.unwrap() {
            Next::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// The next notice, whatever pages come before.
    async fn notice(&mut self) -> v1::ExchangeNotice {
        let notice = async {
            loop {
                if let Some(Answer::Notice(notice)) = self.answers.message().await.unwrap().unwrap().message {
                    return notice;
                }
            }
        };
        tokio::time::timeout(PATIENCE, notice).await.expect("nothing is said of a recall")
    }

    /// How it ends, whatever comes before.
    async fn end(&mut self) -> Result<(), Status> {
        let end = async {
            while self.answers.message().await?.is_some() {}
            Ok(())
        };
        tokio::time::timeout(PATIENCE, end).await.expect("the stream does not end")
    }
}

fn items(page: &v1::Page) -> Vec<PageItem> {
    page.items.iter().map(|sealed| canonical::from_slice(&sealed.item).unwrap()).collect()
}

/// What a caller can tell two answers apart by.
fn told(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

fn violated(status: &Status) -> String {
    let bad = status.get_error_details().bad_request().cloned();
    bad.and_then(|bad| bad.field_violations.into_iter().next()).map(|v| v.field).unwrap_or_default()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// FR shares with DE and CA, whose nodes are down and whose part is played here. Others make the quorum.
async fn start(settings: &str, records: usize) -> (Field, Vec<RecordId>) {
    let mut field = Field::laid_out_with(&["FR", "DE", "CA", "GB", "NL"], "quorum(2/5)", settings);
    let stock = Stock {
        member: member("FR"),
        records,
        bytes: RECORD_BYTES,
        tier: Tier::Restricted,
        parties: vec![member("DE")],
        policy: READS,
    };
    let ids = stock.put(&field.federation).await.unwrap();
    for seat in [0, 3, 4] {
        field.federation.spawn(seat).unwrap();
    }
    for seat in [0, 3, 4] {
        field.federation.wait_serving(seat, PATIENCE).await.unwrap();
    }
    (field, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_and_must_not_be_is_refused_and_loses_nothing() {
    let (field, ids) = start("", 3).await;
    let (de, ca) = (Partner::of(&field.federation, "DE").await, Partner::of(&field.federation, "CA").await);
    let staff = Staff::of(&field.federation, member("FR")).unwrap();

    // What comes first must open, in this federation.
    for first in [Ask::Receipt(b"{}".to_vec()), Ask::Receipt(Vec::new())] {
        let refused = de.say_first(v1::ExchangeRequest { message: Some(first) }).await.err().unwrap();
        assert_eq!((refused.code(), violated(&refused).as_str()), (Code::InvalidArgument, "open"));
    }
    let nothing = de.say_first(v1::ExchangeRequest { message: None }).await.err().unwrap();
    assert_eq!((nothing.code(), violated(&nothing).as_str()), (Code::InvalidArgument, "open"));
    for federation in [vec![], vec![9; 32], de.federation.0[..31].to_vec()] {
        let open = v1::ExchangeOpen { federation, cursor: Vec::new() };
        let refused = de.say_first(v1::ExchangeRequest { message: Some(Ask::Open(open)) }).await.err().unwrap();
        assert_eq!(reason(&refused), "OTHER_FEDERATION");
    }

    // One cursor of each partner; each other's, and forged ones, are one answer.
    staff.apply_policy(member("CA"), READS).await.unwrap();
    let words = incident(Tier::Restricted, &[member("CA")], "For Canada.");
    let for_ca: RecordId = staff.draft(v1::RecordKind::Incident, &words).await.unwrap().id.parse().unwrap();
    staff.share(&[for_ca], member("CA")).await.unwrap();
    let page_of_ca = ca.open(&[]).await.unwrap().page().await;
    assert_eq!(items(&page_of_ca).iter().map(|item| item.record).collect::<Vec<_>>(), [for_ca]);
    let page = de.open(&[]).await.unwrap().page().await;
    let mut records: Vec<RecordId> = items(&page).iter().map(|item| item.record).collect();
    records.sort_unstable();
    let mut expected = ids.clone();
    expected.sort_unstable();
    assert_eq!(records, expected);
    let own = page.next_cursor.clone();
    let mut ahead = own.clone();
    ahead[7] += 1;
    let mut bent = own.clone();
    bent[own.len() - 1] ^= 1;
    let cursors =
        [page_of_ca.next_cursor.clone(), ahead, bent, own[..own.len() - 1].to_vec(), own[..8].to_vec(), vec![0; 24], {
            vec![0xff; 1 << 20]
        }];
    let answers: Vec<_> = {
        let mut answers = Vec::new();
        for cursor in &cursors {
            answers.push(de.open(cursor).await.err().unwrap_or_else(|| panic!("{} bytes open", cursor.len())));
        }
        answers
    };
    for answer in &answers {
        assert_eq!((answer.code(), violated(answer).as_str()), (Code::InvalidArgument, "cursor"), "{answer:?}");
        assert_eq!(told(answer), told(&answers[0]));
    }

    // Receipts. Each is refused, ends its stream, and leaves everything unacknowledged.
    let good = de.receipt(&page);
    let forged = |change: &dyn Fn(&mut ReceiptStatement), key: &SigningKey| {
        let mut statement = good.clone();
        change(&mut statement);
        sign_receipt(&statement, key).to_bytes()
    };
    let mut bent = sign_receipt(&good, &de.key);
    bent.signatures[0].sig[3] ^= 1;
    let mut unknown: serde_json::Value = serde_json::to_value(&good).unwrap();
    unknown["stored"] = true.into();
    let unknown = Envelope::sign(RECEIPT_TYPE, unknown.to_string().into_bytes(), &de.key);
    let receipts = [
        ("a number that was not given", forged(&|r| r.last_number += 1_000, &de.key)),
        ("no number", forged(&|r| r.last_number = 0, &de.key)),
        ("another number", forged(&|r| r.last_number -= 1, &de.key)),
        ("another root", forged(&|r| r.root = Hex32([9; 32]), &de.key)),
        ("another federation", forged(&|r| r.federation = Hex32([9; 32]), &de.key)),
        ("another sender", forged(&|r| r.from = member("CA"), &de.key)),
        ("another party", forged(&|r| r.to = member("CA"), &de.key)),
        ("another party's word", forged(&|r| r.to = member("CA"), &ca.key)),
        ("another party's key", forged(&|_| {}, &ca.key)),
        ("a bad signature", bent.to_bytes()),
        ("an unknown field", unknown.to_bytes()),
        ("another type", Envelope::sign("text/plain", canonical::to_vec(&good), &de.key).to_bytes()),
        ("no envelope", b"{}".to_vec()),
        ("nothing", Vec::new()),
    ];
    for (what, receipt) in receipts {
        let mut stream = de.open_in_time(&[]).await;
        let sent = stream.page().await;
        // It is as of this very page wherever it is not forged in the root, so that what is forged is what is refused.
        let receipt = match Envelope::from_bytes(&receipt) {
            Ok(envelope) if what != "another root" => resigned(&envelope, &de.receipt(&sent), what, &de, &ca),
            _ => receipt,
        };
        stream.say(Ask::Receipt(receipt)).await;
        let refused = stream.end().await.err().unwrap_or_else(|| panic!("{what} is taken"));
        assert_eq!(
            (refused.code(), violated(&refused).as_str()),
            (Code::InvalidArgument, "receipt"),
            "{what}: {refused:?}"
        );
        assert_eq!(staff.partner(member("DE")).await.unwrap().unacknowledged, 3, "{what}");
    }
    let mut stream = de.open_in_time(&[]).await;
    stream.page().await;
    stream.asks.send(de.opening(&[])).await.unwrap();
    assert_eq!(violated(&stream.end().await.unwrap_err()), "message", "opened twice");

    // The right one is taken.
    let mut stream = de.open_in_time(&[]).await;
    let page = stream.page().await;
    stream.say(Ask::Receipt(sign_receipt(&de.receipt(&page), &de.key).to_bytes())).await;
    let begin = Instant::now();
    while staff.partner(member("DE")).await.unwrap().unacknowledged > 0 {
        assert!(begin.elapsed() < PATIENCE, "a receipt that is right is not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let numbers: Vec<u64> = items(&page).iter().map(|item| item.number).collect();
    assert_eq!(numbers, [1, 2, 3], "what was asked in vain took numbers");
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
}

/// The forged receipt, about the page that its stream brought: salts, and with them roots, differ from page to page.
fn resigned(forged: &Envelope, page: &ReceiptStatement, what: &str, de: &Partner, ca: &Partner) -> Vec<u8> {
    let Ok(mut statement) = serde_json::from_slice::<serde_json::Value>(&forged.payload) else {
        return forged.to_bytes();
    };
    statement["root"] = page.root.to_string().into();
    let key = if what.starts_with("another party's") { &ca.key } else { &de.key };
    let mut envelope = Envelope::sign(&forged.payload_type, statement.to_string().into_bytes(), key);
    if what == "a bad signature" {
        envelope.signatures[0].sig[3] ^= 1;
    }
    envelope.to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_acknowledges_is_left_and_loses_nothing() {
    let (field, ids) = start("[exchange]\nreceipt_timeout_ms = 2000\n", RECORDS).await;
    let de = Partner::of(&field.federation, "DE").await;
    // It reads and says nothing: so many pages and no more, then the stream ends.
    let mut stream = de.open(&[]).await.unwrap();
    let (mut taken, mut pages) = (BTreeMap::new(), 0);
    while let Next::Page(page) = stream.next().await.unwrap() {
        pages += 1;
        taken.extend(items(&page).into_iter().map(|item| (item.number, item.record)));
    }
    assert_eq!(pages, PAGES);
    assert!(stream.answers.message().await.unwrap().is_none(), "the stream goes on");

    // It does not even read: so many streams and no more, until they are given up.
    let (silent, mut streams) = (Partner::narrow(&field.federation, "DE").await, Vec::new());
    for _ in 0..STREAMS {
        streams.push(silent.open(&[]).await.unwrap());
    }
    let refused = de.open(&[]).await.err().unwrap();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "TOO_MANY_STREAMS"));
    // Another partner has streams of its own.
    Partner::of(&field.federation, "CA").await.open(&[]).await.unwrap();
    drop(de.open_in_time(&[]).await);
    drop(streams);

    // What it had not acknowledged comes again, under the same numbers; what it does acknowledge does not.
    let (mut given, mut cursor) = (BTreeMap::new(), Vec::new());
    let mut stream = de.open_in_time(&cursor).await;
    loop {
        match stream.next().await.unwrap() {
            Next::Page(page) => {
                let receipt = sign_receipt(&de.receipt(&page), &de.key).to_bytes();
                // On a machine that is so busy that this comes too late, the next stream goes on from here.
                let receipt = v1::ExchangeRequest { message: Some(Ask::Receipt(receipt)) };
                let _ = stream.asks.send(receipt).await;
                for item in items(&page) {
                    assert_eq!(given.insert(item.number, item.record), None, "{} came twice", item.number);
                }
                cursor = page.next_cursor;
            }
            Next::NothingNew => break,
            Next::End => stream = de.open_in_time(&cursor).await,
        }
    }
    assert!(taken.iter().all(|(number, record)| given.get(number) == Some(record)), "a number is another record's now");
    assert_eq!(given.keys().copied().collect::<Vec<_>>(), (1..=RECORDS as u64).collect::<Vec<_>>());
    let records: BTreeSet<RecordId> = given.into_values().collect();
    assert_eq!(records, ids.into_iter().collect());
    drop(stream);
    let after = de.open_in_time(&cursor).await.next().await.unwrap();
    assert!(matches!(after, Next::NothingNew), "what was acknowledged comes again: {after:?}");
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_recall_of_others_is_one_to_none() {
    let (field, _) = start("", 1).await;
    let (de, ca) = (Partner::of(&field.federation, "DE").await, Partner::of(&field.federation, "CA").await);
    let staff = Staff::of(&field.federation, member("FR")).unwrap();
    staff.apply_policy(member("CA"), READS).await.unwrap();
    let words = incident(Tier::Restricted, &[member("CA")], "For Canada.");
    let for_ca: RecordId = staff.draft(v1::RecordKind::Incident, &words).await.unwrap().id.parse().unwrap();
    staff.share(&[for_ca], member("CA")).await.unwrap();
    let (mut of_ca, mut of_de) = (ca.open(&[]).await.unwrap(), de.open(&[]).await.unwrap());
    of_ca.page().await;
    let id = for_ca.to_string();
    field.approved("FR", Role::Operator, &["recall", "start", &id, "--reason", "A reason.", "--yes"]).await;
    // Whoever has a stream open is told at once that there is one, and nobody else is.
    while !matches!(of_ca.notice().await, v1::ExchangeNotice { recalls: true, .. }) {}
    let words = incident(Tier::Restricted, &[member("DE")], "For Germany.");
    let for_de: RecordId = staff.draft(v1::RecordKind::Incident, &words).await.unwrap().id.parse().unwrap();
    staff.share(&[for_de], member("DE")).await.unwrap();
    while !items(&of_de.page().await).iter().any(|item| item.record == for_de) {}
    let fetch = |partner: &Partner, after| {
        let request = v1::FetchRecallsRequest { federation: partner.federation.0.to_vec(), after };
        let mut client = partner.client.clone();
        async move { client.fetch_recalls(request).await.unwrap().into_inner() }
    };
    for after in [0, 1, u64::MAX] {
        assert_eq!(fetch(&de, after).await, v1::FetchRecallsResponse { recalls: vec![], position: after });
    }
    let made = fetch(&ca, 0).await;
    assert_eq!(made.recalls.len(), 1);
    let recalls = field.ok("FR", Role::Operator, &["recall", "list"]).await;
    let recall: RecordId = recalls["made"][0]["id"].as_str().unwrap().parse().unwrap();

    let absent = RecordId::new(member("FR"), RecordKind::Recall, [1; 10]);
    let answer = |partner: &Partner, key: &SigningKey, recall, change: Forge<'_>| {
        let mut statement = AnswerStatement {
            federation: partner.federation,
            from: member("FR"),
            to: partner.member,
            recall,
            record: for_ca,
            answer: Answered::Destroyed,
            because: None,
            backup_days: 0,
            answered_at: Timestamp::from_jiff(jiff::Timestamp::now()),
        };
        change(&mut statement);
        let request = v1::AnswerRecallRequest {
            federation: partner.federation.0.to_vec(),
            answer: sign_answer(&statement, key).to_bytes(),
        };
        let mut client = partner.client.clone();
        async move { client.answer_recall(request).await.map(drop) }
    };
    // DE was asked for nothing: what CA was asked for, and what nobody was, are one answer.
    let hidden = answer(&de, &de.key, recall, &|_| {}).await.unwrap_err();
    let missing = answer(&de, &de.key, absent, &|_| {}).await.unwrap_err();
    assert_eq!(hidden.code(), Code::NotFound);
    assert_eq!(told(&hidden), told(&missing));
    // CA's own answer is CA's alone to give, about what it was asked for.
    let long = |a: &mut AnswerStatement| a.because = Some("w".repeat(1_001));
    let cases: [(&str, &Partner, &SigningKey, Forge<'_>); 5] = [
        ("by another", &de, &de.key, &|a| a.to = member("CA")),
        ("with another's key", &ca, &de.key, &|_| {}),
        ("to another", &ca, &ca.key, &|a| a.from = member("GB")),
        ("of another federation", &ca, &ca.key, &|a| a.federation = Hex32([9; 32])),
        ("too long", &ca, &ca.key, &long),
    ];
    for (what, partner, key, change) in cases {
        let refused = answer(partner, key, recall, change).await.unwrap_err();
        assert_eq!((refused.code(), violated(&refused).as_str()), (Code::InvalidArgument, "answer"), "{what}");
    }
    let status = field.ok("FR", Role::Operator, &["recall", "status", &id]).await;
    assert!(status["parties"][0]["answer"].is_null(), "{status}");
    answer(&ca, &ca.key, recall, &|_| {}).await.unwrap();
    let status = field.ok("FR", Role::Operator, &["recall", "status", &id]).await;
    assert_eq!(
        (&status["parties"][0]["party"], &status["parties"][0]["standing"]),
        (&"CA".into(), &"destroyed".into())
    );
}

/// Messages as a later version might write them.
mod later {
    /// What opens, with more in it.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(message, optional, tag = "1")]
        pub(super) open: Option<Open>,
        #[prost(bytes = "vec", tag = "15")]
        pub(super) more: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Open {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) federation: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) cursor: Vec<u8>,
        #[prost(string, tag = "99")]
        pub(super) party: String,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_does_not_know_in_a_message_gives_nothing() {
    let (field, ids) = start("", 1).await;
    let de = Partner::of(&field.federation, "DE").await;
    let path = certificate(&field.federation, "DE", Role::Node, "node-1");
    let fr = field.federation.seat("FR").unwrap();
    let channel = dial(&field.federation, &fr.peer, fr.member, &path).await.unwrap();
    let say = async |first: later::Request| {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<later::Request, v1::ExchangeResponse>::default();
        let path = "/comity.v1.PeerService/Exchange".parse().unwrap();
        let (asks, outgoing) = mpsc::channel(1);
        asks.send(first).await.unwrap();
        grpc.streaming(tonic::Request::new(ReceiverStream::new(outgoing)), path, codec)
            .await
            .map(|answers| (asks, answers))
    };
    let alone = say(later::Request { open: None, more: b"everything".to_vec() }).await.err().unwrap();
    assert_eq!((alone.code(), violated(&alone).as_str()), (Code::InvalidArgument, "open"));
    // Beside what it knows it changes nothing: the caller is who its certificate says.
    let open = later::Open { federation: de.federation.0.to_vec(), cursor: Vec::new(), party: "CA".into() };
    let (_asks, answers) = say(later::Request { open: Some(open), more: b"everything".to_vec() }).await.unwrap();
    let first = answers.into_inner().message().await.unwrap().unwrap();
    let Some(Answer::Page(page)) = first.message else { panic!("{first:?}") };
    let statement: PageStatement =
        canonical::from_slice(&Envelope::from_bytes(&page.envelope).unwrap().payload).unwrap();
    assert_eq!((statement.to, items(&page)[0].record), (member("DE"), ids[0]));
}
