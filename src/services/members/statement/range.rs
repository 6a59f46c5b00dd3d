//! From when to when: dates or instants, as clients write them.

use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, Month, OffsetDateTime, Time};

pub use crate::domain::invalid::Invalid;

/// The longest range: ten years, whichever they are.
const LONGEST: Duration = Duration::days(3653);
/// The range of who doesn't say from when.
const USUAL: Duration = Duration::days(365);

/// From a moment on, up to another one that doesn't belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first moment.
    pub from: OffsetDateTime,
    /// The first moment after.
    pub to: OffsetDateTime,
}

impl Range {
    /// The range that a client means: dates are days in UTC, of which the last belongs to the range; instants are
    /// taken as they are.
    pub fn parse(
        from: Option<&str>,
        to: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Self, Vec<Invalid>> {
        let mut wrong = Vec::new();
        let start = from.map(|text| moment(text).map(|(start, _)| start));
        let end = to.map(|text| moment(text).map(|(_, end)| end));
        if start == Some(None) {
            wrong.push(malformed("from"));
        }
        if end == Some(None) {
            wrong.push(malformed("to"));
        }
        let start = start.flatten();
        if start.is_some_and(|start| start > now) {
            wrong.push(Invalid::new(
                "from",
                "in_the_future",
                "Nothing has happened since then.",
            ));
        }
        let end = end.flatten().unwrap_or(now);
        let start = start.unwrap_or(end - USUAL);
        if wrong.is_empty() && start >= end {
            wrong.push(Invalid::new(
                "from",
                "not_before_to",
                "It must be before the end of the range.",
            ));
        } else if wrong.is_empty() && end - start > LONGEST {
            wrong.push(Invalid::new(
                "from",
                "range_too_long",
                "At most ten years at once.",
            ));
        }
        if wrong.is_empty() {
            Ok(Self {
                from: start,
                to: end,
            })
        } else {
            Err(wrong)
        }
    }

    /// Whether a moment belongs to it, by Stripe's whole seconds.
    pub(super) fn holds(self, at: OffsetDateTime) -> bool {
        self.from <= at && at < self.to
    }

    /// The days on which it begins and ends, for a file's name.
    pub fn days(self) -> (Date, Date) {
        let last = self.to - Duration::NANOSECOND;
        (self.from.date(), last.date())
    }
}

/// When a text begins and ends: a day has a length, an instant none.
fn moment(text: &str) -> Option<(OffsetDateTime, OffsetDateTime)> {
    if let Some(day) = day(text) {
        let start = day.with_time(Time::MIDNIGHT).assume_utc();
        return Some((start, start.checked_add(Duration::DAY)?));
    }
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    // Of the first and the last year not every moment can be written in UTC.
    let at = (1..9999)
        .contains(&at.year())
        .then(|| at.to_offset(time::UtcOffset::UTC))?;
    Some((at, at))
}

fn day(text: &str) -> Option<Date> {
    let number = |part: &str, digits: usize| -> Option<u16> {
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| plain)
    };
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let month = Month::try_from(u8::try_from(number(month, 2)?).ok()?).ok()?;
    let day = u8::try_from(number(day, 2)?).ok()?;
    let year = number(year, 4).filter(|year| (1..9999).contains(year))?;
    Date::from_calendar_date(year.into(), month, day).ok()
}

fn malformed(field: &str) -> Invalid {
    let detail = "A date such as 2026-01-31, or an RFC 3339 time such as 2026-01-31T12:00:00Z (a + is sent as %2B).";
    Invalid::new(field, "not_a_date", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, datetime};

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:30 UTC);

    fn codes(from: Option<&str>, to: Option<&str>) -> Vec<(String, &'static str)> {
        let wrong = Range::parse(from, to, NOW).err().unwrap_or_default();
        wrong
            .into_iter()
            .map(|wrong| (wrong.field, wrong.code))
            .collect()
    }

    #[test]
    fn days_belong_to_the_range_and_instants_end_it() {
        let range = Range::parse(Some("2026-01-01"), Some("2026-01-31"), NOW).expect("a range");
        assert_eq!(range.from, datetime!(2026-01-01 0:00 UTC));
        assert_eq!(range.to, datetime!(2026-02-01 0:00 UTC));
        assert_eq!(range.days(), (date!(2026 - 01 - 01), date!(2026 - 01 - 31)));
        let (from, to) = ("2026-01-01T01:00:00+01:00", "2026-01-31T12:00:00Z");
        let range = Range::parse(Some(from), Some(to), NOW).expect("a range");
        assert_eq!(range.from, datetime!(2026-01-01 0:00 UTC));
        assert_eq!(range.to, datetime!(2026-01-31 12:00 UTC));
        assert_eq!(range.days(), (date!(2026 - 01 - 01), date!(2026 - 01 - 31)));
        assert!(range.holds(range.from) && !range.holds(range.to));
    }

    #[test]
    fn without_bounds_it_is_the_last_year() {
        let range = Range::parse(None, None, NOW).expect("a range");
        assert_eq!((range.from, range.to), (NOW - USUAL, NOW));
        let range = Range::parse(Some("2026-11-22"), None, NOW).expect("a range");
        assert_eq!(range.to, NOW);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_range_or_told_what_is_wrong(from in ".{0,40}", to in "[0-9TZ:+. -]{0,30}") {
            let range = Range::parse(Some(&from), Some(&to), NOW);
            proptest::prop_assert!(range.is_ok_and(|range| range.from < range.to) || !codes(Some(&from), Some(&to)).is_empty());
        }

        #[test]
        fn any_two_days_are_a_range_or_told_what_is_wrong(from in 0_u32..10_000, to in 0_u32..10_000, day in 0_u8..35) {
            let (from, to) = (format!("{from:04}-01-01"), format!("{to:04}-12-{day:02}"));
            match Range::parse(Some(&from), Some(&to), NOW) {
                Ok(range) => proptest::prop_assert!(range.from < range.to && range.days().0 <= range.days().1),
                Err(wrong) => proptest::prop_assert!(!wrong.is_empty()),
            }
        }
    }

    #[test]
    fn each_silly_range_is_named() {
        let of = |field: &str, code| vec![(field.to_owned(), code)];
        for text in [
            "",
            "yesterday",
            "2026-02-30",
            "2026-13-01",
            "26-01-01",
            "2026-1-1",
            "+026-01-01",
            "2026-01-01T00:00:00",
            "2026-W01-1",
            "9999-12-31T23:59:59-12:00",
            "0000-01-01T00:00:00+12:00",
            "2026-01-01 ",
            "0000-01-01",
            "9999-12-31",
        ] {
            assert_eq!(codes(Some(text), None), of("from", "not_a_date"), "{text}");
            assert_eq!(codes(None, Some(text)), of("to", "not_a_date"), "{text}");
        }
        assert_eq!(codes(Some("x"), Some("y")).len(), 2);
        assert_eq!(
            codes(Some("2026-02-01"), Some("2026-01-01")),
            of("from", "not_before_to")
        );
        let instant = Some("2026-01-01T00:00:00Z");
        assert_eq!(codes(instant, instant), of("from", "not_before_to"));
        assert_eq!(
            codes(Some("2026-11-23"), Some("2026-12-01")),
            of("from", "in_the_future")
        );
        assert_eq!(
            codes(Some("2016-01-01"), Some("2026-01-02")),
            of("from", "range_too_long")
        );
        assert_eq!(codes(Some("2016-01-01"), Some("2025-12-31")), vec![]);
        assert_eq!(codes(None, Some("0001-01-01")), vec![]);
        assert_eq!(codes(Some("0001-01-01"), Some("9998-12-31")).len(), 1);
    }
}
