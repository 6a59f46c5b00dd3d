//! The header `Stripe-Signature`: whatever it says, it is not believed without the secret.
#![no_main]

use dues::stripe::signature::Secrets;
use libfuzzer_sys::fuzz_target;
use time::{Duration, OffsetDateTime};

fuzz_target!(|header: &str| {
    let secrets = Secrets::new(["whsec_fuzz"]);
    let verified = secrets.verify(
        Some(header),
        b"{}",
        OffsetDateTime::UNIX_EPOCH,
        Duration::minutes(5),
    );
    assert!(verified.is_err(), "{header} was believed");
});
