//! The section `console`: who may look after members in a browser, and how she signs in.

use url::Url;

use super::{Check, is_safe, raw};
use crate::settings::{Auth, AuthKey, Console, Login};

impl Check {
    pub(super) fn console(&mut self, raw: raw::Console, members: &Auth) -> Option<Console> {
        let is_code = |code: &String| {
            let letters =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            (1..=40).contains(&code.len())
                && code.bytes().all(letters)
                && code.starts_with(|first: char| first.is_ascii_lowercase())
        };
        if raw.reasons.is_empty() || !raw.reasons.iter().all(is_code) {
            let what =
                "is not a list of codes such as hardship: small letters, digits and _, at most 40";
            self.problem("console.reasons", what);
        }
        let login = match &raw.issuer {
            None => {
                for (key, value) in [
                    ("console.jwks_url", &raw.jwks_url),
                    ("console.audience", &raw.audience),
                    ("console.client_id", &raw.client_id),
                    ("console.member_claim", &raw.member_claim),
                ] {
                    if value.is_some() {
                        self.problem(key, "is set, but console.issuer is not");
                    }
                }
                None
            }
            Some(issuer) => Some(self.login(issuer, &raw, members)?),
        };
        Some(Console {
            enabled: raw.enabled,
            login,
            reasons: raw.reasons,
        })
    }

    fn login(&mut self, issuer: &str, raw: &raw::Console, members: &Auth) -> Option<Login> {
        let url = self.secure_url("console.issuer", Some(issuer));
        let jwks = self.secure_url("console.jwks_url", raw.jwks_url.as_deref());
        let audience = self.required("console.audience", raw.audience.clone());
        let client_id = self.required("console.client_id", raw.client_id.clone());
        if audience.is_some() && audience == client_id {
            // An ID token is for the client: nothing else would tell it from an access token for sure.
            let what = "is console.client_id too: let the login give access tokens an audience of their own";
            self.problem("console.audience", what);
        }
        let mut origins = Vec::new();
        for text in &raw.login_origins {
            let origin = self.secure_url("console.login_origins", Some(text))?;
            origins.push(origin.origin().ascii_serialization());
        }
        let (url, jwks) = (url?, jwks?);
        origins.push(url.origin().ascii_serialization());
        origins.sort_unstable();
        origins.dedup();
        Some(Login {
            auth: Auth {
                key: AuthKey::Jwks(jwks),
                // As it is written: an issuer is compared letter by letter.
                issuer: Some(issuer.to_owned()),
                audience: Some(audience?),
                member_claim: raw.member_claim.clone(),
                ..members.clone()
            },
            issuer: url,
            client_id: client_id?,
            scope: raw.scope.clone(),
            origins,
        })
    }

    fn secure_url(&mut self, key: &str, text: Option<&str>) -> Option<Url> {
        let Some(text) = text else {
            self.problem(key, "is missing, but console.issuer is set");
            return None;
        };
        let url = self.web_url(key, text)?;
        if !is_safe(&url) {
            self.problem(key, "is not https");
        }
        Some(url)
    }
}
