//! What the Billing Service checks before it writes.
//!
//! The rules are those of its schema's own descriptions. Its codes are published for a few cases only; the others have
//! names of ours, and a client that tells them apart would tell them apart from nothing.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::values::decimal;
use super::world::{Refusal, Row, World, new_id};

type Input = Map<String, Value>;

fn text<'a>(input: &'a Input, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
}

fn provider(world: &World, input: &Input) -> Result<(), Refusal> {
    let key = text(input, "paymentProviderKey").unwrap_or_default();
    match world.find("PaymentProvider", "key", key) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(
            "PAYMENT_PROVIDER_NOT_FOUND",
            format!("Payment provider '{key}' does not exist."),
        )),
    }
}

fn not_found(what: &str, id: &str) -> Refusal {
    let code = match what {
        "Subscription" => "SUBSCRIPTION_NOT_FOUND",
        "Payment plan" => "PAYMENT_PLAN_NOT_FOUND",
        _ => "SUBSCRIPTION_TRANSACTION_NOT_FOUND",
    };
    Refusal::new(code, format!("{what} with ID '{id}' was not found."))
}

/// Checks that can be skipped, as the caller skips them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    ActivePlans,
    CountryPrice,
    SingleSubscription,
}

impl FromStr for Check {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "ACTIVE_PLANS" => Ok(Self::ActivePlans),
            "COUNTRY_PRICE" => Ok(Self::CountryPrice),
            "SINGLE_SUBSCRIPTION" => Ok(Self::SingleSubscription),
            _ => Err(()),
        }
    }
}

/// `createSubscription`: the checks come first and the row last, so a repeated id shows only where no check refuses it.
pub(super) fn create_subscription(world: &mut World, input: &Input) -> Result<Row, Refusal> {
    provider(world, input)?;
    let plan_id = text(input, "paymentPlanId").unwrap_or_default();
    let plan = world
        .find("PaymentPlan", "id", plan_id)
        .cloned()
        .ok_or_else(|| not_found("Payment plan", plan_id))?;
    let skipped = input.get("skipValidations").and_then(Value::as_array);
    let skipped: Vec<Check> = skipped
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str()?.parse().ok())
        .collect();
    let user = text(input, "endUserId").unwrap_or_default();
    for check in [
        Check::ActivePlans,
        Check::CountryPrice,
        Check::SingleSubscription,
    ] {
        if skipped.contains(&check) {
            continue;
        }
        match check {
            Check::ActivePlans => active(world, &plan)?,
            Check::CountryPrice => priced(world, plan_id, text(input, "country"))?,
            Check::SingleSubscription => single(world, user)?,
        }
    }
    let id = text(input, "subscriptionId").map_or_else(new_id, str::to_owned);
    if world.find("SubscriptionType", "id", &id).is_some() {
        let message = "duplicate key value violates unique constraint \"subscriptions_pkey\"";
        return Err(Refusal::new("UNIQUE_CONSTRAINT_ERROR", message));
    }
    let mut row = input.clone();
    row.insert("id".to_owned(), id.into());
    row.insert("userId".to_owned(), user.into());
    let parent = plan.get("subscriptionPlanId").cloned().unwrap_or_default();
    row.insert("subscriptionPlanId".to_owned(), parent);
    if text(input, "lifecycleStatus").is_none() {
        row.insert("lifecycleStatus".to_owned(), "PENDING_ACTIVATION".into());
    }
    insert(world, "SubscriptionType", &row.into())
}

fn insert(world: &mut World, name: &str, row: &Value) -> Result<Row, Refusal> {
    let known = world.insert(name, row);
    known.ok_or_else(|| Refusal::new("INTERNAL_SERVER_ERROR", "There is no such table."))
}

fn active(world: &World, plan: &Row) -> Result<(), Refusal> {
    let parent = text(plan, "subscriptionPlanId").unwrap_or_default();
    let parent = world.find("SubscriptionPlan", "id", parent);
    let is_active = |row: &Row| row.get("isActive") == Some(&Value::Bool(true));
    if is_active(plan) && parent.is_some_and(is_active) {
        return Ok(());
    }
    let message = "The payment plan or its subscription plan is not active.";
    Err(Refusal::new("PLAN_NOT_ACTIVE", message))
}

fn priced(world: &World, plan_id: &str, country: Option<&str>) -> Result<(), Refusal> {
    let Some(country) = country else {
        return Ok(());
    };
    if price(world, plan_id, Some(country)).is_some() {
        return Ok(());
    }
    let message = format!("The payment plan has no price for the country '{country}'.");
    Err(Refusal::new("COUNTRY_PRICE_NOT_FOUND", message))
}

/// The price of a plan in a country, or its first.
fn price<'w>(world: &'w World, plan_id: &str, country: Option<&str>) -> Option<&'w Row> {
    let mut rows = world.rows("PaymentPlanPrice").iter();
    rows.find(|row| {
        text(row, "paymentPlanId") == Some(plan_id)
            && country.is_none_or(|country| text(row, "country") == Some(country))
    })
}

fn single(world: &World, user: &str) -> Result<(), Refusal> {
    let mut rows = world.rows("SubscriptionType").iter();
    let has_one = rows.any(|row| {
        text(row, "userId") == Some(user) && text(row, "lifecycleStatus") != Some("ENDED")
    });
    if !has_one {
        return Ok(());
    }
    let message = "The end user has a subscription already that has not ended.";
    Err(Refusal::new("ALREADY_SUBSCRIBED", message))
}

/// `updateSubscription`: what is left out stays as it is.
pub(super) fn update_subscription(world: &mut World, input: &Input) -> Result<Row, Refusal> {
    no_nulls(input)?;
    let id = text(input, "subscriptionId").unwrap_or_default();
    let before = world
        .find("SubscriptionType", "id", id)
        .cloned()
        .ok_or_else(|| not_found("Subscription", id))?;
    let status = text(input, "lifecycleStatus");
    let changed = status.filter(|status| text(&before, "lifecycleStatus") != Some(status));
    let reason = text(input, "lifecycleStatusChangeReason").map(str::trim);
    let reason = reason.filter(|reason| !reason.is_empty());
    if changed.is_some() && reason.is_none() {
        let message = "The lifecycle status change reason is required when the status changes.";
        return Err(Refusal::new("STATUS_CHANGE_REASON_REQUIRED", message));
    }
    let fields = [
        "activationDate",
        "country",
        "lifecycleStatus",
        "paymentProviderReference",
        "periodEndDate",
    ];
    let row = world
        .update("SubscriptionType", ("id", id), &patch(input, &fields))
        .ok_or_else(|| not_found("Subscription", id))?;
    if let Some(status) = changed {
        let change = json!({
            "id": new_id(), "subscriptionId": id, "userId": row["userId"], "newLifecycleStatus": status,
            "description": reason,
        });
        insert(world, "SubscriptionStatusChange", &change)?;
    }
    Ok(row)
}

fn patch(input: &Input, fields: &[&str]) -> Input {
    let given = input
        .iter()
        .filter(|(name, _)| fields.contains(&name.as_str()));
    given
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Nothing tells whether the service clears a field that is given as null or leaves it: whoever sends one guesses.
fn no_nulls(input: &Input) -> Result<(), Refusal> {
    let Some((name, _)) = input.iter().find(|(_, value)| value.is_null()) else {
        return Ok(());
    };
    let message = format!("'{name}' is null: leave it out to keep the value as it is.");
    Err(Refusal::new("AMBIGUOUS_NULL", message))
}

/// `createSubscriptionTransaction`.
pub(super) fn create_transaction(world: &mut World, input: &Input) -> Result<Row, Refusal> {
    provider(world, input)?;
    let id = text(input, "subscriptionId").unwrap_or_default();
    let subscription = world
        .find("SubscriptionType", "id", id)
        .cloned()
        .ok_or_else(|| not_found("Subscription", id))?;
    let plan_id = text(&subscription, "paymentPlanId").unwrap_or_default();
    let country = text(&subscription, "country");
    let price = price(world, plan_id, country);
    let or_of_plan = |name: &str, theirs: &str| {
        let given = text(input, name).map(str::to_owned);
        given.or_else(|| text(price?, theirs).map(str::to_owned))
    };
    let amount = or_of_plan("totalPrice", "price");
    let amount = amount.ok_or_else(|| wrong_price("is missing, and the payment plan has none"))?;
    let currency = or_of_plan("currency", "currency").unwrap_or_default();
    let kind = text(input, "transactionType").unwrap_or_default();
    let value = decimal(&amount).map_err(wrong_price)?;
    match kind {
        "PAYMENT" if value <= 0 => return Err(wrong_price("of a PAYMENT must be above zero")),
        "REFUND" if value >= 0 => return Err(wrong_price("of a REFUND must be below zero")),
        "PAYMENT_FAILED" if value != 0 => {
            return Err(wrong_price("of a PAYMENT_FAILED must be zero"));
        }
        _ => {}
    }
    if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_uppercase()) {
        let message = format!("The currency '{currency}' is not three upper-case letters.");
        return Err(Refusal::new("INVALID_CURRENCY", message));
    }
    let mut row = input.clone();
    row.insert("id".to_owned(), new_id().into());
    let user = subscription.get("userId").cloned().unwrap_or_default();
    row.insert("userId".to_owned(), user);
    row.insert("totalPrice".to_owned(), amount.into());
    row.insert("currency".to_owned(), currency.into());
    insert(world, "SubscriptionTransaction", &row.into())
}

fn wrong_price(what: &str) -> Refusal {
    Refusal::new("INVALID_TOTAL_PRICE", format!("The total price {what}."))
}

/// `updateSubscriptionTransaction`: amount, currency and type are final.
pub(super) fn update_transaction(world: &mut World, input: &Input) -> Result<Row, Refusal> {
    no_nulls(input)?;
    let id = text(input, "transactionId").unwrap_or_default();
    let fields = [
        "description",
        "method",
        "paymentProviderReference",
        "periodEndDate",
        "transactionDate",
    ];
    let row = world.update(
        "SubscriptionTransaction",
        ("id", id),
        &patch(input, &fields),
    );
    row.ok_or_else(|| not_found("Subscription transaction", id))
}
