//! `comity release`: asking that a partner's record go further, and answering such requests.

use clap::Subcommand;
use comity_core::{MemberId, RecordId};
use comity_proto::v1;
use serde::Serialize;

use crate::failure::Failure;
use crate::page::table;
use crate::records::asked;
use crate::refusal::Asked;
use crate::session::Session;
use crate::when::Until;
use crate::{approve, when, wire};

/// The verbs of `comity release`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Ask the originator of a record that it be released to somebody else; another person approves
    ///
    /// What was received is never passed on from here: the originator's node releases it itself, if it grants that.
    #[command(
        after_long_help = "Examples:\n  comity release request FR-E-8K3M9QXT2V4N6R7W --to CA --purpose 'for its own listing' --until 90d"
    )]
    Request {
        /// The record
        record: RecordId,
        /// To whom
        #[arg(long, value_name = "PARTY")]
        to: MemberId,
        /// What for
        #[arg(long, value_name = "TEXT")]
        purpose: String,
        /// Until when; for good unless it is said: an instant, a last day, or how long from now, as 90d
        #[arg(long, value_name = "WHEN")]
        until: Option<Until>,
    },
    /// Grant a request, or release an own record onward unasked; another person approves
    ///
    /// The record then goes to that party even where its marking does not name it, as far as the policy for it allows, until
    /// the end. What is left out is what the request says.
    #[command(
        after_long_help = "Examples:\n  comity release grant DE-Q-8K3M9QXT2V4N6R7W\n  comity release grant FR-E-8K3M9QXT2V4N6R7W --to CA --purpose 'trial in Toronto' --until 2026-12-31"
    )]
    Grant {
        /// The request, or an own record
        about: RecordId,
        /// To whom
        #[arg(long, value_name = "PARTY")]
        to: Option<MemberId>,
        /// What for
        #[arg(long, value_name = "TEXT")]
        purpose: Option<String>,
        /// Until when: an instant, a last day, or how long from now, as 90d
        #[arg(long, value_name = "WHEN")]
        until: Option<Until>,
    },
    /// Refuse a request; another person approves
    Refuse {
        /// The request
        request: RecordId,
        /// Why not, for whoever asked
        #[arg(long, value_name = "TEXT")]
        because: String,
    },
    /// List requests that this member made and received, and what became of each
    List,
}

pub(crate) async fn run(command: ReleaseCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let approval = match command {
        ReleaseCommand::List => return list(session).await,
        ReleaseCommand::Request { record, to, purpose, until } => {
            let request = v1::RequestReleaseRequest {
                record: record.to_string(),
                to: to.to_string(),
                purpose,
                until: until.map(Until::to_proto),
            };
            node.releases().request_release(request).await.map_err(|s| asked(record).refused(s))?
        }
        ReleaseCommand::Grant { about, to, purpose, until } => {
            let request = v1::AnswerReleaseRequest {
                about: about.to_string(),
                grant: true,
                to: to.map(|to| to.to_string()).unwrap_or_default(),
                purpose: purpose.unwrap_or_default(),
                until: until.map(Until::to_proto),
            };
            node.releases().answer_release(request).await.map_err(|s| asked(about).refused(s))?
        }
        ReleaseCommand::Refuse { request: about, because } => {
            let request = v1::AnswerReleaseRequest {
                about: about.to_string(),
                grant: false,
                to: String::new(),
                purpose: because,
                until: None,
            };
            node.releases().answer_release(request).await.map_err(|s| asked(about).refused(s))?
        }
    };
    approve::deferred(session, &node, approval.into_inner(), |_| false).await
}

async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("onward releases", "comity node status");
    let found = node.releases().list_releases(v1::ListReleasesRequest {}).await.map_err(|s| asked.refused(s))?;
    let found = found.into_inner().releases;
    let ends: Vec<String> = found.iter().map(|release| when::local(release.until.as_ref())).collect();
    let view = ReleasesView { releases: found.into_iter().map(ReleaseView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.releases.iter().zip(ends).map(|(r, until)| {
            vec![
                if r.request.is_empty() { r.grant.clone() } else { r.request.clone() },
                r.state.clone(),
                r.record.clone(),
                r.requested_by.clone(),
                r.to.clone(),
                if until.is_empty() { "-".to_owned() } else { until },
                r.purpose.clone(),
            ]
        });
        table(style, &["ID", "STATE", "RECORD", "ASKED BY", "TO", "UNTIL", "PURPOSE"], rows.collect())
    })
}

#[derive(Debug, Clone, Serialize)]
struct ReleasesView {
    releases: Vec<ReleaseView>,
}

/// An onward release as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct ReleaseView {
    request: String,
    grant: String,
    record: String,
    requested_by: String,
    to: String,
    purpose: String,
    until: Option<String>,
    state: String,
}

impl From<v1::OnwardRelease> for ReleaseView {
    fn from(release: v1::OnwardRelease) -> Self {
        Self {
            state: wire::lower(release.state().as_str_name(), "RELEASE_STATE"),
            until: when::rfc3339(release.until.as_ref()),
            request: release.request,
            grant: release.grant,
            record: release.record,
            requested_by: release.requested_by,
            to: release.to,
            purpose: release.purpose,
        }
    }
}
