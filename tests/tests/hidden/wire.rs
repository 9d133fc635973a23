//! The peer port of France's node, as another member's node hears it.

use std::time::{Duration, Instant};

use comity_core::canonical::{self, Hex32};
use comity_core::dsse::Envelope;
use comity_core::recall::RecallStatement;
use comity_core::view::{PageStatement, ReceiptStatement, sign_receipt};
use comity_core::{MemberId, Role, Timestamp};
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use comity_proto::v1::exchange_request::Message as Ask;
use comity_proto::v1::exchange_response::Message as Answer;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use comity_tests::federation::{certificate, dial_lazily};
use ed25519_dalek::SigningKey;
use prost::Message as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::support::{Field, PATIENCE};

/// How long a node is listened to for what must not come.
const SILENCE: Duration = Duration::from_millis(400);
/// How often an idle stream says that it is.
const BEAT_SECONDS: u64 = 10;
const FR: &str = "FR";

/// Something that was heard, without what is random or of the clock:
///
/// - an item's salt: 32 fresh random bytes, so that its hash tells nothing;
/// - in a page's statement the root, which is over those salts, and the instant; in a recall's the recall's id, which is 80 fresh
///   random bits, and the instant;
/// - signatures, which are over these; and since an instant's text is as long as its fraction of a second happens to be, a signed
///   envelope counts as long as what it states without them;
/// - the values of an error's metadata, of which one is the date.
///
/// Everything else is compared, and a message's length is that of the gRPC message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Page { length: usize, statement: Value, items: Vec<String>, cursor: Vec<u8> },
    Notice { length: usize, up_to_date: bool, recalls: bool },
    Recalls { length: usize, statements: Vec<Value>, position: u64 },
    Done,
    Refused { code: i32, message: String, details: Vec<u8>, metadata: Vec<String> },
    Ended,
}

impl Said {
    pub fn is_page(&self) -> bool {
        matches!(self, Self::Page { .. })
    }

    pub fn tells_recalls(&self) -> bool {
        matches!(self, Self::Notice { recalls: true, .. })
    }

    fn is_idle(&self) -> bool {
        matches!(self, Self::Notice { up_to_date: true, .. })
    }

    /// Of which kind, and how long.
    pub fn size(&self) -> (&'static str, usize) {
        match self {
            Self::Page { length, .. } => ("page", *length),
            Self::Notice { length, .. } => ("notice", *length),
            Self::Recalls { length, .. } => ("recalls", *length),
            Self::Done => ("done", 0),
            Self::Refused { message, details, .. } => ("refused", message.len() + details.len()),
            Self::Ended => ("ended", 0),
        }
    }

    pub fn refused(status: Option<Status>) -> Self {
        let status = status.unwrap();
        let mut metadata: Vec<String> =
            status.metadata().clone().into_headers().keys().map(ToString::to_string).collect();
        metadata.sort();
        Self::Refused {
            code: status.code() as i32,
            message: status.message().to_owned(),
            details: status.details().to_vec(),
            metadata,
        }
    }

    fn of(response: v1::ExchangeResponse) -> Self {
        let length = response.encoded_len();
        match response.message.unwrap() {
            Answer::Notice(notice) => Self::Notice { length, up_to_date: notice.up_to_date, recalls: notice.recalls },
            Answer::Page(page) => {
                let (statement, beyond) = statement(&page.envelope, &["root", "released_at"]);
                let item = |item: v1::SealedItem| {
                    assert_eq!(item.salt.len(), 32);
                    String::from_utf8(item.item).unwrap()
                };
                Self::Page {
                    length: length - beyond,
                    statement,
                    items: page.items.into_iter().map(item).collect(),
                    cursor: page.next_cursor,
                }
            }
        }
    }
}

/// What an envelope states without some fields, and how many bytes of the envelope go beyond that.
fn statement(envelope: &[u8], random: &[&str]) -> (Value, usize) {
    let parsed = Envelope::from_bytes(envelope).unwrap();
    let mut statement: Value = canonical::from_slice(&parsed.payload).unwrap();
    for field in random {
        statement[*field] = Value::Null;
    }
    let plain = serde_json::to_vec(&statement).unwrap().len();
    (statement, envelope.len() - plain)
}

/// Another member's node.
pub struct Peer {
    client: PeerServiceClient<Channel>,
    member: MemberId,
    pub federation: Hex32,
    pub key: SigningKey,
}

impl Peer {
    /// Waits until France's node listens.
    pub async fn of(field: &Field, member: &str) -> Self {
        let federation = &field.federation;
        let seat = federation.seat(FR).unwrap();
        let path = certificate(federation, member, Role::Node, "node-1");
        let channel = dial_lazily(federation, &seat.peer, seat.member, &path).unwrap();
        let keys = federation.seat(member).unwrap().folder.join("signing-node.key");
        let peer = Self {
            client: PeerServiceClient::new(channel).max_decoding_message_size(8 << 20),
            member: member.parse().unwrap(),
            federation: federation.genesis.federation(),
            key: SigningKeyFile::load(&keys).unwrap().signing_key().clone(),
        };
        let begin = Instant::now();
        while peer.client.clone().fetch_recalls(peer.asking(0)).await.is_err() {
            assert!(begin.elapsed() < PATIENCE, "the node of France does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        peer
    }

    fn asking(&self, after: u64) -> v1::FetchRecallsRequest {
        v1::FetchRecallsRequest { federation: self.federation.0.to_vec(), after }
    }

    pub async fn open(&self, cursor: &[u8]) -> Result<Exchange, Status> {
        self.begin(Ask::Open(v1::ExchangeOpen { federation: self.federation.0.to_vec(), cursor: cursor.to_vec() }))
            .await
    }

    pub async fn open_in(&self, federation: [u8; 32]) -> Result<Exchange, Status> {
        self.begin(Ask::Open(v1::ExchangeOpen { federation: federation.to_vec(), cursor: Vec::new() })).await
    }

    pub async fn receipt_first(&self) -> Option<Status> {
        self.begin(Ask::Receipt(b"{}".to_vec())).await.err()
    }

    async fn begin(&self, first: Ask) -> Result<Exchange, Status> {
        let (asks, outgoing) = mpsc::channel(8);
        asks.send(v1::ExchangeRequest { message: Some(first) }).await.unwrap();
        let answers = self.client.clone().exchange(ReceiverStream::new(outgoing)).await?.into_inner();
        let (member, federation, key) = (self.member, self.federation, self.key.clone());
        Ok(Exchange {
            asks,
            answers,
            member,
            federation,
            key,
            cursors: Vec::new(),
            last: 0,
            opened: Instant::now(),
            idle: false,
            beats: 0,
        })
    }

    pub async fn fetch_recalls(&self, after: u64) -> Said {
        let told = match self.client.clone().fetch_recalls(self.asking(after)).await {
            Ok(told) => told.into_inner(),
            Err(status) => return Said::refused(Some(status)),
        };
        let (length, position) = (told.encoded_len(), told.position);
        let (mut statements, mut beyond_all) = (Vec::new(), 0);
        for recall in &told.recalls {
            let parsed = Envelope::from_bytes(recall).unwrap();
            canonical::from_slice::<RecallStatement>(&parsed.payload).unwrap();
            let (statement, beyond) = statement(recall, &["recall", "recalled_at"]);
            statements.push(statement);
            beyond_all += beyond;
        }
        Said::Recalls { length: length - beyond_all, statements, position }
    }

    pub async fn answer_recall(&self, answer: Vec<u8>) -> Said {
        let request = v1::AnswerRecallRequest { federation: self.federation.0.to_vec(), answer };
        match self.client.clone().answer_recall(request).await {
            Ok(_) => Said::Done,
            Err(status) => Said::refused(Some(status)),
        }
    }
}

/// An open stream.
pub struct Exchange {
    asks: mpsc::Sender<v1::ExchangeRequest>,
    answers: Streaming<v1::ExchangeResponse>,
    member: MemberId,
    federation: Hex32,
    key: SigningKey,
    /// Those that came, in order.
    pub cursors: Vec<Vec<u8>>,
    /// The last number that came.
    pub last: u64,
    opened: Instant,
    /// Whether the last that was heard is that there is nothing more.
    idle: bool,
    /// How often that was said once more.
    beats: u64,
}

impl Exchange {
    /// The next that comes. That there is still nothing more is said by the clock, so it is counted alone: no more often than the
    /// time that has passed lets expect, whatever else happens at the node.
    async fn next(&mut self) -> Said {
        loop {
            let said = self.message().await;
            if !(said.is_idle() && self.idle) {
                self.idle = said.is_idle();
                return said;
            }
            self.beats += 1;
            assert!(self.beats <= self.opened.elapsed().as_secs() / BEAT_SECONDS + 1, "something is told by a beat");
        }
    }

    async fn message(&mut self) -> Said {
        let next = tokio::time::timeout(PATIENCE, self.answers.message()).await.unwrap();
        let response = match next {
            Ok(Some(response)) => response,
            Ok(None) => return Said::Ended,
            Err(status) => return Said::refused(Some(status)),
        };
        if let Some(Answer::Page(page)) = &response.message {
            let envelope = Envelope::from_bytes(&page.envelope).unwrap();
            let statement: PageStatement = canonical::from_slice(&envelope.payload).unwrap();
            self.cursors.push(page.next_cursor.clone());
            self.last = statement.first_number + statement.count - 1;
            self.sign(self.last, statement.root).await;
        }
        Said::of(response)
    }

    /// Signs for a number that may not have come.
    pub async fn sign_for(&self, number: u64) {
        self.sign(number, Hex32([0; 32])).await;
    }

    async fn sign(&self, last_number: u64, root: Hex32) {
        let receipt = ReceiptStatement {
            federation: self.federation,
            from: FR.parse().unwrap(),
            to: self.member,
            root,
            last_number,
            received_at: Timestamp::from_micros(0).unwrap(),
        };
        let receipt = sign_receipt(&receipt, &self.key).to_bytes();
        self.asks.send(v1::ExchangeRequest { message: Some(Ask::Receipt(receipt)) }).await.unwrap();
    }

    /// What comes until something does that is waited for.
    pub async fn until(&mut self, wanted: impl Fn(&Said) -> bool) -> Vec<Said> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.next().await);
            let last = heard.last().unwrap();
            if wanted(last) {
                return heard;
            }
            assert!(!matches!(last, Said::Refused { .. } | Said::Ended), "{last:?}");
        }
    }

    /// What comes until it is said that there is nothing more, and anything that comes soon after.
    pub async fn all(&mut self) -> Vec<Said> {
        let mut heard = self.until(Said::is_idle).await;
        while let Ok(more) = tokio::time::timeout(SILENCE, self.next()).await {
            heard.push(more);
        }
        heard
    }

    pub async fn all_to_the_end(&mut self) -> Vec<Said> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.next().await);
            if matches!(heard.last().unwrap(), Said::Refused { .. } | Said::Ended) {
                return heard;
            }
        }
    }
}
