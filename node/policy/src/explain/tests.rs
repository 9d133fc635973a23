use comity_core::release::PartyStatus;
use comity_core::{Marking, RecordKind, Tier};
use proptest::prelude::*;

use super::*;

const FILE: &str = r#"
@id("de-proposals")
permit(principal == Party::"DE", action in [Action::"discover", Action::"read"], resource)
when { resource.kind == "proposal" && resource.tier <= 3 };
@id("de-sources")
permit(principal, action == Action::"read_sources", resource)
when { resource.tier <= 3 && resource.handling == "free" } unless { resource.onward && principal.voting };
@id("de-no-tiger")
forbid(principal, action, resource) when { resource.compartments.contains("TIGER") };
@id("de-no-sources-of-lion")
forbid(principal, action == Action::"read_sources", resource) when { resource.compartments.contains("LION") };
"#;

struct Case {
    file: &'static str,
    party: Party,
    header: RecordHeader,
    share: Option<Share>,
}

fn at() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

fn case() -> Case {
    let (fr, de): (MemberId, MemberId) = ("FR".parse().unwrap(), "DE".parse().unwrap());
    let party = Party { member: de, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
    let mut marking = Marking::originator_only(Tier::Confidential);
    marking.releasable_to.insert(de);
    let header = RecordHeader::new(RecordId::new(fr, RecordKind::Proposal, [7; 10]), marking);
    Case { file: FILE, party, header, share: Some(Share::PLAIN) }
}

fn explain(case: &Case) -> Explanation {
    let de = "DE".parse().unwrap();
    let policies = Policies::new([PartnerPolicy::parse(de, case.file).unwrap()]);
    policies.explain("FR".parse().unwrap(), &case.party, &case.header, case.share.as_ref(), at())
}

fn missing(case: &Case) -> Vec<String> {
    explain(case).missing
}

#[test]
fn each_policy_is_told_part_by_part() {
    let explanation = explain(&case());
    assert!(explanation.rules.iter().all(|state| !state.forbids));
    assert_eq!(explanation.rules.len(), HardRule::ALL.len());
    let [discover, read, sources] = explanation.actions.as_slice() else { panic!("{explanation:?}") };
    assert_eq!((discover.decision.allow, read.decision.allow, sources.decision.allow), (true, true, false));
    let ids: Vec<&str> = read.policies.iter().map(|policy| policy.id.as_str()).collect();
    assert_eq!(ids, ["de-proposals", "de-sources", "de-no-tiger", "de-no-sources-of-lion"], "in the order of the file");
    let permits: Vec<bool> = read.policies.iter().map(|policy| policy.permits).collect();
    assert_eq!(permits, [true, true, false, false]);
    let covers: Vec<bool> = read.policies.iter().map(PolicyState::covers).collect();
    assert_eq!(covers, [true, false, true, false]);
    let applies: Vec<Truth> = read.policies.iter().map(|policy| policy.applies).collect();
    assert_eq!(applies, [Truth::True, Truth::False, Truth::False, Truth::False]);
    let conditions: Vec<(bool, Vec<(&str, Truth)>)> = sources.policies[1]
        .conditions
        .iter()
        .map(|c| (c.unless, c.conjuncts.iter().map(|part| (part.text.as_str(), part.truth)).collect()))
        .collect();
    assert_eq!(
        conditions,
        [
            (false, vec![("resource.tier <= 3", Truth::True), ("resource.handling == \"free\"", Truth::False)]),
            (true, vec![("resource.onward", Truth::False), ("principal.voting", Truth::True)]),
        ]
    );
}

#[test]
fn a_scope_is_told_part_by_part() {
    let file = "permit(principal, action == Action::\"read\", resource == Record::\"FR-P-8K3M9QXT2V4N6R7W\");";
    let explanation = explain(&Case { file, ..case() });
    let policy = |n: usize| &explanation.actions[n].policies[0];
    assert_eq!((policy(1).covers_party, policy(1).covers_action, policy(1).covers_record), (true, true, false));
    assert_eq!((policy(0).covers_party, policy(0).covers_action, policy(0).covers_record), (true, false, false));
    let header = RecordHeader { id: "FR-P-8K3M9QXT2V4N6R7W".parse().unwrap(), ..case().header };
    assert!(explain(&Case { file, header, ..case() }).actions[1].policies[0].covers());
}

#[test]
fn every_hard_rule_has_its_sentence() {
    let all = "permit(principal, action, resource);";
    let case = || Case { file: all, ..case() };
    let id = case().header.id;
    let first = |case: &Case| {
        let explanation = explain(case);
        let forbidding: Vec<HardRule> = explanation.rules.iter().filter(|s| s.forbids).map(|s| s.rule).collect();
        assert_eq!(forbidding.len(), 1, "{explanation:?}");
        assert_eq!(explanation.missing.len(), 1, "{explanation:?}");
        (forbidding[0], explanation.missing[0].clone())
    };
    let mut own = case();
    own.header.originator = "AU".parse().unwrap();
    let asks = "it is a record of AU: only AU releases it, comity release request asks for it";
    assert_eq!(first(&own), (HardRule::NotOriginator, asks.to_owned()));
    for (status, how) in [(PartyStatus::Suspended, "suspended"), (PartyStatus::Expelled, "expelled")] {
        let mut out = case();
        out.party.status = status;
        assert_eq!(first(&out), (HardRule::NotActive, format!("DE is {how}: only a ballot changes that")));
    }
    let mut high = case();
    high.header.tier = Tier::TopSecret;
    let above = "it counts as top_secret, and the node of DE is accredited up to secret: lower the marking or raise the \
         accreditation";
    assert_eq!(first(&high), (HardRule::AboveCeiling, above.to_owned()));
    let mut addressed = case();
    addressed.header.about = Some(RecordId::new("CA".parse().unwrap(), RecordKind::Proposal, [1; 10]));
    let to = "it answers a record of CA: it goes to CA alone";
    assert_eq!(first(&addressed), (HardRule::Addressed, to.to_owned()));
    let mut hidden = case();
    hidden.header.marking.releasable_to.clear();
    let edit = "the marking does not name DE: edit marking.releasable_to";
    assert_eq!(first(&hidden), (HardRule::NotReleasable, edit.to_owned()));
    let share = format!("nobody decided to share it with DE: comity proposal share {id} --with DE");
    assert_eq!(first(&Case { share: None, ..case() }), (HardRule::NotShared, share));
    let ended = Case { share: Some(Share { until: Some(at()), granted: false }), ..case() };
    let again =
        format!("the decision to share it with DE ended on 2026-11-24T00:00:00Z: comity proposal share {id} --with DE");
    assert_eq!(first(&ended), (HardRule::Ended, again));
}

#[test]
fn what_the_policies_lack_is_told_after_the_hard_rules() {
    let mut it = case();
    assert_eq!(
        missing(&it),
        ["no policy permits read_sources: `de-sources` would, but for `resource.handling == \"free\"`"]
    );
    it.header.marking.releasable_to.clear();
    it.share = None;
    it.header.marking.compartments = ["LION", "TIGER"].map(|c| c.parse().unwrap()).into();
    let told = missing(&it);
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[0].starts_with("the marking does not name DE"), "{told:?}");
    assert!(told[1].starts_with("nobody decided to share it"), "{told:?}");
    assert_eq!(told[2..4], ["forbidden by `de-no-tiger`", "`de-no-sources-of-lion` forbids read_sources"]);
    assert!(told[4].starts_with("no policy permits read_sources"), "{told:?}");

    let mut it = case();
    it.header.marking.handling = comity_core::marking::Handling::Free;
    assert_eq!(missing(&it), [""; 0], "all is allowed");
    it.share = Some(Share { granted: true, until: None });
    let unless = "no policy permits read_sources: `de-sources` would, but for `unless { resource.onward && \
                  principal.voting }`";
    assert_eq!(missing(&it), [unless]);
    it.header.tier = Tier::Secret;
    assert_eq!(
        missing(&it),
        [
            "no policy permits discover or read: `de-proposals` would, but for `resource.tier <= 3`",
            "no policy permits read_sources: `de-sources` would, but for `resource.tier <= 3` and `unless { \
             resource.onward && principal.voting }`",
        ]
    );
}

#[test]
fn ends_errors_and_absence_are_told() {
    let ended = "@id(\"a\") @until(\"2026-11-24T00:00:00Z\") permit(principal, action, resource);";
    let it = Case { file: ended, ..case() };
    assert_eq!(
        missing(&it),
        ["no policy permits discover, read or read_sources: `a` would, but for its end on 2026-11-24T00:00:00Z"]
    );
    let policy = &explain(&it).actions[0].policies[0];
    assert_eq!((policy.ended, policy.applies, policy.is_in_force()), (Some(at()), Truth::True, false));
    let ended_forbid = "@id(\"a\") permit(principal, action, resource);
        @until(\"2026-11-24T00:00:00Z\") forbid(principal, action, resource);
        @until(\"2026-11-24T00:00:00Z\") forbid(principal, action, resource) when { resource.tier + 9223372036854775807 > 0 };";
    assert_eq!(missing(&Case { file: ended_forbid, ..case() }), [""; 0]);
    let errs = "@id(\"a\") permit(principal, action, resource);
        @id(\"bad\") forbid(principal, action, resource) when { resource.tier > 0 && resource.tier + 9223372036854775807 > 0 };";
    let it = Case { file: errs, ..case() };
    assert_eq!(missing(&it), ["`bad` cannot be evaluated, which denies discover, read and read_sources: correct it"]);
    let bad = &explain(&it).actions[0].policies[1];
    let truths: Vec<Truth> = bad.conditions[0].conjuncts.iter().map(|part| part.truth).collect();
    assert_eq!((bad.applies, truths), (Truth::Error, vec![Truth::True, Truth::Error]));
    let none = "no policy permits discover, read or read_sources: add one that does";
    assert_eq!(missing(&Case { file: "", ..case() }), [none]);
    let mut other = case();
    other.party.member = "CA".parse().unwrap();
    other.header.marking.releasable_to.insert(other.party.member);
    assert_eq!(missing(&other), ["there is no policy for CA: write one and put it into force"]);
}

#[test]
fn only_some_of_many_near_permits_are_named() {
    let text: String = (0..8)
        .map(|n| format!("@id(\"p{n}\") permit(principal, action, resource) when {{ resource.tier < 1 }};"))
        .collect();
    let it = Case { file: Box::leak(text.into_boxed_str()), ..case() };
    let told = missing(&it);
    assert!(told.len() == 1 && told[0].contains("`p4` would") && !told[0].contains("`p5`"), "{told:?}");
    assert!(told[0].ends_with("; and 3 more"), "{told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Something is missing where, and only where, something is refused; and the parts add up to the decision.
    #[test]
    fn the_parts_add_up(
        (tier, tiger, lion, free) in (0..6_usize, any::<bool>(), any::<bool>(), any::<bool>()),
        (named, shared, granted, voting) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let mut it = case();
        it.header.tier = Tier::ALL[tier];
        it.party.voting = voting;
        if !named {
            it.header.marking.releasable_to.clear();
        }
        if free {
            it.header.marking.handling = comity_core::marking::Handling::Free;
        }
        for (is_in, name) in [(tiger, "TIGER"), (lion, "LION")] {
            if is_in {
                it.header.marking.compartments.insert(name.parse().unwrap());
            }
        }
        it.share = shared.then_some(Share { until: None, granted });
        let explanation = explain(&it);
        let all = explanation.actions.iter().all(|state| state.decision.allow);
        prop_assert_eq!(all, explanation.missing.is_empty(), "{:?}", explanation.missing);
        let lawful = explanation.rules.iter().all(|state| !state.forbids);
        for state in &explanation.actions {
            let says = |permits| state.policies.iter().any(|policy| policy.permits == permits && policy.is_in_force());
            prop_assert_eq!(state.decision.allow, lawful && says(true) && !says(false));
            for policy in &state.policies {
                let holds = policy.conditions.iter().all(|condition| {
                    condition.conjuncts.iter().all(|part| part.truth == Truth::True) != condition.unless
                });
                prop_assert_eq!(policy.applies == Truth::True, policy.covers() && holds);
            }
        }
    }
}
