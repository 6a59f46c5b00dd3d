//! Pages for people: the hosted checkout, and an overview of the sandbox.

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

use crate::app::App;

/// The routes of the pages.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/_sandbox/") }))
        .with_state(app)
}
