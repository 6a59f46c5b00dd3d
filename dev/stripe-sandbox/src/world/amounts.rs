//! Arithmetic with minor units, without floating point: money is rounded once, half away from zero.

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// Currencies without minor units: <https://docs.stripe.com/currencies#zero-decimal>.
pub(crate) const ZERO_DECIMAL: &[&str] = &[
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
    "xof", "xpf",
];

/// A part of an amount, rounded half away from zero.
pub(crate) fn share(amount: i64, part: i64, whole: i64) -> i64 {
    let whole = i128::from(whole.max(1));
    let product = i128::from(amount) * i128::from(part);
    let magnitude = (2 * product.abs() + whole) / (2 * whole);
    i64::try_from(magnitude * product.signum()).unwrap_or_default()
}

/// Hundredths of a percent, from 0 to 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Number", into = "Number")]
pub(crate) struct Percent(i64);

const WHOLE: i64 = 10_000;

impl Percent {
    /// So many percent.
    pub(crate) const fn new(percent: i64) -> Self {
        Self(percent * 100)
    }

    /// Whether it takes nothing.
    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// This part of an amount.
    pub(crate) fn of(self, amount: i64) -> i64 {
        share(amount, self.0, WHOLE)
    }

    /// What an amount holds of it, where it has been added to the amount already.
    pub(crate) fn within(self, amount: i64) -> i64 {
        share(amount, self.0, WHOLE + self.0)
    }
}

impl TryFrom<Number> for Percent {
    type Error = String;

    fn try_from(number: Number) -> Result<Self, String> {
        let text = number.to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, "0"));
        let decimals = format!("{decimals:0<2}");
        let hundredths = |text: &str| text.parse::<u16>().ok().map(i64::from);
        let parsed = hundredths(whole)
            .zip(hundredths(&decimals).filter(|_| decimals.len() == 2))
            .map(|(whole, decimals)| whole * 100 + decimals);
        match parsed {
            Some(hundredths) if hundredths <= WHOLE => Ok(Self(hundredths)),
            _ => Err(format!(
                "{text} is not a percentage from 0 to 100 with at most two decimals"
            )),
        }
    }
}

impl From<Percent> for Number {
    fn from(percent: Percent) -> Self {
        let text = format!("{}.{:02}", percent.0 / 100, percent.0 % 100);
        let whole = (percent.0 % 100 == 0).then(|| Self::from(percent.0 / 100));
        // Unwrap safety: two decimals are a finite number.
        whole
            .or_else(|| Self::from_f64(text.parse().unwrap_or_default()))
            .unwrap_or_else(|| Self::from(0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::{Percent, share};

    #[test]
    fn a_part_of_an_amount_is_rounded_once() {
        assert_eq!((share(5, 1, 2), share(-5, 1, 2)), (3, -3));
        assert_eq!((share(5, 1, 3), share(-5, 1, 3)), (2, -2));
        assert_eq!(share(i64::MAX, 3, 3), i64::MAX);
        assert_eq!(share(100, 0, 7), 0);
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        assert_eq!((Percent::new(50).of(5), Percent::new(50).of(-5)), (3, -3));
        assert_eq!(Percent::new(20).within(1_000), 167);
        assert_eq!(Percent::new(20).of(1_003), 201);
    }

    #[test]
    fn only_percentages_with_two_decimals_are_taken() {
        let known: Percent = from_value(json!(8.1)).expect("is one");
        assert_eq!(known.of(1_000), 81);
        assert_eq!(to_value(known).expect("is a number"), json!(8.1));
        for wrong in [
            json!(-1),
            json!(100.01),
            json!(1.234),
            json!("8"),
            json!(1e30),
        ] {
            assert!(from_value::<Percent>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
