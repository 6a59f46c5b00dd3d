//! Amounts as people read them: the one place where minor units become text in somebody's language.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use icu_experimental::dimension::currency::CurrencyType;
use icu_experimental::dimension::currency::formatter::{
    CurrencyFormatter, CurrencyFormatterPreferences,
};
use icu_experimental::dimension::currency::options::CurrencyFormatterOptions;
use icu_locale_core::Locale;

use super::problem::ApiError;
use crate::domain::currency::decimal;

/// Longest language tag that is looked at (RFC 5646, section 4.4.1): parsing a longer one takes work.
const LONGEST_TAG: usize = 35;

/// In which language amounts are written.
#[derive(Clone, Debug)]
pub(in crate::http) struct Language(Locale);

impl Language {
    /// For sentences that are English.
    pub(in crate::http) fn english() -> Self {
        Self(icu_locale_core::locale!("en"))
    }

    /// The one that was asked for, else the first that the browser prefers, else English.
    pub(in crate::http) fn of(asked: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        if let Some(asked) = asked {
            let parsed = Some(asked).filter(|asked| asked.len() <= LONGEST_TAG);
            let parsed = parsed.and_then(|asked| asked.parse().ok());
            return parsed.map(Self).ok_or_else(|| {
                ApiError::validation_failed().field(
                    "locale",
                    "unknown_locale",
                    "A language tag such as de or pt-BR.",
                )
            });
        }
        let accepted = headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        // Browsers list the preferred one first.
        let first = accepted.split([',', ';']).next().unwrap_or_default().trim();
        let first = Some(first).filter(|first| first.len() <= LONGEST_TAG);
        let parsed = first.and_then(|first| first.parse().ok());
        Ok(Self(parsed.unwrap_or(Locale::UNKNOWN)))
    }

    /// An amount of minor units, as `1.234,50 €`; a currency that the language has no sign for by its code.
    pub(in crate::http) fn amount(&self, minor_units: i64, currency: &str) -> String {
        let exact = decimal(minor_units, currency);
        let formatted = || {
            let currency = CurrencyType::try_from_str(currency).ok()?;
            let preferences = CurrencyFormatterPreferences::from(&self.0);
            let options = CurrencyFormatterOptions::default();
            let formatter =
                CurrencyFormatter::try_new_symbol_narrow(preferences, currency, options)
                    .or_else(|_| CurrencyFormatter::try_new_code(preferences, currency, options))
                    .ok()?;
            let value = exact.parse().ok()?;
            Some(formatter.format_fixed_decimal(&value).to_string())
        };
        formatted().unwrap_or_else(|| format!("{exact} {}", currency.to_uppercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(locale: &str, amount: i64, currency: &str) -> String {
        let language = Language::of(Some(locale), &HeaderMap::new()).expect("a language");
        // Which kind of space a language wants is not the point.
        language
            .amount(amount, currency)
            .replace(['\u{a0}', '\u{202f}'], " ")
    }

    #[test]
    fn an_amount_is_written_as_its_reader_expects_it() {
        for (locale, amount, currency, text) in [
            ("de", 123_450, "eur", "1.234,50 €"),
            ("en", 3000, "eur", "€30.00"),
            ("fr", 123_450, "usd", "1 234,50 $"),
            ("en", 500, "jpy", "¥500"),
            ("en", 5120, "kwd", "KWD 5.120"),
            ("en", 50_000, "isk", "kr 500"),
            ("sv", 10_000, "sek", "100,00 kr"),
        ] {
            assert_eq!(written(locale, amount, currency), text);
        }
    }

    #[test]
    fn the_browsers_first_language_is_taken_and_nonsense_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT_LANGUAGE,
            "de-AT,de;q=0.9,en;q=0.5".parse().expect("a header"),
        );
        let language = Language::of(None, &headers).expect("a language");
        assert_eq!(language.0.to_string(), "de-AT");
        for unknown in ["*", "a-language-that-is-longer-than-any-that-there-is"] {
            headers.insert(ACCEPT_LANGUAGE, unknown.parse().expect("a header"));
            let language = Language::of(None, &headers).expect("any language");
            assert_eq!(language.0, Locale::UNKNOWN, "{unknown}");
        }
        assert!(Language::of(Some("not a language"), &headers).is_err());
    }
}
