//! What those call who look after members, one resource a file, and the pages of their console.

mod actions;
mod acts;
mod adoptions;
mod asking;
mod console;
mod differing;
mod event_acts;
mod events;
mod filters;
mod me;
mod members;
mod refunds;
mod search;
mod story;
mod subscriptions;
mod today;

pub(super) use self::console::console;

use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::state::AppState;

/// For operators, answered from our own rows.
pub(super) fn from_rows() -> OpenApiRouter<AppState> {
    me::routes()
        .merge(actions::routes())
        .merge(members::looking())
        .merge(subscriptions::routes())
        .merge(events::routes())
        .merge(differing::routes())
        .merge(today::routes())
}

/// For operators, answered by Stripe.
pub(super) fn from_stripe() -> OpenApiRouter<AppState> {
    search::routes()
        .merge(members::revealing())
        .merge(acts::routes())
        .merge(refunds::routes())
        .merge(adoptions::routes())
        .merge(event_acts::routes())
        .merge(story::routes())
}
