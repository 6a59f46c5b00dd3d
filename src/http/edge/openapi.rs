//! The description of the API, generated from the handlers, and a page to read it that needs no network.

use axum::Router;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::Problem;
use super::state::AppState;

/// Name of the security scheme that handlers refer to: `security(("bearer" = []))`.
const BEARER: &str = "bearer";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dues",
        description = "Connects an organisation's members to Stripe: memberships, top-ups, shares, donations.\n\n\
                       Errors are problem documents (RFC 9457); tell them apart by `code`. Every answer carries \
                       `X-Request-Id`."
    ),
    components(schemas(Problem)),
    modifiers(&Bearer),
    tags(
        (name = "plans", description = "The catalogue"),
        (name = "subscriptions", description = "Buy, look, cancel, change, pay what is open"),
        (name = "portal", description = "Stripe's own pages for members"),
        (name = "browser", description = "Where Stripe sends the browser back to"),
        (name = "webhooks", description = "What Stripe tells us"),
        (name = "operation", description = "For machines that watch the service"),
    )
)]
pub(in crate::http) struct ApiDoc;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "The member's token, from the organisation's own login",
            ))
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    }
}

/// `/openapi.json`, and `/docs` with the reader that is compiled in. The reader must not send the description to the
/// validator on the Internet that it knows, hence "none".
pub(in crate::http) fn routes(openapi: utoipa::openapi::OpenApi) -> Router<AppState> {
    SwaggerUi::new("/docs")
        .config(Config::default().validator_url("none"))
        .url("/openapi.json", openapi)
        .into()
}
