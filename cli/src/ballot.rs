//! `comity ballot`: the coalition's decisions, and this member's vote on them.

use clap::{Subcommand, ValueEnum};
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::connection::Node;
use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::{approve, documents, when, wire};

/// The verbs of `comity ballot`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum BallotCommand {
    /// List ballots, newest first
    List {
        /// Only those that are open
        #[arg(long)]
        open: bool,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
        limit: u32,
    },
    /// Show a ballot: what was tabled, and who voted how
    Show {
        /// Its id, or the first digits of it
        ballot: String,
    },
    /// Ask that this member vote; another person approves
    #[command(
        after_long_help = "Examples:\n  comity ballot vote 3f9a01 yes\n  comity ballot vote 3f9a01 no --reason 'the second alias is another man'\n  comity ballot vote 3f9a01 yes --correct"
    )]
    Vote {
        /// Its id, or the first digits of it
        ballot: String,
        /// How
        #[arg(value_enum)]
        choice: Choice,
        /// Why: all members see it
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
        /// Correct this member's standing vote
        #[arg(long)]
        correct: bool,
    },
}

/// How a member votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// Consent
    Yes,
    /// Dissent
    No,
    /// Neither
    Abstain,
}

pub(crate) async fn run(command: BallotCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        BallotCommand::List { open, limit } => list(session, open, limit as usize).await,
        BallotCommand::Show { ballot } => {
            let ballot = get(&session.node().await?, &ballot).await?;
            let view = BallotView::from(ballot.clone());
            session.output.show(&view, |style| page(style, &view, &ballot))
        }
        BallotCommand::Vote { ballot, choice, reason, correct } => {
            let node = session.node().await?;
            let id = get(&node, &ballot).await?.id;
            let asked = Asked::about(
                format!("ballot {}", wire::digits(&id)),
                format!("comity ballot show {}", wire::digits(&id)),
            );
            let choice = match choice {
                Choice::Yes => v1::Choice::Yes,
                Choice::No => v1::Choice::No,
                Choice::Abstain => v1::Choice::Abstain,
            };
            let request = v1::CastVoteRequest { ballot: id, choice: choice.into(), reason, correct };
            let approval = node.ballots().cast_vote(request).await.map_err(|s| asked.refused(s))?.into_inner();
            approve::deferred(session, approval)
        }
    }
}

async fn get(node: &Node, id: &str) -> Result<v1::Ballot, Failure> {
    let asked = Asked::about(format!("ballot {id}"), "comity ballot list");
    let request = v1::GetBallotRequest { id: id.to_owned() };
    Ok(node.ballots().get_ballot(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

fn page(style: &Style, view: &BallotView, ballot: &v1::Ballot) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("Ballot {}", view.id));
    page.field("state", &view.state);
    page.field("entry", &view.entry);
    page.field("proposal", &view.proposal);
    page.field("proposer", &view.proposer);
    page.field("tabled", when::local(ballot.table_time.as_ref()));
    let yes = view.votes.iter().filter(|v| v.choice == "yes").count();
    page.field("rule", format!("{}: {} yes of {} adopt; {yes} so far", view.rule, view.needed, view.electorate.len()));
    page.fields(
        "votes",
        view.votes.iter().map(|vote| {
            let reason = if vote.reason.is_empty() { String::new() } else { format!("  {}", vote.reason) };
            format!("{:8}  {}{reason}", vote.member, vote.choice)
        }),
    );
    let silent = view.electorate.iter().filter(|m| !view.votes.iter().any(|v| v.member == **m));
    page.field("not yet", silent.cloned().collect::<Vec<_>>().join(", "));
    if !ballot.public_part.is_empty() {
        match comity_core::canonical::from_slice(&ballot.public_part) {
            Ok(part) => documents::public_part(&mut page, &part),
            Err(_) => documents::unknown(&mut page, "Public part", &ballot.public_part),
        }
    }
    page.finish()
}

async fn list(session: &mut Session<'_>, open_only: bool, limit: usize) -> Result<(), Failure> {
    let client = session.node().await?.ballots();
    let asked = Asked::about("ballots", "comity node status");
    let (ballots, more) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked) = (client.clone(), asked.clone());
        async move {
            let request = v1::ListBallotsRequest { page_size, page_token, open_only };
            let page = client.list_ballots(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.ballots, page.next_page_token))
        }
    })
    .await?;
    let tabled: Vec<String> = ballots.iter().map(|b| when::local(b.table_time.as_ref())).collect();
    let view = BallotsView { ballots: ballots.into_iter().map(BallotView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.ballots.iter().zip(tabled).map(|(b, tabled)| {
            let yes = b.votes.iter().filter(|v| v.choice == "yes").count();
            let count = format!("{yes}/{}", b.needed);
            vec![
                wire::digits(&b.id),
                b.state.clone(),
                count,
                b.proposer.clone(),
                b.entry.clone(),
                tabled,
                b.subject.clone(),
            ]
        });
        table(style, &["BALLOT", "STATE", "YES", "PROPOSER", "ENTRY", "TABLED", "SUBJECT"], rows.collect())
    })?;
    if more {
        session.output.note(&format!("there are more than {limit}: ask for more with --limit"));
    }
    Ok(())
}

/// A ballot as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct BallotView {
    id: String,
    proposal: String,
    proposer: String,
    state: String,
    entry: String,
    rule: String,
    needed: i32,
    electorate: Vec<String>,
    votes: Vec<VoteView>,
    table_time: Option<String>,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_part: Option<Value>,
}

#[derive(Debug, Clone, Serialize)]
struct VoteView {
    member: String,
    choice: String,
    reason: String,
    command_id: String,
}

#[derive(Debug, Clone, Serialize)]
struct BallotsView {
    ballots: Vec<BallotView>,
}

impl From<v1::Ballot> for BallotView {
    fn from(ballot: v1::Ballot) -> Self {
        let state = wire::lower(ballot.state().as_str_name(), "BALLOT_STATE");
        let votes = ballot.votes.into_iter().map(|vote| VoteView {
            choice: wire::lower(vote.choice().as_str_name(), "CHOICE"),
            member: vote.member,
            reason: vote.reason,
            command_id: vote.command_id,
        });
        Self {
            state,
            votes: votes.collect(),
            table_time: when::rfc3339(ballot.table_time.as_ref()),
            public_part: wire::embedded(&ballot.public_part),
            id: ballot.id,
            proposal: ballot.proposal,
            proposer: ballot.proposer,
            entry: ballot.entry,
            rule: ballot.rule,
            needed: ballot.needed,
            electorate: ballot.electorate,
            subject: ballot.subject,
        }
    }
}
