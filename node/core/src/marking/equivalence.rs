//! What a national wording means: a dated table, which is data.
//!
//! A wording can only make a record count as more secret than its tier says, never as less.

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::marking::{Marking, Tier};
use crate::member::MemberId;
use crate::timestamp::Timestamp;
use crate::violation::Violations;

/// One line: what a country's wording means, and while it was in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equivalence {
    /// Whose wording it is.
    pub country: MemberId,
    /// As it stands on documents.
    pub wording: String,
    /// What it counts as.
    pub tier: Tier,
    /// When it came into use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When it went out of use. What was marked before that keeps its meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The act that says so.
    pub source: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    equivalences: Vec<Equivalence>,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivalences {
    lines: Vec<(String, Equivalence)>,
    sha256: [u8; 32],
}

impl Equivalences {
    /// The format's name.
    pub const FORMAT: &str = "comity-equivalences/1";
    /// The largest table, as JSON.
    pub const MAX_BYTES: usize = 1024 * 1024;

    /// The table that comes with comity.
    pub const BUILT_IN: &str = include_str!("../../data/equivalences.json");

    /// Reads and checks a table.
    ///
    /// # Errors
    /// Every line that is not as it must be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Violations::one("document", format!("{} bytes: at most {}", bytes.len(), Self::MAX_BYTES)));
        }
        let document: Document = canonical::from_slice(bytes)?;
        let mut violations = Violations::default();
        if document.format != Self::FORMAT {
            violations.push("format", format!("expected {}", Self::FORMAT));
        }
        let mut lines = Vec::with_capacity(document.equivalences.len());
        for (i, line) in document.equivalences.into_iter().enumerate() {
            let wording = folded(&line.wording);
            if wording.is_empty() || line.wording.chars().count() > Marking::NATIONAL_MAX_CHARS {
                violations.push(
                    format!("equivalences[{i}].wording"),
                    format!("expected 1 to {} characters", Marking::NATIONAL_MAX_CHARS),
                );
            }
            if line.from.zip(line.until).is_some_and(|(from, until)| from >= until) {
                violations.push(format!("equivalences[{i}].until"), "expected later than `from`");
            }
            lines.push((wording, line));
        }
        violations.into_result()?;
        Ok(Self { lines, sha256: crate::sha256(bytes) })
    }

    /// A digest of the table: decisions made by another are void.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// What a record counts as: its tier, or the higher one that its originator's wording meant when it was written.
    pub fn tier(&self, originator: MemberId, marking: &Marking, written: Timestamp) -> Tier {
        let meant = marking.national.as_ref().and_then(|wording| self.find(originator, wording, written));
        marking.tier.max(meant.map_or(Tier::Public, |line| line.tier))
    }

    /// The line for a wording: the longest that it begins with, among those the one in use at that time or, if none was, the
    /// last one before.
    pub fn find(&self, country: MemberId, wording: &str, written: Timestamp) -> Option<&Equivalence> {
        let wording = folded(wording);
        let fits = |line: &str| {
            let rest = wording.strip_prefix(line)?;
            (!rest.starts_with(char::is_alphanumeric)).then_some(())
        };
        let begun = |line: &Equivalence| line.from.is_none_or(|from| from <= written);
        let ended = |line: &Equivalence| line.until.filter(|until| *until <= written);
        self.lines
            .iter()
            .filter(|(text, line)| line.country == country && begun(line) && fits(text).is_some())
            .max_by_key(|(text, line)| (text.len(), ended(line).is_none(), ended(line), line.tier))
            .map(|(_, line)| line)
    }
}

/// Capitals, one space between words, and no accents to differ by.
fn folded(wording: &str) -> String {
    let plain = wording.chars().map(|c| match c {
        'À' | 'Á' | 'Â' | 'Ã' | 'Å' | 'à' | 'á' | 'â' | 'ã' | 'å' => 'A',
        'Ç' | 'ç' => 'C',
        'È' | 'É' | 'Ê' | 'Ë' | 'è' | 'é' | 'ê' | 'ë' => 'E',
        'Ì' | 'Í' | 'Î' | 'Ï' | 'ì' | 'í' | 'î' | 'ï' => 'I',
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'ò' | 'ó' | 'ô' | 'õ' => 'O',
        'Ù' | 'Ú' | 'Û' | 'ù' | 'ú' | 'û' => 'U',
        '-' | '_' | '\u{2010}'..='\u{2015}' => ' ',
        other => other,
    });
    let upper: String = plain.flat_map(char::to_uppercase).collect();
    upper.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn tier(country: &str, tier: Tier, wording: &str, written: &str) -> Tier {
        let table = Equivalences::from_json(Equivalences::BUILT_IN.as_bytes()).unwrap();
        let marking = Marking { national: Some(wording.to_owned()), ..Marking::originator_only(tier) };
        table.tier(country.parse().unwrap(), &marking, at(written))
    }

    #[test]
    fn a_wording_raises_and_never_lowers() {
        let now = "2026-11-24T00:00:00Z";
        assert_eq!(tier("FR", Tier::Official, "Très secret", now), Tier::TopSecret);
        assert_eq!(tier("FR", Tier::Official, "SECRET – SPÉCIAL FRANCE", now), Tier::Secret);
        assert_eq!(tier("DE", Tier::Public, "VS-NfD", now), Tier::Restricted);
        assert_eq!(tier("DE", Tier::Public, "streng geheim", now), Tier::TopSecret);
        assert_eq!(tier("FR", Tier::TopSecret, "Diffusion restreinte", now), Tier::TopSecret);
        // Another country's wording, a wording that nobody knows, and a word that only begins alike say nothing.
        assert_eq!(tier("FR", Tier::Official, "GEHEIM", now), Tier::Official);
        assert_eq!(tier("FR", Tier::Official, "POUR MEMOIRE", now), Tier::Official);
        assert_eq!(tier("DE", Tier::Official, "GEHEIMNIS", now), Tier::Official);
    }

    #[test]
    fn a_wording_means_what_it_meant_when_it_was_written() {
        // France gave up `confidentiel défense` on 1 July 2021 and moved its `secret` then.
        assert_eq!(tier("FR", Tier::Public, "CONFIDENTIEL DÉFENSE", "2019-01-01T00:00:00Z"), Tier::Confidential);
        assert_eq!(tier("FR", Tier::Public, "CONFIDENTIEL DÉFENSE", "2026-01-01T00:00:00Z"), Tier::Confidential);
        assert_eq!(tier("FR", Tier::Public, "SECRET DÉFENSE", "2019-01-01T00:00:00Z"), Tier::Secret);
        let table = Equivalences::from_json(Equivalences::BUILT_IN.as_bytes()).unwrap();
        let line = |when| table.find("GB".parse().unwrap(), "Confidential", at(when)).map(|line| line.tier);
        assert_eq!(line("2010-01-01T00:00:00Z"), Some(Tier::Confidential));
        assert_eq!(line("2026-01-01T00:00:00Z"), Some(Tier::Confidential));
    }

    #[test]
    fn a_table_is_checked() {
        for (text, field) in [
            (r#"{"format":"comity-equivalences/2","equivalences":[]}"#, "format"),
            (
                r#"{"format":"comity-equivalences/1","equivalences":[{"country":"FR","wording":" ","tier":"secret","source":"s"}]}"#,
                "wording",
            ),
            (
                r#"{"format":"comity-equivalences/1","equivalences":[{"country":"FR","wording":"A","tier":"secret","source":"s","colour":"red"}]}"#,
                "colour",
            ),
            (
                r#"{"format":"comity-equivalences/1","equivalences":[{"country":"FR","wording":"A","tier":"secret","source":"s","from":"2020-01-01T00:00:00Z","until":"2020-01-01T00:00:00Z"}]}"#,
                "until",
            ),
        ] {
            let refused = Equivalences::from_json(text.as_bytes()).unwrap_err();
            assert!(refused.to_string().contains(field), "{refused}");
        }
    }
}
