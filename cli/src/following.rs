//! Streams of a node that outlive their line: connecting again, from where it was cut.

use std::time::{Duration, Instant};

use tonic::{Code, Status};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::clean;
use crate::refusal::Asked;
use crate::session::Session;

/// How long the first wait before connecting again is.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// No wait is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Why a stream ended.
pub(crate) enum Ended {
    /// All that was wanted is there, or nobody reads it any more.
    Done,
    /// The line was cut: connect again.
    Cut(Box<Failure>),
}

/// What is read leaf by leaf.
pub(crate) trait Feed {
    /// The leaf from which it goes on.
    fn next(&self) -> u64;

    /// Connects and reads until the stream ends.
    async fn read(&mut self, session: &mut Session<'_>, line: &mut Line) -> Result<Ended, Failure>;
}

/// The line to the node.
#[derive(Debug)]
pub(crate) struct Line {
    was_connected: bool,
    last_heard: Instant,
}

impl Line {
    /// The node was heard of just now.
    pub(crate) fn heard(&mut self) {
        self.was_connected = true;
        self.last_heard = Instant::now();
    }
}

/// Reads a feed to its end, through cuts; gives up once the node was out of reach for so long.
pub(crate) async fn follow(session: &mut Session<'_>, feed: &mut impl Feed, patience: Duration) -> Result<(), Failure> {
    let (mut line, mut backoff) = (Line { was_connected: false, last_heard: Instant::now() }, BACKOFF_MIN);
    loop {
        let begun = feed.next();
        let cut = match feed.read(session, &mut line).await? {
            Ended::Done => return Ok(()),
            // A first connection that fails is a mistake to be told at once.
            Ended::Cut(failure) if !line.was_connected => return Err(*failure),
            Ended::Cut(failure) => failure,
        };
        if line.last_heard.elapsed() > patience {
            return Err(*cut);
        }
        if feed.next() > begun {
            backoff = BACKOFF_MIN;
        }
        session.output.note(&format!("connecting again from leaf {}: {}", feed.next(), clean(cut.message())));
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Whether it is worth dialling again: whoever has no context or no certificate is told so at once.
pub(crate) fn cut_or_failed(failure: Failure) -> Result<Ended, Failure> {
    if failure.exit() == Exit::Error { Ok(Ended::Cut(Box::new(failure))) } else { Err(failure) }
}

/// Whether it is worth connecting again: whoever may not, or asks for what is not there, is told so at once.
pub(crate) fn cut_or_refused(asked: &Asked, status: Status) -> Result<Ended, Failure> {
    let code = status.code();
    let failure = asked.refused(status);
    let is_final = matches!(
        code,
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented
    );
    let is_final = is_final || failure.exit() == Exit::NotAuthenticated;
    if is_final { Err(failure) } else { Ok(Ended::Cut(Box::new(failure))) }
}
