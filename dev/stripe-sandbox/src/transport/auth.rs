//! Who may call: whoever has the one key. A live key is never let near the sandbox.

use axum::http::HeaderMap;

use crate::world::error::ApiError;

/// Whether a key moves real money.
pub(crate) fn is_live(key: &str) -> bool {
    ["sk_live_", "rk_live_", "pk_live_"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

/// Accepts the one key, as user of Basic or as Bearer.
pub(super) fn authenticate(secret_key: &str, headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = |message: String| Err(ApiError::new(401, "invalid_request_error", None, message));
    let header = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let key = match header.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim().to_owned(),
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = decode_base64(encoded.trim());
            decoded.split(':').next().unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    if key.is_empty() {
        return refused(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using \
             Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication \
             for details."
                .to_owned(),
        );
    }
    if is_live(&key) {
        eprintln!(
            "stripe-sandbox: A LIVE KEY WAS SENT TO THE SANDBOX. Check the configuration and roll the key."
        );
        return refused("This is a sandbox: it refuses live keys. Never send a live key anywhere but to Stripe.".into());
    }
    if key != secret_key {
        let visible: String = key
            .chars()
            .rev()
            .take(4)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        return refused(format!("Invalid API Key provided: ********{visible}"));
    }
    Ok(())
}

fn decode_base64(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, vec![]);
    for symbol in text.bytes().filter(|byte| *byte != b'=') {
        let Some(value) = ALPHABET.iter().position(|known| *known == symbol) else {
            return String::new();
        };
        bits = (bits << 6) | u32::try_from(value).unwrap_or_default();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xFF).unwrap_or_default());
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::decode_base64;

    #[test]
    fn base64_of_basic_auth_is_decoded() {
        assert_eq!(
            decode_base64("c2tfdGVzdF9zYW5kYm94Og=="),
            "sk_test_sandbox:"
        );
        assert_eq!(decode_base64("?"), "");
    }
}
