//! What Stripe tells, by whichever way: a webhook, our own reading of what was doubtful, its list of events, a full
//! comparison; and what an operator does with events.

pub mod compare;
mod group;
pub mod ingest;
mod queue;
pub mod reconcile;
pub mod replay;
pub(in crate::services) mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::postgres::PgPool;

use self::queue::Queue;
use crate::clock::Clock;
use crate::purchases::Purchases;
use crate::settings::Settings;
use crate::stripe::Account;

/// What Stripe tells; cloning copies references.
#[derive(Clone)]
pub struct Events {
    purchases: Arc<Purchases>,
    pool: PgPool,
    account: Arc<Account>,
    settings: Arc<Settings>,
    clock: Clock,
    /// When Stripe's last webhook came, or else this process was started: Unix seconds.
    last_webhook: Arc<AtomicI64>,
    /// Where deliveries wait for the writer.
    queue: Arc<Queue>,
}

impl Events {
    pub(super) fn new(purchases: &Arc<Purchases>) -> Self {
        let started = purchases.clock.wall().unix_timestamp();
        Self {
            pool: purchases.pool.clone(),
            account: Arc::clone(&purchases.account),
            settings: Arc::clone(&purchases.settings),
            clock: purchases.clock.clone(),
            last_webhook: Arc::new(AtomicI64::new(started)),
            queue: Arc::new(Queue::new(purchases.settings.http.max_concurrency)),
            purchases: Arc::clone(purchases),
        }
    }

    /// The same for work that nobody waits for: its calls to Stripe leave way to others.
    #[must_use]
    pub fn in_background(&self) -> Self {
        let purchases = Arc::new(self.purchases.in_background());
        Self {
            account: Arc::clone(&purchases.account),
            purchases,
            ..self.clone()
        }
    }

    /// How many deliveries wait for this process's writer.
    pub fn waiting_deliveries(&self) -> usize {
        self.queue.len()
    }

    /// Seconds since Stripe's last webhook came to this process, or since it was started.
    pub fn webhook_silence(&self) -> i64 {
        let last = self.last_webhook.load(Ordering::Relaxed);
        self.clock.wall().unix_timestamp() - last
    }
}
