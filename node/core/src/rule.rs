//! How ballots are decided: the rules, one for each kind of ballot, and the working days by which silence is counted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::violation::Violations;

/// How a ballot is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// `yes` from every member of the electorate.
    Unanimity,
    /// `yes` from at least this fraction of the electorate.
    Quorum(Fraction),
    /// Adopted by silence: nobody of those present holds or objects until the period has run.
    NoObjection(Silence),
}

/// A fraction in (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fraction {
    /// Above the line.
    pub numerator: u32,
    /// Below the line.
    pub denominator: u32,
}

impl Fraction {
    /// The smallest whole number of `count` that is at least this fraction.
    pub fn of(self, count: usize) -> usize {
        let count = count as u64;
        let part = (count * u64::from(self.numerator)).div_ceil(u64::from(self.denominator).max(1));
        usize::try_from(part).unwrap_or(usize::MAX)
    }

    fn is_valid(self) -> bool {
        self.numerator > 0 && self.numerator <= self.denominator && self.denominator <= 1_000
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

/// The silence procedure's parameters. The defaults are those of UN sanctions committees, where they have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// How long silence must last, in working days, counted from the last acknowledgement of notice.
    pub period_days: u32,
    /// Within how many working days of tabling a member acknowledges notice, or is absent.
    pub notice_days: u32,
    /// Which part of the electorate must be present for anything to be adopted.
    pub presence: Fraction,
    /// At which full hour UTC a working day closes.
    pub closing_hour: u32,
    /// How long a hold lasts, in months.
    pub hold_months: u32,
    /// By how much the other members may extend one, once, in months.
    pub extension_months: u32,
}

impl Default for Silence {
    fn default() -> Self {
        let presence = Fraction { numerator: 2, denominator: 3 };
        Self { period_days: 10, notice_days: 5, presence, closing_hour: 17, hold_months: 6, extension_months: 3 }
    }
}

impl Silence {
    const MAX_DAYS: u32 = 250;
    const MAX_MONTHS: u32 = 24;

    fn check(&self, field: &str, v: &mut Violations) {
        if !(1..=Self::MAX_DAYS).contains(&self.period_days) {
            v.push(format!("{field}.period_days"), format!("expected 1 to {} working days", Self::MAX_DAYS));
        }
        // INVARIANT: notice never outlasts the period, so when a period has run it is known who is absent.
        if !(1..=self.period_days).contains(&self.notice_days) {
            v.push(format!("{field}.notice_days"), "expected 1 to period_days working days");
        }
        if !self.presence.is_valid() {
            v.push(format!("{field}.presence"), "expected 0 < numerator/denominator <= 1");
        }
        if self.closing_hour > 23 {
            v.push(format!("{field}.closing_hour"), "expected an hour UTC, 0 to 23");
        }
        if !(1..=Self::MAX_MONTHS).contains(&self.hold_months) {
            v.push(format!("{field}.hold_months"), format!("expected 1 to {} months", Self::MAX_MONTHS));
        }
        if self.extension_months > Self::MAX_MONTHS {
            v.push(format!("{field}.extension_months"), format!("expected 0 to {} months", Self::MAX_MONTHS));
        }
    }
}

impl Rule {
    /// How many `yes` of so many voters adopt; nothing under `no_objection`, where silence does.
    pub fn needed(&self, voters: usize) -> Option<usize> {
        match self {
            Self::Unanimity => Some(voters),
            Self::Quorum(fraction) => Some(fraction.of(voters)),
            Self::NoObjection(_) => None,
        }
    }

    /// Notes what of the parameters is not as it must be.
    pub fn check(&self, field: &str, v: &mut Violations) {
        match self {
            Self::Unanimity => {}
            Self::Quorum(fraction) if fraction.is_valid() => {}
            Self::Quorum(_) => v.push(format!("{field}.quorum"), "expected 0 < numerator/denominator <= 1"),
            Self::NoObjection(silence) => silence.check(&format!("{field}.no_objection"), v),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanimity => f.write_str("unanimity"),
            Self::Quorum(fraction) => write!(f, "quorum({fraction})"),
            Self::NoObjection(s) => write!(
                f,
                "no_objection(period={},notice={},presence={},closing={},hold={},extension={})",
                s.period_days, s.notice_days, s.presence, s.closing_hour, s.hold_months, s.extension_months
            ),
        }
    }
}

/// A text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected unanimity, quorum(N/D) with 0 < N/D <= 1, or no_objection, whose parameters may be given as in \
     no_objection(period=10,notice=5,presence=2/3,closing=17,hold=6,extension=3)"
)]
pub struct InvalidRule;

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, parameters) = match text.split_once('(') {
            Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or(InvalidRule)?)),
            None => (text, None),
        };
        let rule = match (name.trim(), parameters) {
            ("unanimity", None) => Self::Unanimity,
            ("quorum", Some(fraction)) => Self::Quorum(parse_fraction(fraction)?),
            ("no_objection", parameters) => Self::NoObjection(parse_silence(parameters.unwrap_or_default())?),
            _ => return Err(InvalidRule),
        };
        let mut violations = Violations::default();
        rule.check("rule", &mut violations);
        violations.into_result().map(|()| rule).map_err(|_| InvalidRule)
    }
}

fn parse_fraction(text: &str) -> Result<Fraction, InvalidRule> {
    let (n, d) = text.split_once('/').ok_or(InvalidRule)?;
    Ok(Fraction { numerator: parse_number(n)?, denominator: parse_number(d)? })
}

fn parse_number(text: &str) -> Result<u32, InvalidRule> {
    let text = text.trim();
    // `parse` alone would take a sign as well.
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().map_err(|_| InvalidRule) } else { Err(InvalidRule) }
}

fn parse_silence(text: &str) -> Result<Silence, InvalidRule> {
    let mut silence = Silence::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or(InvalidRule)?;
        match name.trim() {
            "period" => silence.period_days = parse_number(value)?,
            "notice" => silence.notice_days = parse_number(value)?,
            "presence" => silence.presence = parse_fraction(value)?,
            "closing" => silence.closing_hour = parse_number(value)?,
            "hold" => silence.hold_months = parse_number(value)?,
            "extension" => silence.extension_months = parse_number(value)?,
            _ => return Err(InvalidRule),
        }
    }
    Ok(silence)
}

/// What a ballot decides about, as far as its rule is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BallotKind {
    /// A subject joins the list.
    List,
    /// An entry's text changes.
    Amend,
    /// An entry leaves the list.
    Delist,
    /// Two entries turn out to be one subject.
    Merge,
    /// A member or recipient is admitted, or a suspended one readmitted.
    Admit,
    /// A member or recipient is suspended.
    Suspend,
    /// A member or recipient is expelled.
    Expel,
    /// A member's lost keys are replaced.
    ReplaceKeys,
    /// A rule changes.
    ChangeRule,
    /// The rules version is raised.
    RaiseVersion,
}

impl BallotKind {
    /// Every kind, in the order of the documents.
    pub const ALL: [Self; 10] = [
        Self::List,
        Self::Amend,
        Self::Delist,
        Self::Merge,
        Self::Admit,
        Self::Suspend,
        Self::Expel,
        Self::ReplaceKeys,
        Self::ChangeRule,
        Self::RaiseVersion,
    ];

    /// As it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Amend => "amend",
            Self::Delist => "delist",
            Self::Merge => "merge",
            Self::Admit => "admit",
            Self::Suspend => "suspend",
            Self::Expel => "expel",
            Self::ReplaceKeys => "replace_keys",
            Self::ChangeRule => "change_rule",
            Self::RaiseVersion => "raise_version",
        }
    }
}

impl fmt::Display for BallotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no kind of ballot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected list, amend, delist, merge, admit, suspend, expel, replace_keys, change_rule or raise_version")]
pub struct InvalidBallotKind;

impl FromStr for BallotKind {
    type Err = InvalidBallotKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(InvalidBallotKind)
    }
}

/// The rule of each kind of ballot, and the periods that belong to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// A subject joins the list.
    pub list: Rule,
    /// An entry's text changes.
    pub amend: Rule,
    /// An entry leaves the list, where reverse silence does not apply.
    pub delist: Rule,
    /// Two entries turn out to be one subject.
    pub merge: Rule,
    /// Admission, and readmission of a suspended member.
    pub admit: Rule,
    /// Suspension.
    pub suspend: Rule,
    /// Expulsion.
    pub expel: Rule,
    /// Replacement of lost keys.
    pub replace_keys: Rule,
    /// Change of a rule.
    pub change_rule: Rule,
    /// Raising the rules version.
    pub raise_version: Rule,
    /// After how many days a delisting by the proposer, or of an entry whose measures have all ended, is adopted unless all
    /// other voting members vote to keep the entry.
    pub reverse_silence_days: u32,
    /// How often an entry is due for review, in months.
    pub review_months: u32,
}

impl Rules {
    /// The longest reverse silence, in days.
    const MAX_REVERSE_DAYS: u32 = 366;
    /// The longest time between reviews, in months.
    const MAX_REVIEW_MONTHS: u32 = 60;

    /// One rule for every kind of ballot.
    pub fn uniform(rule: Rule) -> Self {
        Self {
            list: rule,
            amend: rule,
            delist: rule,
            merge: rule,
            admit: rule,
            suspend: rule,
            expel: rule,
            replace_keys: rule,
            change_rule: rule,
            raise_version: rule,
            reverse_silence_days: 60,
            review_months: 12,
        }
    }

    /// The rule of a kind of ballot.
    pub fn of(&self, kind: BallotKind) -> Rule {
        match kind {
            BallotKind::List => self.list,
            BallotKind::Amend => self.amend,
            BallotKind::Delist => self.delist,
            BallotKind::Merge => self.merge,
            BallotKind::Admit => self.admit,
            BallotKind::Suspend => self.suspend,
            BallotKind::Expel => self.expel,
            BallotKind::ReplaceKeys => self.replace_keys,
            BallotKind::ChangeRule => self.change_rule,
            BallotKind::RaiseVersion => self.raise_version,
        }
    }

    /// Puts another rule in the place of a kind's.
    pub fn set(&mut self, kind: BallotKind, rule: Rule) {
        *match kind {
            BallotKind::List => &mut self.list,
            BallotKind::Amend => &mut self.amend,
            BallotKind::Delist => &mut self.delist,
            BallotKind::Merge => &mut self.merge,
            BallotKind::Admit => &mut self.admit,
            BallotKind::Suspend => &mut self.suspend,
            BallotKind::Expel => &mut self.expel,
            BallotKind::ReplaceKeys => &mut self.replace_keys,
            BallotKind::ChangeRule => &mut self.change_rule,
            BallotKind::RaiseVersion => &mut self.raise_version,
        } = rule;
    }

    /// Notes what is not as it must be.
    pub fn check(&self, field: &str, v: &mut Violations) {
        for kind in BallotKind::ALL {
            self.of(kind).check(&format!("{field}.{kind}"), v);
        }
        if !(1..=Self::MAX_REVERSE_DAYS).contains(&self.reverse_silence_days) {
            v.push(format!("{field}.reverse_silence_days"), format!("expected 1 to {} days", Self::MAX_REVERSE_DAYS));
        }
        if !(1..=Self::MAX_REVIEW_MONTHS).contains(&self.review_months) {
            v.push(format!("{field}.review_months"), format!("expected 1 to {} months", Self::MAX_REVIEW_MONTHS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_one_text_that_reads_back() {
        for text in ["unanimity", "quorum(2/3)", "no_objection", "no_objection(period=3,notice=1,closing=0)"] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule, "{text}");
        }
        for bad in [
            "",
            "quorum",
            "quorum(0/3)",
            "quorum(4/3)",
            "quorum(+1/3)",
            "unanimity()",
            "no_objection(period=0)",
            "no_objection(period=2,notice=3)",
            "no_objection(closing=24)",
            "no_objection(presence=3/2)",
            "no_objection(x=1)",
            "no_objection(period=1",
        ] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fraction_is_rounded_up() {
        let two_thirds = Fraction { numerator: 2, denominator: 3 };
        for (count, needed) in [(1, 1), (3, 2), (4, 3), (40, 27)] {
            assert_eq!(two_thirds.of(count), needed);
        }
    }

    #[test]
    fn each_kind_has_its_own_rule() {
        for kind in BallotKind::ALL {
            let mut rules = Rules::uniform(Rule::Unanimity);
            rules.set(kind, Rule::NoObjection(Silence::default()));
            for other in BallotKind::ALL {
                assert_eq!(rules.of(other) == Rule::Unanimity, other != kind);
            }
            assert_eq!(kind.as_str().parse::<BallotKind>().unwrap(), kind);
        }
    }
}
