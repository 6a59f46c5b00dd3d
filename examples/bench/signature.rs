//! Signs and checks as Stripe does. The service's own check isn't used: the references must not change with it.

use std::fmt::Write as _;

use aws_lc_rs::{constant_time, hmac};

/// The secret of all servers here.
pub(crate) const SECRET: &str = "whsec_bench";

const TOLERANCE_SECONDS: i64 = 300;

pub(crate) fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes())
}

fn tag(key: &hmac::Key, time: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(time.as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

/// The value of the header `Stripe-Signature`.
pub(crate) fn sign(key: &hmac::Key, now: i64, body: &[u8]) -> String {
    let mut header = format!("t={now},v1=");
    for byte in tag(key, &now.to_string(), body).as_ref() {
        // Writing to a string can't fail.
        let _ = write!(header, "{byte:02x}");
    }
    header
}

/// Whether the header is of this body, and of now.
pub(crate) fn holds(key: &hmac::Key, header: Option<&str>, body: &[u8], now: i64) -> bool {
    let parts = || header.unwrap_or_default().split(',');
    let value = |scheme: &'static str| {
        let pairs = parts().filter_map(|part| part.trim().split_once('='));
        pairs.filter_map(move |(name, value)| (name == scheme).then_some(value))
    };
    let Some(time) = value("t").next() else {
        return false;
    };
    let recent = time
        .parse::<i64>()
        .is_ok_and(|signed| (now - signed).abs() <= TOLERANCE_SECONDS);
    let expected = tag(key, time, body);
    let matches = value("v1")
        .filter_map(decoded)
        .any(|given| constant_time::verify_slices_are_equal(expected.as_ref(), &given).is_ok());
    recent && matches
}

fn decoded(text: &str) -> Option<[u8; 32]> {
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
