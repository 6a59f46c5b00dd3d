//! What those call who look after members, one resource a file, and the pages of their console.

mod console;
mod me;
mod story;

pub(super) use self::console::console;

use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::state::AppState;

/// For operators, answered from our own rows.
pub(super) fn from_rows() -> OpenApiRouter<AppState> {
    me::routes()
}

/// For operators, answered by Stripe.
pub(super) fn from_stripe() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().merge(story::routes())
}
