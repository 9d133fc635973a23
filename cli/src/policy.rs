//! `comity policy`: what each partner may see. The node checks and applies; this only carries.

mod people;
mod trials;

use std::io::Read as _;
use std::path::Path;

use clap::Subcommand;
use comity_core::{MemberId, RecordId};
use comity_proto::v1;
use serde::Serialize;

use crate::connection::{Node, read_bounded};
use crate::failure::Failure;
use crate::page::{Page, clean, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::{approve, when, wire};

/// What the node has of policies: one text for those who write them and for the code that checks them.
const EXAMPLE: &str = include_str!("../../node/policy/src/example.cedar");
const SCHEMA: &str = include_str!("../../node/policy/src/comity.cedarschema");
/// The most versions that are listed.
const HISTORY_MAX: usize = 10_000;
/// The largest policy that is read, in bytes.
const POLICY_MAX_BYTES: u64 = 1024 * 1024;

/// The verbs of `comity policy`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check a policy on the node without applying it
    #[command(
        after_long_help = "Examples:\n  comity policy check --example > de.cedar\n  comity policy check --schema\n  comity policy check --party DE de.cedar\n  generate-policy | comity policy check --party DE -"
    )]
    Check {
        /// The partner
        #[arg(long, value_name = "PARTY", required_unless_present_any = ["example", "schema"])]
        party: Option<MemberId>,
        /// The policy, Cedar; `-` reads stdin
        #[arg(value_name = "FILE", required_unless_present_any = ["example", "schema"])]
        file: Option<String>,
        /// Print an example policy to start from
        #[arg(long, conflicts_with_all = ["party", "file", "schema"])]
        example: bool,
        /// Print what a policy may speak of: the Cedar schema, with what each name means
        #[arg(long, conflicts_with_all = ["party", "file"])]
        schema: bool,
    },
    /// Decide cases with the policies in force, or with one partner's policy replaced: who, what, expected
    ///
    /// Ends with 8 where a case does not hold.
    #[command(
        after_long_help = "Examples:\n  comity policy test --example > cases.yaml\n  comity policy test cases.yaml\n  comity policy test cases.yaml --party DE --with de.cedar"
    )]
    Test {
        /// The cases, YAML or JSON; `-` reads stdin
        #[arg(value_name = "CASES", required_unless_present = "example")]
        cases: Option<String>,
        /// The partner whose policy is replaced for the test
        #[arg(long, value_name = "PARTY", requires = "with")]
        party: Option<MemberId>,
        /// What it is replaced by, Cedar
        #[arg(long, value_name = "FILE", requires = "party")]
        with: Option<String>,
        /// Print example cases to start from
        #[arg(long, conflicts_with_all = ["cases", "party"])]
        example: bool,
    },
    /// Explain why a partner may have as much of a record as it may: which rule, which policy, what is missing
    #[command(after_long_help = "Examples:\n  comity policy explain FR-P-8K3M9QXT2V4N6R7W --party DE")]
    Explain {
        /// The record
        record: RecordId,
        /// The partner
        #[arg(long, value_name = "PARTY")]
        party: MemberId,
    },
    /// Show what a policy would change over the whole store, without applying it
    #[command(after_long_help = "Examples:\n  comity policy simulate --party DE de.cedar")]
    Simulate {
        /// The partner
        #[arg(long, value_name = "PARTY")]
        party: MemberId,
        /// The policy, Cedar; `-` reads stdin
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Ask that a policy be applied; another person approves
    ///
    /// It must be valid. Until it is approved, and if it is refused, the old one stays.
    #[command(after_long_help = "Examples:\n  comity policy apply --party DE de.cedar")]
    Apply {
        /// The partner
        #[arg(long, value_name = "PARTY")]
        party: MemberId,
        /// The policy, Cedar; `-` reads stdin
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Show the policy in force for a partner
    Show {
        /// The partner
        #[arg(long, value_name = "PARTY")]
        party: MemberId,
        /// Which version [default: the one in force]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
        number: Option<i64>,
    },
    /// List the policies in force
    List,
    /// List every version of a policy that was ever in force: when, and by whom
    History {
        /// The partner; this member's own code for the clearances of its people
        #[arg(long, value_name = "PARTY")]
        party: MemberId,
    },
    /// Show how far this member's own people are cleared, or ask that it be changed; another person approves
    #[command(
        after_long_help = "Examples:\n  comity policy people\n  comity policy people --example > people.yaml\n  comity policy people --apply people.yaml"
    )]
    People {
        /// Ask that this file be put into force, YAML or JSON; `-` reads stdin
        #[arg(long, value_name = "FILE")]
        apply: Option<String>,
        /// Print example clearances to start from
        #[arg(long, conflicts_with = "apply")]
        example: bool,
    },
}

pub(crate) async fn run(command: PolicyCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        PolicyCommand::Check { party: Some(party), file: Some(file), .. } => {
            let text = read_policy(&file)?;
            check(session, party, text, &file).await
        }
        PolicyCommand::Check { schema: true, .. } => session.output.line(SCHEMA),
        PolicyCommand::Check { .. } => session.output.line(EXAMPLE),
        PolicyCommand::Apply { party, file } => {
            let text = read_policy(&file)?;
            let node = session.node().await?;
            let request = v1::ApplyPolicyRequest { party: party.to_string(), text };
            let asked =
                Asked::about(format!("policy for {party}"), format!("comity policy check --party {party} {file}"));
            let approval = node.policies().apply_policy(request).await.map_err(|s| asked.refused(s))?.into_inner();
            approve::deferred(session, &node, approval, |_| false).await
        }
        PolicyCommand::Test { example: true, .. } => session.output.line(trials::CASES_EXAMPLE),
        PolicyCommand::Test { cases, party, with, .. } => {
            trials::test(session, cases.as_deref().unwrap_or("-"), party.zip(with)).await
        }
        PolicyCommand::Explain { record, party } => trials::explain(session, record, party).await,
        PolicyCommand::Simulate { party, file } => trials::simulate(session, party, &file).await,
        PolicyCommand::Show { party, number } => {
            let policy = get(&session.node().await?, party, number.unwrap_or(0)).await?;
            show(session, policy)
        }
        PolicyCommand::List => list(session).await,
        PolicyCommand::History { party } => history(session, party).await,
        PolicyCommand::People { example: true, .. } => session.output.line(people::EXAMPLE),
        PolicyCommand::People { apply: Some(file), .. } => people::apply(session, &file).await,
        PolicyCommand::People { .. } => people::show(session).await,
    }
}

fn read_policy(source: &str) -> Result<String, Failure> {
    let bytes = if source == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(POLICY_MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::error(format!("stdin cannot be read: {e}")))?;
        bytes
    } else {
        read_bounded(Path::new(source), POLICY_MAX_BYTES)?
    };
    if bytes.len() as u64 > POLICY_MAX_BYTES {
        return Err(Failure::error(format!(
            "{source}: larger than {POLICY_MAX_BYTES} bytes: at most that much is a policy"
        )));
    }
    String::from_utf8(bytes).map_err(|e| {
        Failure::error(format!(
            "{source}: not UTF-8 text (byte {}): expected a Cedar policy",
            e.utf8_error().valid_up_to()
        ))
    })
}

async fn check(session: &mut Session<'_>, party: MemberId, text: String, file: &str) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about(format!("policy for {party}"), "comity policy list");
    let request = v1::CheckPolicyRequest { party: party.to_string(), text };
    let answer = node.policies().check_policy(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let view = CheckView {
        party: party.to_string(),
        valid: answer.valid,
        problems: answer.problems,
        warnings: answer.warnings,
        policy_ids: answer.policy_ids,
    };
    session.output.show(&view, |_| {
        let mut text = match view.valid {
            true => format!("valid: {} policies for {party}: {}", view.policy_ids.len(), view.policy_ids.join(", ")),
            false => format!("not valid, {} problems:", view.problems.len()),
        };
        for line in view
            .problems
            .iter()
            .map(|p| format!("\n  {p}"))
            .chain(view.warnings.iter().map(|w| format!("\n  warning: {w}")))
        {
            text.push_str(&line);
        }
        clean(&text)
    })?;
    if view.valid {
        session.output.note(&format!("next:  comity policy apply --party {party} {file}"));
        return Ok(());
    }
    Err(Failure::error(format!("{file}: this policy for {party} is not valid; the one in force stays"))
        .next(format!("correct it, then comity policy check --party {party} {file}")))
}

async fn get(node: &Node, party: MemberId, version: i64) -> Result<v1::Policy, Failure> {
    let asked = Asked::about(format!("policy for {party}"), "comity policy list");
    let request = v1::GetPolicyRequest { party: party.to_string(), version };
    Ok(node.policies().get_policy(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

fn show(session: &mut Session<'_>, policy: v1::Policy) -> Result<(), Failure> {
    let applied = when::local(policy.apply_time.as_ref());
    let view = PolicyView::from(policy);
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("Policy for {}, version {}", view.party, view.version));
        page.field("applied", applied);
        page.field("author", &view.author);
        page.field("approver", &view.approver);
        page.field("sha256", &view.sha256);
        page.field("policies", view.policy_ids.join(", "));
        page.line("");
        page.line(&view.text);
        page.finish()
    })
}

async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("policies", "comity node status");
    let policies = node
        .policies()
        .list_policies(v1::ListPoliciesRequest {})
        .await
        .map_err(|s| asked.refused(s))?
        .into_inner()
        .policies;
    let applied: Vec<String> = policies.iter().map(|p| when::local(p.apply_time.as_ref())).collect();
    let view = PoliciesView { policies: policies.into_iter().map(PolicyView::from).collect() };
    show_all(session, &view, applied)
}

async fn history(session: &mut Session<'_>, party: MemberId) -> Result<(), Failure> {
    let client = session.node().await?.policies();
    let asked = Asked::about(format!("policies for {party}"), "comity policy list");
    let (policies, _) = wire::collect(HISTORY_MAX, |page_size, page_token| {
        let (mut client, asked) = (client.clone(), asked.clone());
        async move {
            let request = v1::ListPolicyVersionsRequest { party: party.to_string(), page_size, page_token };
            let page = client.list_policy_versions(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.policies, page.next_page_token))
        }
    })
    .await?;
    let applied: Vec<String> = policies.iter().map(|p| when::local(p.apply_time.as_ref())).collect();
    let view = PoliciesView { policies: policies.into_iter().map(PolicyView::from).collect() };
    show_all(session, &view, applied)?;
    session.output.note(&format!("next:  comity policy show --party {party} --number N"));
    Ok(())
}

fn show_all(session: &mut Session<'_>, view: &PoliciesView, applied: Vec<String>) -> Result<(), Failure> {
    session.output.show(view, |style| {
        let rows = view.policies.iter().zip(applied).map(|(p, applied)| {
            let sha256 = wire::digits(&p.sha256);
            let (author, approver) = (wire::short_id(&p.author), wire::short_id(&p.approver));
            vec![p.party.clone(), p.version.to_string(), applied, author, approver, sha256, p.policy_ids.join(",")]
        });
        table(style, &["PARTY", "VERSION", "APPLIED", "AUTHOR", "APPROVER", "SHA256", "POLICIES"], rows.collect())
    })
}

#[derive(Debug, Clone, Serialize)]
struct CheckView {
    party: String,
    valid: bool,
    problems: Vec<String>,
    warnings: Vec<String>,
    policy_ids: Vec<String>,
}

/// A policy as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct PolicyView {
    party: String,
    version: i64,
    sha256: String,
    author: String,
    approver: String,
    apply_time: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    policy_ids: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct PoliciesView {
    policies: Vec<PolicyView>,
}

impl From<v1::Policy> for PolicyView {
    fn from(policy: v1::Policy) -> Self {
        Self {
            apply_time: when::rfc3339(policy.apply_time.as_ref()),
            party: policy.party,
            version: policy.version,
            sha256: policy.sha256,
            author: policy.author,
            approver: policy.approver,
            text: policy.text,
            policy_ids: policy.policy_ids,
        }
    }
}
