//! The signature of a webhook: <https://docs.stripe.com/webhooks#verify-manually>.

use aws_lc_rs::{constant_time, hmac};
use time::{Duration, OffsetDateTime};

/// The endpoint's signing secrets; during a rotation there are two.
#[derive(Clone)]
pub struct Secrets(Vec<hmac::Key>);

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No `Stripe-Signature` header.
    #[error("the Stripe-Signature header is missing")]
    Missing,
    /// The header has no timestamp or no `v1` signature.
    #[error("the Stripe-Signature header is malformed")]
    Malformed,
    /// Signed with a secret that isn't ours, or altered on its way.
    #[error("no signature matches a configured webhook secret")]
    Mismatch,
    /// Signed too long ago: a replay, or a clock that is ahead.
    #[error("the signature is too old")]
    TooOld,
    /// Signed in the future: this machine's clock is behind.
    #[error("the signature is of a future time: check this machine's clock")]
    Future,
}

impl Secrets {
    /// Prepares the keys; each secret is used whole, with its `whsec_` prefix.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let key = |secret: &str| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self(secrets.into_iter().map(key).collect())
    }

    /// Checks that `body` was signed by Stripe with one of the secrets at most `tolerance` away from `now`.
    pub fn verify(
        &self,
        header: Option<&str>,
        body: &[u8],
        now: OffsetDateTime,
        tolerance: Duration,
    ) -> Result<(), SignatureError> {
        // 1. Take the timestamp and every v1 signature; other schemes are ignored.
        let header = header.ok_or(SignatureError::Missing)?;
        let mut timestamp = None;
        let mut signatures = Vec::with_capacity(2);
        for (scheme, value) in header
            .split(',')
            .filter_map(|part| part.trim().split_once('='))
        {
            match scheme {
                "t" => timestamp = Some(value),
                "v1" => signatures.extend(decode_hex(value)),
                _ => {}
            }
        }
        let timestamp = timestamp.ok_or(SignatureError::Malformed)?;
        let signed_at = timestamp
            .parse()
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or(SignatureError::Malformed)?;
        if signatures.is_empty() {
            return Err(SignatureError::Malformed);
        }
        // 2. Any signature of any secret will do; compared in constant time.
        let matches = self.0.iter().any(|key| {
            let mut context = hmac::Context::with_key(key);
            context.update(timestamp.as_bytes());
            context.update(b".");
            context.update(body);
            let expected = context.sign();
            let is_expected = |signature: &[u8; 32]| {
                constant_time::verify_slices_are_equal(expected.as_ref(), signature).is_ok()
            };
            signatures.iter().any(is_expected)
        });
        if !matches {
            return Err(SignatureError::Mismatch);
        }
        // 3. The time was signed too, so only now does it mean anything.
        if now - signed_at > tolerance {
            Err(SignatureError::TooOld)
        } else if signed_at - now > tolerance {
            Err(SignatureError::Future)
        } else {
            Ok(())
        }
    }
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
    const TOLERANCE: Duration = Duration::minutes(5);

    fn sign(secret: &str, at: OffsetDateTime, body: &[u8]) -> String {
        use std::fmt::Write as _;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let message = [format!("{}.", at.unix_timestamp()).as_bytes(), body].concat();
        hmac::sign(&key, &message)
            .as_ref()
            .iter()
            .fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("a String takes everything");
                hex
            })
    }

    fn header(secret: &str, at: OffsetDateTime, body: &[u8]) -> String {
        format!("t={},v1={}", at.unix_timestamp(), sign(secret, at, body))
    }

    fn verify(header: Option<&str>, body: &[u8]) -> Result<(), SignatureError> {
        Secrets::new(["whsec_old", "whsec_new"]).verify(header, body, NOW, TOLERANCE)
    }

    #[test]
    fn a_published_vector_verifies() {
        // RFC 4231 has no "t.body" form, so the vector is the HMAC of "1." + "{}" made by an independent tool:
        // printf '1.{}' | openssl dgst -sha256 -hmac whsec_test
        let header = "t=1,v1=7500d5d4be4b3ef07af1fe56f7d522d135cdaa7530de557e67cc1049c52de094";
        let at = datetime!(1970-01-01 0:00:01 UTC);
        assert_eq!(
            Secrets::new(["whsec_test"]).verify(Some(header), b"{}", at, TOLERANCE),
            Ok(())
        );
    }

    #[test]
    fn any_secret_and_any_of_several_signatures_will_do() {
        for secret in ["whsec_old", "whsec_new"] {
            assert_eq!(verify(Some(&header(secret, NOW, b"{}")), b"{}"), Ok(()));
        }
        let (wrong, right) = (
            sign("whsec_other", NOW, b"{}"),
            sign("whsec_new", NOW, b"{}"),
        );
        let rotated = format!(
            "t={}, v1={wrong},v1={right},v0={wrong}",
            NOW.unix_timestamp()
        );
        assert_eq!(verify(Some(&rotated), b"{}"), Ok(()));
    }

    #[test]
    fn what_is_missing_malformed_altered_or_foreign_is_refused() {
        let good = header("whsec_new", NOW, b"{}");
        assert_eq!(verify(None, b"{}"), Err(SignatureError::Missing));
        let t = NOW.unix_timestamp();
        let only_v0 = format!("t={t},v0={}", sign("whsec_new", NOW, b"{}"));
        for malformed in [
            "",
            "t=",
            "v1=00",
            "t=x,v1=00",
            &format!("t={t}"),
            &format!("t={t},v1=é"),
            &only_v0,
        ] {
            assert_eq!(
                verify(Some(malformed), b"{}"),
                Err(SignatureError::Malformed),
                "{malformed}"
            );
        }
        assert_eq!(verify(Some(&good), b"{ }"), Err(SignatureError::Mismatch));
        assert_eq!(
            verify(Some(&header("whsec_other", NOW, b"{}")), b"{}"),
            Err(SignatureError::Mismatch)
        );
        let other_time = good.replacen(&t.to_string(), &(t + 1).to_string(), 1);
        assert_eq!(
            verify(Some(&other_time), b"{}"),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn the_tolerance_holds_in_both_directions_to_the_second() {
        let at = |offset| {
            verify(
                Some(&header("whsec_new", NOW + Duration::seconds(offset), b"{}")),
                b"{}",
            )
        };
        assert_eq!((at(-300), at(300)), (Ok(()), Ok(())));
        assert_eq!(at(-301), Err(SignatureError::TooOld));
        assert_eq!(at(301), Err(SignatureError::Future));
    }
}
