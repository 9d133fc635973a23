//! Instants, in whole microseconds since the Unix epoch: what PostgreSQL keeps, so nothing is lost on the way to disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC. Text form: RFC 3339 with `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: i64,
}

/// A text is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 instant such as 2026-11-23T09:00:00Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The last instant that there is, for what does not end: the last whole microsecond that jiff converts.
    pub const MAX: Self = Self { micros: 253_402_207_200_000_000 };

    /// The instant so many microseconds after the epoch; nothing outside the years that jiff knows.
    pub fn from_micros(micros: i64) -> Option<Self> {
        jiff::Timestamp::from_microsecond(micros).ok().map(|_| Self { micros })
    }

    /// Cut to whole microseconds.
    pub fn from_jiff(instant: jiff::Timestamp) -> Self {
        // Of its last second jiff reads what it does not convert back.
        Self { micros: instant.as_microsecond().min(Self::MAX.micros) }
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.micros
    }

    /// Whole seconds since the epoch.
    pub fn as_seconds(self) -> i64 {
        self.micros.div_euclid(1_000_000)
    }

    /// For display in a zone.
    pub fn to_jiff(self) -> jiff::Timestamp {
        // INVARIANT: every constructor checked the range.
        jiff::Timestamp::from_microsecond(self.micros).unwrap_or_default()
    }

    /// The year in UTC.
    pub fn year(self) -> i16 {
        self.to_jiff().to_zoned_datetime(jiff::tz::TimeZone::UTC).year()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_jiff().to_string())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_jiff())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        Ok(Self::from_jiff(instant))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_instant_is_one_and_nothing_lies_beyond() {
        assert_eq!(Timestamp::from_micros(Timestamp::MAX.as_micros()), Some(Timestamp::MAX));
        assert_eq!(Timestamp::from_micros(Timestamp::MAX.as_micros() + 1), None);
        assert_eq!(Timestamp::from_jiff(jiff::Timestamp::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.year(), 9999);
        for text in ["9999-12-30T22:00:00Z", "9999-12-30T22:00:00.5Z", "9999-12-30T22:00:00.999999999Z"] {
            let read: Timestamp = text.parse().unwrap();
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
        }
    }
}
