//! What those call who look after members, one resource a file, and the pages of their console.

mod actions;
mod acts;
mod adoptions;
mod asking;
mod console;
mod event_acts;
mod me;
mod refunds;
mod subscriptions;

pub(super) use self::console::console;

use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::state::AppState;

/// For operators, answered from our own rows.
pub(super) fn from_rows() -> OpenApiRouter<AppState> {
    me::routes().merge(actions::routes())
}

/// For operators, answered by Stripe.
pub(super) fn from_stripe() -> OpenApiRouter<AppState> {
    acts::routes()
        .merge(refunds::routes())
        .merge(adoptions::routes())
        .merge(event_acts::routes())
}
