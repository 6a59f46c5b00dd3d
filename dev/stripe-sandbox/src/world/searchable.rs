//! What a search knows: the world as it was a while ago. It reads an index that is told of changes later than everybody
//! else: <https://docs.stripe.com/search#data-freshness>.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::json::Json;

/// How long what was is kept, in seconds: as long as Stripe's index is ever said to have been behind.
const KEPT_SECONDS: i64 = 3600;

/// What customers looked like before they changed, oldest first; not saved, so that after a start all is known.
#[derive(Debug, Default)]
pub(crate) struct Past(HashMap<String, Vec<Version>>);

#[derive(Debug)]
struct Version {
    until: i64,
    was: Value,
}

/// The fields of a customer that are searched.
pub(crate) fn searched(customer: &Value) -> Value {
    json!({
        "email": customer["email"], "metadata": customer["metadata"], "name": customer["name"], "phone": customer["phone"],
    })
}

impl Past {
    /// Notes that a customer looked otherwise until now.
    pub(crate) fn note(&mut self, id: &str, was: Value, now: i64, lag: u32) {
        let versions = self.0.entry(id.to_owned()).or_default();
        let kept = KEPT_SECONDS.max(lag.into());
        versions.retain(|version| version.until > now - kept);
        versions.push(Version { until: now, was });
    }

    /// The searched fields of a customer at a moment; nothing before it was made.
    pub(crate) fn at(&self, customer: &Value, moment: i64) -> Option<Value> {
        if customer.int("created") > moment {
            return None;
        }
        let versions = self.0.get(customer.text("id"));
        let mut versions = versions.into_iter().flatten();
        let then = versions.find(|version| version.until > moment);
        Some(then.map_or_else(|| searched(customer), |version| version.was.clone()))
    }
}
