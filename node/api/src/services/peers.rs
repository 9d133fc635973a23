//! `PeerService`: what one node gives another.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_app::{AppError, Page, SentPage};
use comity_core::MemberId;
use comity_core::access::{self, AccessRecord, ExchangedPage, Touched};
use comity_proto::v1;
use comity_proto::v1::exchange_request::Message as Asked;
use comity_proto::v1::exchange_response::Message as Answer;
use futures::StreamExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::caller::{Caller, context};
use crate::services::chunks::{Answers, within};
use crate::services::service;
use crate::status;

/// How many pages may be on their way without a receipt: enough to keep both sides busy, and a bound on what a receiver that
/// never acknowledges can have this node hold.
const PAGES_UNDERWAY: usize = 4;
/// How often a receiver is told that there is nothing new, so that both know that the line holds.
const HEARTBEAT: Duration = Duration::from_secs(10);

service!(Peers);

impl Peers {
    fn ensure_federation(&self, theirs: &[u8]) -> Result<(), Status> {
        ensure_federation(&self.node, theirs)
    }
}

/// A node with another genesis is told so before anything else.
pub(crate) fn ensure_federation(node: &comity_app::Node, theirs: &[u8]) -> Result<(), Status> {
    let ours = node.genesis().federation();
    if theirs == ours.0 {
        return Ok(());
    }
    Err(status::of(AppError::OtherFederation(format!(
        "this node belongs to federation {ours}, yours to another: both must have the same genesis file"
    ))))
}

#[tonic::async_trait]
impl v1::peer_service_server::PeerService for Peers {
    type ExchangeStream = Answers<v1::ExchangeResponse>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (caller, _) = context(&request)?;
        let mut asked = request.into_inner();
        let Some(Asked::Open(open)) = asked.message().await?.and_then(|first| first.message) else {
            return Err(status::field("open", "is missing: the first message opens the exchange"));
        };
        self.ensure_federation(&open.federation)?;
        let partner = caller.peer.member;
        let permit = self.node.exchange_permit(partner).map_err(status::of)?;
        let sent = self.node.resume(partner, &open.cursor).await.map_err(status::of)?;
        let (answers, outgoing) = mpsc::channel(1);
        let lifetime = caller.lifetime.clone();
        let underway = Underway::default();
        let sender = Sender { node: std::sync::Arc::clone(&self.node), caller, partner, answers, underway };
        tokio::spawn(sender.run(sent, asked, permit));
        Ok(Response::new(within(lifetime, ReceiverStream::new(outgoing))))
    }

    async fn fetch_recalls(
        &self,
        request: Request<v1::FetchRecallsRequest>,
    ) -> Result<Response<v1::FetchRecallsResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        self.ensure_federation(&request.federation)?;
        let told = self.node.tell_recalls(caller.peer.member, request.after).await.map_err(status::of)?;
        scope.touch_all(told.touched);
        Ok(Response::new(v1::FetchRecallsResponse { recalls: told.recalls, position: told.position }))
    }

    async fn answer_recall(
        &self,
        request: Request<v1::AnswerRecallRequest>,
    ) -> Result<Response<v1::AnswerRecallResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        self.ensure_federation(&request.federation)?;
        let record = self.node.keep_answer(caller.peer.member, &request.answer).await.map_err(status::of)?;
        scope.touch(Touched::record(record, None));
        Ok(Response::new(v1::AnswerRecallResponse {}))
    }
}

/// One stream of pages to a partner.
struct Sender {
    node: std::sync::Arc<comity_app::Node>,
    caller: Caller,
    partner: MemberId,
    answers: mpsc::Sender<Result<v1::ExchangeResponse, Status>>,
    underway: Underway,
}

/// The pages that are on their way, and until when each waits for its receipt.
#[derive(Default)]
struct Underway {
    pages: Mutex<VecDeque<(SentPage, Instant)>>,
    receipted: Notify,
}

impl Underway {
    fn pages(&self) -> MutexGuard<'_, VecDeque<(SentPage, Instant)>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.pages().len()
    }

    /// Until when the first of them waits.
    fn overdue(&self) -> Option<Instant> {
        self.pages().front().map(|(_, until)| *until)
    }

    /// Everything up to this number has arrived.
    fn arrived(&self, last: u64) {
        self.pages().retain(|(sent, _)| sent.last_number > last);
        self.receipted.notify_one();
    }
}

/// What makes a stream go on.
enum Event {
    Receipt,
    News,
    Beat,
    End,
}

impl Sender {
    /// `sent`: the number of the last item that the partner had before.
    async fn run(self, sent: u64, asked: Streaming<v1::ExchangeRequest>, _permit: OwnedSemaphorePermit) {
        // Receipts are kept while pages are made.
        let ended = tokio::select! {
            ended = self.tell(sent) => ended,
            ended = self.hear(asked) => ended,
        };
        if let Err(status) = ended {
            // Whoever takes nothing is not waited for once more.
            let last_word = self.answers.send(Err(status));
            tokio::time::timeout(self.node.receipt_timeout(), last_word).await.ok();
        }
    }

    /// Keeps receipts until the partner says no more.
    async fn hear(&self, mut asked: Streaming<v1::ExchangeRequest>) -> Result<(), Status> {
        while let Some(Ok(message)) = asked.next().await {
            let v1::ExchangeRequest { message: Some(Asked::Receipt(receipt)) } = message else {
                return Err(status::field("message", "expected a receipt: the exchange is open"));
            };
            let sent: Vec<SentPage> = self.underway.pages().iter().map(|(sent, _)| *sent).collect();
            let last = self.node.acknowledge(self.partner, &receipt, sent).await.map_err(status::of)?;
            self.underway.arrived(last);
        }
        Ok(())
    }

    /// Sends pages and notices until the node stops or the partner takes no more of them.
    async fn tell(&self, mut sent: u64) -> Result<(), Status> {
        let mut news = self.node.outbox_news();
        let mut recalls = self.node.recalls_changed();
        // Whether there are some is looked at when the stream begins, and whenever one was made.
        recalls.mark_changed();
        let mut stopping = self.node.stopping();
        let mut beat = tokio::time::interval(HEARTBEAT);
        let mut idle = false;
        // The position of the last recall that the partner was told on this stream to fetch.
        let mut told = 0;
        loop {
            // Marked as seen before looking, so that news in between is not slept through.
            news.borrow_and_update();
            let recalled = recalls.has_changed().unwrap_or(false);
            recalls.borrow_and_update();
            let before = sent;
            sent = self.send_pages(sent).await?;
            idle &= sent == before;
            // INVARIANT: what is recalled from others is not heard of: only a recall of its own makes this told.
            if recalled {
                let awaited = self.node.awaits_answer(self.partner).await.map_err(status::of)?.unwrap_or(0);
                if awaited > told {
                    told = awaited;
                    self.notice(v1::ExchangeNotice { up_to_date: false, recalls: true }).await?;
                }
            }
            let quiet = self.underway.len() == 0;
            if quiet && !idle {
                idle = true;
                self.notice(v1::ExchangeNotice { up_to_date: true, recalls: false }).await?;
            }
            // Not before what there is to be told has left: a page does not wait for it.
            if let Err(error) = self.node.record_refusals(self.partner).await {
                tracing::error!(%error, partner = %self.partner, "what was refused is not recorded yet: it is tried again");
            }
            let overdue = self.underway.overdue();
            let event = tokio::select! {
                () = self.underway.receipted.notified() => Event::Receipt,
                changed = news.changed(), if self.underway.len() < PAGES_UNDERWAY => match changed {
                    Ok(()) => Event::News,
                    Err(_) => Event::End,
                },
                changed = recalls.changed() => match changed {
                    // Still to be seen by the next round.
                    Ok(()) => {
                        recalls.mark_changed();
                        Event::News
                    }
                    Err(_) => Event::End,
                },
                _ = beat.tick(), if quiet => Event::Beat,
                () = tokio::time::sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => Event::End,
                _ = stopping.wait_for(|stopping| *stopping) => Event::End,
                () = self.answers.closed() => Event::End,
            };
            match event {
                Event::Receipt | Event::News => {}
                Event::Beat => {
                    // Told again until it is answered: to fetch them may have failed.
                    let recalls = self.node.awaits_answer(self.partner).await.map_err(status::of)?.is_some();
                    self.notice(v1::ExchangeNotice { up_to_date: true, recalls }).await?;
                }
                Event::End => return Ok(()),
            }
        }
    }

    /// Sends pages after this number until so many are on their way or there is nothing more. Returns the number of the last item that
    /// was sent. The next page is made while the record of the one before becomes durable.
    async fn send_pages(&self, mut sent: u64) -> Result<u64, Status> {
        let mut ready: Option<Page> = None;
        loop {
            let (taken, made) = ready.as_ref().map_or((0, sent), |page| (1, page.sent.last_number));
            let room = self.underway.len() + taken < PAGES_UNDERWAY;
            let next = async {
                match room {
                    true => self.node.next_page(self.partner, made).await.map_err(status::of),
                    false => Ok(None),
                }
            };
            let leave = async {
                match ready.take() {
                    Some(page) => self.leave(page).await,
                    None => Ok(()),
                }
            };
            let (left, next) = tokio::join!(leave, next);
            left?;
            sent = made;
            ready = next?;
            if ready.is_none() {
                return Ok(sent);
            }
        }
    }

    /// Records a page, then sends it.
    async fn leave(&self, page: Page) -> Result<(), Status> {
        // INVARIANT: a page leaves only after its access record is durable.
        self.record(page.sent.exchanged(), page.touched).await?;
        let items = page.items.into_iter().map(|i| v1::SealedItem { salt: i.salt.0.to_vec(), item: i.bytes }).collect();
        let message = v1::Page { envelope: page.envelope, items, next_cursor: page.next_cursor };
        // Before it is sent: its receipt may come at once.
        self.underway.pages().push_back((page.sent, Instant::now() + self.node.receipt_timeout()));
        self.send(Answer::Page(message)).await
    }

    async fn record(&self, page: ExchangedPage, touched: Vec<Touched>) -> Result<(), Status> {
        let now = comity_core::Timestamp::from_jiff(jiff::Timestamp::now());
        let record = AccessRecord {
            who: Some(self.caller.peer.id.clone()),
            member: Some(self.partner),
            touched,
            request_id: Some(self.caller.request_id.clone()),
            page: Some(page),
            ..AccessRecord::new(now, self.caller.remote.to_string(), access::PAGE_SENT)
        };
        self.node.record_access(record).await.map_err(|error| {
            tracing::error!(%error, "a page's record could not be written: the page is not sent");
            status::access_log_unavailable(None)
        })
    }

    async fn notice(&self, notice: v1::ExchangeNotice) -> Result<(), Status> {
        self.send(Answer::Notice(notice)).await
    }

    async fn send(&self, message: Answer) -> Result<(), Status> {
        let response = v1::ExchangeResponse { message: Some(message) };
        // A receiver that takes nothing is one that never acknowledges.
        let taken = tokio::time::timeout(self.node.receipt_timeout(), self.answers.send(Ok(response))).await;
        match taken {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Status::cancelled("the line broke")),
        }
    }
}
