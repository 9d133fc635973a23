//! Instants: as people type them, as the wire carries them, as tables show them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A text is no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an instant such as 2026-11-23T09:00:00Z, a day such as 2026-11-23, or how long ago: 30m, 12h, 7d, 2w"
)]
pub(crate) struct InvalidInstant;

/// When, as typed: relative to the moment of parsing where it says how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(pub(crate) Timestamp);

impl std::str::FromStr for When {
    type Err = InvalidInstant;

    fn from_str(text: &str) -> Result<Self, InvalidInstant> {
        parse(text, Timestamp::now(), &TimeZone::system()).map(Self)
    }
}

impl When {
    /// As the wire carries it.
    pub(crate) fn to_proto(self) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds: self.0.as_second(), nanos: self.0.subsec_nanosecond() }
    }
}

/// The last instant that is wanted, as typed: a day counts to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last(pub(crate) Timestamp);

impl std::str::FromStr for Last {
    type Err = InvalidInstant;

    fn from_str(text: &str) -> Result<Self, InvalidInstant> {
        last(text, Timestamp::now(), &TimeZone::system()).map(Self)
    }
}

impl Last {
    /// As the wire carries it.
    pub(crate) fn to_proto(self) -> prost_types::Timestamp {
        When(self.0).to_proto()
    }
}

fn last(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, InvalidInstant> {
    let Ok(day) = text.parse::<Date>() else { return parse(text, now, zone) };
    let next = day.tomorrow().map_err(|_| InvalidInstant)?.to_zoned_datetime(zone.clone());
    let next = next.map_err(|_| InvalidInstant)?.timestamp();
    // The log's instants are whole microseconds.
    next.checked_sub(SignedDuration::from_micros(1)).map_err(|_| InvalidInstant)
}

/// A text is no end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an instant such as 2026-12-31T12:00:00Z, a last day such as 2026-12-31, or how long from now: 12h, 30d, 8w"
)]
pub(crate) struct InvalidEnd;

/// When something ends, as typed: a day counts whole, in the zone of whoever types it; a span runs from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Until(pub(crate) Timestamp);

impl std::str::FromStr for Until {
    type Err = InvalidEnd;

    fn from_str(text: &str) -> Result<Self, InvalidEnd> {
        end(text, Timestamp::now(), &TimeZone::system()).map(Self)
    }
}

impl Until {
    /// As the wire carries it.
    pub(crate) fn to_proto(self) -> prost_types::Timestamp {
        When(self.0).to_proto()
    }
}

fn end(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, InvalidEnd> {
    if let Ok(day) = text.parse::<Date>() {
        let next = day.tomorrow().map_err(|_| InvalidEnd)?;
        return next.to_zoned_datetime(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| InvalidEnd);
    }
    let at = parse(text, now, zone).map_err(|_| InvalidEnd)?;
    // A span is read as how long ago: turned round, it is how long from now.
    if text.parse::<Timestamp>().is_ok() {
        Ok(at)
    } else {
        now.checked_add(at.until(now).map_err(|_| InvalidEnd)?).map_err(|_| InvalidEnd)
    }
}

fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, InvalidInstant> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned_datetime(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| InvalidInstant);
    }
    let unit = text.chars().last().ok_or(InvalidInstant)?;
    let number = text.strip_suffix(unit).ok_or(InvalidInstant)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return Err(InvalidInstant),
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidInstant);
    }
    let seconds = number.parse::<i64>().ok().and_then(|n| n.checked_mul(seconds)).ok_or(InvalidInstant)?;
    now.checked_sub(SignedDuration::from_secs(seconds)).map_err(|_| InvalidInstant)
}

/// RFC 3339, for programs. Nothing where the wire carries nothing, or no instant.
pub(crate) fn rfc3339(at: Option<&prost_types::Timestamp>) -> Option<String> {
    instant(at).map(|at| at.to_string())
}

/// In the zone of the reader, for people; empty where the wire carries nothing.
pub(crate) fn local(at: Option<&prost_types::Timestamp>) -> String {
    instant(at).map(local_instant).unwrap_or_default()
}

/// In the zone of the reader, with its name.
pub(crate) fn local_instant(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// In the zone of the reader with its offset from UTC, so that nobody has to know what the zone is called.
pub(crate) fn stated(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

/// A domain instant from the wire; nothing where that carries none.
pub(crate) fn core_instant(at: Option<&prost_types::Timestamp>) -> Option<comity_core::Timestamp> {
    instant(at).map(comity_core::Timestamp::from_jiff)
}

/// A domain instant, in the zone of the reader.
pub(crate) fn local_core(at: comity_core::Timestamp) -> String {
    local_instant(at.to_jiff())
}

/// In the zone of the reader, to the minute and with the day of the week: for what will happen.
pub(crate) fn announced(at: Option<&prost_types::Timestamp>) -> Option<String> {
    instant(at).map(|at| at.to_zoned_datetime(TimeZone::system()).strftime("%a %-d %b %Y %H:%M %Z").to_string())
}

/// In the zone of the reader, to the minute, for narrow columns; empty where the wire carries nothing.
pub(crate) fn minute(at: Option<&prost_types::Timestamp>) -> String {
    let text = |at: Timestamp| at.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M %Z").to_string();
    instant(at).map(text).unwrap_or_default()
}

/// So many seconds, in the two largest units.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn instant(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_instants_days_and_ages() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
            ("2026-11-20T08:00:00+02:00", "2026-11-20T06:00:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("90s", "2026-11-23T11:58:30Z"),
            ("30m", "2026-11-23T11:30:00Z"),
            ("12h", "2026-11-23T00:00:00Z"),
            ("7d", "2026-11-16T12:00:00Z"),
            ("2w", "2026-11-09T12:00:00Z"),
        ] {
            assert_eq!(parse(text, now, &zone).unwrap().to_string(), expected, "{text}");
        }
        for text in
            ["", "d", "7", "-7d", "+7d", "7 d", "7x", "1.5h", "yesterday", "2026-13-01", "99999999999999999d", "7é"]
        {
            assert_eq!(parse(text, now, &zone), Err(InvalidInstant), "{text}");
        }
    }

    #[test]
    fn a_last_day_belongs_to_what_is_wanted() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2026-11-20", "2026-11-20T22:59:59.999999Z"),
            ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
            ("2h", "2026-11-23T10:00:00Z"),
        ] {
            assert_eq!(last(text, now, &zone).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(last("9999-12-31", now, &zone), Err(InvalidInstant));
    }

    #[test]
    fn an_end_is_a_whole_day_or_a_span_from_now() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2026-12-31T08:00:00Z", "2026-12-31T08:00:00Z"),
            ("2026-12-31", "2026-12-31T23:00:00Z"),
            ("90s", "2026-11-23T12:01:30Z"),
            ("12h", "2026-11-24T00:00:00Z"),
            ("2w", "2026-12-07T12:00:00Z"),
        ] {
            assert_eq!(end(text, now, &zone).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "d", "-7d", "tomorrow", "2026-13-01"] {
            assert_eq!(end(text, now, &zone), Err(InvalidEnd), "{text}");
        }
    }

    #[test]
    fn a_broken_instant_on_the_wire_is_shown_as_none() {
        let broken = prost_types::Timestamp { seconds: i64::MAX, nanos: -1 };
        assert_eq!((rfc3339(Some(&broken)), local(Some(&broken))), (None, String::new()));
    }
}
