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

use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::state::AppState;

/// Routes for members and their browsers.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(plans::routes())
        .merge(subscriptions::routes())
        .merge(cancel::routes())
        .merge(change::routes())
        .merge(history::routes())
        .merge(open_invoices::routes())
        .merge(portal::routes())
        .merge(entitlements::routes())
        .merge(checkout::routes())
        .merge(statement::routes())
}
