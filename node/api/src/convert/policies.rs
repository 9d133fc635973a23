//! What trials of policies find.

use comity_app::Simulation;
use comity_policy::{CaseOutcome, Explanation, PolicyState};
use comity_proto::v1;

use super::time;

pub(crate) fn case_outcome(outcome: CaseOutcome) -> v1::CaseOutcome {
    let found = outcome.found.as_ref().map(|found| CaseOutcome::word(found.action).to_owned());
    v1::CaseOutcome {
        name: outcome.name,
        party: outcome.party.to_string(),
        expected: CaseOutcome::word(outcome.expected).to_owned(),
        found: found.unwrap_or_default(),
        because: outcome.found.map(|found| found.because).unwrap_or_default(),
        passed: outcome.passed,
        expected_because: outcome.expected_because.unwrap_or_default(),
    }
}

pub(crate) fn explanation(explained: Explanation) -> v1::ExplainReleaseResponse {
    let rules =
        explained.rules.iter().map(|rule| v1::RuleState { rule: rule.rule.as_str().to_owned(), forbids: rule.forbids });
    let actions = explained.actions.into_iter().map(|state| v1::ActionState {
        action: state.action.as_str().to_owned(),
        allow: state.decision.allow,
        because: state.decision.because,
        until: state.decision.until.and_then(time),
        policies: state.policies.into_iter().map(policy_state).collect(),
    });
    v1::ExplainReleaseResponse { rules: rules.collect(), actions: actions.collect(), missing: explained.missing }
}

fn policy_state(state: PolicyState) -> v1::PolicyState {
    let covers = state.covers();
    let conditions = state.conditions.into_iter().map(|condition| v1::PolicyCondition {
        unless: condition.unless,
        conjuncts: condition
            .conjuncts
            .into_iter()
            .map(|part| v1::PolicyConjunct { text: part.text, truth: part.truth.as_str().to_owned() })
            .collect(),
    });
    v1::PolicyState {
        id: state.id.to_string(),
        permits: state.permits,
        covers,
        applies: state.applies.as_str().to_owned(),
        end_time: state.ended.and_then(time),
        conditions: conditions.collect(),
    }
}

pub(crate) fn simulation(simulation: Simulation) -> v1::SimulatePolicyResponse {
    let changes = simulation.changes.into_iter().map(|change| v1::SimulatedChange {
        record: change.record.to_string(),
        banner: change.banner,
        before: CaseOutcome::word(change.before).to_owned(),
        after: CaseOutcome::word(change.after).to_owned(),
        because: change.because,
    });
    v1::SimulatePolicyResponse {
        problems: Vec::new(),
        considered: simulation.considered,
        gained: simulation.gained,
        lost: simulation.lost,
        changes: changes.collect(),
        unnamed: simulation.unnamed,
    }
}
