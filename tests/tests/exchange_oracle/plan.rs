//! What a case is drawn from: what members do, in which order, and the policies that they write, as Cedar and in plain Rust.

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use crate::oracle::{Asked, Marking};

/// The members of every case. An accreditation for each: Germany's is the lowest.
pub const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];
/// By number, as [`TIERS`] counts.
pub const CEILINGS: [u8; 3] = [4, 3, 4];
pub const TIERS: [&str; 6] = ["public", "official", "restricted", "confidential", "secret", "top_secret"];
pub const HANDLING: [&str; 3] = ["free", "with_consent", "never"];
pub const ACTIONS: [&str; 3] = ["discover", "read", "read_sources"];
pub const KINDS: [&str; 3] = ["proposal", "incident", "evidence"];

/// How long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Never,
    /// So soon that a test can wait for it.
    Soon,
    /// After what was to end soon at the same time.
    Later,
    /// After every test.
    Far,
}

/// What one member does, or what happens to a line between two.
#[derive(Debug, Clone)]
pub enum Step {
    Draft {
        by: usize,
        kind: &'static str,
        marking: Marking,
        links: Vec<Index>,
    },
    Share {
        record: Index,
        with: Vec<usize>,
        end: End,
    },
    Revise {
        record: Index,
        marking: Marking,
        links: Vec<Index>,
    },
    Withdraw {
        record: Index,
    },
    Policy {
        by: usize,
        party: usize,
        rules: Vec<Rule>,
    },
    Opine {
        copy: Index,
    },
    Request {
        copy: Index,
        end: End,
    },
    Answer {
        request: Index,
        granted: bool,
        end: Option<End>,
    },
    Grant {
        record: Index,
        to: Index,
        end: End,
    },
    Recall {
        record: Index,
    },
    /// Every line is cut: pages leave; the first so many of each arrive, the others late, and no receipt does.
    Cut {
        arrive: usize,
    },
    /// Until the next of what ends soon has ended.
    Wait,
    /// All nodes, with another table of equivalences, and a list in which somebody is suspended or nobody is.
    Restart {
        wording_counts: bool,
        suspended: Option<usize>,
    },
}

/// One policy of a file.
#[derive(Debug, Clone)]
pub struct Rule {
    permit: bool,
    actions: Vec<&'static str>,
    condition: Condition,
    end: End,
}

#[derive(Debug, Clone)]
enum Condition {
    Always,
    TierAtMost(u8),
    Tiger,
    Orcon,
    NeverInCourt,
    Kind(&'static str),
    Onward,
    Answers,
    ThisRecord(Index),
    /// Errs above `official`.
    Overflow,
}

/// A policy that was written: its rules, with what was not known before.
#[derive(Debug, Clone)]
pub struct Written {
    rule: Rule,
    /// For [`Condition::ThisRecord`].
    record: Option<String>,
    /// In microseconds since the epoch.
    pub until: Option<i64>,
}

impl Rule {
    /// Permits all that the hard rules let through.
    pub fn everything() -> Self {
        Self::everything_until(End::Never)
    }

    pub fn everything_until(end: End) -> Self {
        Self { permit: true, actions: ACTIONS.to_vec(), condition: Condition::Always, end }
    }

    /// Forbids everything, until then.
    pub fn nothing(end: End) -> Self {
        Self { permit: false, end, ..Self::everything() }
    }

    /// Puts in what is known now: when `Soon` and `Far` are, and which records there are.
    pub fn written(&self, ends: impl Fn(End) -> Option<i64>, records: &[String]) -> Written {
        let record = match &self.condition {
            Condition::ThisRecord(index) if !records.is_empty() => Some(index.get(records).clone()),
            _ => None,
        };
        Written { rule: self.clone(), record, until: ends(self.end) }
    }
}

impl Written {
    /// As an officer writes it.
    pub fn cedar(&self, until: Option<String>) -> String {
        let Rule { permit, actions, condition, .. } = &self.rule;
        let condition = match condition {
            Condition::Always => String::new(),
            Condition::TierAtMost(tier) => format!("when {{ resource.tier <= {tier} }}"),
            Condition::Tiger => "unless { !resource.compartments.contains(\"TIGER\") }".to_owned(),
            Condition::Orcon => "when { resource.caveats.contains(\"orcon\") }".to_owned(),
            Condition::NeverInCourt => "when { resource.handling == \"never\" && principal.voting }".to_owned(),
            Condition::Kind(kind) => format!("when {{ resource.kind == \"{kind}\" }}"),
            Condition::Onward => "when { resource.onward }".to_owned(),
            Condition::Answers => "when { resource.answers }".to_owned(),
            Condition::ThisRecord(_) => {
                let record = self.record.as_deref().unwrap_or("FR-P-0000000000000000");
                format!("when {{ resource == Record::\"{record}\" }}")
            }
            Condition::Overflow => "when { resource.tier + 9223372036854775806 > 0 }".to_owned(),
        };
        let actions: Vec<String> = actions.iter().map(|action| format!("Action::\"{action}\"")).collect();
        let until = until.map(|until| format!("@until(\"{until}\") ")).unwrap_or_default();
        let effect = if *permit { "permit" } else { "forbid" };
        format!("{until}{effect}(principal, action in [{}], resource) {condition};\n", actions.join(", "))
    }

    fn holds(&self, asked: &Asked<'_>) -> Result<bool, Errs> {
        Ok(match &self.rule.condition {
            Condition::Always => true,
            Condition::TierAtMost(tier) => asked.tier <= *tier,
            Condition::Tiger => asked.marking.tiger,
            Condition::Orcon => asked.marking.orcon,
            // Every member of a case votes.
            Condition::NeverInCourt => asked.marking.handling == "never",
            Condition::Kind(kind) => asked.kind == *kind,
            Condition::Onward => asked.onward,
            Condition::Answers => asked.answers,
            Condition::ThisRecord(_) => self.record.as_deref() == Some(asked.record),
            Condition::Overflow if asked.tier > 1 => return Err(Errs),
            Condition::Overflow => true,
        })
    }
}

struct Errs;

/// Whether a file lets an action happen: something permits it, nothing forbids it, nothing errs.
pub fn permits(file: &[Written], action: &str, asked: &Asked<'_>, at: i64) -> bool {
    let mut permitted = false;
    for policy in file {
        if policy.until.is_some_and(|until| until <= at) || !policy.rule.actions.contains(&action) {
            continue;
        }
        match policy.holds(asked) {
            Err(Errs) => return false,
            Ok(true) if policy.rule.permit => permitted = true,
            Ok(true) => return false,
            Ok(false) => {}
        }
    }
    permitted
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![10 => Just(End::Never), 4 => Just(End::Soon), 1 => Just(End::Later), 2 => Just(End::Far)]
}

fn rule() -> impl Strategy<Value = Rule> {
    let condition = prop_oneof![
        5 => Just(Condition::Always),
        5 => (1..=4_u8).prop_map(Condition::TierAtMost),
        1 => Just(Condition::Tiger),
        1 => Just(Condition::Orcon),
        1 => Just(Condition::NeverInCourt),
        2 => select(vec!["proposal", "incident", "evidence", "opinion", "request", "grant"]).prop_map(Condition::Kind),
        2 => Just(Condition::Onward),
        1 => Just(Condition::Answers),
        2 => any::<Index>().prop_map(Condition::ThisRecord),
        1 => Just(Condition::Overflow),
    ];
    let actions = prop_oneof![
        2 => Just(vec!["discover", "read"]),
        2 => Just(ACTIONS.to_vec()),
        2 => subsequence(ACTIONS.to_vec(), 1..=3),
    ];
    let end = prop_oneof![8 => Just(End::Never), 2 => Just(End::Soon), 1 => Just(End::Far)];
    (proptest::bool::weighted(0.8), actions, condition, end).prop_map(|(permit, actions, condition, end)| Rule {
        permit,
        actions,
        condition,
        end,
    })
}

pub fn file() -> impl Strategy<Value = Vec<Rule>> {
    prop_oneof![3 => proptest::collection::vec(rule(), 0..4), 2 => Just(vec![Rule::everything()])]
}

fn marking() -> impl Strategy<Value = Marking> {
    let to = prop_oneof![3 => Just(vec![0, 1, 2]), 2 => subsequence(vec![0, 1, 2], 0..=3)];
    let sometimes = || proptest::bool::weighted(0.25);
    (0..=4_u8, to, sometimes(), sometimes(), select(HANDLING.to_vec()), sometimes()).prop_map(
        |(tier, to, tiger, orcon, handling, wording)| Marking {
            tier,
            to: to.into_iter().collect(),
            tiger,
            orcon,
            handling,
            wording,
        },
    )
}

fn links() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..4)
}

fn member() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0_usize), 1 => Just(1_usize), 1 => Just(2_usize)]
}

fn draft() -> impl Strategy<Value = Step> {
    (member(), select(vec!["proposal", "incident", "evidence", "evidence"]), marking(), links())
        .prop_map(|(by, kind, marking, links)| Step::Draft { by, kind, marking, links })
}

fn share() -> impl Strategy<Value = Step> {
    let with = prop_oneof![2 => Just(vec![0, 1, 2]), 1 => subsequence(vec![0, 1, 2], 1..=2)];
    (any::<Index>(), with, end()).prop_map(|(record, with, end)| Step::Share { record, with, end })
}

/// Two different members.
fn pair() -> impl Strategy<Value = (usize, usize)> {
    (0..3_usize, 1..3_usize).prop_map(|(from, further)| (from, (from + further) % 3))
}

fn step() -> impl Strategy<Value = Step> {
    let record = any::<Index>;
    prop_oneof![
        6 => draft(),
        10 => share(),
        3 => (record(), marking(), links()).prop_map(|(record, marking, links)| Step::Revise { record, marking, links }),
        1 => record().prop_map(|record| Step::Withdraw { record }),
        4 => (pair(), file()).prop_map(|((by, party), rules)| Step::Policy { by, party, rules }),
        2 => record().prop_map(|copy| Step::Opine { copy }),
        4 => (record(), end()).prop_map(|(copy, end)| Step::Request { copy, end }),
        4 => (record(), proptest::bool::weighted(0.8), proptest::option::of(end()))
            .prop_map(|(request, granted, end)| Step::Answer { request, granted, end }),
        2 => (record(), record(), end()).prop_map(|(record, to, end)| Step::Grant { record, to, end }),
        2 => record().prop_map(|record| Step::Recall { record }),
        1 => (0..3_usize).prop_map(|arrive| Step::Cut { arrive }),
        2 => Just(Step::Wait),
        2 => (any::<bool>(), proptest::option::weighted(0.5, 0..3_usize))
            .prop_map(|(wording_counts, suspended)| Step::Restart { wording_counts, suspended }),
    ]
}

/// A case: the policies that are in force first, by originator and party; what is there first; and rounds of steps, after each of
/// which the nodes exchange what they have.
#[derive(Debug, Clone)]
pub struct Case {
    pub policies: Vec<((usize, usize), Vec<Rule>)>,
    pub rounds: Vec<Vec<Step>>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    let policies =
        proptest::collection::vec(file(), pairs.len()).prop_map(move |files| pairs.into_iter().zip(files).collect());
    let begin = (proptest::collection::vec(draft(), 2..5), proptest::collection::vec(share(), 1..4))
        .prop_map(|(drafts, shares)| [drafts, shares].concat());
    // What was sent and did not arrive is decided on again once something has changed.
    let cut = ((0..3_usize).prop_map(|arrive| Step::Cut { arrive }), proptest::collection::vec(step(), 0..4))
        .prop_map(|(cut, then)| [vec![cut], then].concat());
    let round = (proptest::collection::vec(step(), 1..4), proptest::option::weighted(0.6, cut))
        .prop_map(|(first, then)| [first, then.unwrap_or_default()].concat());
    let rounds = proptest::collection::vec(round, 4..9);
    (policies, begin, rounds).prop_map(|(policies, begin, mut rounds): (_, _, Vec<Vec<Step>>)| {
        rounds.insert(0, begin);
        Case { policies, rounds }
    })
}
