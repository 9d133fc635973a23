//! Keeping in step with partners: one stream for each, from which pages come and to which receipts go, with back-off and jitter on
//! failure. Streams begin and end as partners come and go.

mod recalls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use comity_app::{AppError, Node, VerifiedPage};
use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::view::SealedItem;
use comity_proto::v1;
use comity_proto::v1::exchange_request::Message as Ask;
use comity_proto::v1::exchange_response::Message as Answer;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::serve::MESSAGE_MAX_BYTES;

pub use recalls::follow_recalls;

/// The first pause after a failure.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// How long a call may take that is answered at once.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream may be silent: its sender says at least every ten seconds that there is nothing new.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Pages that are verified ahead of the one that is being stored.
const PAGES_AHEAD: usize = 1;

/// Keeps in step with each partner that takes part, until shutdown. `recalls` changes when a partner says that there are some.
pub async fn keep_in_step(
    node: Arc<Node>,
    backoff_max: Duration,
    recalls: watch::Sender<u64>,
    shutdown: CancellationToken,
) {
    let mut news = node.consensus().subscribe();
    let mut lines: BTreeMap<MemberId, CancellationToken> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut seen = None;
    loop {
        news.borrow_and_update();
        let version = node.roster(|roster| roster.version());
        if seen.replace(version) != Some(version) {
            let partners: BTreeSet<MemberId> = node.partners().into_iter().map(|row| row.member).collect();
            lines.retain(|partner, line| {
                let stays = partners.contains(partner);
                if !stays {
                    line.cancel();
                }
                stays
            });
            for partner in partners {
                lines.entry(partner).or_insert_with(|| {
                    let line = shutdown.child_token();
                    let stream = Stream {
                        node: Arc::clone(&node),
                        partner,
                        recalls: recalls.clone(),
                        anew: AtomicBool::new(false),
                    };
                    tasks.spawn(stream.keep(backoff_max, line.clone()));
                    line
                });
            }
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { break },
            Some(_) = tasks.join_next() => {}
            () = shutdown.cancelled() => break,
        }
    }
    lines.into_values().for_each(|line| line.cancel());
    while tasks.join_next().await.is_some() {}
}

/// The exchange with one partner.
struct Stream {
    node: Arc<Node>,
    partner: MemberId,
    recalls: watch::Sender<u64>,
    /// The partner does not know its own cursor any more: it sends everything once more, and what is here is passed over.
    anew: AtomicBool,
}

impl Stream {
    /// Opens a stream again and again until it is cancelled.
    async fn keep(self, backoff_max: Duration, shutdown: CancellationToken) {
        let mut news = self.node.consensus().subscribe();
        let mut backoff = BACKOFF_MIN;
        loop {
            let version = self.node.roster(|roster| roster.version());
            let began = tokio::time::Instant::now();
            let ended = tokio::select! {
                ended = self.once() => ended,
                () = shutdown.cancelled() => return,
            };
            // What held for a while was good: a line that ends by its age is opened again at once.
            if began.elapsed() > backoff_max {
                backoff = BACKOFF_MIN;
            }
            if let Err(problem) = ended
                && self.node.note_problem(self.partner, problem.clone())
            {
                tracing::warn!(partner = %self.partner, %problem, "the exchange broke off");
            }
            let pause = jittered(backoff);
            backoff = (backoff * 2).min(backoff_max);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Who was refused may be a member by now, or be reached elsewhere.
                Ok(_) = news.wait_for(|_| self.node.roster(|roster| roster.version()) != version) => backoff = BACKOFF_MIN,
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// One stream, from its opening to its end.
    async fn once(&self) -> Result<(), String> {
        let channel = self.node.consensus().channel(self.partner).ok_or("not in the roster")?;
        let mut client: PeerServiceClient<Channel> =
            PeerServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
        let cursor = if self.anew.swap(false, Ordering::Relaxed) {
            Vec::new()
        } else {
            self.node.cursor_from(self.partner).await.map_err(said)?
        };
        let federation = self.node.genesis().federation().0.to_vec();
        let (asks, outgoing) = mpsc::channel(8);
        let open = Ask::Open(v1::ExchangeOpen { federation, cursor });
        asks.send(v1::ExchangeRequest { message: Some(open) }).await.map_err(|_| "the line broke")?;
        let answers = tokio::time::timeout(CALL_TIMEOUT, client.exchange(ReceiverStream::new(outgoing))).await;
        let answers = answers.map_err(|_| "no answer in time")?.map_err(|status| self.refused(&status))?.into_inner();
        let (verified, to_store) = mpsc::channel(PAGES_AHEAD);
        // The next page is verified while this one is stored.
        tokio::select! {
            ended = self.read(answers, verified) => ended,
            ended = self.store(to_store, asks) => ended,
        }
    }

    /// Reads and verifies pages.
    async fn read(
        &self,
        mut answers: Streaming<v1::ExchangeResponse>,
        verified: mpsc::Sender<VerifiedPage>,
    ) -> Result<(), String> {
        loop {
            let next =
                tokio::time::timeout(SILENCE_MAX, answers.message()).await.map_err(|_| "the line fell silent")?;
            let Some(next) = next.map_err(|status| self.refused(&status))? else { return Ok(()) };
            match next.message {
                Some(Answer::Page(page)) => {
                    self.node.note_heard(self.partner, false);
                    let items = items(page.items)?;
                    let (node, partner) = (Arc::clone(&self.node), self.partner);
                    let checked = tokio::task::spawn_blocking(move || {
                        node.verify_page(partner, page.envelope, items, page.next_cursor)
                    });
                    let page = checked.await.map_err(|_| "a page could not be verified")?.map_err(said)?;
                    verified.send(page).await.map_err(|_| "the line broke")?;
                }
                Some(Answer::Notice(notice)) => {
                    self.node.note_heard(self.partner, notice.up_to_date);
                    if notice.recalls {
                        self.recalls.send_modify(|n| *n = n.wrapping_add(1));
                    }
                }
                None => return Err("a message of a kind that this node does not know".to_owned()),
            }
        }
    }

    /// Stores verified pages, in order, and signs for them.
    async fn store(
        &self,
        mut pages: mpsc::Receiver<VerifiedPage>,
        asks: mpsc::Sender<v1::ExchangeRequest>,
    ) -> Result<(), String> {
        while let Some(page) = pages.recv().await {
            let receipt = self.node.store_page(page).await.map_err(said)?;
            let receipt = v1::ExchangeRequest { message: Some(Ask::Receipt(receipt)) };
            asks.send(receipt).await.map_err(|_| "the line broke")?;
        }
        // Whoever reads says how it ended.
        std::future::pending().await
    }

    /// What a refusal says; one of the cursor is remembered.
    fn refused(&self, status: &Status) -> String {
        let violations = status.get_error_details().bad_request().map(|bad| bad.field_violations.clone());
        if violations.into_iter().flatten().any(|violation| violation.field == "cursor") {
            self.anew.store(true, Ordering::Relaxed);
        }
        explain(status)
    }
}

fn items(items: Vec<v1::SealedItem>) -> Result<Vec<SealedItem>, String> {
    let sealed = |item: v1::SealedItem| {
        let salt = <[u8; 32]>::try_from(item.salt).map_err(|_| "an item's salt has not 32 bytes".to_owned())?;
        Ok(SealedItem { salt: Hex32(salt), bytes: item.item })
    };
    items.into_iter().map(sealed).collect()
}

fn said(error: AppError) -> String {
    error.to_string()
}

fn explain(status: &Status) -> String {
    let tls = std::error::Error::source(status).and_then(comity_identity::explain_tls_error);
    tls.unwrap_or_else(|| match (status.code(), std::error::Error::source(status)) {
        (Code::DeadlineExceeded, _) => "no answer in time".into(),
        (_, Some(source)) => format!("the line broke: {}", root_cause(source)),
        (Code::Cancelled, None) => "the line broke".into(),
        (_, None) => status.message().to_owned(),
    })
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Half to all of a pause, so that many nodes do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = getrandom::fill(&mut byte);
    pause / 2 + pause * u32::from(byte.first().copied().unwrap_or(0)) / 510
}
