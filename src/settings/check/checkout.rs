//! The section `checkout`: how long a checkout lives, and what Stripe's page shows.

use std::time::Duration;

use url::Url;

use super::{Check, raw};
use crate::settings::{Branding, Checkout, CheckoutPage, CustomText};

/// Stripe's limit of a custom text, in characters.
const CUSTOM_TEXT: usize = 1200;

impl Check {
    pub(super) fn checkout(&mut self, raw: raw::Checkout) -> Checkout {
        // https://docs.stripe.com/api/checkout/sessions/create, `expires_at`
        if !(30..=1440).contains(&raw.expires_minutes) {
            self.problem(
                "checkout.expires_minutes",
                "is not between 30 and 1440, as Stripe wants it",
            );
        }
        self.at_least("checkout.max_open", raw.max_open.into(), 1);
        self.at_least("checkout.keep_unpaid_days", raw.keep_unpaid_days.into(), 31);
        self.at_least("checkout.orphan_minutes", raw.orphan_minutes, 1);
        Checkout {
            expires: minutes(raw.expires_minutes),
            max_open: raw.max_open,
            keep_unpaid_days: raw.keep_unpaid_days,
            orphan: minutes(raw.orphan_minutes),
            page: CheckoutPage {
                automatic_tax: raw.automatic_tax,
                tax_id_collection: raw.tax_id_collection,
                terms_of_service: raw.terms_of_service,
                locale: raw.locale,
                custom_text: self.custom_text(raw.custom_text, raw.terms_of_service),
                branding: self.branding(raw.branding),
            },
        }
    }

    fn custom_text(&mut self, raw: raw::CustomText, asks_for_terms: bool) -> CustomText {
        let texts = [
            ("checkout.custom_text.submit", &raw.submit),
            ("checkout.custom_text.after_submit", &raw.after_submit),
            (
                "checkout.custom_text.terms_of_service",
                &raw.terms_of_service,
            ),
        ];
        for (key, text) in texts {
            if text
                .as_ref()
                .is_some_and(|text| text.chars().count() > CUSTOM_TEXT)
            {
                self.problem(key, format!("has more than {CUSTOM_TEXT} characters"));
            }
        }
        if raw.terms_of_service.is_some() && !asks_for_terms {
            self.problem(
                "checkout.custom_text.terms_of_service",
                "is set, but checkout.terms_of_service is not, so nobody would see it",
            );
        }
        CustomText {
            submit: raw.submit,
            after_submit: raw.after_submit,
            terms_of_service: raw.terms_of_service,
        }
    }

    fn branding(&mut self, raw: raw::Branding) -> Branding {
        let colors = [
            ("checkout.branding.background_color", &raw.background_color),
            ("checkout.branding.button_color", &raw.button_color),
        ];
        for (key, color) in colors {
            if color.as_deref().is_some_and(|color| !is_color(color)) {
                self.problem(key, "is not a color such as #1a2b3c");
            }
        }
        let styles = ["pill", "rectangular", "rounded"];
        if raw
            .border_style
            .as_deref()
            .is_some_and(|style| !styles.contains(&style))
        {
            self.problem(
                "checkout.branding.border_style",
                "is neither pill nor rectangular nor rounded",
            );
        }
        Branding {
            display_name: raw.display_name,
            background_color: raw.background_color,
            button_color: raw.button_color,
            border_style: raw.border_style,
            font_family: raw.font_family,
            logo_url: self.image("checkout.branding.logo_url", raw.logo_url.as_deref()),
            icon_url: self.image("checkout.branding.icon_url", raw.icon_url.as_deref()),
        }
    }

    fn image(&mut self, key: &str, text: Option<&str>) -> Option<Url> {
        text.and_then(|text| self.public_url(key, Some(text)))
    }
}

fn is_color(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|digits| {
        digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}
