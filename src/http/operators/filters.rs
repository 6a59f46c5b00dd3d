//! What lists of operators take in their queries.

use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, Time};

use crate::domain::ids::is_external_id;

/// A text that a column can hold.
pub(super) fn short(text: &str) -> Option<String> {
    is_external_id(text).then(|| text.to_owned())
}

/// A moment (RFC 3339), or a day, which stands for its beginning in UTC.
pub(super) fn moment(text: &str) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(at);
    }
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) || parts.next().is_some() {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    Some(date.with_time(Time::MIDNIGHT).assume_utc())
}

/// A place in a list by time: microseconds since 1970, as the database keeps them, and an id.
pub(super) fn written(at: OffsetDateTime, id: &str) -> String {
    format!("{}.{id}", at.unix_timestamp_nanos() / 1_000)
}

/// What [`written`] wrote.
pub(super) fn time_and_id(text: &str) -> Option<(OffsetDateTime, String)> {
    let (micros, id) = text.split_once('.')?;
    let nanos = micros.parse::<i64>().ok().map(i128::from)? * 1_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some((at, short(id)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_beginning_and_a_place_is_read_as_it_was_written() {
        let day = moment("2026-11-30").expect("a day");
        assert_eq!(moment("2026-11-30T00:00:00Z"), Some(day));
        assert_eq!(moment("2026-11-30T01:00:00+01:00"), Some(day));
        for wrong in ["", "2026", "2026-13-01", "26-1-1", "2026-01-01-01", "soon"] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
        let place = written(day, "evt_1");
        assert_eq!(time_and_id(&place), Some((day, "evt_1".to_owned())));
        for wrong in ["", "1", ".", "x.y", "9223372036854775807.a", "1."] {
            assert_eq!(time_and_id(wrong), None, "{wrong}");
        }
    }
}
