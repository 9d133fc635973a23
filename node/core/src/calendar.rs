//! Working days, months and days, in UTC, as committees count them. Saturday and Sunday are no working days; a member's
//! holidays are not modelled.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};

use crate::timestamp::Timestamp;

fn date_of(instant: Timestamp) -> Date {
    instant.to_jiff().to_zoned_datetime(TimeZone::UTC).date()
}

fn is_working_day(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// When the `days`-th working day after the day of `from` closes. The day itself is not counted, whatever the hour.
pub fn close_of_working_day(from: Timestamp, days: u32, closing_hour: u32) -> Timestamp {
    let mut date = date_of(from);
    let mut left = days.max(1);
    while left > 0 {
        let Ok(next) = date.tomorrow() else { return Timestamp::MAX };
        date = next;
        left -= u32::from(is_working_day(date));
    }
    let hour = i8::try_from(closing_hour.min(23)).unwrap_or(23);
    date.at(hour, 0, 0, 0)
        .to_zoned_datetime(TimeZone::UTC)
        .map_or(Timestamp::MAX, |at| Timestamp::from_jiff(at.timestamp()))
}

/// How many working days lie between: those after the day of `from`, up to and including the day of `until`.
pub fn working_days_between(from: Timestamp, until: Timestamp) -> u32 {
    let (mut date, last) = (date_of(from), date_of(until));
    let mut days = 0;
    while date < last {
        let Ok(next) = date.tomorrow() else { break };
        date = next;
        days += u32::from(is_working_day(date));
    }
    days
}

/// The same time of day so many months later; the last day of the month where it is shorter.
pub fn months_after(from: Timestamp, months: u32) -> Timestamp {
    after(from, i64::from(months).months())
}

/// The same time of day so many calendar days later.
pub fn days_after(from: Timestamp, days: u32) -> Timestamp {
    after(from, i64::from(days).days())
}

fn after(from: Timestamp, span: Span) -> Timestamp {
    let zoned = from.to_jiff().to_zoned_datetime(TimeZone::UTC).checked_add(span);
    zoned.map_or(Timestamp::MAX, |at| Timestamp::from_jiff(at.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn weekends_do_not_count() {
        // 2026-11-20 is a Friday.
        for (from, days, close) in [
            ("2026-11-20T09:00:00Z", 1, "2026-11-23T17:00:00Z"),
            ("2026-11-20T23:59:59Z", 1, "2026-11-23T17:00:00Z"),
            ("2026-11-21T00:00:00Z", 1, "2026-11-23T17:00:00Z"),
            ("2026-11-22T12:00:00Z", 5, "2026-11-27T17:00:00Z"),
            ("2026-11-23T00:00:00Z", 10, "2026-12-07T17:00:00Z"),
        ] {
            assert_eq!(close_of_working_day(at(from), days, 17), at(close), "{from} {days}");
        }
    }

    #[test]
    fn counting_forth_and_back_agrees() {
        for start in 0..14 {
            let from = days_after(at("2026-02-23T10:30:00Z"), start);
            for days in 1..30 {
                let close = close_of_working_day(from, days, 9);
                assert_eq!(working_days_between(from, close), days, "{from} {days}");
            }
        }
        assert_eq!(working_days_between(at("2026-11-23T00:00:00Z"), at("2026-11-23T17:00:00Z")), 0);
        assert_eq!(working_days_between(at("2026-11-24T00:00:00Z"), at("2026-11-23T17:00:00Z")), 0);
    }

    #[test]
    fn months_end_where_the_month_does() {
        assert_eq!(months_after(at("2026-08-31T10:00:00Z"), 6), at("2027-02-28T10:00:00Z"));
        assert_eq!(days_after(at("2026-12-31T10:00:00Z"), 60), at("2027-03-01T10:00:00Z"));
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        assert_eq!(close_of_working_day(Timestamp::MAX, 3, 17), Timestamp::MAX);
        assert_eq!(months_after(Timestamp::MAX, 3), Timestamp::MAX);
    }
}
