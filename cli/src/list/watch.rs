//! `comity list watch`: the public log as it grows, through restarts of the node and changes of the leader.

use std::time::Duration;

use comity_core::proposal::PublicPart;
use comity_proto::v1;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::following::{self, Ended, Line, cut_or_failed, cut_or_refused};
use crate::list::publication::{Leaf, in_words};
use crate::output::Format;
use crate::page::clean;
use crate::refusal::Asked;
use crate::session::Session;
use crate::when;

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

pub(super) async fn run(session: &mut Session<'_>, wanted: Wanted) -> Result<(), Failure> {
    let mut feed = Feed { next: wanted.from, wanted };
    following::follow(session, &mut feed, Duration::from_secs(wanted.patience_s)).await
}

/// Where the feed is.
struct Feed {
    next: u64,
    wanted: Wanted,
}

impl following::Feed for Feed {
    fn next(&self) -> u64 {
        self.next
    }

    async fn read(&mut self, session: &mut Session<'_>, connection: &mut Line) -> Result<Ended, Failure> {
        let asked = Asked::about("public log", "comity list status");
        let node = match session.node().await {
            Ok(node) => node,
            Err(failure) => return cut_or_failed(failure),
        };
        let request = v1::WatchListRequest { from: self.next, agreed_only: self.wanted.agreed_only };
        let mut leaves = match node.list().watch_list(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return cut_or_refused(&asked, status),
        };
        loop {
            connection.heard();
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
}

impl Feed {
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
