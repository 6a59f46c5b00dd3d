//! What members and their browsers call, one resource a file.

mod cancel;
mod change;
mod checkout;
mod entitlements;
mod history;
mod open_invoices;
mod plans;
mod portal;
mod statement;
mod subscriptions;

pub(super) use self::checkout::unanswered;

use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::state::AppState;

/// For anybody.
pub(super) fn public() -> OpenApiRouter<AppState> {
    plans::routes()
}

/// For browsers that come from Stripe's page.
pub(super) fn returns() -> OpenApiRouter<AppState> {
    checkout::routes()
}

/// For members, answered from our own rows.
pub(super) fn from_rows() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(subscriptions::looking())
        .merge(history::routes())
        .merge(entitlements::routes())
}

/// For members, answered by Stripe.
pub(super) fn from_stripe() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(subscriptions::buying())
        .merge(cancel::routes())
        .merge(change::routes())
        .merge(open_invoices::routes())
        .merge(portal::routes())
        .merge(statement::routes())
}
