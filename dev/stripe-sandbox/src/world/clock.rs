//! The sandbox clock: wall time plus an offset; while due work runs, the moment at which it was due.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime};

/// Wall time in milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the sandbox asks for wall time"
)]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Wall time in seconds since 1970.
pub(crate) fn wall() -> i64 {
    wall_ms() / 1000
}

/// The clock that `created`, expiries and the `Date` header follow.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// Seconds ahead of wall time; fewer than none where it began in the past.
    pub offset: i64,
    /// The moment that due work is executed at.
    #[serde(skip)]
    pub frozen: Option<i64>,
}

impl Clock {
    /// Lets it stand at a moment, which may have passed.
    pub(crate) fn begin_at(&mut self, start: i64) {
        self.offset = start - wall();
    }

    /// Seconds since 1970 in the sandbox.
    pub(crate) fn now(&self) -> i64 {
        self.frozen.unwrap_or_else(|| wall() + self.offset)
    }
}

/// The `Date` header for a moment.
pub(crate) fn http_date(at: i64) -> String {
    let when = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (day, month) = (when.weekday().to_string(), when.month().to_string());
    format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        &day[..3],
        when.day(),
        &month[..3],
        when.year(),
        when.hour(),
        when.minute(),
        when.second()
    )
}

/// The day of a moment.
pub(crate) fn day(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at)
        .map_or_else(|_| at.to_string(), |when| when.date().to_string())
}

/// The anchor moved by a number of intervals, its day kept where the month has it.
pub(crate) fn add_interval(anchor: i64, interval: &str, count: i64) -> i64 {
    const DAY: i64 = 86_400;
    let months = match interval {
        "day" => return anchor + count * DAY,
        "week" => return anchor + count * 7 * DAY,
        "year" => count * 12,
        _ => count,
    };
    let Ok(start) = OffsetDateTime::from_unix_timestamp(anchor) else {
        return anchor;
    };
    let index = i64::from(start.year()) * 12 + i64::from(u8::from(start.month())) - 1 + months;
    let year = i32::try_from(index.div_euclid(12)).unwrap_or(i32::MAX);
    let month = u8::try_from(index.rem_euclid(12) + 1)
        .ok()
        .and_then(|number| Month::try_from(number).ok());
    let month = month.unwrap_or(Month::January);
    let day = start.day().min(month.length(year));
    Date::from_calendar_date(year, month, day)
        .map_or(anchor, |date| start.replace_date(date).unix_timestamp())
}

/// The first whole number of intervals after the anchor that lies behind a moment.
pub(crate) fn next_period_end(anchor: i64, interval: &str, interval_count: i64, after: i64) -> i64 {
    let step = interval_count.max(1);
    let mut end = anchor;
    let mut periods = 0;
    while end <= after {
        periods += step;
        end = add_interval(anchor, interval, periods);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::{add_interval, http_date, next_period_end};

    const JAN_31_2026: i64 = 1_769_860_800;

    #[test]
    fn months_keep_the_anchor_day_where_they_have_it() {
        let february = add_interval(JAN_31_2026, "month", 1);
        let march = add_interval(JAN_31_2026, "month", 2);
        assert_eq!(http_date(february), "Sat, 28 Feb 2026 12:00:00 GMT");
        assert_eq!(http_date(march), "Tue, 31 Mar 2026 12:00:00 GMT");
        assert_eq!(next_period_end(JAN_31_2026, "month", 1, february), march);
    }

    #[test]
    fn years_and_weeks_are_steps_too() {
        assert_eq!(
            http_date(add_interval(JAN_31_2026, "year", 1)),
            "Sun, 31 Jan 2027 12:00:00 GMT"
        );
        assert_eq!(
            next_period_end(JAN_31_2026, "week", 2, JAN_31_2026),
            JAN_31_2026 + 14 * 86_400
        );
    }
}
