//! Dates as sources know them: partial, uncertain, ranged. Extended Date/Time Format (ISO 8601-2:2019, annex A), the part
//! that sanctions lists need: `1961`, `1961-02`, `1961-02-07`, `1961~` (circa), `1960/1962`.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A day, a month or a year, as precise as the source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialDate {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    approximate: bool,
}

/// A date or a range of dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateRange {
    /// The date, or where the range begins.
    pub from: PartialDate,
    /// Where the range ends, inclusive; nothing for a date.
    pub to: Option<PartialDate>,
}

/// Why a text is no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDate {
    /// Not `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    #[error("`{0}` is not a date: expected 1961, 1961-02, 1961-02-07, 1961~ (circa) or 1960/1962 (a range)")]
    Shape(String),
    /// A year before 1000 or after 2999.
    #[error("year {0}: expected 1000 to 2999")]
    Year(i16),
    /// There is no such month.
    #[error("month {0}: expected 01 to 12")]
    Month(i8),
    /// There is no such day in that month.
    #[error("day {day}: {year}-{month:02} has no such day")]
    Day {
        /// The year.
        year: i16,
        /// The month.
        month: i8,
        /// The day that it lacks.
        day: i8,
    },
    /// The range ends before it begins.
    #[error("the range ends before it begins")]
    Order,
}

impl PartialDate {
    /// Puts a date together.
    ///
    /// # Errors
    /// There is no such date.
    pub fn new(year: i16, month: Option<i8>, day: Option<i8>, approximate: bool) -> Result<Self, InvalidDate> {
        if !(1000..=2999).contains(&year) {
            return Err(InvalidDate::Year(year));
        }
        if let Some(month) = month
            && !(1..=12).contains(&month)
        {
            return Err(InvalidDate::Month(month));
        }
        match (month, day) {
            (None, Some(_)) => return Err(InvalidDate::Shape(format!("{year}"))),
            (Some(month), Some(day)) if jiff::civil::Date::new(year, month, day).is_err() => {
                return Err(InvalidDate::Day { year, month, day });
            }
            _ => {}
        }
        Ok(Self { year, month, day, approximate })
    }

    /// The year.
    pub fn year(&self) -> i16 {
        self.year
    }

    /// The month, where known.
    pub fn month(&self) -> Option<i8> {
        self.month
    }

    /// The day of the month, where known.
    pub fn day(&self) -> Option<i8> {
        self.day
    }

    /// Whether the source says "circa".
    pub fn is_approximate(&self) -> bool {
        self.approximate
    }
}

impl FromStr for PartialDate {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || InvalidDate::Shape(text.chars().take(40).collect());
        let (date, approximate) = match text.strip_suffix('~') {
            Some(date) => (date, true),
            None => (text, false),
        };
        let mut parts = date.split('-');
        let mut number = |digits: usize| match parts.next() {
            None => Ok(None),
            Some(part) if part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()) => {
                part.parse::<i16>().map(Some).map_err(|_| shape())
            }
            Some(_) => Err(shape()),
        };
        let year = number(4)?.ok_or_else(shape)?;
        let month = number(2)?.map(|n| n as i8);
        let day = number(2)?.map(|n| n as i8);
        if parts.next().is_some() {
            return Err(shape());
        }
        Self::new(year, month, day, approximate)
    }
}

impl fmt::Display for PartialDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.year)?;
        if let Some(month) = self.month {
            write!(f, "-{month:02}")?;
        }
        if let Some(day) = self.day {
            write!(f, "-{day:02}")?;
        }
        if self.approximate { f.write_str("~") } else { Ok(()) }
    }
}

impl Serialize for PartialDate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PartialDate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

impl DateRange {
    /// One date.
    pub fn single(date: PartialDate) -> Self {
        Self { from: date, to: None }
    }

    /// From one date to another, both included.
    ///
    /// # Errors
    /// It would end before it begins.
    pub fn between(from: PartialDate, to: PartialDate) -> Result<Self, InvalidDate> {
        let begins = (from.year, from.month.unwrap_or(1), from.day.unwrap_or(1));
        let ends = (to.year, to.month.unwrap_or(12), to.day.unwrap_or(31));
        if ends < begins { Err(InvalidDate::Order) } else { Ok(Self { from, to: Some(to) }) }
    }
}

impl FromStr for DateRange {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((from, to)) => Self::between(from.parse()?, to.parse()?),
            None => text.parse().map(Self::single),
        }
    }
}

impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => write!(f, "{}/{to}", self.from),
            None => self.from.fmt(f),
        }
    }
}

impl Serialize for DateRange {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DateRange {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct DateVisitor;
        impl Visitor<'_> for DateVisitor {
            type Value = DateRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date such as 1961, 1961-02 or 1961-02-07")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<DateRange, E> {
                text.parse().map_err(E::custom)
            }

            // YAML reads a bare 1961 as an integer.
            fn visit_u64<E: serde::de::Error>(self, year: u64) -> Result<DateRange, E> {
                let year = i16::try_from(year).map_err(|_| E::custom("year: expected 1000 to 2999"))?;
                PartialDate::new(year, None, None, false).map(DateRange::single).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, year: i64) -> Result<DateRange, E> {
                self.visit_u64(u64::try_from(year).map_err(|_| E::custom("year: expected 1000 to 2999"))?)
            }
        }
        d.deserialize_any(DateVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_sources_say() {
        for text in ["1961", "1961~", "1961-02", "1944-02-07", "1960/1962", "1960-01-01/1962-12-31", "2024-02-29"] {
            assert_eq!(text.parse::<DateRange>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_no_calendar_has() {
        for (text, problem) in [
            ("1961-13", "month 13: expected 01 to 12"),
            ("1961-00", "month 0: expected 01 to 12"),
            ("2023-02-29", "day 29: 2023-02 has no such day"),
            ("0000", "year 0: expected 1000 to 2999"),
            ("1962/1960", "the range ends before it begins"),
        ] {
            assert_eq!(text.parse::<DateRange>().unwrap_err().to_string(), problem);
        }
        for text in ["", "61", "1961-2", "1961-02-07-01", "07/02/1961", "1961-02-0x", "+961"] {
            assert!(matches!(text.parse::<DateRange>(), Err(InvalidDate::Shape(_))), "{text}");
        }
    }

    #[test]
    fn yaml_integers_are_years() {
        assert_eq!(serde_json::from_str::<DateRange>("1961").unwrap().to_string(), "1961");
        assert!(serde_json::from_str::<DateRange>("61").is_err());
        assert!(serde_json::from_str::<DateRange>("196100").is_err());
    }
}
