//! Plans, as an organisation has entered them in the admin portal, and subscriptions that are there already.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::tables::{Kind, table};
use super::values::{STATUSES, is_valid, normal};
use super::world::{Row, World, new_id};

/// A payment plan with its subscription plan and prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// What is sold; one that is there already, by its id, gets another payment plan.
    pub subscription_plan: SubscriptionPlan,
    /// How it is paid; one that is there already, by its id, is replaced.
    pub payment_plan: PaymentPlan,
    /// One price for each country.
    #[serde(default)]
    pub prices: Vec<Price>,
}

/// What is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionPlan {
    /// Its id; without one it gets a new one.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// Its name.
    pub title: String,
    /// Whether it can be subscribed to.
    #[serde(default = "yes")]
    pub is_active: bool,
}

/// How it is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PaymentPlan {
    /// Its id; without one it gets a new one.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// Its name.
    pub title: String,
    /// Unit of its period: `DAY`, `WEEK`, `MONTH` or `YEAR`.
    pub period_unit: String,
    /// How many units make a period.
    pub period_quantity: i32,
    /// Whether it can be subscribed to.
    #[serde(default = "yes")]
    pub is_active: bool,
    /// Its price at Stripe, `price_…`.
    #[serde(default)]
    pub external_id: Option<String>,
    /// Its product at Stripe, `prod_…`.
    #[serde(default)]
    pub product_external_id: Option<String>,
}

/// A price in a country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The country, as ISO 3166-1 alpha-2, or `XX`.
    pub country: String,
    /// The currency, as three upper-case letters.
    pub currency: String,
    /// The price as a decimal number, for example `30.00`.
    pub price: String,
}

fn yes() -> bool {
    true
}

/// The ids of a plan that was added.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanIds {
    pub subscription_plan_id: String,
    pub payment_plan_id: String,
}

/// Adds a plan.
pub(super) fn add_plan(
    world: &mut World,
    provider_key: &str,
    plan: &Plan,
) -> Result<PlanIds, String> {
    let payment = &plan.payment_plan;
    if !is_valid(Kind::Enum("PeriodUnit"), &json!(payment.period_unit)) {
        return Err(format!("unknown period unit '{}'", payment.period_unit));
    }
    for price in &plan.prices {
        let country = is_valid(Kind::Enum("Iso31661Alpha2"), &json!(price.country));
        let currency = price.currency.len() == 3
            && price
                .currency
                .bytes()
                .all(|letter| letter.is_ascii_uppercase());
        if !country || !currency || !is_valid(Kind::Decimal, &json!(price.price)) {
            return Err(format!("the price {price:?} is wrong"));
        }
    }
    let id = |id: Option<Uuid>| id.map_or_else(new_id, |id| id.to_string());
    let (parent, id) = (id(plan.subscription_plan.id), id(payment.id));
    world.remove("SubscriptionPlan", "id", &parent);
    insert(
        world,
        "SubscriptionPlan",
        &json!({
            "id": parent, "title": plan.subscription_plan.title, "isActive": plan.subscription_plan.is_active,
        }),
    )?;
    if let Some(product) = &payment.product_external_id {
        world.remove(
            "SubscriptionPlanProviderConfig",
            "subscriptionPlanId",
            &parent,
        );
        insert(
            world,
            "SubscriptionPlanProviderConfig",
            &json!({
                "subscriptionPlanId": parent, "paymentProviderKey": provider_key, "externalId": product,
            }),
        )?;
    }
    world.remove("PaymentPlan", "id", &id);
    world.remove("PaymentPlanProviderConfig", "paymentPlanId", &id);
    world.remove("PaymentPlanPrice", "paymentPlanId", &id);
    insert(
        world,
        "PaymentPlan",
        &json!({
            "id": id, "subscriptionPlanId": parent, "title": payment.title, "isActive": payment.is_active,
            "periodUnit": payment.period_unit, "periodQuantity": payment.period_quantity,
        }),
    )?;
    if let Some(price) = &payment.external_id {
        insert(
            world,
            "PaymentPlanProviderConfig",
            &json!({
                "paymentPlanId": id, "paymentProviderKey": provider_key, "externalId": price,
            }),
        )?;
    }
    for price in &plan.prices {
        insert(
            world,
            "PaymentPlanPrice",
            &json!({
                "paymentPlanId": id, "country": price.country, "currency": price.currency, "price": price.price,
            }),
        )?;
    }
    Ok(PlanIds {
        subscription_plan_id: parent,
        payment_plan_id: id,
    })
}

fn insert(world: &mut World, name: &str, row: &Value) -> Result<Row, String> {
    let row = world.insert(name, row);
    row.ok_or_else(|| format!("there is no table {name}"))
}

/// Adds a subscription as it is, past all rules: as another connector left it.
pub(super) fn add_subscription(
    world: &mut World,
    provider_key: &str,
    given: &Map<String, Value>,
) -> Result<Row, String> {
    let known = table("SubscriptionType").ok_or("there is no such table")?;
    let mut row = Map::new();
    for (name, value) in given {
        let column = known
            .column(name)
            .ok_or(format!("unknown field '{name}'"))?;
        if !value.is_null() && !is_valid(column.kind, value) {
            return Err(format!("'{name}' is not what it should be"));
        }
        row.insert(name.clone(), normal(column.kind, value.clone()));
    }
    let plan_id = row.get("paymentPlanId").and_then(Value::as_str);
    let plan = plan_id.and_then(|id| world.find("PaymentPlan", "id", id));
    let plan = plan.ok_or("'paymentPlanId' names no payment plan")?;
    let parent = plan.get("subscriptionPlanId").cloned().unwrap_or_default();
    row.insert("subscriptionPlanId".to_owned(), parent);
    if !row.contains_key("userId") {
        return Err("'userId' is missing".to_owned());
    }
    let mut default = |name: &str, value: Value| {
        row.entry(name.to_owned()).or_insert(value);
    };
    default("id", new_id().into());
    default("paymentProviderKey", provider_key.into());
    default("lifecycleStatus", STATUSES[0].into());
    let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
    if world.find("SubscriptionType", "id", id).is_some() {
        return Err(format!("there is a subscription '{id}' already"));
    }
    insert(world, "SubscriptionType", &row.into())
}
