//! The plans that members can buy: from the plans file, with live prices from Stripe.

pub mod check;
pub mod reload;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::Services;
use crate::domain::plan::{Kind, Plan, Quantity};
use crate::stripe::objects::Price;
use crate::stripe::requests::catalogue::MAX_LOOKUP_KEYS;
use crate::stripe::{Stripe, StripeError};

/// Stripe allows two years.
const MAX_TRIAL_DAYS: u32 = 730;
/// A price that Stripe charges and that is not among prices as young as this belongs to no plan.
const RECENT: Duration = Duration::from_mins(1);

/// The plans and what is known of their prices.
pub struct Catalogue {
    file: PathBuf,
    plans: Vec<Plan>,
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

/// A plan with its price at Stripe.
#[derive(Clone, Debug)]
pub struct Offer {
    /// As in the plans file.
    pub plan: Plan,
    /// `price_…`.
    pub price_id: String,
    /// `prod_…`.
    pub product_id: String,
    /// What members read.
    pub name: String,
    /// What members read.
    pub description: Option<String>,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units of one; none when the buyer chooses.
    pub unit_amount: Option<i64>,
    /// `inclusive`, `exclusive` or `unspecified`: whether the amounts contain their tax.
    pub tax_behavior: Option<String>,
    /// How often it renews.
    pub recurring: Option<Interval>,
    /// The same in other currencies: code and minor units, none when the buyer chooses.
    pub other_currencies: Vec<(String, Option<i64>)>,
}

/// How often a plan renews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// `day`, `week`, `month`, `year`.
    pub unit: String,
    /// Every how many of these.
    pub count: u64,
}

impl Offer {
    /// Whether it can be bought in that currency.
    pub fn has_currency(&self, currency: &str) -> bool {
        self.currency == currency
            || self
                .other_currencies
                .iter()
                .any(|(other, _)| other == currency)
    }
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

impl Catalogue {
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
            plans: plans.plan,
            offers,
            refreshing: Mutex::new(()),
            failing: AtomicBool::new(false),
        })
    }

    /// Reads every plan's price from Stripe and checks that it can be sold.
    pub async fn refresh(&self, stripe: &Stripe) -> Result<Priced, CatalogueError> {
        let prices = prices(stripe, &self.plans).await?;
        let mut offers = Vec::with_capacity(self.plans.len());
        let mut problems = Vec::new();
        for plan in &self.plans {
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
    pub(super) fn plan(&self, code: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.code == code)
    }

    /// What is known of the plans' prices, and whether it is of late.
    pub(super) fn known(&self) -> (Option<Arc<Vec<Offer>>>, bool) {
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

impl Services {
    /// The plans with their prices: at once from memory once they were read, refreshed behind the caller's back.
    pub async fn offers(&self) -> Result<Arc<Vec<Offer>>, CatalogueError> {
        Ok(self.priced().await?.offers)
    }

    /// The same, with how old the prices are, and whether they are older than they should be because Stripe can't be
    /// asked.
    pub async fn priced_offers(&self) -> Result<(Arc<Vec<Offer>>, Duration, bool), CatalogueError> {
        let priced = self.priced().await?;
        let (age, failing) = (
            priced.at.elapsed(),
            self.catalogue.current().failing.load(Ordering::Relaxed),
        );
        let stale = failing && age > self.settings.plans.refresh;
        Ok((priced.offers, age, stale))
    }

    async fn priced(&self) -> Result<Priced, CatalogueError> {
        let catalogue = self.catalogue.current();
        if let Some(priced) = catalogue.held() {
            if priced.at.elapsed() > self.settings.plans.refresh {
                let stripe = self.stripe.clone();
                tokio::spawn(async move {
                    let Ok(_one_at_a_time) = catalogue.refreshing.try_lock() else {
                        return;
                    };
                    let refreshed = catalogue.refresh(&stripe).await;
                    catalogue
                        .failing
                        .store(refreshed.is_err(), Ordering::Relaxed);
                    if let Err(error) = refreshed {
                        tracing::warn!(%error, "the plans' prices could not be refreshed; the last known are served");
                    }
                });
            }
            return Ok(priced);
        }
        let _one_at_a_time = catalogue.refreshing.lock().await;
        match catalogue.held() {
            Some(priced) => Ok(priced),
            None => catalogue.refresh(&self.stripe).await,
        }
    }

    /// Reads the plans' prices anew, unless somebody just did.
    pub(super) async fn read_prices(&self) -> Result<(), CatalogueError> {
        let catalogue = self.catalogue.current();
        let _one_at_a_time = catalogue.refreshing.lock().await;
        if !catalogue.known().1 {
            catalogue.refresh(&self.stripe).await?;
        }
        Ok(())
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

/// Something that is wrong with the file alone.
struct FileProblem {
    /// The plan's place in the file; none where it is the file's as a whole.
    plan: Option<usize>,
    what: String,
}

impl FileProblem {
    fn of_file(what: impl Into<String>) -> Self {
        Self {
            plan: None,
            what: what.into(),
        }
    }

    fn sentence(&self, plans: &[Plan]) -> String {
        match self.plan.and_then(|index| plans.get(index)) {
            Some(plan) => format!("plan \"{}\": {}", plan.code, self.what),
            None => self.what.clone(),
        }
    }
}

/// What is wrong with the file alone.
fn file_problems(plans: &[Plan]) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    let mut codes = HashSet::new();
    for (index, plan) in plans.iter().enumerate() {
        let mut wrong = |what: &str| {
            problems.push(FileProblem {
                plan: Some(index),
                what: what.to_owned(),
            });
        };
        let is_code =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if plan.code.is_empty() || plan.code.len() > 100 || !plan.code.bytes().all(is_code) {
            wrong("code takes 1 to 100 of a-z, 0-9, \"-\", \"_\" and \".\"");
        }
        if !codes.insert(plan.code.as_str()) {
            wrong("code is used twice");
        }
        if plan.price.is_empty() || plan.price.len() > 200 {
            wrong("price is a lookup key or a price id of 1 to 200 characters");
        }
        let quantity = plan.quantity;
        if quantity.min < 1 || quantity.max < quantity.min || quantity.max > 999_999 {
            wrong("quantity needs 1 <= min <= max <= 999999");
        }
        if quantity.step < 1 || !quantity.allows(quantity.max) {
            wrong("quantity: max is not reached from min in whole steps");
        }
        if quantity.adjustable && quantity.step != 1 {
            wrong("quantity: Stripe's page knows no steps, so adjustable goes with step = 1 alone");
        }
        if quantity.adjustable && quantity.min == quantity.max {
            wrong("quantity: adjustable leaves nothing to choose, for min and max are equal");
        }
        if let Some(amount) = &plan.amount {
            if amount.min < 1 || amount.max < amount.min || amount.max > 99_999_999 {
                wrong("amount needs 1 <= min <= max <= 99999999, in minor units");
            }
            if !amount
                .presets
                .iter()
                .all(|preset| (amount.min..=amount.max).contains(preset))
            {
                wrong("amount: a preset lies outside min and max");
            }
            if quantity != Quantity::default() {
                wrong("amount is chosen by the buyer, so there is no quantity to choose");
            }
            if plan.promotion_codes {
                wrong("amount is chosen by the buyer, so no promotion code reduces it");
            }
        }
        if plan.kind == Kind::Membership && quantity.max != 1 && plan.is_single() {
            wrong(
                "a single membership can't be bought several times: set single = false or leave out quantity",
            );
        }
        if plan
            .trial_days
            .is_some_and(|days| !(1..=MAX_TRIAL_DAYS).contains(&days))
        {
            wrong("trial_days is 1 to 730");
        }
        if let Some(kind) = plan.requires
            && !plans
                .iter()
                .any(|other| other.kind == kind && other.code != plan.code)
        {
            wrong("requires a kind of which there is no other plan");
        }
        let texts = [
            ("upgrade_group", &plan.upgrade_group),
            ("account_code", &plan.account_code),
        ];
        for (key, text) in texts {
            if text
                .as_ref()
                .is_some_and(|text| text.trim().is_empty() || text.len() > 100)
            {
                wrong(&format!("{key} has 1 to 100 characters"));
            }
        }
    }
    for (group, members) in groups(plans) {
        let first = members[0];
        if members
            .iter()
            .any(|plan| plan.kind != first.kind || plan.is_single() != first.is_single())
        {
            problems.push(FileProblem::of_file(format!(
                "upgrade_group \"{group}\": its plans must be of one kind, and all single or none"
            )));
        }
    }
    if plans.is_empty() {
        problems.push(FileProblem::of_file("it has no [[plan]]"));
    }
    problems
}

/// The plans of each upgrade group.
fn groups(plans: &[Plan]) -> BTreeMap<&str, Vec<&Plan>> {
    let mut groups: BTreeMap<&str, Vec<&Plan>> = BTreeMap::new();
    for plan in plans {
        if let Some(group) = &plan.upgrade_group {
            groups.entry(group).or_default().push(plan);
        }
    }
    groups
}

/// The offer of a plan, or what keeps its price from being sold.
fn offer(plan: &Plan, price: Option<&Price>) -> Result<Offer, String> {
    let Some(price) = price else {
        return Err(check::unknown_price(plan));
    };
    let problems = check::price_problems(plan, price);
    if !problems.is_empty() {
        return Err(problems.join(", and "));
    }
    let product = price.product.object();
    let name = plan
        .name
        .clone()
        .or_else(|| product.and_then(|product| product.name.clone()));
    let description = plan
        .description
        .clone()
        .or_else(|| product.and_then(|product| product.description.clone()));
    let options = price
        .currency_options
        .iter()
        .filter(|(currency, _)| **currency != price.currency);
    Ok(Offer {
        plan: plan.clone(),
        price_id: price.id.clone(),
        product_id: price.product.id().to_owned(),
        name: name.unwrap_or_else(|| plan.code.clone()),
        description,
        currency: price.currency.clone(),
        unit_amount: price.unit_amount.filter(|_| plan.amount.is_none()),
        tax_behavior: match plan.tax_behavior {
            Some(behavior) => Some(behavior.as_str().to_owned()),
            None => price.tax_behavior.clone(),
        },
        recurring: price.recurring.as_ref().map(|recurring| Interval {
            unit: recurring.interval.clone(),
            count: recurring.interval_count,
        }),
        other_currencies: options
            .filter(|(_, option)| plan.amount.is_some() || option.unit_amount.is_some())
            .map(|(currency, option)| {
                let amount = option.unit_amount.filter(|_| plan.amount.is_none());
                (currency.clone(), amount)
            })
            .collect(),
    })
}
