//! The plans file and what Stripe says of its prices, judged plan by plan: for whoever edits the file, and for the
//! service, which refuses to start with a plan that can't be sold.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize as _, Serialize};
use toml::Spanned;

use super::file::{FileProblem, file_problems};
use super::offer::offer;
use super::{CatalogueError, Interval, Offer, prices};
use crate::domain::currency::{decimal, decimals};
use crate::domain::plan::{Kind, Plan, TaxBehavior};
use crate::settings::CatalogueSettings;
use crate::stripe::objects::Price;
use crate::stripe::requests::catalogue::MAX_LOOKUP_KEYS;
use crate::stripe::{Stripe, StripeError};

/// Stripe takes no payment of less than about half a unit of the usual currencies
/// (<https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>).
const LEAST_CHARGE: i64 = 50;
/// An account may have thousands of prices that are none of our business: so many pages of a hundred are looked at.
const MOST_PAGES: usize = 10;

/// What is to be said of the plans file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One for each plan, in the order of the file.
    pub plans: Vec<Judged>,
    /// What is wrong with the file as a whole, a sentence each.
    pub file: Vec<String>,
    /// Active prices at Stripe that no plan uses, by lookup key.
    pub unused: Vec<String>,
}

/// What is to be said of one plan.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Its code; empty where it has none.
    pub plan: String,
    /// Where it begins in the file.
    pub line: usize,
    /// The price at Stripe, in words; none where it can't be sold.
    pub offer: Option<String>,
    /// What keeps it from being sold and what to do, a sentence each.
    pub problems: Vec<String>,
    /// What can be sold but is probably not meant, a sentence each.
    pub remarks: Vec<String>,
}

impl Report {
    /// Whether every plan can be sold.
    pub fn is_good(&self) -> bool {
        self.file.is_empty() && self.plans.iter().all(|plan| plan.problems.is_empty())
    }
}

/// A plan as far as its table can be read.
struct Entry {
    line: usize,
    code: String,
    plan: Result<Plan, String>,
}

/// Why the plans can't be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The HTTP client can't be built.
    #[error("the client for Stripe can't be built: {0}")]
    Client(#[from] reqwest::Error),
    /// The file can't be read, or Stripe can't be asked.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// Judges the plans file that the settings name.
pub async fn of_settings(settings: &CatalogueSettings) -> Result<Report, CheckError> {
    let stripe = Stripe::new(&settings.stripe)?;
    Ok(check(&settings.plans.file, &stripe, settings.automatic_tax).await?)
}

/// Judges every plan of the file, also when others are wrong.
pub async fn check(
    file: &Path,
    stripe: &Stripe,
    automatic_tax: bool,
) -> Result<Report, CatalogueError> {
    let entries = read(file)?;
    let mut plans = Vec::new();
    let mut judged: Vec<Judged> = Vec::with_capacity(entries.len());
    // Which of the entries each plan is.
    let mut places = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        let problems = match entry.plan {
            Ok(plan) => {
                plans.push(plan);
                places.push(place);
                Vec::new()
            }
            Err(problem) => vec![problem],
        };
        judged.push(Judged {
            plan: entry.code,
            line: entry.line,
            offer: None,
            problems,
            remarks: Vec::new(),
        });
    }
    let mut of_file = Vec::new();
    // Rules between plans can only be told when all of them can be read.
    if places.len() == judged.len() {
        for FileProblem { plan, what } in file_problems(&plans) {
            match plan {
                Some(index) => judged[places[index]].problems.push(what),
                None => of_file.push(what),
            }
        }
    }
    let (prices, _) = prices(stripe, &plans).await?;
    let archived = archived(stripe, &plans, &prices).await?;
    for (index, plan) in plans.iter().enumerate() {
        let found = &mut judged[places[index]];
        match price_of(plan, &prices) {
            None if archived.contains(&plan.price) => found.problems.push(format!(
                "the price with the lookup key \"{}\" is archived at Stripe: move the key to an active price, or \
                 activate it again",
                plan.price
            )),
            None => found.problems.push(unknown_price(plan)),
            Some(price) => {
                found.problems.extend(price_problems(plan, price));
                found.remarks = remarks(plan, price, automatic_tax);
                if let Some(other) = plans[..index].iter().find(|other| {
                    price_of(other, &prices).is_some_and(|others| others.id == price.id)
                }) {
                    let code = &other.code;
                    found
                        .remarks
                        .push(format!("the plan \"{code}\" is sold at the same price"));
                }
                found.offer = offer(plan, Some(price)).ok().map(|offer| words(&offer));
            }
        }
    }
    Ok(Report {
        plans: judged,
        file: of_file,
        unused: unused(stripe, &plans).await?,
    })
}

/// The price of a plan among those that Stripe has.
pub(super) fn price_of<'a>(plan: &Plan, prices: &'a [Price]) -> Option<&'a Price> {
    prices.iter().find(|price| {
        price.id == plan.price || price.lookup_key.as_deref() == Some(plan.price.as_str())
    })
}

/// What is said when Stripe has no such price.
pub(super) fn unknown_price(plan: &Plan) -> String {
    format!(
        "Stripe has no active price with the lookup key or id \"{}\": give a price this lookup key at Stripe, in the \
         mode (test or live) of the key",
        plan.price
    )
}

/// All that keeps a price from being sold as the plan says, and what to do about it.
pub(super) fn price_problems(plan: &Plan, price: &Price) -> Vec<String> {
    let mut problems = Vec::new();
    let name = &plan.price;
    let product = price.product.object();
    if !price.active {
        problems.push(format!(
            "the price \"{name}\" is archived at Stripe: activate it, or name another"
        ));
    }
    if product.is_some_and(|product| product.active == Some(false)) {
        problems.push(format!(
            "the product of the price \"{name}\" is archived at Stripe: activate it"
        ));
    }
    if plan.amount.is_none() && price.unit_amount.is_none() {
        problems.push(format!(
            "the price \"{name}\" has no fixed amount: give the plan an amount = {{ min, max }}"
        ));
    }
    if price.recurring.is_some() {
        if plan.amount.is_some() {
            problems.push(format!(
                "the price \"{name}\" renews, so the buyer can't choose an amount: take amount out, or name a one-off \
                 price"
            ));
        }
        if plan.term.is_some() {
            problems.push(format!(
                "the price \"{name}\" renews, so the plan has no term: take term out, or name a one-off price"
            ));
        }
    } else {
        for (given, key) in [
            (plan.trial_days.is_some(), "trial_days"),
            (plan.upgrade_group.is_some(), "upgrade_group"),
        ] {
            if given {
                problems.push(format!(
                    "the price \"{name}\" does not renew, so the plan has no {key}: take it out, or name a price that \
                     renews"
                ));
            }
        }
    }
    if let (Some(wanted), Some(at_stripe)) = (plan.tax_behavior, price.tax_behavior.as_deref())
        && plan.amount.is_none()
        && at_stripe != wanted.as_str()
    {
        let wanted = wanted.as_str();
        // https://docs.stripe.com/tax/products-prices-tax-codes-tax-behavior
        let advice = if at_stripe == "unspecified" {
            "set it at Stripe"
        } else {
            "at Stripe it can't be changed any more, so change the plan, or make a new price and move the lookup key"
        };
        problems.push(format!(
            "the price \"{name}\" has the tax behavior {at_stripe} at Stripe, the plan says {wanted}: {advice}"
        ));
    }
    problems
}

/// What can be sold but is probably not meant.
fn remarks(plan: &Plan, price: &Price, automatic_tax: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    let unspecified = matches!(price.tax_behavior.as_deref(), None | Some("unspecified"));
    let chosen = plan.amount.as_ref();
    if automatic_tax && unspecified && (chosen.is_none() || plan.tax_behavior.is_none()) {
        remarks.push(
            "its tax behavior is unspecified, so automatic tax takes the default of Stripe's tax settings: say \
             inclusive or exclusive"
                .to_owned(),
        );
    }
    if plan.kind == Kind::Donation && plan.tax_behavior == Some(TaxBehavior::Inclusive) {
        remarks.push(
            "a donation with its tax included: with automatic tax a part of the gift would be booked as tax; give the \
             product the tax code for what is not taxed"
                .to_owned(),
        );
    }
    if let Some(bounds) = chosen {
        let other = |currency: &&String| decimals(currency) != decimals(&price.currency);
        if let Some(currency) = price.currency_options.keys().find(other) {
            let (min, max) = (decimal(bounds.min, currency), decimal(bounds.max, currency));
            let currency = currency.to_uppercase();
            remarks.push(format!(
                "the bounds count minor units, so in {currency} they are {min} to {max}"
            ));
        }
    }
    let least = chosen.map_or(price.unit_amount, |bounds| Some(bounds.min));
    if let Some(least) = least
        && (1..LEAST_CHARGE).contains(&least)
        && decimals(&price.currency) == 2
    {
        remarks.push(format!(
            "{} {} may be less than Stripe takes as a payment (about 0.50)",
            decimal(least, &price.currency),
            price.currency.to_uppercase()
        ));
    }
    remarks
}

/// An offer in words: price, amount, interval and name.
fn words(offer: &Offer) -> String {
    let currency = offer.currency.to_uppercase();
    let amount = |minor| decimal(minor, &offer.currency);
    let price = match (offer.unit_amount, &offer.plan.amount) {
        (_, Some(bounds)) => format!(
            "{} to {} {currency}",
            amount(bounds.min),
            amount(bounds.max)
        ),
        (Some(unit), None) => format!("{} {currency}", amount(unit)),
        (None, None) => currency,
    };
    let mut others = String::new();
    for (other, minor) in &offer.other_currencies {
        let price = minor.map_or_else(String::new, |minor| format!("{} ", decimal(minor, other)));
        // Writing to a string can't fail.
        let _ = write!(others, " or {price}{}", other.to_uppercase());
    }
    let interval = match &offer.recurring {
        None => "once".to_owned(),
        Some(Interval { unit, count: 1 }) => format!("every {unit}"),
        Some(Interval { unit, count }) => format!("every {count} {unit}s"),
    };
    format!(
        "{price}{others} {interval}, \"{}\", {}",
        offer.name, offer.price_id
    )
}

/// The lookup keys of plans without an active price that an archived price has.
async fn archived(
    stripe: &Stripe,
    plans: &[Plan],
    prices: &[Price],
) -> Result<Vec<String>, StripeError> {
    let missing: Vec<String> = plans
        .iter()
        .filter(|plan| price_of(plan, prices).is_none() && !plan.price.starts_with("price_"))
        .map(|plan| plan.price.clone())
        .collect();
    let mut archived = Vec::new();
    for keys in missing.chunks(MAX_LOOKUP_KEYS) {
        let found = stripe.list_archived_prices(keys.to_vec()).await?;
        archived.extend(found.into_iter().filter_map(|price| price.lookup_key));
    }
    Ok(archived)
}

/// Active prices with a lookup key that no plan uses: a plan that was forgotten, or another system's.
async fn unused(stripe: &Stripe, plans: &[Plan]) -> Result<Vec<String>, StripeError> {
    let used = |price: &Price| {
        plans.iter().any(|plan| {
            plan.price == price.id || Some(plan.price.as_str()) == price.lookup_key.as_deref()
        })
    };
    let mut unused = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let page = stripe.list_active_prices(after.as_deref()).await?;
        after = page.data.last().map(|price| price.id.clone());
        unused.extend(
            page.data
                .into_iter()
                .filter(|price| !used(price))
                .filter_map(|price| price.lookup_key),
        );
        if !page.has_more {
            break;
        }
    }
    unused.sort();
    Ok(unused)
}

/// The tables of the file, each read on its own, so that a misspelt key in one says nothing about the others.
fn read(file: &Path) -> Result<Vec<Entry>, CatalogueError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tables {
        #[serde(default)]
        plan: Vec<Spanned<toml::Table>>,
    }
    let text = std::fs::read_to_string(file).map_err(|error| CatalogueError::Missing {
        file: file.to_owned(),
        error,
    })?;
    let tables: Tables = toml::from_str(&text).map_err(|error| CatalogueError::Malformed {
        file: file.to_owned(),
        error: Box::new(error),
    })?;
    Ok(tables
        .plan
        .into_iter()
        .map(|table| {
            let before = text.get(..table.span().start).unwrap_or_default();
            let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
            let table = table.into_inner();
            let code = table.get("code").and_then(toml::Value::as_str);
            Entry {
                line,
                code: code.unwrap_or_default().to_owned(),
                plan: Plan::deserialize(table).map_err(|error| error.message().to_owned()),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests;
