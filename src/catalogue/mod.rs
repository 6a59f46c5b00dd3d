//! The plans that members can buy: from the plans file, with live prices from Stripe. [`Plans`] is one file and its
//! prices, [`Catalogue`] what is on sale just now.

pub mod check;
mod file;
mod offer;
mod on_sale;

pub use self::offer::{Interval, Offer};
pub use self::on_sale::Catalogue;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Mutex;

use self::file::file_problems;
use self::offer::offer;
use crate::domain::plan::Plan;
use crate::stripe::objects::Price;
use crate::stripe::requests::catalogue::MAX_LOOKUP_KEYS;
use crate::stripe::{Stripe, StripeError};

/// A price that Stripe charges and that is not among prices as young as this belongs to no plan.
const RECENT: Duration = Duration::from_mins(1);

/// One plans file, and what is known of its prices.
pub struct Plans {
    file: PathBuf,
    listed: Vec<Plan>,
    offers: RwLock<Option<Priced>>,
    refreshing: Mutex<()>,
    /// Whether the last attempt to read the prices failed.
    failing: AtomicBool,
}

/// The plans with their prices, and what to think of these.
#[derive(Clone, Debug)]
pub struct Priced {
    /// In the plans file's order.
    pub offers: Arc<Vec<Offer>>,
    /// When they were read from Stripe.
    at: Instant,
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
            file: file.to_owned(),
            listed: plans.plan,
            offers,
            refreshing: Mutex::new(()),
            failing: AtomicBool::new(false),
        })
    }

    /// Reads every plan's price from Stripe and checks that it can be sold.
    pub async fn refresh(&self, stripe: &Stripe) -> Result<Priced, CatalogueError> {
        let prices = prices(stripe, &self.listed).await?;
        let mut offers = Vec::with_capacity(self.listed.len());
        let mut problems = Vec::new();
        for plan in &self.listed {
            match offer(plan, check::price_of(plan, &prices)) {
                Ok(offer) => offers.push(offer),
                Err(problem) => problems.push(format!("plan \"{}\": {problem}", plan.code)),
            }
        }
        if !problems.is_empty() {
            return Err(CatalogueError::Wrong {
                file: self.file.clone(),
                problems,
            });
        }
        let read = Priced {
            offers: Arc::new(offers),
            at: Instant::now(),
        };
        let mut held = self
            .offers
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = Some(read.clone());
        Ok(read)
    }

    /// A plan by its code, as the plans file has it.
    pub(crate) fn plan(&self, code: &str) -> Option<&Plan> {
        self.listed.iter().find(|plan| plan.code == code)
    }

    /// What is known of the plans' prices, and whether it is of late.
    pub(crate) fn known(&self) -> (Option<Arc<Vec<Offer>>>, bool) {
        let held = self.held();
        let recent = held
            .as_ref()
            .is_some_and(|priced| priced.at.elapsed() <= RECENT);
        (held.map(|priced| priced.offers), recent)
    }

    fn held(&self) -> Option<Priced> {
        self.offers
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

/// The prices that the plans name, as far as Stripe has them.
async fn prices(stripe: &Stripe, plans: &[Plan]) -> Result<Vec<Price>, StripeError> {
    let mut prices = Vec::with_capacity(plans.len());
    let (ids, keys): (Vec<&str>, Vec<&str>) = plans
        .iter()
        .map(|plan| plan.price.as_str())
        .partition(|price| price.starts_with("price_"));
    for keys in keys.chunks(MAX_LOOKUP_KEYS) {
        prices.extend(
            stripe
                .list_prices(keys.iter().map(|&key| key.to_owned()).collect())
                .await?,
        );
    }
    for id in ids {
        match stripe.retrieve_price(id).await {
            Ok(price) => prices.push(price),
            Err(StripeError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(prices)
}
