//! The access log in order, oldest first, each leaf once, through cut lines.

use std::ops::ControlFlow;
use std::time::Duration;

use comity_proto::v1;

use super::filter::Filter;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::following::{self, Ended, Line, cut_or_failed, cut_or_refused};
use crate::refusal::Asked;
use crate::session::Session;

/// For how long a reading that does not follow waits for its node.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To the leaf that is the last when it begins.
    Present,
    /// On and on; from now, where nothing says since when.
    Follow {
        /// For how long the node may be out of reach.
        patience: Duration,
    },
}

/// Takes what matches, in order, until it says that this is enough.
pub(super) async fn walk<T>(session: &mut Session<'_>, filter: &Filter, reach: Reach, take: T) -> Result<(), Failure>
where
    T: FnMut(&mut Session<'_>, v1::AccessRecord) -> Result<ControlFlow<()>, Failure>,
{
    let patience = match reach {
        Reach::Present => PATIENCE,
        Reach::Follow { patience } => patience,
    };
    let mut feed = Walk { filter, follows: reach != Reach::Present, next: None, take };
    following::follow(session, &mut feed, patience).await
}

/// What is not searched is said.
pub(super) fn note_archived(session: &mut Session<'_>, archived: u64) {
    if archived > 0 {
        session
            .output
            .note(&format!("leaves before {archived} lie in archives and are not searched: comity audit segments"));
    }
}

struct Walk<'a, T> {
    filter: &'a Filter,
    follows: bool,
    /// Where it goes on, once it has begun.
    next: Option<u64>,
    take: T,
}

impl<T> following::Feed for Walk<'_, T>
where
    T: FnMut(&mut Session<'_>, v1::AccessRecord) -> Result<ControlFlow<()>, Failure>,
{
    fn next(&self) -> u64 {
        self.next.unwrap_or_default()
    }

    async fn read(&mut self, session: &mut Session<'_>, line: &mut Line) -> Result<Ended, Failure> {
        let asked = Asked::about("access log", "comity node status");
        let node = match session.node().await {
            Ok(node) => node,
            Err(failure) => return cut_or_failed(failure),
        };
        let request = v1::WatchAccessRecordsRequest {
            filter: Some(self.filter.to_proto(&node)?),
            from: self.next.unwrap_or_default(),
            follow: self.follows,
            only_new: self.follows && self.next.is_none() && self.filter.time.since.is_none(),
        };
        let mut answers = match node.audit().watch_access_records(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return cut_or_refused(&asked, status),
        };
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(Ended::Cut(Box::new(Failure::error("the node ended the stream")))),
                Err(status) => return cut_or_refused(&asked, status),
            };
            line.heard();
            if self.next.is_none() {
                note_archived(session, answer.archived);
            }
            if self.follows && self.next.is_none() {
                session.output.note(&format!("following from leaf {}; Ctrl-C ends it", answer.next));
            }
            if self.taken(session, answer.records)?.is_break() || session.output.is_closed() {
                return Ok(Ended::Done);
            }
            self.expect(answer.next)?;
            self.next = Some(answer.next);
            if answer.done {
                return Ok(Ended::Done);
            }
        }
    }
}

impl<T> Walk<'_, T>
where
    T: FnMut(&mut Session<'_>, v1::AccessRecord) -> Result<ControlFlow<()>, Failure>,
{
    fn taken(&mut self, session: &mut Session<'_>, records: Vec<v1::AccessRecord>) -> Result<ControlFlow<()>, Failure> {
        for record in records {
            self.expect(record.leaf)?;
            self.next = Some(record.leaf + 1);
            if (self.take)(session, record)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// INVARIANT: no leaf is taken twice nor out of order, whatever the node sends.
    fn expect(&self, leaf: u64) -> Result<(), Failure> {
        let next = self.next.unwrap_or_default();
        if leaf >= next && leaf < u64::MAX {
            return Ok(());
        }
        let message =
            format!("access log: the node sent leaf {leaf} after leaf {} and all before it", next.saturating_sub(1));
        Err(Failure::new(Exit::VerificationFailed, message).next("comity audit verify"))
    }
}
