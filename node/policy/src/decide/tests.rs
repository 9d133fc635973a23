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

fn remembered(policies: &Policies) -> usize {
    policies.memory.answers.read().unwrap().len()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

struct Case {
    policies: Policies,
    party: Party,
    header: RecordHeader,
    share: Option<Share>,
}

impl Case {
    fn new(policies: Policies) -> Self {
        let (fr, de) = (member("FR"), member("DE"));
        let mut marking = Marking::originator_only(Tier::Confidential);
        marking.releasable_to.insert(de);
        let party = Party { member: de, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
        let header = RecordHeader::new(RecordId::new(fr, RecordKind::Proposal, [7; 10]), marking);
        Self { policies, party, header, share: Some(Share::PLAIN) }
    }

    fn decide(&self, action: Action) -> Decision {
        self.decide_at(action, at(0))
    }

    fn decide_at(&self, action: Action, at: Timestamp) -> Decision {
        self.policies.decide(member("FR"), &self.party, action, &self.header, self.share.as_ref(), at)
    }

    fn level(&self) -> Level {
        self.level_at(at(0))
    }

    fn level_at(&self, at: Timestamp) -> Level {
        self.policies.level(member("FR"), &self.party, &self.header, self.share.as_ref(), at)
    }

    fn tiger(&mut self) {
        self.header.marking.compartments.insert("TIGER".parse().unwrap());
    }
}

#[test]
fn the_example_decides_as_it_reads() {
    let mut case = Case::new(policies(EXAMPLE));
    let allowed = case.decide(Action::Read);
    // One of its policies ends: until then this holds.
    let until = Some("2099-12-31T00:00:00Z".parse().unwrap());
    assert_eq!(allowed, Decision { allow: true, because: vec!["de-proposals".to_owned()], until });
    assert_eq!(case.decide(Action::ReadSources), Decision { until, ..Decision::deny("default-deny") });
    let level = case.level();
    assert_eq!((level.action, level.because), (Some(Action::Read), vec!["de-proposals".to_owned()]));

    case.tiger();
    assert_eq!(case.decide(Action::Read), Decision { until, ..Decision::deny("de-no-tiger") });
    let level = case.level();
    assert_eq!((level.action, level.because), (None, vec!["de-no-tiger".to_owned()]));
}

#[test]
fn no_file_an_empty_file_and_comments_deny_everything() {
    for policies in [Policies::default(), policies(""), policies("// to be written")] {
        let case = Case::new(policies);
        for action in Action::ALL {
            assert_eq!(case.decide(action), Decision::deny("default-deny"));
        }
        assert_eq!(case.level().action, None);
    }
}

#[test]
fn one_partners_file_says_nothing_about_another() {
    let mut case = Case::new(policies("permit(principal, action, resource);"));
    case.party.member = member("CA");
    case.header.marking.releasable_to.insert(member("CA"));
    assert_eq!(case.decide(Action::Discover), Decision::deny("default-deny"));
}

/// Cedar answers Allow here: the forbid that errs is passed over.
#[test]
fn a_policy_that_errs_denies() {
    let overflow = "when { resource.tier + 9223372036854775807 > 0 };";
    let all = "@id(\"all\") permit(principal, action, resource);";
    for effect in ["forbid", "permit"] {
        let case = Case::new(policies(&format!("{all} @id(\"bad\") {effect}(principal, action, resource) {overflow}")));
        assert_eq!(case.decide(Action::Read), Decision::deny("error:bad"), "{effect}");
        assert_eq!(case.level().because, ["error:bad"]);
        assert_eq!(case.decide(Action::Read), Decision::deny("error:bad"), "remembered");
    }
}

#[test]
fn a_higher_level_needs_the_lower_ones() {
    let case = Case::new(policies("permit(principal, action == Action::\"read_sources\", resource);"));
    assert!(case.decide(Action::ReadSources).allow);
    assert_eq!(case.level().action, None);
}

#[test]
fn a_policy_may_name_one_record() {
    let mut case = Case::new(Policies::default());
    case.policies = policies(&format!(
        "permit(principal, action, resource); \
         @id(\"not-this-one\") forbid(principal, action, resource == Record::\"{}\");",
        case.header.id
    ));
    let like = RecordId::new(member("FR"), RecordKind::Proposal, [8; 10]);
    for _ in 0..2 {
        assert_eq!(case.decide(Action::Discover), Decision::deny("not-this-one"));
        let named = std::mem::replace(&mut case.header.id, like);
        assert!(case.decide(Action::Discover).allow, "the answer on the one is not remembered for its like");
        case.header.id = named;
    }
}

#[test]
fn policies_see_what_the_record_counts_as_and_how_it_goes() {
    let mut case = Case::new(policies("permit(principal, action, resource) when { resource.tier <= 3 };"));
    assert!(case.decide(Action::Read).allow);
    case.header.tier = Tier::Secret;
    assert_eq!(case.decide(Action::Read), Decision::deny("default-deny"), "the national wording is worth more");

    let mut case = Case::new(policies("permit(principal, action, resource) when { resource.onward };"));
    assert!(!case.decide(Action::Read).allow);
    case.header.marking.releasable_to.clear();
    case.share = Some(Share { granted: true, until: None });
    assert!(case.decide(Action::Read).allow);

    let mut case = Case::new(policies("permit(principal, action, resource) when { resource.answers };"));
    assert!(!case.decide(Action::Read).allow);
    case.header.about = Some(RecordId::new(member("DE"), RecordKind::Proposal, [8; 10]));
    assert!(case.decide(Action::Read).allow);
}

#[test]
fn a_policy_ends_at_its_instant() {
    let case = Case::new(policies(
        "@id(\"a\") @until(\"1970-01-01T00:00:02Z\") permit(principal, action, resource);
         @id(\"b\") @until(\"1970-01-01T00:00:01Z\") forbid(principal, action == Action::\"read_sources\", resource);
         @id(\"c\") @until(\"1970-01-01T00:00:03Z\") permit(principal, action, resource) when { resource.tier > 4 };",
    ));
    let second = |n: i64| at(n * 1_000_000);
    let level = |at| {
        let level = case.level_at(at);
        assert_eq!(case.decide_at(Action::Discover, at).until, level.until);
        (level.action, level.because.join(" "), level.until)
    };
    let (read, sources) = (Some(Action::Read), Some(Action::ReadSources));
    let (a, none) = ("a".to_owned(), "default-deny".to_owned());
    // Back and forth, so that an answer of one time would be seen at another.
    for _ in 0..2 {
        assert_eq!(level(at(999_999)), (read, a.clone(), Some(second(1))), "a forbid that ends sets the end");
        assert_eq!(level(second(1)), (sources, a.clone(), Some(second(2))));
        assert_eq!(level(second(2)), (None, none.clone(), Some(second(3))), "one that does not apply sets it, too");
        assert_eq!(level(second(3)), (None, none.clone(), None));
    }
}

#[test]
fn the_end_of_a_share_is_an_end() {
    let mut case = Case::new(policies("@until(\"1970-01-01T00:00:02Z\") permit(principal, action, resource);"));
    let (one, two) = (at(1_000_000), at(2_000_000));
    case.share = Some(Share { until: Some(one), granted: false });
    assert_eq!(case.level().until, Some(one));
    case.share = Some(Share { until: Some(at(3_000_000)), granted: false });
    assert_eq!(case.level().until, Some(two));
    case.share = Some(Share { until: Some(one), granted: false });
    let ended = case.level_at(one);
    assert_eq!((ended.action, ended.because, ended.until), (None, vec!["hard:ended".to_owned()], Some(two)));
}

#[test]
fn the_memory_is_bounded_and_forgets() {
    let case = Case::new(policies("permit(principal, action, resource);"));
    let mut header = case.header.clone();
    for n in 0..5_000_u32 {
        header.marking.compartments = [format!("C{n}").parse().unwrap()].into();
        let level = case.policies.level(member("FR"), &case.party, &header, case.share.as_ref(), at(0));
        assert_eq!(level.action, Some(Action::ReadSources));
    }
    assert_eq!(remembered(&case.policies), 5_000 - 4_096);
    assert_eq!(remembered(&case.policies.clone()), 5_000 - 4_096, "clones share it");
    assert_eq!(remembered(&case.policies.with(PartnerPolicy::parse(member("CA"), "").unwrap())), 0);
}

#[test]
fn what_is_remembered_is_used_and_a_hard_rule_is_not_forgotten() {
    let mut case = Case::new(policies("permit(principal, action, resource);"));
    assert!(case.decide(Action::Read).allow);
    assert!(case.decide(Action::Discover).allow);
    // The same question of another record, without its national wording.
    case.header.id = RecordId::new(member("FR"), RecordKind::Proposal, [9; 10]);
    case.header.marking.national = Some("CONFIDENTIEL".to_owned());
    assert!(case.level().action.is_some());
    assert_eq!(remembered(&case.policies), 1);
    case.party.status = PartyStatus::Suspended;
    assert_eq!(case.decide(Action::Read), Decision::deny("hard:not-active"));
}

/// INVARIANT of the memory: whatever Cedar is shown is in the key.
#[test]
fn two_questions_that_policies_tell_apart_are_not_remembered_as_one() {
    type Change<'a> = &'a dyn Fn(&mut Case);
    let about = RecordId::new(member("DE"), RecordKind::Proposal, [8; 10]);
    let changes: [(&str, Change); 11] = [
        ("resource.kind == \"opinion\"", &|case| case.header.kind = RecordKind::Opinion),
        ("resource.tier == 4", &|case| case.header.tier = Tier::Secret),
        ("resource.caveats.contains(\"orcon\")", &|case| _ = case.header.marking.caveats.insert(Caveat::Orcon)),
        ("resource.compartments.contains(\"TIGER\")", &Case::tiger),
        ("resource.handling == \"never\"", &|case| case.header.marking.handling = Handling::Never),
        ("resource.releasable_to.contains(\"CA\")", &|case| {
            case.header.marking.releasable_to.insert(member("CA"));
        }),
        ("resource.onward", &|case| case.share = Some(Share { granted: true, until: None })),
        ("resource.answers", &|case| case.header.about = Some(about)),
        ("!principal.voting", &|case| case.party.voting = false),
        ("principal.ceiling == 5", &|case| case.party.ceiling = Tier::TopSecret),
        ("resource.originator == \"AU\"", &|case| case.header.originator = member("AU")),
    ];
    for (condition, change) in changes {
        let ask = |case: &Case| {
            let (own, share) = (case.header.originator, case.share.as_ref());
            case.policies.level(own, &case.party, &case.header, share, at(0)).action.is_some()
        };
        let file = policies(&format!("permit(principal, action, resource) when {{ {condition} }};"));
        let (before, mut after) = (Case::new(file.clone()), Case::new(file));
        change(&mut after);
        assert!(!ask(&before), "{condition}");
        assert!(ask(&after), "{condition}");
        assert!(!ask(&before), "{condition}");
    }
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

mod oracle;
