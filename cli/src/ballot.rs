//! `comity ballot`: the coalition's decisions, and what this member says to them.

mod next;
mod show;
mod view;

use clap::{Subcommand, ValueEnum};
use comity_core::MemberId;
use comity_core::list::{self, Command};
use comity_proto::v1;

use self::view::{BallotView, BallotsView};
use crate::connection::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::table;
use crate::refusal::Asked;
use crate::session::Session;
use crate::tabled::Tabled;
use crate::{approve, signing, when, wire};

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
    /// Show a ballot: what was tabled, what stands where, and what happens next and when
    #[command(
        after_long_help = "Examples:\n  comity ballot show 3f9a01\n  comity ballot show 3f9a01 -o json | jq .next"
    )]
    Show {
        /// Its id, or the first digits of it
        ballot: String,
    },
    /// Ask that this member vote; another person approves
    ///
    /// Where silence decides, a no is an objection, which ends the ballot.
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
        /// Do not ask before a no that ends the ballot
        #[arg(long)]
        yes: bool,
    },
    /// Say that a person of this member has taken notice of a ballot
    ///
    /// Done at once: it decides nothing. Where silence decides, a member that does not acknowledge in time is absent, and is not
    /// counted.
    #[command(after_long_help = "Examples:\n  comity ballot acknowledge 3f9a01")]
    Acknowledge {
        /// Its id, or the first digits of it
        ballot: String,
    },
    /// Ask that this member stop silence for a time; another person approves
    ///
    /// A member places one hold on a ballot. It ends when it is lifted or lapses; an objection ends the ballot.
    #[command(
        after_long_help = "Examples:\n  comity ballot hold 3f9a01 --reason 'the passport number is being checked'"
    )]
    Hold {
        /// Its id, or the first digits of it
        ballot: String,
        /// Why: the other members see it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Ask that this member consent to the extension of another's hold; another person approves
    ///
    /// A hold is extended once, when more than half of the other members have consented.
    #[command(after_long_help = "Examples:\n  comity ballot extend-hold 3f9a01 --holder DE")]
    ExtendHold {
        /// Its id, or the first digits of it
        ballot: String,
        /// Whose hold
        #[arg(long, value_name = "CODE")]
        holder: MemberId,
    },
    /// Ask that this member lift its hold; another person approves
    #[command(after_long_help = "Examples:\n  comity ballot lift 3f9a01")]
    Lift {
        /// Its id, or the first digits of it
        ballot: String,
    },
    /// Ask that this member object, which ends the ballot; another person approves
    #[command(
        after_long_help = "Examples:\n  comity ballot object 3f9a01 --reason 'the statement of case names the wrong unit'"
    )]
    Object {
        /// Its id, or the first digits of it
        ballot: String,
        /// Why: the other members see it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Ask that this member take its motion back; another person approves
    #[command(after_long_help = "Examples:\n  comity ballot withdraw 3f9a01")]
    Withdraw {
        /// Its id, or the first digits of it
        ballot: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
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

impl Choice {
    fn to_core(self) -> list::Choice {
        match self {
            Self::Yes => list::Choice::Yes,
            Self::No => list::Choice::No,
            Self::Abstain => list::Choice::Abstain,
        }
    }

    fn to_proto(self) -> v1::Choice {
        match self {
            Self::Yes => v1::Choice::Yes,
            Self::No => v1::Choice::No,
            Self::Abstain => v1::Choice::Abstain,
        }
    }
}

pub(crate) async fn run(command: BallotCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        BallotCommand::List { open, limit } => list(session, open, limit as usize).await,
        BallotCommand::Show { ballot } => {
            let node = session.node().await?;
            let ballot = get(&node, &ballot).await?;
            show(session, &node, &ballot)
        }
        BallotCommand::Vote { ballot, choice, reason, correct, yes } => {
            let (node, id, asked) = found(session, &ballot).await?;
            if choice == Choice::No && get(&node, &id).await?.silence.is_some() {
                let digits = wire::digits(&id);
                let what =
                    format!("silence decides ballot {digits}: a no objects to it and ends it, which cannot be undone");
                session.confirm(&what, &digits, yes)?;
            }
            let said = (!reason.is_empty()).then(|| reason.clone());
            let request = v1::CastVoteRequest { ballot: id.clone(), choice: choice.to_proto().into(), reason, correct };
            let approval = node.ballots().cast_vote(request).await.map_err(|s| asked.refused(s))?.into_inner();
            let is_asked = |command: &Command| match command {
                Command::Vote(vote) => {
                    vote.choice == choice.to_core() && vote.reason == said && (correct || vote.replaces.is_none())
                }
                _ => false,
            };
            approve::deferred(session, &node, approval, |c| is_about(c, &id) && is_asked(c)).await
        }
        BallotCommand::Acknowledge { ballot } => acknowledge(session, &ballot).await,
        BallotCommand::Hold { ballot, reason } => {
            let (node, id, asked) = found(session, &ballot).await?;
            let request = v1::PlaceHoldRequest { ballot: id.clone(), reason: reason.clone() };
            let approval = node.ballots().place_hold(request).await.map_err(|s| asked.refused(s))?.into_inner();
            let is_asked = |c: &Command| matches!(c, Command::Hold(hold) if hold.reason == reason);
            approve::deferred(session, &node, approval, |c| is_about(c, &id) && is_asked(c)).await
        }
        BallotCommand::ExtendHold { ballot, holder } => {
            let (node, id, asked) = found(session, &ballot).await?;
            let request = v1::ExtendHoldRequest { ballot: id.clone(), holder: holder.to_string() };
            let approval = node.ballots().extend_hold(request).await.map_err(|s| asked.refused(s))?.into_inner();
            let is_asked = |c: &Command| matches!(c, Command::ExtendHold(extend) if extend.holder == holder);
            approve::deferred(session, &node, approval, |c| is_about(c, &id) && is_asked(c)).await
        }
        BallotCommand::Lift { ballot } => {
            let (node, id, asked) = found(session, &ballot).await?;
            let request = v1::LiftHoldRequest { ballot: id.clone() };
            let approval = node.ballots().lift_hold(request).await.map_err(|s| asked.refused(s))?.into_inner();
            let is_asked = |c: &Command| matches!(c, Command::LiftHold(_));
            approve::deferred(session, &node, approval, |c| is_about(c, &id) && is_asked(c)).await
        }
        BallotCommand::Object { ballot, reason, yes } => {
            let (node, id, asked) = found(session, &ballot).await?;
            let digits = wire::digits(&id);
            session.confirm(&format!("an objection ends ballot {digits}, which cannot be undone"), &digits, yes)?;
            let request = v1::ObjectRequest { ballot: id.clone(), reason: reason.clone() };
            let approval = node.ballots().object(request).await.map_err(|s| asked.refused(s))?.into_inner();
            let is_asked = |c: &Command| matches!(c, Command::Object(object) if object.reason == reason);
            approve::deferred(session, &node, approval, |c| is_about(c, &id) && is_asked(c)).await
        }
        BallotCommand::Withdraw { ballot, yes } => {
            let (node, id, asked) = found(session, &ballot).await?;
            let digits = wire::digits(&id);
            session.confirm(&format!("ballot {digits} will be withdrawn, which cannot be undone"), &digits, yes)?;
            let request = v1::WithdrawBallotRequest { ballot: id.clone() };
            let approval = node.ballots().withdraw_ballot(request).await.map_err(|s| asked.refused(s))?.into_inner();
            let is_asked = |c: &Command| matches!(c, Command::Withdraw(_));
            approve::deferred(session, &node, approval, |c| is_about(c, &id) && is_asked(c)).await
        }
    }
}

fn is_about(command: &Command, ballot: &str) -> bool {
    command.ballot().is_some_and(|id| id.to_string() == ballot)
}

/// The node, the whole id of a ballot, and the words for a refusal.
async fn found(session: &Session<'_>, ballot: &str) -> Result<(Node, String, Asked), Failure> {
    let node = session.node().await?;
    let id = get(&node, ballot).await?.id;
    if !id.starts_with(&ballot.to_ascii_lowercase()) {
        let message = format!("ballot {ballot} was asked for, the node answers with {id}; nothing was done");
        return Err(Failure::new(Exit::VerificationFailed, message).next("comity ballot list"));
    }
    let digits = wire::digits(&id);
    Ok((node, id, Asked::about(format!("ballot {digits}"), format!("comity ballot show {digits}"))))
}

async fn get(node: &Node, id: &str) -> Result<v1::Ballot, Failure> {
    let asked = Asked::about(format!("ballot {id}"), "comity ballot list");
    let request = v1::GetBallotRequest { id: id.to_owned() };
    Ok(node.ballots().get_ballot(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

/// Shows a ballot; what it decides and its text are those that its id stands for.
fn show(session: &mut Session<'_>, node: &Node, ballot: &v1::Ballot) -> Result<(), Failure> {
    let tabled = Tabled::read(node, id_of(ballot)?, ballot.tabled.as_ref())?;
    if !tabled.is_told_by(ballot) {
        let message = format!("ballot {}: the node says another thing of it than its id stands for", ballot.id);
        return Err(Failure::new(Exit::VerificationFailed, message).next("comity node status"));
    }
    let view = BallotView::from(ballot.clone());
    session.output.show(&view, |style| show::page(style, &view, ballot, &tabled))
}

fn id_of(ballot: &v1::Ballot) -> Result<list::BallotId, Failure> {
    ballot.id.parse().map_err(|_| {
        Failure::new(Exit::VerificationFailed, format!("the node calls a ballot `{}`, which is no id", ballot.id))
            .next("comity ballot list")
    })
}

async fn acknowledge(session: &mut Session<'_>, ballot: &str) -> Result<(), Failure> {
    let (node, id, asked) = found(session, ballot).await?;
    let mut request = v1::AcknowledgeBallotRequest { ballot: id.clone(), ..Default::default() };
    let mut answer = node.ballots().acknowledge_ballot(request.clone()).await.map_err(|s| asked.refused(s));
    // Only the node knows whether the member requires personal signatures; the same command is then handed in signed.
    if let (Err(failure), Some(path)) = (&answer, node.signing_key())
        && failure.reason() == Some("SIGNATURE_MISSING")
    {
        let key = signing::load(path)?;
        let shown = get(&node, &id).await?;
        let ballot = id_of(&shown)?;
        if ballot.to_string() != id {
            let message = format!("ballot {id} was asked for, the node answers with {ballot}; nothing was signed");
            return Err(Failure::new(Exit::VerificationFailed, message).next("comity ballot list"));
        }
        let tabled = Tabled::read(&node, ballot, shown.tabled.as_ref())?;
        tabled.ensure_text(ballot)?;
        session.output.note(&format!("signing with key {}: notice of {}", signing::key_id(&key), tabled.in_words()));
        let command_id = signing::command_id()?;
        let (federation, member) = (node.genesis().federation(), node.member());
        let command = Command::Acknowledge(list::Acknowledge { federation, command_id, member, ballot });
        request.command_id = command_id.to_string();
        request.signature = Some(signing::sign(&command, &key));
        answer = node.ballots().acknowledge_ballot(request).await.map_err(|s| asked.refused(s));
    }
    show(session, &node, &answer?.into_inner())
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
    let times: Vec<(String, String)> =
        ballots.iter().map(|b| (when::minute(b.due_time.as_ref()), when::minute(b.table_time.as_ref()))).collect();
    let view = BallotsView { ballots: ballots.into_iter().map(BallotView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.ballots.iter().zip(times).map(|(b, (due, tabled))| {
            let what = if b.subject.is_empty() { b.motion.clone() } else { b.subject.clone() };
            let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            vec![
                wire::digits(&b.id),
                b.kind.clone(),
                b.state.clone(),
                b.standing(),
                or_dash(due),
                b.proposer.clone(),
                or_dash(b.entry.clone()),
                tabled,
                what,
            ]
        });
        let headings = ["BALLOT", "KIND", "STATE", "STANDS", "DUE", "PROPOSER", "ENTRY", "TABLED", "WHAT"];
        table(style, &headings, rows.collect())
    })?;
    if more {
        session.output.note(&format!("there are more than {limit}: ask for more with --limit"));
    }
    Ok(())
}
