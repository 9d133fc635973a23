use cedar_policy::PolicySet;
use comity_core::marking::{Caveat, Handling};
use comity_core::release::{Action, Party, PartyStatus, RecordHeader};
use comity_core::{Marking, MemberId, RecordId, RecordKind, Tier};
use proptest::prelude::*;

use crate::decide::answer;
use crate::{EXAMPLE, Note, PartnerPolicy};

fn de() -> MemberId {
    "DE".parse().unwrap()
}

/// The notes of trying, with the policies that they are of: `a: Unreachable`.
fn notes(text: &str) -> Vec<String> {
    let policy = PartnerPolicy::parse(de(), text).unwrap();
    let tried = |what: &Note| !matches!(what, Note::NoId | Note::PermitsNothing);
    let warnings = policy.warnings().iter().filter(|warning| tried(&warning.what));
    warnings
        .map(|warning| {
            let what = match &warning.what {
                Note::Shadowed { by } => {
                    format!("Shadowed by {}", by.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
                }
                what => format!("{what:?}"),
            };
            assert_eq!(warning.place.is_some(), warning.policy.is_some());
            format!("{}: {what}", warning.policy.clone().unwrap_or_default())
        })
        .collect()
}

fn permit(id: &str, condition: &str) -> String {
    format!("@id(\"{id}\") permit(principal, action, resource) when {{ {condition} }};\n")
}

fn forbid(id: &str, condition: &str) -> String {
    permit(id, condition).replace("permit(", "forbid(")
}

#[test]
fn a_permit_that_always_holds_permits_everything() {
    for always in ["resource.tier >= 0", "true", "resource.tier < 3 || resource.tier >= 3", "resource.kind like \"*\""]
    {
        assert_eq!(notes(&permit("a", always)), ["a: PermitsEverything"], "{always}");
    }
    // The hard rules leave nothing else.
    assert_eq!(notes(&permit("a", "resource.tier <= principal.ceiling")), ["a: PermitsEverything"]);
    let one_action = "@id(\"a\") permit(principal, action == Action::\"read\", resource);";
    assert_eq!(notes(one_action), [""; 0]);
    let one_by_one: Vec<String> = Action::ALL
        .map(|action| format!("action == Action::\"{}\"", action.as_str()))
        .iter()
        .map(|condition| condition.replace("action ==", "action in"))
        .collect();
    assert_eq!(notes(&permit("a", &one_by_one.join(" || "))), ["a: PermitsEverything"]);
    assert_eq!(notes(&permit("a", "resource.tier >= 1")), [""; 0]);
    assert_eq!(notes(&forbid("a", "true")), [""; 0], "a forbid may forbid everything");
}

#[test]
fn what_never_applies_is_told() {
    let never = [
        "resource.tier < 2 && resource.tier > 2",
        "resource.kind == \"proposal\" && resource.kind == \"opinion\"",
        "resource.compartments.contains(\"TIGER\") && resource.compartments.isEmpty()",
        "resource.caveats.contains(\"orcon\") && resource.caveats.isEmpty() && action == Action::\"read\"",
        // What the hard rules leave out, or never goes together.
        "resource.tier > principal.ceiling",
        "!resource.onward && !resource.releasable_to.contains(\"DE\")",
        "resource.kind == \"proposal\" && resource.answers",
        "resource == Record::\"FR-P-8K3M9QXT2V4N6R7W\" && resource.kind == \"opinion\"",
        "resource == Record::\"FR-P-8K3M9QXT2V4N6R7W\" && resource.originator == \"AU\"",
    ];
    for condition in never {
        for text in [permit("a", condition), forbid("a", condition)] {
            assert_eq!(notes(&text), ["a: Unreachable"], "{condition}");
        }
    }
    let sometimes = [
        "resource.tier < 2 || resource.tier > 2",
        "resource.compartments == [\"TIGER\", \"LION\"]",
        "resource.compartments.contains(\"TIGER\") && resource.compartments != [\"TIGER\"]",
        "!resource.releasable_to.contains(\"DE\")",
        "resource.kind == \"grant\" && resource.answers",
        "resource == Record::\"FR-P-8K3M9QXT2V4N6R7W\" && resource.originator != \"AU\"",
        "resource == Record::\"FR-P-8K3M9QXT2V4N6R7W\" && resource.kind == \"proposal\" && !resource.answers",
        "resource.originator == \"FR\" && resource.releasable_to.contains(\"CA\")",
        "(if resource.onward then resource.kind else \"proposal\") == \"opinion\"",
        "{Value: resource.kind}.Value == \"opinion\"",
        "[\"proposal\", resource.handling].contains(resource.kind)",
    ];
    for condition in sometimes {
        let told = notes(&permit("a", condition));
        assert!(!told.contains(&"a: Unreachable".to_owned()), "{condition}: {told:?}");
    }
    // What errs denies: that is not nothing.
    let errs = "resource.tier + 9223372036854775807 < 0";
    assert_eq!(notes(&forbid("a", errs)), [""; 0]);
}

#[test]
fn a_permit_that_changes_nothing_names_what_decides() {
    let low = permit("low", "resource.tier <= 1");
    let high = permit("high", "resource.tier <= 3");
    assert_eq!(notes(&(low.clone() + &high)), ["low: Shadowed by high"]);
    assert_eq!(notes(&(high.clone() + &low)), ["low: Shadowed by high"]);
    assert_eq!(notes(&(high.clone() + &high.replace("high", "again"))), ["again: Shadowed by high"], "the later");
    let parts = permit("free", "resource.handling == \"free\"") + &permit("not-free", "resource.handling != \"free\"");
    assert_eq!(
        notes(&(parts.clone() + &low)),
        ["low: Shadowed by free not-free"],
        "several give together what it gives"
    );
    let tiger = permit("tiger", "resource.compartments.contains(\"TIGER\") && resource.tier <= 4");
    let no_tiger = forbid("no-tiger", "resource.compartments.containsAny([\"TIGER\", \"LION\"])");
    assert_eq!(notes(&(tiger.clone() + &no_tiger)), ["tiger: Shadowed by no-tiger"]);
    let lion = forbid("no-lion", "resource.compartments.contains(\"LION\")");
    assert_eq!(notes(&(tiger + &lion)), [""; 0], "only sometimes");
    let one_action = low.replace("action,", "action == Action::\"read\",");
    assert_eq!(notes(&(high.replace("action,", "action == Action::\"discover\",") + &one_action)), [""; 0]);
    assert_eq!(notes(EXAMPLE), [""; 0]);
    let told = PartnerPolicy::parse(de(), &(low + &high)).unwrap().warnings()[0].to_string();
    assert_eq!(
        told,
        "line 1, column 1: policy `low`: it changes no decision, which is made by `high` wherever it applies: correct \
         its conditions or remove it"
    );
}

#[test]
fn what_ends_sooner_shadows_nothing() {
    let low = permit("low", "resource.tier <= 1");
    let ends = |text: &str, end: &str| format!("@until(\"{end}T00:00:00Z\") {text}");
    let high = permit("high", "resource.tier <= 3");
    assert_eq!(notes(&(low.clone() + &ends(&high, "2027-01-01"))), [""; 0]);
    assert_eq!(notes(&(ends(&low, "2027-01-02") + &ends(&high, "2027-01-01"))), [""; 0]);
    assert_eq!(notes(&(ends(&low, "2027-01-01") + &ends(&high, "2027-01-01"))), ["low: Shadowed by high"]);
    assert_eq!(notes(&(ends(&low, "2027-01-01") + &high)), ["low: Shadowed by high"]);
}

#[test]
fn too_much_to_try_is_said_and_still_quick() {
    let codes = |n: usize| (0..n).map(|n| format!("\"C{n}\"")).collect::<Vec<_>>().join(", ");
    let many = permit("many", &format!("resource.compartments.containsAny([{}])", codes(70)));
    let all = "@id(\"all\") permit(principal, action, resource);";
    let begun = std::time::Instant::now();
    assert_eq!(notes(&(many.clone() + all)), [": Untried", "all: PermitsEverything"]);
    assert_eq!(notes(&permit("like", "resource.originator like \"F*\"")), [": Untried"]);
    assert_eq!(
        notes(&permit("cross", "resource.releasable_to.contains(resource.originator) && resource.tier > 5")),
        [": Untried"]
    );
    let twenty: String = (0..20)
        .map(|n| {
            let (kind, tier) = (RecordKind::ALL[n % 7], n % 5);
            permit(
                &format!("p{n}"),
                &format!(
                    "resource.kind == \"{kind}\" && resource.tier <= {tier} && resource.handling == \"free\" && \
                     !resource.compartments.contains(\"C{}\")",
                    n % 3
                ),
            )
        })
        .collect();
    assert!(notes(&twenty).iter().all(|note| !note.contains("Untried")), "{:?}", notes(&twenty));
    let elapsed = begun.elapsed();
    assert!(elapsed.as_secs() < 5, "{elapsed:?}");
}

/// What a policy of the property test asks; `{}` in Cedar.
const CONDITIONS: [&str; 12] = [
    "true",
    "resource.tier <= 1",
    "resource.tier > 3",
    "resource.handling == \"free\"",
    "resource.kind != \"opinion\"",
    "resource.answers",
    "resource.onward",
    "resource.releasable_to.contains(\"DE\")",
    "resource.compartments.contains(\"TIGER\")",
    "resource.compartments == [\"LION\"]",
    "action == Action::\"read\"",
    "resource.tier + 9223372036854775804 > 0",
];

fn policy() -> impl Strategy<Value = String> {
    let condition = || proptest::sample::select(CONDITIONS.to_vec());
    (proptest::bool::weighted(0.7), condition(), condition(), any::<bool>()).prop_map(|(permit, a, b, and)| {
        let (effect, operator) = (if permit { "permit" } else { "forbid" }, if and { "&&" } else { "||" });
        format!("{effect}(principal, action, resource) when {{ {a} {operator} {b} }};")
    })
}

/// Every question that the conditions tell apart, whether or not the hard rules forbid it; every kind that matters.
fn questions() -> Vec<(RecordHeader, bool)> {
    let mut questions = Vec::new();
    let compartments: [&[&str]; 5] = [&[], &["TIGER"], &["LION"], &["LION", "TIGER"], &["OWL"]];
    let kinds = [(RecordKind::Proposal, false), (RecordKind::Opinion, true), (RecordKind::Grant, true)];
    for tier in Tier::ALL {
        for (handling, (kind, answers)) in
            [Handling::Free, Handling::Never].into_iter().flat_map(|h| kinds.map(|k| (h, k)))
        {
            for compartments in compartments {
                for (onward, named) in [(false, true), (true, true), (true, false)] {
                    let id = RecordId::new("FR".parse().unwrap(), kind, [1; 10]);
                    let marking = Marking {
                        handling,
                        caveats: [Caveat::Orcon].into(),
                        compartments: compartments.iter().map(|c| c.parse().unwrap()).collect(),
                        releasable_to: named.then(de).into_iter().collect(),
                        ..Marking::originator_only(tier)
                    };
                    questions.push((
                        RecordHeader { about: answers.then_some(id), ..RecordHeader::new(id, marking) },
                        onward,
                    ));
                }
            }
        }
    }
    questions
}

/// What is allowed, question by question and action by action.
fn allowed(policies: &[String], questions: &[(RecordHeader, bool)]) -> Vec<bool> {
    let set: PolicySet = policies.concat().parse().unwrap();
    let party = Party { member: de(), status: PartyStatus::Active, ceiling: Tier::TopSecret, voting: true };
    let answers = questions.iter().map(|(header, onward)| answer(&set, &party, header, *onward).unwrap());
    answers.flat_map(|answer| Action::ALL.map(|action| answer.on(action).allow)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    /// Each note, and each silence, against every question.
    #[test]
    fn notes_are_true_and_none_is_missing(policies in proptest::collection::vec(policy(), 1..4)) {
        let questions = questions();
        let with_ids: Vec<String> = policies.iter().enumerate().map(|(n, text)| format!("@id(\"{n}\") {text}\n")).collect();
        let notes = notes(&with_ids.concat());
        prop_assert!(!notes.iter().any(|note| note.contains("Untried")), "{:?}", notes);
        let noted = |n: usize, what: &str| notes.iter().any(|note| note.starts_with(&format!("{n}: {what}")));
        let everything = allowed(&policies, &questions);
        let mut kept = policies.clone();
        for n in (0..policies.len()).rev() {
            // The answer on one policy alone, as a permit beside one of everything where it might forbid or err.
            let alone = allowed(&policies[n..=n], &questions);
            let is_permit = policies[n].starts_with("permit");
            prop_assert_eq!(noted(n, "PermitsEverything"), is_permit && alone.iter().all(|allow| *allow));
            let against = [policies[n].replace("permit(", "forbid("), "permit(principal, action, resource);".to_owned()];
            let applies = allowed(&against, &questions).iter().any(|allow| !*allow);
            prop_assert_eq!(noted(n, "Unreachable"), !applies, "{:?}", notes);
            let permits = alone.iter().any(|allow| *allow);
            prop_assert!(permits || !noted(n, "Shadowed"), "{}: {:?}", n, notes);
            if is_permit && permits {
                let mut without = kept.clone();
                without[n].clear();
                let same = allowed(&without, &questions) == allowed(&kept, &questions);
                prop_assert_eq!(noted(n, "Shadowed"), same, "{}: {:?}", n, notes);
                if same {
                    kept = without;
                }
            }
        }
        prop_assert_eq!(allowed(&kept, &questions), everything, "without all that are shadowed");
    }
}
