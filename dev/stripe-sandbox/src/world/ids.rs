//! Ids in Stripe's style. They are opaque: nothing may parse them.

/// A new id with a prefix.
pub(crate) fn new(prefix: &str) -> String {
    let length = match prefix {
        "cs_test_a1" => 56,
        "cus" | "prod" | "si" | "req" => 14,
        _ => 24,
    };
    let separator = if prefix == "cs_test_a1" { "" } else { "_" };
    format!("{prefix}{separator}{}", random(length))
}

/// A new webhook signing secret.
pub(crate) fn webhook_secret() -> String {
    format!("whsec_{}", random(32))
}

/// Random letters and digits.
pub(crate) fn random(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(length)
        .collect()
}
