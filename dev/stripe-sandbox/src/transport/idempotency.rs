//! Answers stored under an `Idempotency-Key`: the first executed request decides, for 24 hours.

use serde_json::Value;

use crate::world::World;
use crate::world::answers::Stored;
use crate::world::error::ApiError;

const KEPT_SECONDS: i64 = 86_400;
const FORGET_SECONDS: i64 = 3_600;

/// What a request with a key may do.
pub(crate) enum Claim {
    /// Execute it.
    Fresh,
    /// Give this answer again.
    Replay(u16, Value),
}

/// Claims a key for a request, or tells that it was answered before.
pub(crate) fn claim(world: &mut World, key: &str, fingerprint: &str) -> Result<Claim, ApiError> {
    if key.chars().count() > 255 {
        let message = "Idempotency keys may be at most 255 characters long.";
        return Err(ApiError::new(400, "invalid_request_error", None, message));
    }
    let now = world.now();
    let is_kept = |stored: &Stored| now - stored.at < KEPT_SECONDS;
    // Now and then: a call must not pay for all keys of a day.
    if now - world.keys_forgotten >= FORGET_SECONDS {
        world.idempotency.retain(|_, stored| is_kept(stored));
        world.keys_forgotten = now;
    }
    let Some(stored) = world.idempotency.get(key).filter(|stored| is_kept(stored)) else {
        let stored = Stored {
            fingerprint: fingerprint.to_owned(),
            at: now,
            answer: None,
        };
        world.idempotency.insert(key.to_owned(), stored);
        return Ok(Claim::Fresh);
    };
    if stored.fingerprint != fingerprint {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
             using a key other than '{key}' if you meant to execute a different request."
        );
        return Err(ApiError::new(400, "idempotency_error", None, message));
    }
    match &stored.answer {
        Some((status, body)) => Ok(Claim::Replay(*status, body.clone())),
        None => Err(ApiError::new(
            409,
            "idempotency_error",
            Some("idempotency_key_in_use"),
            "There is currently another in-progress request using this Idempotency Key (that probably means you \
             submitted twice, and the other request is still going through). Please try again later.",
        )),
    }
}

/// Stores the answer of an executed request; whatever never began to execute frees the key.
pub(crate) fn finish(world: &mut World, key: &str, answer: Option<(u16, &Value)>) {
    match answer {
        Some((status, body)) => {
            if let Some(stored) = world.idempotency.get_mut(key) {
                stored.answer = Some((status, body.clone()));
            }
        }
        None => {
            world.idempotency.remove(key);
        }
    }
    world.dirty = true;
}
