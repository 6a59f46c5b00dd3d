//! What other services of the organisation call.

mod feed;

use utoipa_axum::router::OpenApiRouter;

use crate::http::edge::state::AppState;

/// For services that follow what has changed.
pub(super) fn following() -> OpenApiRouter<AppState> {
    feed::routes()
}
