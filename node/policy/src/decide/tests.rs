use std::collections::BTreeSet;

use comity_core::marking::{Caveat, Handling};
use comity_core::release::PartyStatus;
use comity_core::{Marking, RecordId, RecordKind, Tier};
use proptest::prelude::*;

use super::*;
use crate::EXAMPLE;

fn member(code: &str) -> MemberId {
    code.parse().unwrap()
}

fn policies(text: &str) -> Policies {
    Policies::new([PartnerPolicy::parse(member("DE"), text).unwrap()])
}

fn case() -> (MemberId, Party, RecordHeader) {
    let (fr, de) = (member("FR"), member("DE"));
    let mut marking = Marking::originator_only(Tier::Confidential);
    marking.releasable_to.insert(de);
    let party = Party { member: de, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
    let id = RecordId::new(fr, RecordKind::Proposal, [7; 10]);
    let header = RecordHeader { id, kind: RecordKind::Proposal, originator: fr, marking, shared_with: [de].into() };
    (fr, party, header)
}

#[test]
fn the_example_decides_as_it_reads() {
    let (fr, party, mut header) = case();
    let policies = policies(EXAMPLE);
    let allowed = policies.decide(fr, &party, Action::Read, &header);
    assert_eq!(allowed, Decision { allow: true, because: vec!["de-proposals".to_owned()], until: None });
    assert_eq!(policies.decide(fr, &party, Action::ReadSources, &header), Decision::deny("default-deny"));
    let level = policies.level(fr, &party, &header);
    assert_eq!((level.action, level.because), (Some(Action::Read), vec!["de-proposals".to_owned()]));

    header.marking.compartments.insert("TIGER".parse().unwrap());
    assert_eq!(policies.decide(fr, &party, Action::Read, &header), Decision::deny("de-no-tiger"));
    let level = policies.level(fr, &party, &header);
    assert_eq!((level.action, level.because), (None, vec!["de-no-tiger".to_owned()]));
}

#[test]
fn no_file_an_empty_file_and_comments_deny_everything() {
    let (fr, party, header) = case();
    for policies in [Policies::default(), policies(""), policies("// to be written")] {
        for action in Action::ALL {
            assert_eq!(policies.decide(fr, &party, action, &header), Decision::deny("default-deny"));
        }
        assert_eq!(policies.level(fr, &party, &header).action, None);
    }
}

#[test]
fn one_partners_file_says_nothing_about_another() {
    let (fr, mut party, mut header) = case();
    party.member = member("CA");
    header.marking.releasable_to.insert(member("CA"));
    header.shared_with.insert(member("CA"));
    let policies = policies("permit(principal, action, resource);");
    assert_eq!(policies.decide(fr, &party, Action::Discover, &header), Decision::deny("default-deny"));
}

/// Cedar answers Allow here: the forbid that errs is passed over.
#[test]
fn a_policy_that_errs_denies() {
    let (fr, party, header) = case();
    let overflow = "when { resource.tier + 9223372036854775807 > 0 };";
    let all = "@id(\"all\") permit(principal, action, resource);";
    for effect in ["forbid", "permit"] {
        let policies = policies(&format!("{all} @id(\"bad\") {effect}(principal, action, resource) {overflow}"));
        let decision = policies.decide(fr, &party, Action::Read, &header);
        assert_eq!(decision, Decision::deny("error:bad"), "{effect}");
        assert_eq!(policies.level(fr, &party, &header).because, ["error:bad"]);
    }
}

#[test]
fn a_higher_level_needs_the_lower_ones() {
    let (fr, party, header) = case();
    let only_sources = policies("permit(principal, action == Action::\"read_sources\", resource);");
    assert!(only_sources.decide(fr, &party, Action::ReadSources, &header).allow);
    assert_eq!(only_sources.level(fr, &party, &header).action, None);
}

#[test]
fn a_policy_may_name_one_record() {
    let (fr, party, header) = case();
    let policies = policies(&format!(
        "permit(principal, action, resource); \
         @id(\"not-this-one\") forbid(principal, action, resource == Record::\"{}\");",
        header.id
    ));
    assert_eq!(policies.decide(fr, &party, Action::Discover, &header), Decision::deny("not-this-one"));
}

#[test]
fn the_version_changes_with_any_file() {
    let de = PartnerPolicy::parse(member("DE"), EXAMPLE).unwrap();
    let ca = PartnerPolicy::parse(member("CA"), "").unwrap();
    let one = Policies::new([de.clone()]);
    let two = one.with(ca.clone());
    assert_ne!(one.version(), two.version());
    assert_ne!(one.version(), Policies::default().version());
    assert_eq!(two.version(), Policies::new([ca.clone(), de]).version(), "whatever the order");
    assert_ne!(two.version(), two.with(PartnerPolicy::parse(member("CA"), " ").unwrap()).version());
    assert_eq!(two.iter().map(PartnerPolicy::party).collect::<Vec<_>>(), [member("CA"), member("DE")]);
    assert_eq!(two.get(member("CA")).map(PartnerPolicy::sha256), Some(ca.sha256()));
}

/// What a policy of the property test may ask, in Cedar and in plain Rust.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Always,
    TierAtMost(u8),
    Orcon,
    Tiger,
    ReleasableToCanada,
    Never,
    Overflow,
}

impl Condition {
    fn cedar(self) -> String {
        match self {
            Self::Always => String::new(),
            Self::TierAtMost(tier) => format!("when {{ resource.tier <= {tier} }}"),
            Self::Orcon => "when { resource.caveats.contains(\"orcon\") }".to_owned(),
            Self::Tiger => "unless { !resource.compartments.contains(\"TIGER\") }".to_owned(),
            Self::ReleasableToCanada => "when { resource.releasable_to.containsAny([\"CA\"]) }".to_owned(),
            Self::Never => "when { resource.handling == \"never\" && principal.voting }".to_owned(),
            Self::Overflow => "when { resource.tier + 9223372036854775806 > 0 }".to_owned(),
        }
    }

    /// `None`: it errs.
    fn holds(self, party: &Party, marking: &Marking) -> Option<bool> {
        Some(match self {
            Self::Always => true,
            Self::TierAtMost(tier) => marking.tier as u8 <= tier,
            Self::Orcon => !marking.caveats.is_empty(),
            Self::Tiger => marking.compartments.iter().any(|c| c.as_str() == "TIGER"),
            Self::ReleasableToCanada => marking.releasable_to.contains(&member("CA")),
            Self::Never => marking.handling == Handling::Never && party.voting,
            Self::Overflow => return (marking.tier < Tier::Restricted).then_some(true),
        })
    }
}

#[derive(Debug, Clone)]
struct Rule {
    permit: bool,
    actions: Vec<Action>,
    condition: Condition,
}

impl Rule {
    fn cedar(&self) -> String {
        let actions: Vec<String> = self.actions.iter().map(|a| format!("Action::\"{}\"", a.as_str())).collect();
        let effect = if self.permit { "permit" } else { "forbid" };
        format!("{effect}(principal, action in [{}], resource) {};", actions.join(", "), self.condition.cedar())
    }
}

/// The decision again, as a reader of DESIGN would write it down.
fn oracle(rules: &[Rule], own: MemberId, party: &Party, action: Action, header: &RecordHeader) -> bool {
    let marking = &header.marking;
    let lawful = header.originator == own
        && party.status == PartyStatus::Active
        && marking.tier <= party.ceiling
        && marking.releasable_to.contains(&party.member)
        && header.shared_with.contains(&party.member);
    let applicable: Vec<(bool, Option<bool>)> = rules
        .iter()
        .filter(|rule| rule.actions.contains(&action))
        .map(|rule| (rule.permit, rule.condition.holds(party, marking)))
        .collect();
    lawful
        && applicable.contains(&(true, Some(true)))
        && !applicable.contains(&(false, Some(true)))
        && !applicable.iter().any(|(_, holds)| holds.is_none())
}

fn rule() -> impl Strategy<Value = Rule> {
    let condition = prop_oneof![
        3 => Just(Condition::Always),
        3 => (0..6_u8).prop_map(Condition::TierAtMost),
        1 => Just(Condition::Orcon),
        1 => Just(Condition::Tiger),
        1 => Just(Condition::ReleasableToCanada),
        1 => Just(Condition::Never),
        1 => Just(Condition::Overflow),
    ];
    let actions = proptest::sample::subsequence(Action::ALL.to_vec(), 1..=3);
    (proptest::bool::weighted(0.75), actions, condition).prop_map(|(permit, actions, condition)| Rule {
        permit,
        actions,
        condition,
    })
}

fn parties() -> impl Strategy<Value = BTreeSet<MemberId>> {
    proptest::sample::subsequence(vec!["DE", "DE", "DE", "CA", "AU", "OPCW"], 0..=6)
        .prop_map(|codes| codes.into_iter().map(member).collect())
}

fn header() -> impl Strategy<Value = RecordHeader> {
    let handling = proptest::sample::select(vec![Handling::Free, Handling::WithConsent, Handling::Never]);
    let tier = proptest::sample::select(Tier::ALL.to_vec());
    (tier, any::<bool>(), any::<bool>(), handling, parties(), parties(), proptest::bool::weighted(0.9)).prop_map(
        |(tier, orcon, tiger, handling, releasable_to, shared_with, own)| {
            let originator = member(if own { "FR" } else { "AU" });
            let marking = Marking {
                tier,
                caveats: orcon.then_some(Caveat::Orcon).into_iter().collect(),
                releasable_to,
                compartments: tiger.then(|| "TIGER".parse().unwrap()).into_iter().collect(),
                handling,
                national: None,
            };
            let id = RecordId::new(originator, RecordKind::Proposal, [7; 10]);
            RecordHeader { id, kind: RecordKind::Proposal, originator, marking, shared_with }
        },
    )
}

fn party() -> impl Strategy<Value = Party> {
    let status = prop_oneof![
        8 => Just(PartyStatus::Active),
        1 => Just(PartyStatus::Suspended),
        1 => Just(PartyStatus::Expelled),
    ];
    let ceiling = proptest::sample::select(vec![Tier::Public, Tier::Confidential, Tier::Secret, Tier::TopSecret]);
    (proptest::sample::select(vec!["DE", "DE", "DE", "CA"]), status, ceiling, any::<bool>())
        .prop_map(|(code, status, ceiling, voting)| Party { member: member(code), status, ceiling, voting })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn decisions_are_those_of_the_oracle(
        rules in proptest::collection::vec(rule(), 0..6),
        party in party(),
        headers in proptest::collection::vec(header(), 4),
    ) {
        let text: String = rules.iter().map(Rule::cedar).collect();
        let policies = policies(&text);
        let rules = if party.member == member("DE") { rules } else { Vec::new() };
        for header in &headers {
            let mut level = None;
            for action in Action::ALL {
                let decision = policies.decide(member("FR"), &party, action, header);
                let expected = oracle(&rules, member("FR"), &party, action, header);
                prop_assert_eq!(decision.allow, expected, "{:?}: {:?}", action, &decision);
                prop_assert!(!decision.because.is_empty());
                let is_next = level == action_below(action);
                if expected && is_next {
                    level = Some(action);
                }
            }
            prop_assert_eq!(policies.level(member("FR"), &party, header).action, level);
        }
    }

    #[test]
    fn no_policy_lifts_a_hard_rule(party in party(), header in header()) {
        let policies = policies("permit(principal, action, resource);");
        for action in Action::ALL {
            let decision = policies.decide(member("FR"), &party, action, &header);
            match hard_rules(member("FR"), &party, &header) {
                Err(rule) => prop_assert_eq!(decision, Decision::hard(rule)),
                Ok(()) => prop_assert_eq!(decision.allow, party.member == member("DE")),
            }
        }
    }
}

fn action_below(action: Action) -> Option<Action> {
    Action::ALL.into_iter().rev().find(|other| *other < action)
}
