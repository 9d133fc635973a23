//! Countries, by ISO 3166-1 alpha-2 code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The officially assigned codes, and XK, which passports and lists use for Kosovo.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF \
GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW \
KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL \
NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST \
SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

/// Every code, in alphabetical order.
pub fn country_codes() -> impl Iterator<Item = &'static str> {
    CODES.split(' ')
}

/// Whether two capitals are a country's code.
pub fn is_country_code(text: &str) -> bool {
    let [first, second] = text.as_bytes() else { return false };
    let follow = letter(*first).and_then(|first| BY_LETTER.get(first)).copied().unwrap_or(0);
    letter(*second).is_some_and(|second| follow & (1 << second) != 0)
}

/// For each first letter of a code, the second ones that follow it: ids of members and records are read in great numbers.
#[allow(clippy::indexing_slicing, reason = "evaluated at compile time, where nothing else can be used")]
const BY_LETTER: [u32; 26] = {
    let (codes, mut by_letter, mut at) = (CODES.as_bytes(), [0; 26], 0);
    while at < codes.len() {
        by_letter[(codes[at] - b'A') as usize] |= 1 << (codes[at + 1] - b'A');
        at += 3;
    }
    by_letter
};

fn letter(byte: u8) -> Option<usize> {
    byte.is_ascii_uppercase().then(|| usize::from(byte - b'A'))
}

/// A country.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountryCode(&'static str);

impl CountryCode {
    /// The two capitals.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// A text is no country.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a country: expected an ISO 3166-1 alpha-2 code such as SY")]
pub struct InvalidCountry(String);

impl FromStr for CountryCode {
    type Err = InvalidCountry;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        country_codes()
            .find(|code| *code == text)
            .map(Self)
            .ok_or_else(|| InvalidCountry(text.chars().take(40).collect()))
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl Serialize for CountryCode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for CountryCode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_codes() {
        assert_eq!(country_codes().count(), 250);
        assert!("SY".parse::<CountryCode>().is_ok());
        for (a, b) in ('@'..='[').flat_map(|a| ('@'..='[').map(move |b| (a, b))) {
            let text = format!("{a}{b}");
            assert_eq!(is_country_code(&text), country_codes().any(|code| code == text), "{text}");
        }
        for bad in ["", "sy", "ZZ", "SYR", "Syria", " SY"] {
            assert!(bad.parse::<CountryCode>().is_err(), "{bad}");
        }
    }
}
