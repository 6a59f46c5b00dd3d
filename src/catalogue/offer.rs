//! A plan with its price at Stripe: what members can buy.

use super::check;
use crate::domain::plan::Plan;
use crate::stripe::objects::Price;

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

/// The offer of a plan, or what keeps its price from being sold.
pub(super) fn offer(plan: &Plan, price: Option<&Price>) -> Result<Offer, String> {
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
