//! What a Mosaic Billing Service sells, for whoever writes a plans file from it.

use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Config;
use super::client::{Answer, Client};
use crate::outward::followers::receiver::Failure;

/// Payment plans of one page; with what they cost in some countries an answer stays far below what is read.
const PAGE: u32 = 50;
/// So many pages are read: more than any catalogue has.
const MOST_PAGES: u32 = 200;

const PLANS: &str = "query plans($first: Int!, $after: Cursor, $provider: String!) {
    paymentPlans(first: $first, after: $after, orderBy: [PRIMARY_KEY_ASC]) {
        pageInfo { hasNextPage endCursor }
        nodes { id title isActive periodUnit periodQuantity
            subscriptionPlan { title isActive }
            providerConfigs(filter: { paymentProviderKey: { equalTo: $provider } }) { nodes { externalId } }
            prices(first: 5) { nodes { country currency price } } } } }";

/// One way of paying for what is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentPlan {
    /// Its id there.
    pub id: Uuid,
    /// What is sold.
    pub sold: String,
    /// Its own name.
    pub title: String,
    /// Whether that can be subscribed to in this way.
    pub is_active: bool,
    /// The price at Stripe, if the payment provider has one for it: `price_…`.
    pub price: Option<String>,
    /// Period and some prices, for people.
    pub terms: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    page_info: PageInfo,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: Uuid,
    title: String,
    is_active: Option<bool>,
    period_unit: String,
    period_quantity: Option<u32>,
    subscription_plan: Option<Sold>,
    provider_configs: Nodes<ProviderConfig>,
    prices: Nodes<Price>,
}

#[derive(Deserialize)]
struct Nodes<T> {
    nodes: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sold {
    title: String,
    is_active: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProviderConfig {
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Price {
    country: String,
    currency: String,
    #[serde(rename = "price")]
    amount: String,
}

/// All payment plans, by what they sell.
pub(in crate::outward) async fn payment_plans(
    config: &Config,
) -> Result<Vec<PaymentPlan>, Failure> {
    let no_client = |_| Failure::away("no HTTP client can be made");
    let client = Client::new(config).map_err(no_client)?;
    let mut plans = Vec::new();
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let asked = json!({ "first": PAGE, "after": after, "provider": config.provider_key });
        let mut data = match client.ask(PLANS, asked).await? {
            Answer::Data(data) => data,
            Answer::Refused(why) => return Err(Failure::refused(why)),
        };
        let page: Page = serde_json::from_value(data["paymentPlans"].take())
            .map_err(|error| Failure::refused(format!("answered what can't be read: {error}")))?;
        plans.extend(page.nodes.into_iter().map(PaymentPlan::from));
        if !page.page_info.has_next_page {
            plans.sort_by(|one, other| (&one.sold, one.id).cmp(&(&other.sold, other.id)));
            return Ok(plans);
        }
        after = page.page_info.end_cursor;
    }
    Err(Failure::refused("its list of payment plans does not end"))
}

impl From<Node> for PaymentPlan {
    fn from(node: Node) -> Self {
        let count = node.period_quantity.unwrap_or(1);
        let mut terms = format!("every {count} {}", node.period_unit);
        for price in &node.prices.nodes {
            let Price {
                country,
                currency,
                amount,
            } = price;
            terms = format!("{terms}, {amount} {currency} ({country})");
        }
        let is_sold = node.subscription_plan.as_ref().is_some_and(|s| s.is_active);
        let mut configs = node.provider_configs.nodes.into_iter();
        let price = configs.find_map(|config| config.external_id);
        Self {
            id: node.id,
            sold: node
                .subscription_plan
                .map(|sold| sold.title)
                .unwrap_or_default(),
            title: node.title,
            is_active: is_sold && node.is_active != Some(false),
            price: price.filter(|price| !price.trim().is_empty()),
            terms,
        }
    }
}
