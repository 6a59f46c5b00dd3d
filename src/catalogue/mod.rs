//! The plans that members can buy: from the plans file, with live prices from Stripe. [`Plans`] is one file and its
//! prices, [`Catalogue`] what is on sale just now.

pub mod check;
mod file;
mod offer;
mod on_sale;

pub use self::offer::{Interval, Offer};
pub use self::on_sale::Catalogue;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use metrics::gauge;
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use self::file::file_problems;
use self::offer::offer;
use crate::domain::plan::Plan;
use crate::stripe::objects::Price;
use crate::stripe::requests::catalogue::MAX_LOOKUP_KEYS;
use crate::stripe::{Stripe, StripeError};

/// One plans file, and what is known of its prices.
pub struct Plans {
    listed: Vec<Plan>,
    offers: RwLock<Option<Priced>>,
    /// The last reading of the prices: whoever holds it is reading.
    reading: Mutex<Option<Reading>>,
    /// Whether the last attempt to read the prices failed.
    failing: AtomicBool,
}

/// The plans with their prices, and what to think of these.
#[derive(Clone, Debug)]
pub struct Priced {
    /// In the plans file's order.
    pub offers: Arc<Vec<Offer>>,
    /// The plans whose price can't be sold.
    pub off_sale: Arc<Vec<OffSale>>,
    /// When reading them from Stripe was begun.
    at: Instant,
    /// The same by Stripe's clock; none where there was nothing to read.
    at_stripe: Option<OffsetDateTime>,
}

/// A plan that is not sold for now, because its price can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffSale {
    /// Its code.
    pub plan: String,
    /// Why, and what to do.
    pub problem: String,
}

impl Priced {
    /// Whether the prices are newer than what Stripe said then: who is not among them then has no plan.
    pub(crate) fn are_newer_than(&self, at: OffsetDateTime) -> bool {
        self.at_stripe.is_some_and(|read| read > at)
    }
}

/// A reading of the prices that has ended.
struct Reading {
    begun: Instant,
    ended: Instant,
    outcome: Result<Priced, Arc<CatalogueError>>,
}

/// Why the plans don't hold. The text is for whoever edits the plans file.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file is missing.
    #[error("the plans file {} can't be read ({error}): set DUES__PLANS__FILE", file.display())]
    Missing {
        /// Where it was looked for.
        file: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file is not TOML, or not plans.
    #[error("the plans file {} is wrong: {error}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where, and what.
        error: Box<toml::de::Error>,
    },
    /// Plans contradict themselves or Stripe.
    #[error("the plans file {} is wrong: {}", file.display(), problems.join("; "))]
    Wrong {
        /// The file.
        file: PathBuf,
        /// A sentence each, naming the plan.
        problems: Vec<String>,
    },
    /// Stripe refuses the key, or can't be asked.
    #[error(
        "the plans can't be checked at Stripe (DUES__STRIPE__SECRET_KEY, DUES__STRIPE__API_BASE): {0}"
    )]
    Stripe(#[from] StripeError),
    /// One trouble of all who waited for the same answer.
    #[error(transparent)]
    Shared(Arc<CatalogueError>),
}

impl CatalogueError {
    /// What Stripe said, if it is about Stripe.
    pub fn of_stripe(&self) -> Option<&StripeError> {
        match self {
            Self::Stripe(error) => Some(error),
            Self::Shared(error) => error.of_stripe(),
            Self::Missing { .. } | Self::Malformed { .. } | Self::Wrong { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlansFile {
    #[serde(default)]
    plan: Vec<Plan>,
}

impl Plans {
    /// Reads the plans file and checks what can be checked without Stripe.
    pub fn read(file: &Path) -> Result<Self, CatalogueError> {
        let text = std::fs::read_to_string(file).map_err(|error| CatalogueError::Missing {
            file: file.to_owned(),
            error,
        })?;
        let plans: PlansFile =
            toml::from_str(&text).map_err(|error| CatalogueError::Malformed {
                file: file.to_owned(),
                error: Box::new(error),
            })?;
        let problems = file_problems(&plans.plan);
        if !problems.is_empty() {
            return Err(CatalogueError::Wrong {
                file: file.to_owned(),
                problems: problems
                    .into_iter()
                    .map(|problem| problem.sentence(&plans.plan))
                    .collect(),
            });
        }
        let offers = RwLock::new(None);
        Ok(Self {
            listed: plans.plan,
            offers,
            reading: Mutex::new(None),
            failing: AtomicBool::new(false),
        })
    }

    /// Reads every plan's price from Stripe. One that can't be sold takes no other off sale.
    async fn read_prices(&self, stripe: &Stripe) -> Result<Priced, CatalogueError> {
        let begun = Instant::now();
        let (prices, at_stripe) = prices(stripe, &self.listed).await?;
        let mut offers = Vec::with_capacity(self.listed.len());
        let mut off_sale = Vec::new();
        for plan in &self.listed {
            match offer(plan, check::price_of(plan, &prices)) {
                Ok(offer) => offers.push(offer),
                Err(problem) => off_sale.push(OffSale {
                    plan: plan.code.clone(),
                    problem,
                }),
            }
        }
        Ok(Priced {
            offers: Arc::new(offers),
            off_sale: Arc::new(off_sale),
            at: begun,
            at_stripe,
        })
    }

    /// Sells at these prices from now on, and says what has gone off sale or come back.
    fn hold(&self, priced: &Priced) {
        let before = self.held();
        let before = before.map(|priced| priced.off_sale).unwrap_or_default();
        for off in priced.off_sale.iter().filter(|off| !before.contains(off)) {
            tracing::error!(plan = off.plan, problem = off.problem, "a plan is off sale");
        }
        let is_back = |off: &&OffSale| priced.off_sale.iter().all(|other| other.plan != off.plan);
        for off in before.iter().filter(is_back) {
            tracing::info!(plan = off.plan, "a plan is on sale again");
        }
        let count = u32::try_from(priced.off_sale.len()).unwrap_or(u32::MAX);
        gauge!("catalogue_plans_off_sale").set(count);
        let mut held = self.offers.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some(priced.clone());
    }

    /// Reads the prices, unless a reading that serves the caller has ended while she waited for her turn. All who wait
    /// share one answer, also when there is none.
    async fn read_in_turn(
        &self,
        stripe: &Stripe,
        serves: impl Fn(&Reading) -> bool,
    ) -> Result<Priced, CatalogueError> {
        let mut last = self.reading.lock().await;
        if let Some(reading) = last.as_ref().filter(|reading| serves(reading)) {
            return reading.outcome.clone().map_err(CatalogueError::Shared);
        }
        let begun = Instant::now();
        let outcome = self.read_prices(stripe).await.map_err(Arc::new);
        self.failing.store(outcome.is_err(), Ordering::Relaxed);
        if let Ok(priced) = &outcome {
            self.hold(priced);
        }
        *last = Some(Reading {
            begun,
            ended: Instant::now(),
            outcome: outcome.clone(),
        });
        outcome.map_err(CatalogueError::Shared)
    }

    /// All plans, as the plans file has them.
    pub(crate) fn listed(&self) -> &[Plan] {
        &self.listed
    }

    /// A plan by its code, as the plans file has it.
    pub(crate) fn plan(&self, code: &str) -> Option<&Plan> {
        self.listed.iter().find(|plan| plan.code == code)
    }

    /// The plan that names a price, by its id or its lookup key, whether the price can be sold or not.
    pub(crate) fn plan_at(&self, price: &str, lookup_key: Option<&str>) -> Option<&Plan> {
        let names = |plan: &&Plan| plan.price == price || Some(plan.price.as_str()) == lookup_key;
        self.listed.iter().find(names)
    }

    /// What is known of the plans' prices.
    pub(crate) fn held(&self) -> Option<Priced> {
        let held = self.offers.read();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The prices that the plans name, as far as Stripe has them, and since when, by Stripe's clock, they are so.
async fn prices(
    stripe: &Stripe,
    plans: &[Plan],
) -> Result<(Vec<Price>, Option<OffsetDateTime>), StripeError> {
    let mut prices = Vec::with_capacity(plans.len());
    let mut oldest: Option<OffsetDateTime> = None;
    let mut note = |at: OffsetDateTime| oldest = Some(oldest.map_or(at, |oldest| oldest.min(at)));
    let (ids, keys): (Vec<&str>, Vec<&str>) = plans
        .iter()
        .map(|plan| plan.price.as_str())
        .partition(|price| price.starts_with("price_"));
    for keys in keys.chunks(MAX_LOOKUP_KEYS) {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let answer = stripe.list_prices(keys).await?;
        note(answer.at);
        prices.extend(answer.body.data);
    }
    for id in ids {
        match stripe.retrieve_price(id).await {
            Ok(answer) => {
                note(answer.at);
                prices.push(answer.body);
            }
            Err(StripeError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((prices, oldest))
}
