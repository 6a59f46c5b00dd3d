//! Plain HTML without assets from elsewhere.

use std::fmt::Write;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;

use crate::world::amounts::ZERO_DECIMAL;

const STYLE: &str = include_str!("page.css");

/// Text that is safe inside HTML and attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// How well one colour is read on another, as `#rrggbb`: <https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio>.
pub(super) fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let digits = colour.get(at..at + 2).unwrap_or_default();
        let value = f64::from(u8::from_str_radix(digits, 16).unwrap_or_default()) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

/// An amount as people read it.
pub(crate) fn money(amount: i64, currency: &str) -> String {
    let code = currency.to_uppercase();
    if ZERO_DECIMAL.contains(&currency) {
        return format!("{amount} {code}");
    }
    let sign = if amount < 0 { "-" } else { "" };
    format!(
        "{sign}{}.{:02} {code}",
        amount.abs() / 100,
        amount.abs() % 100
    )
}

/// A moment as people read it.
pub(crate) fn moment(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at).map_or_else(
        |_| at.to_string(),
        |when| {
            format!(
                "{} {:02}:{:02}:{:02} UTC",
                when.date(),
                when.hour(),
                when.minute(),
                when.second()
            )
        },
    )
}

/// A page.
pub(crate) struct Page {
    pub title: String,
    pub body: String,
    pub status: StatusCode,
    pub wide: bool,
    /// Seconds after which it loads again.
    pub refresh: Option<u32>,
    /// Rules that come after those of all pages.
    pub style: String,
}

impl Page {
    /// A narrow page.
    pub(crate) fn new(title: &str, body: String) -> Self {
        Self {
            title: title.to_owned(),
            body,
            status: StatusCode::OK,
            wide: false,
            refresh: None,
            style: String::new(),
        }
    }

    /// A page that says that something cannot be done.
    pub(crate) fn sorry(status: StatusCode, title: &str, text: &str) -> Self {
        let body = format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text));
        Self {
            status,
            ..Self::new(title, body)
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut html =
            String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        html.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><link rel=\"icon\" href=\"data:,\">");
        if let Some(seconds) = self.refresh {
            let _ = write!(html, "<meta http-equiv=\"refresh\" content=\"{seconds}\">");
        }
        let wide = if self.wide { " class=\"wide\"" } else { "" };
        let _ = write!(
            html,
            "<title>{}</title><style>{STYLE}{}</style></head><body><header class=\"banner\">SANDBOX · no real money</header>\
             <main{wide}>{}</main></body></html>",
            escape(&self.title),
            self.style,
            self.body
        );
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (self.status, headers, html).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::{STYLE, contrast, escape, money};

    /// The value of a colour in the style's first rule.
    fn colour(name: &str) -> &'static str {
        let (_, rest) = STYLE.split_once(&format!("--{name}:")).expect("is named");
        let end = rest.find([';', '}']).expect("ends");
        rest.get(..end).expect("is text")
    }

    #[test]
    fn every_text_is_readable_and_every_field_visible() {
        for back in ["#ffffff", "#eef7f5", colour("back")] {
            for text in ["ink", "soft", "accent", "bad"] {
                assert!(contrast(colour(text), back) >= 4.5, "{text} on {back}");
            }
        }
        assert!(contrast(colour("field"), "#ffffff") >= 3.0);
        assert!(contrast("#3a2b00", "#ffd54a") >= 4.5, "the banner");
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        assert_eq!(money(3005, "eur"), "30.05 EUR");
        assert_eq!(money(500, "jpy"), "500 JPY");
        assert_eq!(money(-5, "eur"), "-0.05 EUR");
    }

    #[test]
    fn nothing_given_becomes_markup() {
        assert_eq!(
            escape("<a href='x'>&\""),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;"
        );
    }
}
