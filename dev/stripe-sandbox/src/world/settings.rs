//! What the control API can set: dunning, webhook retries, chaos.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::world::amounts::Percent;

/// What happens to a subscription when all attempts to collect an invoice have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FinalFailure {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It becomes `unpaid`.
    Unpaid,
    /// It stays `past_due`.
    PastDue,
    /// It becomes `paused`.
    Pause,
}

/// Account settings that Stripe keeps in its Dashboard.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The end of the retry ladder.
    pub final_failure: FinalFailure,
    /// Hours from one failed attempt to the next; the list's length is the number of retries.
    pub retry_hours: Vec<i64>,
    /// Whether an invoice whose retries are exhausted becomes `uncollectible`.
    pub uncollectible_at_end: bool,
    /// Whether drafts can't be finalized by themselves, as where the customer's place is unknown to the tax.
    pub finalization_fails: bool,
    /// Wall milliseconds from a failed webhook attempt to the next.
    pub webhook_retry_ms: Vec<i64>,
    /// Wall milliseconds that an endpoint has to answer.
    pub webhook_timeout_ms: u64,
    /// How many deliveries may be on their way at once.
    pub webhook_concurrency: usize,
    /// Wall milliseconds that the hosted page waits for a 2xx before it redirects.
    pub redirect_wait_ms: u64,
    /// Seconds of the sandbox clock until a delayed debit is settled.
    pub debit_seconds: i64,
    /// Seconds of the sandbox clock until a search finds what is new: a minute at most, says Stripe, or an hour where it
    /// is in trouble.
    pub search_lag_seconds: u32,
    /// The name that the hosted pages show.
    pub organisation: String,
    /// Where the account's terms are; without them no session may ask for their acceptance.
    pub terms_of_service_url: Option<String>,
    /// Whether receipts are mailed to whoever has an address, as Stripe does in live mode only.
    pub mail_receipts: bool,
    /// The rate of each country where tax is collected; elsewhere it is 0 %.
    pub tax_percent: BTreeMap<String, Percent>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            final_failure: FinalFailure::default(),
            retry_hours: vec![48; 7],
            uncollectible_at_end: false,
            finalization_fails: false,
            webhook_retry_ms: vec![1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000],
            webhook_timeout_ms: 10_000,
            webhook_concurrency: 4,
            redirect_wait_ms: 10_000,
            debit_seconds: 3 * 86_400,
            search_lag_seconds: 60,
            organisation: "Sandbox Cooperative".to_owned(),
            terms_of_service_url: Some("https://sandbox.example/terms".to_owned()),
            mail_receipts: false,
            tax_percent: [("AT", 20), ("DE", 19), ("US", 0)]
                .map(|(country, percent)| (country.to_owned(), Percent::new(percent)))
                .into(),
        }
    }
}

/// How webhooks misbehave; the generator is seeded, so that a run can be repeated.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Chaos {
    /// Deliver what is due in random order.
    pub shuffle: bool,
    /// Probability that an event is delivered twice.
    pub duplicate: f64,
    /// Probability that an event is never delivered.
    pub drop: f64,
    /// Each delivery waits up to this many wall milliseconds.
    pub max_delay_ms: i64,
    /// Every change is announced by two different events.
    pub twin_events: bool,
    /// Seed of the generator.
    pub seed: u64,
    #[serde(skip)]
    rng: Option<fastrand::Rng>,
    /// Of its own: how often the queue is shuffled depends on timing, what happens to an event must not.
    #[serde(skip)]
    shuffler: Option<fastrand::Rng>,
}

impl Chaos {
    fn rng(&mut self) -> &mut fastrand::Rng {
        let seed = self.seed;
        self.rng
            .get_or_insert_with(|| fastrand::Rng::with_seed(seed))
    }

    /// Whether the next event is lost.
    pub(crate) fn drops(&mut self) -> bool {
        self.drop > 0.0 && self.rng().f64() < self.drop
    }

    /// How often the next event is delivered.
    pub(crate) fn copies(&mut self) -> usize {
        1 + usize::from(self.duplicate > 0.0 && self.rng().f64() < self.duplicate)
    }

    /// How long the next delivery waits.
    pub(crate) fn delay_ms(&mut self) -> i64 {
        let most = self.max_delay_ms;
        if most > 0 {
            self.rng().i64(0..=most)
        } else {
            0
        }
    }

    /// Puts deliveries in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        let seed = self.seed;
        self.shuffler
            .get_or_insert_with(|| fastrand::Rng::with_seed(seed))
            .shuffle(items);
    }
}
