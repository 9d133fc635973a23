//! What stands in the way, in plain sentences.

use std::collections::BTreeMap;

use comity_core::release::{Action, HardRule, Party, PartyStatus, RecordHeader, Share};

use super::{ActionState, Condition, Explanation, PolicyState};
use crate::partner_policy::PolicyId;
use crate::probe::Truth;

/// The most policies of which it is told that they would permit something.
const NEAR_MAX: usize = 5;

pub(super) fn sentences(
    explanation: &Explanation,
    has_file: bool,
    party: &Party,
    header: &RecordHeader,
    share: Option<&Share>,
) -> Vec<String> {
    let rules = explanation.rules.iter().filter(|state| state.forbids);
    let mut sentences: Vec<String> = rules.map(|state| hard(state.rule, party, header, share)).collect();
    if !has_file {
        sentences.push(format!("there is no policy for {0}: write one and put it into force", party.member));
        return sentences;
    }
    sentences.extend(opposing(explanation, |state| state.applies == Truth::Error && state.ended.is_none()).map(
        |(id, actions)| format!("`{id}` cannot be evaluated, which denies {}: correct it", join(&actions, "and")),
    ));
    sentences.extend(opposing(explanation, |state| !state.permits && state.is_in_force()).map(|(id, actions)| {
        let all = actions.len() == Action::ALL.len();
        if all { format!("forbidden by `{id}`") } else { format!("`{id}` forbids {}", join(&actions, "and")) }
    }));
    // Neighbouring actions that lack the same are told together.
    let mut lacking: Vec<(Vec<Action>, String)> = Vec::new();
    for state in &explanation.actions {
        let Some(lacks) = lacks(state) else { continue };
        match lacking.last_mut().filter(|(_, last)| *last == lacks) {
            Some((actions, _)) => actions.push(state.action),
            None => lacking.push((vec![state.action], lacks)),
        }
    }
    sentences.extend(
        lacking.into_iter().map(|(actions, lacks)| format!("no policy permits {}: {lacks}", join(&actions, "or"))),
    );
    if sentences.is_empty() && explanation.actions.iter().any(|state| !state.decision.allow) {
        sentences.push("it could not be decided, which denies it".to_owned());
    }
    sentences
}

fn hard(rule: HardRule, party: &Party, header: &RecordHeader, share: Option<&Share>) -> String {
    let member = party.member;
    let share_it = format!("comity {} share {} --with {member}", header.kind, header.id);
    match rule {
        HardRule::NotOriginator => {
            format!(
                "it is a record of {0}: only {0} releases it, comity release request asks for it",
                header.originator
            )
        }
        HardRule::NotActive => {
            let how = match party.status {
                PartyStatus::Suspended => "suspended",
                PartyStatus::Active | PartyStatus::Expelled => "expelled",
            };
            format!("{member} is {how}: only a ballot changes that")
        }
        HardRule::AboveCeiling => format!(
            "it counts as {}, and the node of {member} is accredited up to {}: lower the marking or raise the accreditation",
            header.tier, party.ceiling
        ),
        HardRule::Addressed => {
            let whose = header.about.map(|about| about.originator().to_string()).unwrap_or_default();
            format!("it answers a record of {whose}: it goes to {whose} alone")
        }
        HardRule::NotReleasable => format!("the marking does not name {member}: edit marking.releasable_to"),
        HardRule::NotShared => format!("nobody decided to share it with {member}: {share_it}"),
        HardRule::Ended => {
            let on = share.and_then(|share| share.until).map(|until| format!(" on {until}")).unwrap_or_default();
            format!("the decision to share it with {member} ended{on}: {share_it}")
        }
    }
}

/// The policies that are so, in the order of the file, each with the actions of which they are.
fn opposing(
    explanation: &Explanation,
    is_so: impl Fn(&PolicyState) -> bool,
) -> impl Iterator<Item = (&PolicyId, Vec<Action>)> {
    let mut found: BTreeMap<usize, (&PolicyId, Vec<Action>)> = BTreeMap::new();
    for action in &explanation.actions {
        for (n, policy) in action.policies.iter().enumerate().filter(|(_, policy)| is_so(policy)) {
            found.entry(n).or_insert_with(|| (&policy.id, Vec::new())).1.push(action.action);
        }
    }
    found.into_values()
}

/// What an action lacks that no policy permits.
fn lacks(state: &ActionState) -> Option<String> {
    if state.policies.iter().any(|policy| policy.permits && policy.is_in_force()) {
        return None;
    }
    let near =
        state.policies.iter().filter(|policy| policy.permits && policy.covers() && policy.applies != Truth::Error);
    let near: Vec<String> = near.map(but_for).collect();
    if near.is_empty() {
        return Some("add one that does".to_owned());
    }
    let more = near.len().saturating_sub(NEAR_MAX);
    let mut text = near.into_iter().take(NEAR_MAX).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    Some(text)
}

/// Why a permit of this does not apply.
fn but_for(policy: &PolicyState) -> String {
    let mut obstacles: Vec<String> = policy.conditions.iter().flat_map(obstacles).collect();
    if let Some(ended) = policy.ended {
        obstacles.insert(0, format!("its end on {ended}"));
    }
    format!("`{}` would, but for {}", policy.id, obstacles.join(" and "))
}

/// The parts of a condition that keep the policy from applying.
fn obstacles(condition: &Condition) -> Vec<String> {
    let conjuncts = &condition.conjuncts;
    if condition.unless {
        let texts: Vec<&str> = conjuncts.iter().map(|conjunct| conjunct.text.as_str()).collect();
        let holds = conjuncts.iter().all(|conjunct| conjunct.truth == Truth::True);
        return if holds { vec![format!("`unless {{ {} }}`", texts.join(" && "))] } else { Vec::new() };
    }
    let so = |truth| conjuncts.iter().filter(move |conjunct| conjunct.truth == truth);
    so(Truth::False).map(|conjunct| format!("`{}`", conjunct.text)).collect()
}

fn join(actions: &[Action], word: &str) -> String {
    match actions.split_last() {
        Some((last, [])) => last.as_str().to_owned(),
        Some((last, others)) => {
            let others: Vec<&str> = others.iter().map(|action| action.as_str()).collect();
            format!("{} {word} {}", others.join(", "), last.as_str())
        }
        None => String::new(),
    }
}
