//! Previews of invoices: what a change would cost, without making it.

use super::{Call, Route, refuse, route, subscription_items};
use crate::engine::previews;
use crate::engine::subscriptions::is_over;
use crate::world::World;
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;

pub(super) const ROUTES: &[Route] = &[route(
    "POST",
    "/v1/invoices/create_preview",
    "invoice",
    create,
)];

const REFUSED: &[&str] = &[
    "automatic_tax",
    "customer_account",
    "customer_details",
    "discounts",
    "invoice_items",
    "issuer",
    "on_behalf_of",
    "schedule",
    "schedule_details",
];
const REFUSED_DETAILS: &[&str] = &[
    "billing_cycle_anchor",
    "billing_mode",
    "billing_schedules",
    "cancel_at",
    "cancel_at_period_end",
    "cancel_now",
    "default_tax_rates",
    "metadata",
    "pause",
    "resume_at",
    "start_date",
    "trial_end",
];

fn create(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, REFUSED)?;
    let details = &params["subscription_details"];
    refuse(details, REFUSED_DETAILS)?;
    if params.text("preview_mode") == "recurring" {
        return Err(ApiError::unmodelled("preview_mode=recurring"));
    }
    let Some(id) = params.opt_text("subscription") else {
        if params.has("customer") {
            return Err(ApiError::unmodelled("customer without subscription"));
        }
        let message = "You must provide either `customer`, `subscription` or `schedule`.";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            "customer",
            message,
        ));
    };
    let subscription = world.store.find("subscription", id).cloned();
    let subscription = subscription
        .ok_or_else(|| ApiError::missing_reference("subscription", id, "subscription"))?;
    let customer = subscription.text("customer").to_owned();
    if params
        .opt_text("customer")
        .is_some_and(|given| given != customer)
    {
        let message = format!("Subscription {id} does not belong to this customer.");
        return Err(ApiError::invalid(message).param("customer"));
    }
    if params
        .opt_text("currency")
        .is_some_and(|given| given != subscription.text("currency"))
    {
        let message = "The currency must be that of the subscription.";
        return Err(ApiError::invalid(message).param("currency"));
    }
    let none = || {
        let message = format!("No upcoming invoices for customer: {customer}");
        ApiError::new(
            404,
            "invalid_request_error",
            Some("invoice_upcoming_none"),
            message,
        )
    };
    if is_over(&subscription) {
        return Err(none());
    }
    let change = subscription_items::change(world, &subscription, details, "subscription_details")?;
    previews::preview(world, id, change.as_ref()).ok_or_else(none)
}
