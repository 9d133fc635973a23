//! `comity list watch`: the public log as it grows, through restarts of the node and changes of the leader.

use std::time::{Duration, Instant};

use comity_core::proposal::PublicPart;
use comity_proto::v1;
use tonic::{Code, Status};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::list::publication::{Leaf, in_words};
use crate::output::Format;
use crate::page::clean;
use crate::refusal::Asked;
use crate::session::Session;
use crate::when;

/// How long the first wait before connecting again is.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// No wait is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What is wanted of the public log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The first leaf.
    pub(super) from: u64,
    /// Whether a leaf waits until it is agreed.
    pub(super) agreed_only: bool,
    /// How many leaves.
    pub(super) limit: Option<u64>,
    /// For how long the node may be out of reach.
    pub(super) patience_s: u64,
}

/// Why a stream ended.
enum Ended {
    /// As many leaves as were wanted, or nobody reads them any more.
    Done,
    /// The line was cut: connect again.
    Cut(Box<Failure>),
}

pub(super) async fn run(session: &mut Session<'_>, wanted: Wanted) -> Result<(), Failure> {
    let mut feed = Feed { next: wanted.from, wanted };
    let (mut last_heard, mut backoff, mut was_connected) = (Instant::now(), BACKOFF_MIN, false);
    loop {
        let begun = feed.next;
        let cut = match feed.follow(session, &mut was_connected, &mut last_heard).await? {
            Ended::Done => return Ok(()),
            // A first connection that fails is a mistake to be told at once.
            Ended::Cut(failure) if !was_connected => return Err(*failure),
            Ended::Cut(failure) => failure,
        };
        if last_heard.elapsed() > Duration::from_secs(wanted.patience_s) {
            return Err(*cut);
        }
        if feed.next > begun {
            backoff = BACKOFF_MIN;
        }
        session.output.note(&format!("connecting again from leaf {}: {}", feed.next, clean(cut.message())));
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Where the feed is.
struct Feed {
    next: u64,
    wanted: Wanted,
}

impl Feed {
    async fn follow(
        &mut self,
        session: &mut Session<'_>,
        was_connected: &mut bool,
        last_heard: &mut Instant,
    ) -> Result<Ended, Failure> {
        let asked = Asked::about("public log", "comity list status");
        let node = match session.node().await {
            Ok(node) => node,
            Err(failure) if failure.exit() == Exit::Error => return Ok(Ended::Cut(Box::new(failure))),
            Err(failure) => return Err(failure),
        };
        let request = v1::WatchListRequest { from: self.next, agreed_only: self.wanted.agreed_only };
        let mut leaves = match node.list().watch_list(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return cut_or_refused(&asked, status),
        };
        *was_connected = true;
        loop {
            *last_heard = Instant::now();
            if self.is_done(session) {
                return Ok(Ended::Done);
            }
            let answer = match leaves.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(Ended::Cut(Box::new(Failure::error("the node ended the stream")))),
                Err(status) => return cut_or_refused(&asked, status),
            };
            // An answer without a leaf says that the line is alive.
            if let Some(publication) = answer.publication {
                self.take(session, publication)?;
            }
        }
    }

    fn is_done(&self, session: &Session<'_>) -> bool {
        let told = self.next.saturating_sub(self.wanted.from);
        session.output.is_closed() || self.wanted.limit.is_some_and(|limit| told >= limit)
    }

    /// INVARIANT: leaf n is told after leaf n - 1 and once; a node that leaves one out is not followed further.
    fn take(&mut self, session: &mut Session<'_>, publication: v1::Publication) -> Result<(), Failure> {
        if publication.leaf != self.next {
            let message =
                format!("public log: the node sent leaf {} in the place of leaf {}", publication.leaf, self.next);
            return Err(Failure::new(Exit::VerificationFailed, message).next("comity list status"));
        }
        let leaf = Leaf::read(publication)?;
        let text = match session.output.format() {
            Format::Table => line(&leaf),
            Format::Json => serde_json::to_string(&leaf.view())
                .map_err(|e| Failure::error(format!("the leaf cannot be written as JSON: {e}")))?,
            Format::Yaml => format!("---\n{}", crate::output::yaml(&leaf.view())?),
        };
        session.output.line(&text)?;
        session.output.flush()?;
        self.next += 1;
        Ok(())
    }
}

fn line(leaf: &Leaf) -> String {
    let agreed = if leaf.agreed { "agreed" } else { "not yet" };
    let subject = PublicPart::from_json(&leaf.text).map(|part| part.subject.primary_name().to_owned());
    let subject = subject.map(|name| format!("  {}", clean(&name))).unwrap_or_default();
    let (time, what) = (when::local_core(leaf.publication.list_time), clean(&in_words(&leaf.publication.event)));
    format!("{:>6}  {time}  {agreed:7}  {what}{subject}", leaf.number)
}

/// Whether it is worth connecting again: whoever may not, or asks for what is not there, is told so at once.
fn cut_or_refused(asked: &Asked, status: Status) -> Result<Ended, Failure> {
    let code = status.code();
    let failure = asked.refused(status);
    let is_final = matches!(
        code,
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented
    );
    let is_final = is_final || failure.exit() == Exit::NotAuthenticated;
    if is_final { Err(failure) } else { Ok(Ended::Cut(Box::new(failure))) }
}
