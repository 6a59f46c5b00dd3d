//! Pages for people: the hosted checkout, invoices, the customer portal, and an overview of the sandbox.

mod checkout;
mod checkout_page;
mod html;
mod invoice;
mod overview;
mod pdf;
mod portal;
mod portal_plan;
mod receipt;

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};

use crate::app::App;

/// The routes of the pages.
pub(crate) fn router(app: Arc<App>) -> Router {
    let to_overview = || async { Redirect::temporary("/_sandbox/") };
    Router::new()
        .route("/", get(to_overview))
        .route("/_sandbox", get(to_overview))
        .route("/_sandbox/", get(overview::show))
        .route("/_sandbox/ui/advance", post(overview::advance))
        .route("/c/pay/{id}", get(checkout::show).post(checkout::submit))
        .route("/c/recover/{id}", get(checkout::recover))
        .route("/receipts/{id}", get(receipt::show))
        .route("/i/{id}", get(invoice::show).post(invoice::submit))
        .route("/i/{id}/pdf", get(invoice::file))
        .route("/p/session/{id}", get(portal::show).post(portal::act))
        .with_state(app)
}
