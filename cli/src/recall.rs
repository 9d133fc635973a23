//! `comity recall`: asking for a record back from everybody who ever received it, and answering those who ask.

use clap::Subcommand;
use comity_core::RecordId;
use comity_proto::v1;
use serde::Serialize;

use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::records::asked;
use crate::refusal::Asked;
use crate::session::Session;
use crate::{approve, when};

/// The verbs of `comity recall`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RecallCommand {
    /// Ask that a record be recalled from everybody who ever received it; another person approves
    ///
    /// From then on nobody is given it, and each node that ever received any version destroys it and answers with its signature,
    /// suspended and expelled members' too. The reason stays with this member.
    #[command(
        after_long_help = "Examples:\n  comity recall start FR-E-8K3M9QXT2V4N6R7W --reason 'a source is at risk'"
    )]
    Start {
        /// The record
        record: RecordId,
        /// Why; for this member's own people
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show who destroyed it, who retains it, who cannot be reached
    #[command(after_long_help = "Examples:\n  comity recall status FR-E-8K3M9QXT2V4N6R7W")]
    Status {
        /// The record, or the recall
        id: RecordId,
    },
    /// List recalls that this member made, and those that reached it
    List,
    /// Ask that a copy be retained against its recall, such as by an order of a court; another person approves
    #[command(
        after_long_help = "Examples:\n  comity recall retain FR-E-8K3M9QXT2V4N6R7W --because 'order of the district court, 12 O 34/26'"
    )]
    Retain {
        /// The partner's record
        record: RecordId,
        /// Why; goes into the answer to its originator
        #[arg(long, value_name = "TEXT")]
        because: String,
    },
    /// Ask that a retained copy be given up again; another person approves
    GiveUp {
        /// The partner's record
        record: RecordId,
    },
    /// Ask that a recall be answered: it cannot be complied with, since something is out of this member's hands
    CannotComply {
        /// The recall that reached this member
        recall: RecordId,
        /// Why; goes into the answer to its originator
        #[arg(long, value_name = "TEXT")]
        because: String,
    },
}

pub(crate) async fn run(command: RecallCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    let approval = match command {
        RecallCommand::Status { id } => return status(session, id).await,
        RecallCommand::List => return list(session).await,
        RecallCommand::Start { record, reason, yes } => {
            session.confirm(
                &format!("{record} will be taken back from everybody who ever received it, which cannot be undone"),
                &record.to_string(),
                yes,
            )?;
            let request = v1::StartRecallRequest { record: record.to_string(), reason };
            let node = session.node().await?;
            node.recalls().start_recall(request).await.map_err(|s| asked(record).refused(s))?
        }
        RecallCommand::Retain { record, because } => {
            let request = v1::HoldCopyRequest { record: record.to_string(), because };
            session.node().await?.recalls().hold_copy(request).await.map_err(|s| asked(record).refused(s))?
        }
        RecallCommand::GiveUp { record } => {
            let request = v1::HoldCopyRequest { record: record.to_string(), because: String::new() };
            session.node().await?.recalls().hold_copy(request).await.map_err(|s| asked(record).refused(s))?
        }
        RecallCommand::CannotComply { recall, because } => {
            let request = v1::AnswerCannotComplyRequest { recall: recall.to_string(), because };
            let asked = Asked::about(format!("recall {recall}"), "comity recall list");
            session.node().await?.recalls().answer_cannot_comply(request).await.map_err(|s| asked.refused(s))?
        }
    };
    let node = session.node().await?;
    approve::deferred(session, &node, approval.into_inner(), |_| false).await
}

async fn status(session: &mut Session<'_>, id: RecordId) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about(format!("recall {id}"), "comity recall list");
    let request = v1::GetRecallRequest { id: id.to_string() };
    let recall = node.recalls().get_recall(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let started = when::local(recall.start_time.as_ref());
    let answered: Vec<String> = recall.parties.iter().map(|party| when::local(party.answer_time.as_ref())).collect();
    let view = RecallView::from(recall);
    session.output.show(&view, |style| page(style, &view, &started, &answered))
}

fn page(style: &Style, view: &RecallView, started: &str, answered: &[String]) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("Recall of {}", view.record));
    page.field("recall", &view.id);
    page.field("since", started);
    page.field("author", &view.author);
    page.field("reason", &view.reason);
    let mut text = page.finish();
    let rows = view.parties.iter().zip(answered).map(|(party, answered)| {
        let backups = match party.standing.as_str() {
            "destroyed" | "retained" | "cannot_comply" if party.backup_days > 0 => format!("{} d", party.backup_days),
            _ => "-".to_owned(),
        };
        let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        vec![party.party.clone(), party.standing.replace('_', " "), or_none(answered), backups, or_none(&party.because)]
    });
    text.push('\n');
    text.push_str(&table(style, &["PARTY", "ANSWER", "WHEN", "IN BACKUPS", "BECAUSE"], rows.collect()));
    text
}

async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("recalls", "comity node status");
    let found = node.recalls().list_recalls(v1::ListRecallsRequest {}).await.map_err(|s| asked.refused(s))?;
    let found = found.into_inner();
    let since: Vec<String> = found.made.iter().map(|recall| when::local(recall.start_time.as_ref())).collect();
    let came: Vec<String> = found.received.iter().map(|recall| when::local(recall.receive_time.as_ref())).collect();
    let view = RecallsView {
        made: found.made.into_iter().map(RecallView::from).collect(),
        received: found.received.into_iter().map(ReceivedView::from).collect(),
    };
    session.output.show(&view, |style| {
        let made = view.made.iter().zip(since).map(|(recall, since)| {
            let answered = recall.parties.iter().filter(|party| is_answer(&party.standing)).count();
            let answers = format!("{answered} of {} answered", recall.parties.len());
            vec![recall.id.clone(), "made".to_owned(), recall.record.clone(), since, answers]
        });
        let received = view.received.iter().zip(came).map(|(recall, came)| {
            let told = if recall.deliver_time.is_some() { "" } else { ", not delivered yet" };
            let answer = format!("{}{told}", recall.answer.replace('_', " "));
            vec![recall.id.clone(), format!("by {}", recall.originator), recall.record.clone(), came, answer]
        });
        table(style, &["RECALL", "WHOSE", "RECORD", "SINCE", "ANSWER"], made.chain(received).collect())
    })
}

fn is_answer(standing: &str) -> bool {
    matches!(standing, "destroyed" | "retained" | "cannot_comply")
}

#[derive(Debug, Clone, Serialize)]
struct RecallsView {
    made: Vec<RecallView>,
    received: Vec<ReceivedView>,
}

/// A recall as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct RecallView {
    id: String,
    record: String,
    reason: String,
    author: String,
    start_time: Option<String>,
    parties: Vec<PartyView>,
}

#[derive(Debug, Clone, Serialize)]
struct PartyView {
    party: String,
    standing: String,
    because: String,
    backup_days: u32,
    answer_time: Option<String>,
    /// The DSSE envelope that the party's node signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Serialize)]
struct ReceivedView {
    id: String,
    record: String,
    originator: String,
    receive_time: Option<String>,
    answer: String,
    deliver_time: Option<String>,
}

impl From<v1::Recall> for RecallView {
    fn from(recall: v1::Recall) -> Self {
        let parties = recall.parties.into_iter().map(|party| PartyView {
            answer: crate::wire::embedded(&party.answer),
            answer_time: when::rfc3339(party.answer_time.as_ref()),
            party: party.party,
            standing: party.standing,
            because: party.because,
            backup_days: party.backup_days,
        });
        Self {
            parties: parties.collect(),
            start_time: when::rfc3339(recall.start_time.as_ref()),
            id: recall.id,
            record: recall.record,
            reason: recall.reason,
            author: recall.author,
        }
    }
}

impl From<v1::ReceivedRecall> for ReceivedView {
    fn from(recall: v1::ReceivedRecall) -> Self {
        Self {
            receive_time: when::rfc3339(recall.receive_time.as_ref()),
            deliver_time: when::rfc3339(recall.deliver_time.as_ref()),
            id: recall.id,
            record: recall.record,
            originator: recall.originator,
            answer: recall.answer,
        }
    }
}
