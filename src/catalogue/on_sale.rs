//! What is on sale: the plans of the file that was read last, with prices that are kept fresh behind everybody's back.
//! Another file while the service runs is taken whole, or not at all.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use metrics::counter;
use uuid::Uuid;

use super::{CatalogueError, OffSale, Offer, Plans, Priced, Reading};
use crate::domain::plan::Plan;
use crate::settings;
use crate::stripe::Stripe;

/// What is on sale; cloning copies references. Whoever took its offers keeps them while others take their place.
#[derive(Clone)]
pub struct Catalogue {
    stripe: Stripe,
    plans: Arc<RwLock<Arc<Plans>>>,
    file: PathBuf,
    /// How old prices may be before they are read again.
    refresh: Duration,
}

impl Catalogue {
    /// Reads the plans file and its prices. A Stripe that doesn't answer does not stop the start, nor a plan that can't
    /// be sold: webhooks and members who already paid must be served. A file that contradicts itself does, and a key
    /// that Stripe refuses.
    pub async fn open(settings: &settings::Plans, stripe: Stripe) -> Result<Self, CatalogueError> {
        let plans = Plans::read(&settings.file)?;
        match plans.read_prices(&stripe).await {
            Ok(priced) => plans.hold(&priced),
            Err(CatalogueError::Stripe(cause)) if !cause.is_refusal() => {
                tracing::warn!(error = %cause, "the plans could not be checked at start; they will be when first needed");
            }
            Err(error) => return Err(error),
        }
        Ok(Self {
            stripe,
            plans: Arc::new(RwLock::new(Arc::new(plans))),
            file: settings.file.clone(),
            refresh: settings.refresh,
        })
    }

    /// The plans as they are now.
    pub(crate) fn current(&self) -> Arc<Plans> {
        Arc::clone(&self.plans.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The plans with their prices, at once from memory once they were read, and refreshed behind the caller's back; with
    /// how old the prices are, and whether they are older than they should be because Stripe can't be asked.
    pub async fn priced_offers(&self) -> Result<(Arc<Vec<Offer>>, Duration, bool), CatalogueError> {
        let priced = self.priced().await?;
        let age = priced.at.elapsed();
        let failing = self.current().failing.load(Ordering::Relaxed);
        Ok((priced.offers, age, failing && age > self.refresh))
    }

    /// What is on sale, and what is not.
    pub(crate) async fn priced(&self) -> Result<Priced, CatalogueError> {
        let plans = self.current();
        if let Some(priced) = plans.held() {
            if priced.at.elapsed() > self.refresh {
                let stripe = self.stripe.clone();
                tokio::spawn(async move {
                    if plans.reading.try_lock().is_err() {
                        return;
                    }
                    let asked = Instant::now();
                    let serves = |reading: &Reading| reading.begun >= asked;
                    if let Err(error) = plans.read_in_turn(&stripe, serves).await {
                        tracing::warn!(%error, "the plans' prices could not be refreshed; the last known are served");
                    }
                });
            }
            return Ok(priced);
        }
        let asked = Instant::now();
        let serves = |reading: &Reading| reading.ended >= asked;
        plans.read_in_turn(&self.stripe, serves).await
    }

    /// A plan by its code, as the plans file has it.
    pub fn plan(&self, code: &str) -> Option<Plan> {
        self.current().plan(code).cloned()
    }

    /// The first plan for which this payment plan stands in a Mosaic Billing Service.
    pub fn plan_kept_as(&self, payment_plan: Uuid) -> Option<Plan> {
        let is_it = |plan: &&Plan| plan.mosaic_payment_plan == Some(payment_plan);
        self.current().listed.iter().find(is_it).cloned()
    }

    /// Reads the plans' prices anew, unless somebody has begun to since `asked`.
    pub(crate) async fn read_prices(&self, asked: Instant) -> Result<(), CatalogueError> {
        let serves = |reading: &Reading| reading.begun >= asked;
        self.current().read_in_turn(&self.stripe, serves).await?;
        Ok(())
    }

    /// Reads the plans file again and sells from it, if every plan can be sold, but for those that could not be sold
    /// before; else the old plans stay, also when Stripe can't be asked. The log says which.
    pub async fn reload(&self) {
        let reloaded = self.read_plans().await;
        let outcome = match &reloaded {
            Ok(_) => "reloaded",
            Err(CatalogueError::Missing { .. }) => "missing",
            Err(CatalogueError::Malformed { .. }) => "malformed",
            Err(CatalogueError::Wrong { .. }) => "wrong",
            Err(CatalogueError::Stripe(_) | CatalogueError::Shared(_)) => "stripe",
        };
        counter!("catalogue_reloads_total", "outcome" => outcome).increment(1);
        let file = self.file.display();
        match reloaded {
            Ok(plans) => tracing::info!(%file, plans, "the plans were reloaded"),
            Err(error) => {
                tracing::error!(%file, %error, "the plans were not reloaded; the old ones are sold on");
            }
        }
    }

    async fn read_plans(&self) -> Result<usize, CatalogueError> {
        let plans = Plans::read(&self.file)?;
        let priced = plans.read_prices(&self.stripe).await?;
        let before = self.current().held();
        let before = before.map(|priced| priced.off_sale).unwrap_or_default();
        let new = |off: &&OffSale| before.iter().all(|other| other.plan != off.plan);
        let worse = priced.off_sale.iter().filter(new);
        let problems: Vec<String> = worse
            .map(|off| format!("plan \"{}\": {}", off.plan, off.problem))
            .collect();
        if !problems.is_empty() {
            return Err(CatalogueError::Wrong {
                file: self.file.clone(),
                problems,
            });
        }
        plans.hold(&priced);
        *self.plans.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plans);
        Ok(priced.offers.len())
    }
}
