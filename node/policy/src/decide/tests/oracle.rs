//! Decisions against a naive oracle, which knows neither Cedar nor any memory.

use super::*;

/// What a policy of the property test may ask, in Cedar and in plain Rust.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Always,
    TierAtMost(u8),
    Orcon,
    Tiger,
    ReleasableToCanada,
    Never,
    Kind(RecordKind),
    Onward,
    Answers,
    ThisRecord(u8),
    CeilingBelow(u8),
    Overflow,
}

impl Condition {
    fn cedar(self) -> String {
        let condition = match self {
            Self::Always => return String::new(),
            Self::TierAtMost(tier) => format!("resource.tier <= {tier}"),
            Self::Orcon => "resource.caveats.contains(\"orcon\")".to_owned(),
            Self::Tiger => return "unless { !resource.compartments.contains(\"TIGER\") }".to_owned(),
            Self::ReleasableToCanada => "resource.releasable_to.containsAny([\"CA\"])".to_owned(),
            Self::Never => "resource.handling == \"never\" && principal.voting".to_owned(),
            Self::Kind(kind) => format!("resource.kind == \"{kind}\""),
            Self::Onward => "resource.onward".to_owned(),
            Self::Answers => "resource.answers".to_owned(),
            Self::ThisRecord(n) => {
                format!("resource == Record::\"{}\"", RecordId::new(member("FR"), RecordKind::Proposal, [n; 10]))
            }
            Self::CeilingBelow(tier) => format!("principal.ceiling < {tier}"),
            Self::Overflow => "resource.tier + 9223372036854775806 > 0".to_owned(),
        };
        format!("when {{ {condition} }}")
    }

    /// `None`: it errs.
    fn holds(self, question: &Question) -> Option<bool> {
        let (header, marking) = (&question.header, &question.header.marking);
        Some(match self {
            Self::Always => true,
            Self::TierAtMost(tier) => header.tier as u8 <= tier,
            Self::Orcon => !marking.caveats.is_empty(),
            Self::Tiger => marking.compartments.iter().any(|c| c.as_str() == "TIGER"),
            Self::ReleasableToCanada => marking.releasable_to.contains(&member("CA")),
            Self::Never => marking.handling == Handling::Never && question.party.voting,
            Self::Kind(kind) => header.kind == kind,
            Self::Onward => question.share.is_some_and(|share| share.granted),
            Self::Answers => header.about.is_some(),
            Self::ThisRecord(n) => header.id == RecordId::new(member("FR"), RecordKind::Proposal, [n; 10]),
            Self::CeilingBelow(tier) => (question.party.ceiling as u8) < tier,
            Self::Overflow => return (header.tier < Tier::Restricted).then_some(true),
        })
    }
}

#[derive(Debug, Clone)]
struct Rule {
    permit: bool,
    actions: Vec<Action>,
    condition: Condition,
    /// In seconds.
    until: Option<i64>,
}

impl Rule {
    fn cedar(&self) -> String {
        let actions: Vec<String> = self.actions.iter().map(|a| format!("Action::\"{}\"", a.as_str())).collect();
        let effect = if self.permit { "permit" } else { "forbid" };
        let until = self.until.map(|until| format!("@until(\"{}\") ", second(until))).unwrap_or_default();
        let scope = format!("principal, action in [{}], resource", actions.join(", "));
        format!("{until}{effect}({scope}) {};\n", self.condition.cedar())
    }
}

#[derive(Debug, Clone)]
struct Question {
    party: Party,
    header: RecordHeader,
    share: Option<Share>,
    /// In seconds.
    at: i64,
}

fn second(n: i64) -> Timestamp {
    at(n * 1_000_000)
}

/// The decision again, as a reader of DESIGN would write it down.
fn oracle(rules: &[Rule], own: MemberId, question: &Question, action: Action) -> bool {
    let Question { party, header, share, at } = question;
    let Some(share) = share else { return false };
    let lawful = header.originator == own
        && party.status == PartyStatus::Active
        && header.tier <= party.ceiling
        && (share.granted || header.marking.releasable_to.contains(&party.member))
        && share.until.is_none_or(|until| until > second(*at))
        && header.about.is_none_or(|about| [own, party.member].contains(&about.originator()));
    let applicable: Vec<(bool, Option<bool>)> = rules
        .iter()
        .filter(|rule| rule.actions.contains(&action) && rule.until.is_none_or(|until| until > *at))
        .map(|rule| (rule.permit, rule.condition.holds(question)))
        .collect();
    lawful
        && applicable.contains(&(true, Some(true)))
        && !applicable.contains(&(false, Some(true)))
        && !applicable.iter().any(|(_, holds)| holds.is_none())
}

/// When the oracle's answer may change.
fn next_end(rules: &[Rule], question: &Question) -> Option<Timestamp> {
    let share = question.share.and_then(|share| share.until);
    let ends = rules.iter().filter_map(|rule| rule.until).map(second).chain(share);
    ends.filter(|end| *end > second(question.at)).min()
}

fn kind() -> impl Strategy<Value = RecordKind> {
    proptest::sample::select(RecordKind::ALL.to_vec())
}

fn rule() -> impl Strategy<Value = Rule> {
    let condition = prop_oneof![
        4 => Just(Condition::Always),
        4 => (0..6_u8).prop_map(Condition::TierAtMost),
        1 => Just(Condition::Orcon),
        1 => Just(Condition::Tiger),
        1 => Just(Condition::ReleasableToCanada),
        1 => Just(Condition::Never),
        1 => kind().prop_map(Condition::Kind),
        1 => Just(Condition::Onward),
        1 => Just(Condition::Answers),
        1 => (7..9_u8).prop_map(Condition::ThisRecord),
        1 => (0..6_u8).prop_map(Condition::CeilingBelow),
        1 => Just(Condition::Overflow),
    ];
    let actions = proptest::sample::subsequence(Action::ALL.to_vec(), 1..=3);
    let until = proptest::option::weighted(0.3, 1..6_i64);
    (proptest::bool::weighted(0.75), actions, condition, until).prop_map(|(permit, actions, condition, until)| Rule {
        permit,
        actions,
        condition,
        until,
    })
}

fn parties() -> impl Strategy<Value = BTreeSet<MemberId>> {
    proptest::sample::subsequence(vec!["DE", "DE", "DE", "CA", "AU", "OPCW"], 0..=6)
        .prop_map(|codes| codes.into_iter().map(member).collect())
}

fn share() -> impl Strategy<Value = Option<Share>> {
    let share = (proptest::option::weighted(0.3, 1..6_i64), proptest::bool::weighted(0.3))
        .prop_map(|(until, granted)| Share { until: until.map(second), granted });
    proptest::option::weighted(0.85, share)
}

fn header() -> impl Strategy<Value = RecordHeader> {
    let handling = proptest::sample::select(vec![Handling::Free, Handling::WithConsent, Handling::Never]);
    let tier = proptest::sample::select(Tier::ALL.to_vec());
    let about = proptest::option::weighted(0.2, proptest::sample::select(vec!["FR", "DE", "DE", "CA"]));
    let id = (proptest::bool::weighted(0.9), kind(), 7..10_u8);
    (tier.clone(), tier, any::<bool>(), any::<bool>(), handling, parties(), about, id).prop_map(
        |(tier, wording, orcon, tiger, handling, releasable_to, about, (own, kind, random))| {
            let marking = Marking {
                tier,
                caveats: orcon.then_some(Caveat::Orcon).into_iter().collect(),
                releasable_to,
                compartments: tiger.then(|| "TIGER".parse().unwrap()).into_iter().collect(),
                handling,
                national: None,
            };
            let id = RecordId::new(member(if own { "FR" } else { "AU" }), kind, [random; 10]);
            let about = about.map(|code| RecordId::new(member(code), RecordKind::Proposal, [1; 10]));
            RecordHeader { tier: tier.max(wording), about, ..RecordHeader::new(id, marking) }
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

fn question() -> impl Strategy<Value = Question> {
    (party(), header(), share(), 0..7_i64).prop_map(|(party, header, share, at)| Question { party, header, share, at })
}

fn text(rules: &[Rule]) -> String {
    rules.iter().map(Rule::cedar).collect()
}

fn ask(policies: &Policies, question: &Question) -> (Vec<Decision>, Level) {
    let Question { party, header, share, at } = question;
    let (own, share, at) = (member("FR"), share.as_ref(), second(*at));
    let decisions = Action::ALL.map(|action| policies.decide(own, party, action, header, share, at));
    (decisions.into(), policies.level(own, party, header, share, at))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn decisions_are_those_of_the_oracle(
        rules in proptest::collection::vec(rule(), 0..6),
        questions in proptest::collection::vec(question(), 4),
    ) {
        let policies = policies(&text(&rules));
        for question in &questions {
            let rules = if question.party.member == member("DE") { rules.as_slice() } else { &[] };
            let (decisions, level) = ask(&policies, question);
            let mut expected_level = None;
            for (action, decision) in Action::ALL.into_iter().zip(&decisions) {
                let expected = oracle(rules, member("FR"), question, action);
                prop_assert_eq!(decision.allow, expected, "{:?}: {:?}", action, &decision);
                prop_assert!(!decision.because.is_empty());
                prop_assert_eq!(decision.until, next_end(rules, question));
                if expected && expected_level == action_below(action) {
                    expected_level = Some(action);
                }
            }
            prop_assert_eq!(level.action, expected_level);
            prop_assert_eq!(level.until, next_end(rules, question));
            prop_assert_eq!(&level.because, &decisions[expected_level.map_or(0, |action| action as usize)].because);
        }
    }

    /// Nothing changes before the end that a decision names.
    #[test]
    fn a_decision_holds_until_its_end(
        rules in proptest::collection::vec(rule(), 0..6),
        question in question(),
        later in 0..7_i64,
    ) {
        let policies = policies(&text(&rules));
        let (decisions, _) = ask(&policies, &question);
        let then = Question { at: question.at + later, ..question };
        let (decisions_then, _) = ask(&policies, &then);
        for (decision, decision_then) in decisions.into_iter().zip(decisions_then) {
            if decision.until.is_none_or(|until| second(then.at) < until) {
                prop_assert_eq!(decision, decision_then);
            }
        }
    }

    /// Whatever was asked before, of whichever clone, the answer is that of policies that were never asked anything.
    #[test]
    fn what_is_remembered_is_what_would_be_decided(
        files in proptest::collection::vec(proptest::collection::vec(rule(), 0..5), 2),
        pool in proptest::collection::vec(question(), 1..5),
        steps in proptest::collection::vec((any::<proptest::sample::Index>(), 0..7_i64, 0..10_u8), 1..25),
    ) {
        let files: Vec<PartnerPolicy> =
            files.iter().map(|rules| PartnerPolicy::parse(member("DE"), &text(rules)).unwrap()).collect();
        let mut live = vec![Policies::new([files[0].clone()])];
        for (which, at, change) in steps {
            let last = live.last().unwrap().clone();
            match change {
                0 => live.push(last),
                1 => live.push(last.with(files[1].clone())),
                2 => live.push(last.with(files[0].clone())),
                _ => {}
            }
            let policies = which.get(&live);
            let fresh = Policies::new(policies.iter().cloned());
            let question = Question { at, ..which.get(&pool).clone() };
            prop_assert_eq!(ask(policies, &question), ask(&fresh, &question));
            prop_assert_eq!(ask(policies, &question), ask(&fresh, &question), "again");
        }
    }

    #[test]
    fn no_policy_lifts_a_hard_rule(question in question()) {
        let policies = policies("permit(principal, action, resource);");
        let Question { party, header, share, at } = &question;
        let rule = hard_rules(member("FR"), party, header, share.as_ref(), second(*at));
        for decision in ask(&policies, &question).0 {
            match rule {
                Err(rule) => prop_assert_eq!(decision.because, [rule.as_str()]),
                Ok(()) => prop_assert_eq!(decision.allow, party.member == member("DE")),
            }
        }
    }
}

fn action_below(action: Action) -> Option<Action> {
    Action::ALL.into_iter().rev().find(|other| *other < action)
}
