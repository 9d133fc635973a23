//! `comity approve`: the second pair of eyes.

use clap::Subcommand;
use comity_core::list::Command;
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::connection::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, clean, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::signing::ToSign;
use crate::{signing, when, wire};

/// The verbs of `comity approve`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ApproveCommand {
    /// List what waits for a second person
    List {
        /// Decided ones too
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
        limit: u32,
    },
    /// Show all that an approver needs to see
    Show {
        /// The approval, as A-7K3M9QXT
        id: String,
    },
    /// Approve, and carry it out
    ///
    /// Not by its author, whatever role they come in. Where the member requires personal signatures, what is to be signed is
    /// shown, and the context's signing key signs it.
    #[command(after_long_help = "Examples:\n  comity approve show A-7K3M9QXT\n  comity approve yes A-7K3M9QXT")]
    Yes {
        /// The approval, as A-7K3M9QXT
        id: String,
        /// Do not ask before signing
        #[arg(long)]
        yes: bool,
    },
    /// Add the author's own signature, where the member requires personal signatures
    ///
    /// Whoever asks with a signing key in the context has signed already.
    #[command(after_long_help = "Examples:\n  comity approve sign A-7K3M9QXT")]
    Sign {
        /// The approval, as A-7K3M9QXT
        id: String,
        /// Do not ask before signing
        #[arg(long)]
        yes: bool,
    },
    /// Refuse
    No {
        /// The approval, as A-7K3M9QXT
        id: String,
        /// Why not: for the author and the access log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

pub(crate) async fn run(command: ApproveCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        ApproveCommand::List { all, limit } => list(session, all, limit as usize).await,
        ApproveCommand::Show { id } => {
            let node = session.node().await?;
            let approval = get(&node, &id).await?;
            show(session, &node, approval)
        }
        ApproveCommand::Yes { id, yes } => approve(session, id, yes).await,
        ApproveCommand::Sign { id, yes } => sign(session, &id, yes).await,
        ApproveCommand::No { id, reason } => {
            let node = session.node().await?;
            let request = v1::DecideApprovalRequest { id, approve: false, reason, signature: None };
            decide(session, &node, request).await
        }
    }
}

/// Tells that something now waits for another person, and what that person runs. Where the member requires personal
/// signatures, signs what waits if it says what was asked.
pub(crate) async fn deferred(
    session: &mut Session<'_>,
    node: &Node,
    approval: v1::Approval,
    is_asked: impl Fn(&Command) -> bool,
) -> Result<(), Failure> {
    let approval = match (&approval.to_sign, node.signing_key()) {
        (Some(to_sign), Some(key)) => {
            let waiting = signing::read(node, to_sign, approval.tabled.as_ref())?;
            if !is_asked(&waiting.command) {
                let message = format!(
                    "approval {}: the node asks to sign something else than what was asked: {}; nothing was signed",
                    approval.id,
                    waiting.in_words()
                );
                let next = format!("comity approve no {} --reason TEXT", approval.id);
                return Err(Failure::new(Exit::VerificationFailed, message).next(next));
            }
            waiting.ensure_text()?;
            let key = signing::load(key)?;
            ask_to_sign(session, &waiting, &key, false)?;
            add_signature(node, &approval.id, signing::sign(&waiting.command, &key)).await?
        }
        (Some(_), None) => {
            session.output.note(&format!(
                "this member requires personal signatures, and the context names no signing key\nnext:  comity approve sign {} \
                 with a context that names yours (comity context add ... --signing-key FILE)",
                clean(&approval.id)
            ));
            approval
        }
        (None, _) => approval,
    };
    waits(session, approval)
}

fn waits(session: &mut Session<'_>, approval: v1::Approval) -> Result<(), Failure> {
    let view = ApprovalView::from(approval);
    let waits = format!("waits for approval {0}: another person runs  comity approve yes {0}", clean(&view.id));
    session.output.show(&view, |_| format!("{}\n{waits}", clean(&view.summary)))?;
    if session.output.format() != crate::output::Format::Table {
        session.output.note(&waits);
    }
    Ok(())
}

async fn get(node: &Node, id: &str) -> Result<v1::Approval, Failure> {
    let asked = Asked::about(format!("approval {id}"), "comity approve list --all");
    let request = v1::GetApprovalRequest { id: id.to_owned() };
    Ok(node.approvals().get_approval(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

fn show(session: &mut Session<'_>, node: &Node, approval: v1::Approval) -> Result<(), Failure> {
    let to_sign = match &approval.to_sign {
        Some(to_sign) => Some(signing::read(node, to_sign, approval.tabled.as_ref())?),
        None => None,
    };
    let (created, expires) = (when::local(approval.create_time.as_ref()), when::local(approval.expire_time.as_ref()));
    let decided = when::local(approval.decide_time.as_ref());
    let view = ApprovalView::from(approval);
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("{}  {}", view.id, view.summary));
        page.field("kind", &view.kind);
        page.field("state", &view.state);
        page.field("about", &view.resource);
        page.field("author", &view.author);
        page.field("asked", created);
        page.field("expires", expires);
        page.field("decided by", &view.decided_by);
        page.field("decided", decided);
        page.field("outcome", &view.outcome);
        if view.signatures_needed > 0 {
            let who = if view.signed_by.is_empty() { "nobody yet".to_owned() } else { view.signed_by.join(", ") };
            page.field("signatures", format!("{} of {}: {who}", view.signed_by.len(), view.signatures_needed));
        }
        if let Some(details) = &view.details {
            page.heading("Details");
            page.json(details);
        }
        if let (Some(to_sign), Some(command)) = (&to_sign, &view.command) {
            page.heading("To be signed");
            page.json(command);
            if let Some(tabled) = &to_sign.tabled {
                page.heading("What its ballot decides, checked against the id");
                tabled.show(&mut page);
            }
        }
        page.finish()
    })?;
    if view.state == "pending" {
        session
            .output
            .note(&format!("next:  comity approve yes {0}, or  comity approve no {0} --reason TEXT", view.id));
    }
    Ok(())
}

async fn list(session: &mut Session<'_>, all: bool, limit: usize) -> Result<(), Failure> {
    let client = session.node().await?.approvals();
    let asked = Asked::about("approvals", "comity node status");
    let (approvals, more) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked) = (client.clone(), asked.clone());
        async move {
            let request = v1::ListApprovalsRequest { page_size, page_token, all };
            let page = client.list_approvals(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.approvals, page.next_page_token))
        }
    })
    .await?;
    let expires: Vec<String> = approvals.iter().map(|a| when::local(a.expire_time.as_ref())).collect();
    let view = ApprovalsView { approvals: approvals.into_iter().map(ApprovalView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.approvals.iter().zip(expires).map(|(a, expires)| {
            vec![a.id.clone(), a.state.clone(), a.kind.clone(), wire::short_id(&a.author), expires, a.summary.clone()]
        });
        table(style, &["ID", "STATE", "KIND", "AUTHOR", "EXPIRES", "WHAT"], rows.collect())
    })?;
    if more {
        session.output.note(&format!("there are more than {limit}: ask for more with --limit"));
    }
    Ok(())
}

async fn approve(session: &mut Session<'_>, id: String, yes: bool) -> Result<(), Failure> {
    let node = session.node().await?;
    let approval = get(&node, &id).await?;
    let signature = match &approval.to_sign {
        Some(to_sign) => Some(signed(session, &node, to_sign, approval.tabled.as_ref(), yes)?),
        None => None,
    };
    let request = v1::DecideApprovalRequest { id, approve: true, reason: String::new(), signature };
    decide(session, &node, request).await
}

async fn sign(session: &mut Session<'_>, id: &str, yes: bool) -> Result<(), Failure> {
    let node = session.node().await?;
    let approval = get(&node, id).await?;
    let Some(to_sign) = &approval.to_sign else {
        let message = format!("approval {id}: there is nothing to sign");
        return Err(Failure::new(Exit::Conflict, message).next(format!("comity approve show {id}")));
    };
    let signature = signed(session, &node, to_sign, approval.tabled.as_ref(), yes)?;
    let approval = add_signature(&node, id, signature).await?;
    waits(session, approval)
}

/// Shows what is to be signed, asks whoever can be asked, and signs it.
fn signed(
    session: &mut Session<'_>,
    node: &Node,
    to_sign: &v1::SignedCommand,
    tabled: Option<&v1::Tabled>,
    yes: bool,
) -> Result<v1::PersonalSignature, Failure> {
    let waiting = signing::read(node, to_sign, tabled)?;
    let path = node.signing_key().ok_or_else(|| {
        Failure::error("this member requires personal signatures, and the context names no signing key")
            .next("comity context add NAME ... --signing-key FILE; comity pki person makes one")
    })?;
    waiting.ensure_text()?;
    let key = signing::load(path)?;
    ask_to_sign(session, &waiting, &key, yes)?;
    Ok(signing::sign(&waiting.command, &key))
}

/// Shows what is to be signed, checked against its own bytes, and asks whoever can be asked.
fn ask_to_sign(session: &mut Session<'_>, waiting: &ToSign, key: &SigningKeyFile, yes: bool) -> Result<(), Failure> {
    let (words, id) = (waiting.in_words(), signing::key_id(key));
    if !session.output.can_ask() {
        session.output.note(&format!("signing with key {id}: {words}"));
        return Ok(());
    }
    if let Some(tabled) = &waiting.tabled {
        let mut page = Page::new(&session.output.style());
        tabled.show(&mut page);
        session.output.note(&page.finish());
    }
    session.confirm(&format!("your key {id} will sign: {words}"), "sign", yes)
}

async fn add_signature(node: &Node, id: &str, signature: v1::PersonalSignature) -> Result<v1::Approval, Failure> {
    let asked = Asked::about(format!("approval {id}"), format!("comity approve show {id}"));
    let request = v1::SignApprovalRequest { id: id.to_owned(), signature: Some(signature) };
    Ok(node.approvals().sign_approval(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

async fn decide(session: &mut Session<'_>, node: &Node, request: v1::DecideApprovalRequest) -> Result<(), Failure> {
    let id = &request.id;
    let asked = Asked::about(format!("approval {id}"), format!("comity approve show {id}"));
    let approval = node.approvals().decide_approval(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let state = approval.state();
    let view = ApprovalView::from(approval);
    session.output.show(&view, |_| {
        let outcome = if view.outcome.is_empty() { String::new() } else { format!("\n{}", clean(&view.outcome)) };
        format!("{}  {}: {}{outcome}", clean(&view.id), view.state, clean(&view.summary))
    })?;
    if state == v1::ApprovalState::Failed {
        let message = format!("approval {}: approved, and not carried out: {}", view.id, view.outcome);
        return Err(Failure::new(Exit::Error, message).next(format!("comity approve show {}", view.id)));
    }
    Ok(())
}

/// An approval as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct ApprovalView {
    id: String,
    kind: String,
    state: String,
    author: String,
    summary: String,
    resource: String,
    create_time: Option<String>,
    expire_time: Option<String>,
    decided_by: String,
    decide_time: Option<String>,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    /// What people sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Value>,
    signatures_needed: i32,
    signed_by: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ApprovalsView {
    approvals: Vec<ApprovalView>,
}

impl From<v1::Approval> for ApprovalView {
    fn from(approval: v1::Approval) -> Self {
        let state = wire::lower(approval.state().as_str_name(), "APPROVAL_STATE");
        Self {
            state,
            create_time: when::rfc3339(approval.create_time.as_ref()),
            expire_time: when::rfc3339(approval.expire_time.as_ref()),
            decide_time: when::rfc3339(approval.decide_time.as_ref()),
            details: wire::embedded(&approval.details),
            command: approval.to_sign.and_then(|to_sign| wire::embedded(&to_sign.payload)),
            signatures_needed: approval.signatures_needed,
            signed_by: approval.signed_by,
            id: approval.id,
            kind: approval.kind,
            author: approval.author,
            summary: approval.summary,
            resource: approval.resource,
            decided_by: approval.decided_by,
            outcome: approval.outcome,
        }
    }
}
