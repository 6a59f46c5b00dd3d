//! What values may look like: scalars, enums, and how two values compare.

use std::cmp::Ordering;

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::tables::Kind;

/// `SubscriptionLifecycleStatus`.
pub(super) const STATUSES: &[&str] = &[
    "ACTIVE",
    "CANCELLED",
    "ENDED",
    "ON_HOLD",
    "PENDING_ACTIVATION",
    "PENDING_COMPLETION",
];
const TRANSACTION_TYPES: &[&str] = &["PAYMENT", "PAYMENT_FAILED", "REFUND"];

/// The alpha-2 codes of ISO 3166-1, and XX for a country that isn't known.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM \
FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO \
JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT \
MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA \
SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US \
UY UZ VA VC VE VG VI VN VU WF WS XX YE YT ZA ZM ZW";

/// The enums of the schema and their values.
pub(super) fn enums() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        (
            "CreateSubscriptionSkipValidations",
            vec!["ACTIVE_PLANS", "COUNTRY_PRICE", "SINGLE_SUBSCRIPTION"],
        ),
        ("Iso31661Alpha2", COUNTRIES.split(' ').collect()),
        ("PeriodUnit", vec!["DAY", "MONTH", "WEEK", "YEAR"]),
        ("SubscriptionLifecycleStatus", STATUSES.to_vec()),
        ("SubscriptionTransactionType", TRANSACTION_TYPES.to_vec()),
        ("TransactionType", TRANSACTION_TYPES.to_vec()),
    ]
}

fn is_of_enum(name: &str, value: &str) -> bool {
    enums()
        .iter()
        .any(|(known, values)| *known == name && values.contains(&value))
}

/// True for a UUID in its usual form, with hyphens.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

/// A moment in the one form that is taken: RFC 3339, with an offset.
pub(super) fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// A moment as the database of the service writes it: in UTC to the microsecond, with `+00:00` and never with `Z`.
pub(super) fn write_moment(at: OffsetDateTime) -> String {
    let at = at.truncate_to_microsecond().to_offset(UtcOffset::UTC);
    let text = at.format(&Rfc3339);
    text.unwrap_or_default().replace('Z', "+00:00")
}

/// A decimal number in hundred-thousandths; an error where it has more than five decimals.
pub(super) fn decimal(text: &str) -> Result<i128, &'static str> {
    const WRONG: &str = "must be a decimal number";
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric(whole) || !numeric(fraction) || whole.len() > 20 {
        return Err(WRONG);
    }
    if fraction.len() > 5 {
        return Err("must not have more than five decimals");
    }
    let value: i128 = format!("{whole}{fraction:0<5}")
        .parse()
        .map_err(|_| WRONG)?;
    Ok(if negative { -value } else { value })
}

/// True for a value that a kind allows, whether it came from a document or in variables.
pub(super) fn is_valid(kind: Kind, value: &Value) -> bool {
    let text = value.as_str();
    match kind {
        Kind::Uuid => text.is_some_and(is_uuid),
        Kind::Text => text.is_some(),
        Kind::Texts => value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_string)),
        Kind::Boolean => value.is_boolean(),
        Kind::Int => value
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        Kind::Decimal => match value {
            Value::String(text) => decimal(text).is_ok(),
            Value::Number(number) => decimal(&number.to_string()).is_ok(),
            _ => false,
        },
        Kind::Moment => text.is_some_and(|text| moment(text).is_some()),
        Kind::Json => true,
        Kind::Enum(name) => text.is_some_and(|text| is_of_enum(name, text)),
        Kind::Enums(name) => value
            .as_array()
            .is_some_and(|items| items.iter().all(|item| is_valid(Kind::Enum(name), item))),
    }
}

/// A valid value in the form in which it is kept.
pub(super) fn normal(kind: Kind, value: Value) -> Value {
    match (kind, &value) {
        (Kind::Uuid, Value::String(text)) => text.to_lowercase().into(),
        (Kind::Moment, Value::String(text)) => {
            moment(text).map_or(value, |at| write_moment(at).into())
        }
        (Kind::Decimal, Value::Number(number)) => number.to_string().into(),
        _ => value,
    }
}

/// How two values of a kind compare; nothing where one is null or cannot be read.
pub(super) fn compare(kind: Kind, one: &Value, other: &Value) -> Option<Ordering> {
    match kind {
        Kind::Boolean => Some(one.as_bool()?.cmp(&other.as_bool()?)),
        Kind::Int => Some(one.as_i64()?.cmp(&other.as_i64()?)),
        Kind::Moment => Some(moment(one.as_str()?)?.cmp(&moment(other.as_str()?)?)),
        Kind::Decimal => Some(number(one)?.cmp(&number(other)?)),
        Kind::Uuid => Some(
            one.as_str()?
                .to_lowercase()
                .cmp(&other.as_str()?.to_lowercase()),
        ),
        Kind::Text | Kind::Enum(_) => Some(one.as_str()?.cmp(other.as_str()?)),
        // Lists and JSON have equality and no order worth the name.
        Kind::Texts | Kind::Json | Kind::Enums(_) => {
            let known = !one.is_null() && !other.is_null();
            known.then(|| one.to_string().cmp(&other.to_string()))
        }
    }
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => decimal(text).ok(),
        Value::Number(number) => decimal(&number.to_string()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use serde_json::json;

    use super::super::tables::Kind;
    use super::{compare, decimal, enums, is_valid, normal};

    #[test]
    fn amounts_have_at_most_five_decimals_and_compare_as_numbers() {
        assert_eq!(decimal("-0.66000"), Ok(-66_000));
        assert_eq!(decimal("30"), Ok(3_000_000));
        for wrong in ["", "-", "1.", ".5", "1e3", "1,5", "+1", "0.000001", " 1"] {
            assert!(decimal(wrong).is_err(), "{wrong}");
        }
        let order = compare(Kind::Decimal, &json!("9.5"), &json!("10.00000"));
        assert_eq!(order, Some(Ordering::Less));
    }

    #[test]
    fn moments_need_an_offset_and_are_kept_in_utc() {
        assert!(!is_valid(Kind::Moment, &json!("2026-01-01")));
        assert!(!is_valid(Kind::Moment, &json!("2026-01-01T00:00:00")));
        let kept = normal(Kind::Moment, json!("2026-01-01T00:00:00.500000789+01:00"));
        assert_eq!(kept, json!("2025-12-31T23:00:00.5+00:00"));
    }

    #[test]
    fn every_country_has_two_letters_and_uuids_have_hyphens() {
        let countries = enums()
            .into_iter()
            .find(|(name, _)| *name == "Iso31661Alpha2");
        let countries = countries.expect("is an enum").1;
        assert_eq!(countries.len(), 250);
        assert!(countries.iter().all(|code| code.len() == 2));
        let plain = json!("00000000000000000000000000000001");
        assert!(!is_valid(Kind::Uuid, &plain));
    }
}
