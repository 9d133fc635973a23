//! Dates in OFAC's remarks: `07 Feb 1944`, `Feb 1961`, `1961`, `circa 1961`, `1960 to 1962`, and ranges of all of them.

use comity_core::edtf::{DateRange, PartialDate};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Reads one claim, or nothing where it is no date that a calendar has.
pub(super) fn parse(text: &str) -> Option<DateRange> {
    let text = text.trim();
    let (body, circa) = strip_circa(text);
    let range = body.split_once(" to ").or_else(|| body.split_once('-').filter(|(a, b)| is_year(a) && is_year(b)));
    match range {
        // What is said of the beginning is said of the whole range: "circa 1960 to 1962".
        Some((from, to)) => DateRange::between(partial(from, circa)?, partial(to, circa)?).ok(),
        None => partial(body, circa).map(DateRange::single),
    }
}

fn strip_circa(text: &str) -> (&str, bool) {
    match text.split_once(' ') {
        Some((word, rest)) if word.eq_ignore_ascii_case("circa") || word.eq_ignore_ascii_case("approximately") => {
            (rest.trim(), true)
        }
        _ => (text, false),
    }
}

fn partial(text: &str, circa: bool) -> Option<PartialDate> {
    let (body, own) = strip_circa(text.trim());
    let words: Vec<&str> = body.split_whitespace().collect();
    let (year, month, day) = match *words.as_slice() {
        [year] => (year, None, None),
        [month, year] => (year, Some(self::month(month)?), None),
        [day, month, year] => (year, Some(self::month(month)?), Some(digits(day, 2)?.parse().ok()?)),
        _ => return None,
    };
    let year = is_year(year).then(|| year.parse().ok())??;
    PartialDate::new(year, month, day, circa || own).ok()
}

fn month(text: &str) -> Option<i8> {
    let text = text.to_ascii_lowercase();
    let at = MONTHS.iter().position(|month| *month == text || (text.len() == 3 && month.starts_with(&text)))?;
    i8::try_from(at + 1).ok()
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && digits(text, 4).is_some()
}

fn digits(text: &str, most: usize) -> Option<&str> {
    ((1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_shape() {
        for (text, expected) in [
            ("07 Feb 1944", "1944-02-07"),
            ("7 February 1944", "1944-02-07"),
            ("1961", "1961"),
            ("Feb 1961", "1961-02"),
            ("circa 1961", "1961~"),
            ("Circa 12 May 1961", "1961-05-12~"),
            ("1960 to 1962", "1960/1962"),
            ("circa 1960 to 1962", "1960~/1962~"),
            ("1960 to circa 1962", "1960/1962~"),
            ("circa 1960-1961", "1960~/1961~"),
            ("Jan 1960 to Mar 1960", "1960-01/1960-03"),
            ("01 Jan 1960 to 31 Dec 1962", "1960-01-01/1962-12-31"),
        ] {
            assert_eq!(parse(text).map(|d| d.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn leaves_what_is_no_date() {
        for text in
            ["", "unknown", "31 Feb 1960", "12 Foo 1960", "1962 to 1960", "61", "+961", "1960s", "1 2 3 4", "é é 1960"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
