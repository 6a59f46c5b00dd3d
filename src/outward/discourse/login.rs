//! What a forum tells us: that a member has signed up or logged in.

use aws_lc_rs::hmac;
use serde::Deserialize;

/// Events that bring a member's account into being or show that it is there.
const EVENTS: [&str; 2] = ["user_created", "user_logged_in"];
/// What the signature's header begins with.
const PREFIX: &str = "sha256=";
/// No member's id is longer.
const LONGEST_ID: usize = 255;

/// Why a forum's event is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::outward) enum NotTaken {
    /// It is not signed with the secret.
    Signature,
    /// It is no event.
    Malformed,
}

#[derive(Deserialize)]
struct Event {
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    external_id: Option<String>,
}

/// Whose groups are to be looked at after an event; none where it is not about that, or about nobody who could be a member.
pub(super) fn read(
    key: &hmac::Key,
    event: &str,
    signature: &str,
    body: &[u8],
) -> Result<Option<String>, NotTaken> {
    // 1. The signature is that of the body, byte for byte; compared in constant time.
    let tag = signature.strip_prefix(PREFIX).and_then(unhex);
    let tag = tag.ok_or(NotTaken::Signature)?;
    hmac::verify(key, body, &tag).map_err(|_| NotTaken::Signature)?;
    // 2. Of other events nothing is read.
    if !EVENTS.contains(&event) {
        return Ok(None);
    }
    let event: Event = serde_json::from_slice(body).map_err(|_| NotTaken::Malformed)?;
    let id = event.user.and_then(|user| user.external_id);
    // 3. Whoever has logged in some other way has no id of ours.
    Ok(id.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID && !id.contains('\0')))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::client::hex;
    use super::*;

    #[test]
    fn only_what_is_signed_is_read_and_only_of_logins() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret");
        let signed =
            |body: &str| format!("sha256={}", hex(hmac::sign(&key, body.as_bytes()).as_ref()));
        let body = r#"{"user":{"id":7,"external_id":"alice"}}"#;
        let taken = |event: &str, body: &str| read(&key, event, &signed(body), body.as_bytes());
        assert_eq!(taken("user_logged_in", body), Ok(Some("alice".to_owned())));
        assert_eq!(taken("user_created", body), Ok(Some("alice".to_owned())));
        assert_eq!(taken("user_updated", body), Ok(None));
        assert_eq!(taken("ping", "pong"), Ok(None));
        assert_eq!(
            taken("user_created", r#"{"user":{"external_id":null}}"#),
            Ok(None)
        );
        assert_eq!(
            taken("user_created", r#"{"user":{"external_id":"a\u0000"}}"#),
            Ok(None)
        );
        assert_eq!(
            taken("user_created", r#"{"user":7}"#),
            Err(NotTaken::Malformed)
        );
        for wrong in [
            "",
            "sha256=",
            "sha256=00",
            "sha256=0",
            "sha256=é",
            &signed(""),
        ] {
            let read = read(&key, "user_created", wrong, body.as_bytes());
            assert_eq!(read, Err(NotTaken::Signature), "{wrong}");
        }
        assert!(
            read(
                &key,
                "user_created",
                &signed(body).to_uppercase(),
                body.as_bytes()
            )
            .is_err()
        );
    }
}
