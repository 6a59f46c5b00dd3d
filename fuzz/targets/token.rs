//! A member's token: whatever it says, it is not believed without the secret.
#![no_main]

use std::sync::LazyLock;

use dues::auth::Verifier;
use dues::clock::Clock;
use dues::settings::{Environment, Settings};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

static VERIFIER: LazyLock<(Runtime, Verifier)> = LazyLock::new(|| {
    let variables = [
        ("DUES__HTTP__PUBLIC_URL", "http://127.0.0.1:1"),
        ("DUES__DATABASE__URL", "postgres://localhost/none"),
        ("DUES__STRIPE__SECRET_KEY", "sk_test_fuzz"),
        ("DUES__STRIPE__WEBHOOK_SECRETS", "whsec_fuzz"),
        (
            "DUES__AUTH__HS256_SECRET",
            "a secret of the fuzzer, thirty-two bytes",
        ),
        ("DUES__CLIENT__SUCCESS_URL", "https://app.example.org/"),
        ("DUES__CLIENT__CANCEL_URL", "https://app.example.org/"),
        ("DUES__CLIENT__ERROR_URL", "https://app.example.org/"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::load(Environment::Development, None, variables).expect("settings");
    let verifier = Verifier::from_settings(&settings, Clock::system()).expect("a verifier");
    let runtime = Builder::new_current_thread().enable_all().build();
    (runtime.expect("a runtime"), verifier)
});

fuzz_target!(|token: &str| {
    let (runtime, verifier) = &*VERIFIER;
    let believed = runtime.block_on(verifier.verify(token)).is_ok();
    assert!(!believed, "{token} was believed");
});
