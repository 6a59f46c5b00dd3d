//! One function for each operation: the builders of `async-stripe` name and encode the parameters.

pub mod account;
mod billing;
pub mod catalogue;
pub mod checkout;
mod events;
pub mod payments;
mod people;
pub mod portal;
pub mod subscriptions;
pub mod tracing;

use std::collections::HashMap;

/// The metadata key, on a refund, of the act by which an operator made it.
pub(crate) const ACTION_KEY: &str = "dues_action_id";
/// The metadata key of a refund that leaves nothing of the line that it names.
pub(crate) const WHOLE_LINE_KEY: &str = "dues_whole_line";
/// The metadata key of a customer that says whose it is.
pub(crate) const USER_KEY: &str = "dues_user_id";
/// The metadata key of the checkout's id.
pub(crate) const CHECKOUT_KEY: &str = "dues_checkout_id";
/// Stripe's largest page.
const PAGE: i64 = 100;

fn metadata<const N: usize>(pairs: [(&str, String); N]) -> HashMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Only what was made at `from` or later.
fn since(from: time::OffsetDateTime) -> stripe_types::RangeQueryTs {
    stripe_types::RangeQueryTs::gte(from.unix_timestamp())
}

/// Only what was made before `to`. Stripe's times are whole seconds: one that has begun belongs to it.
fn before(to: time::OffsetDateTime) -> stripe_types::RangeQueryTs {
    let begun = i64::from(to.nanosecond() > 0);
    stripe_types::RangeQueryTs::lt(to.unix_timestamp() + begun)
}

fn currency_of(text: &str) -> stripe_types::Currency {
    text.parse().unwrap_or_else(|never| match never {})
}
