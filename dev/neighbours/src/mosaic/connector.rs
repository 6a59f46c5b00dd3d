//! The routes of the payment connector for Stripe, as it answers them: tests hold what Dues answers against them.
//!
//! Whatever goes wrong, its caller learns nothing but that: 400, or a redirect without the subscription's id.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;

use super::rules;
use super::server::OPEN;
use super::stripe::Stripe;
use super::tokens::{self, Caller, Issuer};
use super::values::{is_uuid, write_moment};
use super::world::App;

/// The routes.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/connector/start-checkout",
            post(start_checkout).options(preflight),
        )
        .route(
            "/connector/customer-overview",
            get(customer_overview).options(preflight),
        )
        .route("/connector/success-checkout", get(success_checkout))
}

fn open(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    for (name, value) in OPEN {
        let headers = response.headers_mut();
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}

async fn preflight() -> Response {
    open(StatusCode::NO_CONTENT)
}

fn stripe(app: &App) -> Option<Stripe<'_>> {
    let connector = app.options.connector.as_ref()?;
    Some(Stripe {
        client: &app.client,
        connector,
    })
}

/// The member who calls; the connector wants an address in her token.
fn member(app: &App, headers: &HeaderMap) -> Option<(Caller, String, String)> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let caller = tokens::read(&app.world(), Issuer::User, Some(header)).ok()?;
    let (user, email) = (caller.user.clone()?, caller.email.clone()?);
    Some((caller, user, email))
}

/// One of the redirects of the settings; only that of a success must be set.
fn redirect(app: &App, name: &str) -> Option<String> {
    let world = app.world();
    let text = |name: &str| world.settings.get(name)?.as_str().map(str::to_owned);
    let success = text("successRedirect")?;
    Some(text(name).unwrap_or(success))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    payment_plan_id: String,
    currency: String,
}

async fn start_checkout(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(started) = checkout(&app, &headers, &body).await {
        return open(Json(started));
    }
    let nothing = json!({"subscriptionId": null, "redirectUrl": null});
    open((StatusCode::BAD_REQUEST, Json(nothing)))
}

async fn checkout(app: &App, headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    let (caller, user, email) = member(app, headers)?;
    let wanted: Wanted = serde_json::from_slice(body).ok()?;
    let cancel_url = redirect(app, "cancelRedirect")?;
    // The schema of the service would refuse it.
    if !is_uuid(&wanted.payment_plan_id) {
        return None;
    }
    let key = &app.options.provider_key;
    let input = json!({
        "paymentPlanId": wanted.payment_plan_id.to_lowercase(), "paymentProviderKey": key, "endUserId": user,
        "skipValidations": ["SINGLE_SUBSCRIPTION"],
    });
    let (subscription, price) = {
        let mut world = app.world();
        let row = rules::create_subscription(&mut world, input.as_object()?).ok()?;
        let plan = row.get("paymentPlanId")?;
        let mut configs = world.rows("PaymentPlanProviderConfig").iter();
        let config = configs.find(|config| {
            config.get("paymentPlanId") == Some(plan)
                && config
                    .get("paymentProviderKey")
                    .is_some_and(|theirs| theirs == key.as_str())
        })?;
        let price = config.get("externalId")?.as_str()?.to_owned();
        (row.get("id")?.as_str()?.to_owned(), price)
    };
    let stripe = stripe(app)?;
    let customer = ensure_customer(
        app,
        &stripe,
        &caller.name,
        (&user, &email),
        &wanted.currency,
    )
    .await?;
    let base = stripe.connector.public_base.clone();
    let base = base.unwrap_or_else(|| format!("{}/connector/", app.url));
    let success_url = format!("{base}success-checkout?session_id={{CHECKOUT_SESSION_ID}}");
    let params = [
        ("mode", "subscription"),
        ("billing_address_collection", "auto"),
        ("line_items[0][price]", price.as_str()),
        ("line_items[0][quantity]", "1"),
        ("customer", customer.as_str()),
        ("success_url", success_url.as_str()),
        ("cancel_url", cancel_url.as_str()),
        ("metadata[source]", "session"),
        ("metadata[subscriptionId]", subscription.as_str()),
        (
            "subscription_data[metadata][source]",
            "session.subscription_data",
        ),
        (
            "subscription_data[metadata][subscriptionId]",
            subscription.as_str(),
        ),
    ];
    let session = stripe.create("checkout/sessions", &params).await?;
    Some(json!({"subscriptionId": subscription, "redirectUrl": session["url"]}))
}

/// The customer of a member and a currency. The connector searches them at Stripe; this one remembers.
async fn ensure_customer(
    app: &App,
    stripe: &Stripe<'_>,
    name: &str,
    (user, email): (&str, &str),
    currency: &str,
) -> Option<String> {
    let key = (user.to_owned(), currency.to_owned());
    let known = app.world().customers.get(&key).cloned();
    if let Some(customer) = known {
        return customer["id"].as_str().map(str::to_owned);
    }
    let params = [
        ("email", email),
        ("name", name),
        (
            "description",
            "End-user created via Stripe payment connector",
        ),
        ("metadata[end_user_id]", user),
        ("metadata[end_user_currency]", currency),
    ];
    let customer = stripe.create("customers", &params).await?;
    app.world().customers.insert(key, customer.clone());
    customer["id"].as_str().map(str::to_owned)
}

#[derive(Deserialize)]
struct Success {
    session_id: Option<String>,
}

async fn success_checkout(State(app): State<Arc<App>>, Query(query): Query<Success>) -> Response {
    let Some(target) = redirect(&app, "successRedirect") else {
        let message = "An error occurred while retrieving Mosaic Billing Service settings";
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    let activated = match &query.session_id {
        Some(id) => activate(&app, id).await,
        None => None,
    };
    let with_id = activated.and_then(|id| {
        let mut target = Url::parse(&target).ok()?;
        target.query_pairs_mut().append_pair("subscription_id", &id);
        Some(target.to_string())
    });
    match HeaderValue::from_str(&with_id.unwrap_or(target)) {
        Ok(target) => (StatusCode::FOUND, [(LOCATION, target)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Marks the subscription of a session as active, if Stripe says that it is.
async fn activate(app: &App, session: &str) -> Option<String> {
    // It becomes a part of a path.
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
    if session.is_empty() || !session.bytes().all(plain) {
        return None;
    }
    let path = format!("checkout/sessions/{session}?expand[]=subscription");
    let session = stripe(app)?.read(&path).await?;
    let subscription = &session["subscription"];
    if subscription["status"] != "active" {
        return None;
    }
    let moment = |value: &Value| {
        let at = OffsetDateTime::from_unix_timestamp(value.as_i64()?).ok()?;
        Some(write_moment(at))
    };
    let input = json!({
        "subscriptionId": subscription["metadata"]["subscriptionId"], "lifecycleStatus": "ACTIVE",
        "paymentProviderReference": subscription["id"],
        "lifecycleStatusChangeReason": "Subscription successfully created",
        "activationDate": moment(&subscription["start_date"])?,
        "periodEndDate": moment(&subscription["items"]["data"][0]["current_period_end"])?,
    });
    let row = rules::update_subscription(&mut app.world(), input.as_object()?).ok()?;
    row.get("id")?.as_str().map(str::to_owned)
}

async fn customer_overview(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match overview(&app, &headers).await {
        Some(portals) => open(Json(portals)),
        None => open((StatusCode::BAD_REQUEST, Json(Vec::<Value>::new()))),
    }
}

async fn overview(app: &App, headers: &HeaderMap) -> Option<Vec<Value>> {
    let (_, user, _) = member(app, headers)?;
    let customers = app.world().customers.clone();
    let mut portals = vec![];
    for ((owner, currency), customer) in customers {
        if owner != user {
            continue;
        }
        let params = [("customer", customer["id"].as_str()?)];
        let portal = stripe(app)?
            .create("billing_portal/sessions", &params)
            .await?;
        let name = customer["name"].as_str().unwrap_or_default();
        portals.push(json!({"name": format!("{name} ({currency})"), "url": portal["url"]}));
    }
    Some(portals)
}
