//! Amounts as Stripe counts them: whole minor units, whose size depends on the currency.

use std::fmt::Write as _;

/// Currencies whose minor unit is the currency itself (<https://docs.stripe.com/currencies#zero-decimal>).
const ZERO_DECIMAL: [&str; 15] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
    "xof", "xpf",
];
/// Currencies with three decimals.
const THREE_DECIMAL: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// How many decimals an amount of minor units has: two, but for some. Stripe counts ISK and UGX in hundredths, though
/// nobody pays less than one.
pub fn decimals(currency: &str) -> u32 {
    if ZERO_DECIMAL.contains(&currency) {
        0
    } else if THREE_DECIMAL.contains(&currency) {
        3
    } else {
        2
    }
}

/// An amount of minor units as an exact decimal number with a point, such as `-12.50`.
pub fn decimal(amount: i64, currency: &str) -> String {
    let decimals = decimals(currency);
    let unit = 10_u64.pow(decimals);
    let whole = amount.unsigned_abs() / unit;
    let mut text = String::with_capacity(16);
    if amount < 0 {
        text.push('-');
    }
    // Writing to a string can't fail.
    let _ = write!(text, "{whole}");
    if decimals > 0 {
        let rest = amount.unsigned_abs() % unit;
        let _ = write!(text, ".{rest:0width$}", width = decimals as usize);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_written_exactly_with_the_decimals_of_its_currency() {
        let cases = [
            (1250, "eur", "12.50"),
            (-5, "eur", "-0.05"),
            (0, "eur", "0.00"),
            (500, "jpy", "500"),
            (-500, "jpy", "-500"),
            (5120, "kwd", "5.120"),
            (-1, "kwd", "-0.001"),
            (50_000, "isk", "500.00"),
            (i64::MIN, "usd", "-92233720368547758.08"),
        ];
        for (amount, currency, text) in cases {
            assert_eq!(decimal(amount, currency), text);
        }
    }
}
