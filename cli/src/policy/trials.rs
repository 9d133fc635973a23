//! Trying policies: cases, explanations, and what a change would do.

use comity_core::{MemberId, RecordId};
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use super::read_policy;
use crate::draft_file;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, Style, clean, table};
use crate::records;
use crate::refusal::Asked;
use crate::session::Session;
use crate::when;

/// Cases to begin from.
pub(super) const CASES_EXAMPLE: &str = include_str!("cases.yaml");

pub(super) async fn test(
    session: &mut Session<'_>,
    cases: &str,
    replaced: Option<(MemberId, String)>,
) -> Result<(), Failure> {
    let document: Value =
        draft_file::read_as(cases).map_err(|e| Failure::error(e).next("comity policy test --example"))?;
    let node = session.node().await?;
    let (party, text) = match replaced {
        Some((party, file)) => (party.to_string(), read_policy(&file)?),
        None => Default::default(),
    };
    let request = v1::TestPolicyRequest { cases: comity_core::canonical::to_vec(&document), party, text };
    let asked = Asked::about("cases", "comity policy test --example");
    let answer = node.policies().test_policy(request).await.map_err(|s| asked.refused(s))?.into_inner();
    ensure_valid(&answer.problems)?;
    let view = TestView { cases: answer.outcomes.into_iter().map(CaseView::from).collect() };
    let failed = view.cases.iter().filter(|case| !case.passed).count();
    session.output.show(&view, |style| {
        let rows = view.cases.iter().map(|case| {
            let result = if case.passed { "ok" } else { "FAILED" };
            let found = if case.found.is_empty() { "not in the roster" } else { &case.found };
            vec![
                result.to_owned(),
                case.name.clone(),
                case.party.clone(),
                case.expected.clone(),
                found.to_owned(),
                case.because.join(","),
            ]
        });
        table(style, &["RESULT", "CASE", "PARTY", "EXPECTED", "FOUND", "BECAUSE"], rows.collect())
    })?;
    if failed > 0 {
        let message = format!("{failed} of {} cases failed", view.cases.len());
        return Err(Failure::new(Exit::VerificationFailed, message).next("comity policy explain RECORD --party PARTY"));
    }
    session.output.note(&format!("{} cases hold", view.cases.len()));
    Ok(())
}

fn ensure_valid(problems: &[String]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let said: String = problems.iter().map(|problem| format!("\n  {}", clean(problem))).collect();
    Err(Failure::error(format!("the policy is not valid:{said}")).next("comity policy check --party PARTY FILE"))
}

pub(super) async fn explain(session: &mut Session<'_>, record: RecordId, party: MemberId) -> Result<(), Failure> {
    let node = session.node().await?;
    let request = v1::ExplainReleaseRequest { record: record.to_string(), party: party.to_string() };
    let asked = Asked::about(format!("{record} for {party}"), records::show_command(record));
    let answer = node.policies().explain_release(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let view = ExplainView::of(record, party, answer);
    session.output.show(&view, |style| page(style, &view))
}

fn page(style: &Style, view: &ExplainView) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("{} for {}", view.record, view.party));
    for action in &view.actions {
        let word = if action.allow { "yes" } else { "no" };
        let until = action.until.as_ref().map(|until| format!(", until {until}")).unwrap_or_default();
        page.field(&action.action, format!("{word}: {}{until}", action.because.join(", ")));
    }
    page.heading("Hard rules, which no policy lifts");
    for rule in &view.rules {
        page.field(rule.rule.trim_start_matches("hard:"), if rule.forbids { "FORBIDS" } else { "passes" });
    }
    for action in &view.actions {
        let policies: Vec<&PolicyView> = action.policies.iter().filter(|policy| policy.covers).collect();
        if policies.is_empty() {
            continue;
        }
        page.heading(&format!("Policies on {}", action.action));
        for policy in policies {
            let effect = if policy.permits { "permits" } else { "forbids" };
            let said = match (policy.applies.as_str(), &policy.ended) {
                (_, Some(ended)) => format!("ended {ended}"),
                ("true", None) => effect.to_owned(),
                ("false", None) => format!("does not apply: it {effect}, but for what is marked"),
                (other, None) => format!("{other}: everything is denied"),
            };
            page.line(&format!("  {}: {said}", policy.id));
            for condition in &policy.conditions {
                let word = if condition.unless { "unless" } else { "when" };
                for conjunct in &condition.conjuncts {
                    let holds = (conjunct.truth == "true") != condition.unless;
                    page.line(&format!("    {} {word} {}", if holds { " " } else { "×" }, conjunct.text));
                }
            }
        }
    }
    page.heading(if view.missing.is_empty() { "Nothing is missing" } else { "What is missing" });
    view.missing.iter().for_each(|missing| page.prose(missing));
    page.finish()
}

pub(super) async fn simulate(session: &mut Session<'_>, party: MemberId, file: &str) -> Result<(), Failure> {
    let text = read_policy(file)?;
    let node = session.node().await?;
    let request = v1::SimulatePolicyRequest { party: party.to_string(), text };
    let asked = Asked::about(format!("policy for {party}"), format!("comity policy check --party {party} {file}"));
    let answer = node.policies().simulate_policy(request).await.map_err(|s| asked.refused(s))?.into_inner();
    ensure_valid(&answer.problems)?;
    let view = SimulationView {
        party: party.to_string(),
        considered: answer.considered,
        gained: answer.gained,
        lost: answer.lost,
        unnamed: answer.unnamed,
        changes: answer.changes.into_iter().map(ChangeView::from).collect(),
    };
    session.output.show(&view, |style| {
        let mut text = format!(
            "{party} would see more of {} and less of {} records, of {} that concern it",
            view.gained, view.lost, view.considered
        );
        if !view.changes.is_empty() {
            let rows = view.changes.iter().map(|c| {
                vec![c.record.clone(), c.banner.clone(), c.before.clone(), c.after.clone(), c.because.join(",")]
            });
            text.push_str("\n\n");
            text.push_str(&table(style, &["RECORD", "MARKING", "NOW", "THEN", "BECAUSE"], rows.collect()));
        }
        text
    })?;
    if view.unnamed > 0 {
        session.output.note(&format!("{} changes are counted and not named here", view.unnamed));
    }
    session.output.note(&format!("nothing was applied; next:  comity policy apply --party {party} {file}"));
    Ok(())
}

#[derive(Debug, Clone, Serialize)]
struct TestView {
    cases: Vec<CaseView>,
}

#[derive(Debug, Clone, Serialize)]
struct CaseView {
    name: String,
    party: String,
    expected: String,
    found: String,
    because: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expected_because: Vec<String>,
    passed: bool,
}

impl From<v1::CaseOutcome> for CaseView {
    fn from(case: v1::CaseOutcome) -> Self {
        Self {
            name: case.name,
            party: case.party,
            expected: case.expected,
            found: case.found,
            because: case.because,
            expected_because: case.expected_because,
            passed: case.passed,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct ExplainView {
    record: String,
    party: String,
    actions: Vec<ActionView>,
    rules: Vec<RuleView>,
    missing: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ActionView {
    action: String,
    allow: bool,
    because: Vec<String>,
    until: Option<String>,
    policies: Vec<PolicyView>,
}

#[derive(Debug, Clone, Serialize)]
struct RuleView {
    rule: String,
    forbids: bool,
}

#[derive(Debug, Clone, Serialize)]
struct PolicyView {
    id: String,
    permits: bool,
    covers: bool,
    applies: String,
    ended: Option<String>,
    conditions: Vec<ConditionView>,
}

#[derive(Debug, Clone, Serialize)]
struct ConditionView {
    unless: bool,
    conjuncts: Vec<ConjunctView>,
}

#[derive(Debug, Clone, Serialize)]
struct ConjunctView {
    text: String,
    truth: String,
}

impl ExplainView {
    fn of(record: RecordId, party: MemberId, answer: v1::ExplainReleaseResponse) -> Self {
        let actions = answer.actions.into_iter().map(|action| ActionView {
            action: action.action,
            allow: action.allow,
            because: action.because,
            until: when::rfc3339(action.until.as_ref()),
            policies: action.policies.into_iter().map(PolicyView::from).collect(),
        });
        let rules = answer.rules.into_iter().map(|rule| RuleView { rule: rule.rule, forbids: rule.forbids });
        Self {
            record: record.to_string(),
            party: party.to_string(),
            actions: actions.collect(),
            rules: rules.collect(),
            missing: answer.missing,
        }
    }
}

impl From<v1::PolicyState> for PolicyView {
    fn from(policy: v1::PolicyState) -> Self {
        let conjunct = |c: v1::PolicyConjunct| ConjunctView { text: c.text, truth: c.truth };
        let conditions = policy.conditions.into_iter().map(|condition| ConditionView {
            unless: condition.unless,
            conjuncts: condition.conjuncts.into_iter().map(conjunct).collect(),
        });
        Self {
            conditions: conditions.collect(),
            ended: when::rfc3339(policy.end_time.as_ref()),
            id: policy.id,
            permits: policy.permits,
            covers: policy.covers,
            applies: policy.applies,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct SimulationView {
    party: String,
    considered: u64,
    gained: u64,
    lost: u64,
    unnamed: u64,
    changes: Vec<ChangeView>,
}

#[derive(Debug, Clone, Serialize)]
struct ChangeView {
    record: String,
    banner: String,
    before: String,
    after: String,
    because: Vec<String>,
}

impl From<v1::SimulatedChange> for ChangeView {
    fn from(change: v1::SimulatedChange) -> Self {
        Self {
            record: change.record,
            banner: change.banner,
            before: change.before,
            after: change.after,
            because: change.because,
        }
    }
}
