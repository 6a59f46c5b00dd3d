//! The description of the API, generated from the handlers, and a page to read it that needs no network.

use std::fmt::Write as _;

use axum::Router;
use serde_json::json;
use utoipa::openapi::path::{Operation, Paths};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi, ToSchema as _};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::codes::Code;
use super::problem::{PROBLEM_JSON, Problem};
use super::state::AppState;

/// Name of the security scheme that handlers refer to: `security(("bearer" = []))`.
const BEARER: &str = "bearer";

/// Lists a response's codes for programs; its description tells them to people.
const CODES: &str = "x-codes";

/// Answered where there is no route that could: described beside the routes, as `components.responses`.
const NO_ROUTE: &[Code] = &[Code::NotFound, Code::MethodNotAllowed, Code::BadRequest];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dues",
        description = "Connects an organisation's members to Stripe: memberships, top-ups, shares, donations.\n\n\
                       Errors are problem documents (RFC 9457); tell them apart by `code`. Every answer carries \
                       `X-Request-Id`. Each route lists the codes that it can answer; a path that is not there, and \
                       a method that a path does not know, have theirs under `components.responses`."
    ),
    components(schemas(Problem)),
    modifiers(&Bearer, &NoRoute),
    tags(
        (name = "plans", description = "The catalogue"),
        (name = "subscriptions", description = "Buy, look, cancel, change, pay what is open"),
        (name = "portal", description = "Stripe's own pages for members"),
        (name = "browser", description = "Where Stripe sends the browser back to"),
        (name = "webhooks", description = "What Stripe tells us, and a forum"),
        (name = "operators", description = "Find, understand, put right: for those who look after members"),
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

struct NoRoute;

impl Modify for NoRoute {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let responses = &mut openapi.components.get_or_insert_default().responses;
        for code in NO_ROUTE {
            let mut response = Response::new("");
            list(&mut response, *code);
            responses.insert(code.as_str().to_owned(), response.into());
        }
    }
}

/// Tells which problems routes answer. A handler's attribute says only what it answers when all is well, and what is to
/// be said of a status beside its codes; everything else follows from the codes.
pub(in crate::http) trait Problems {
    /// Adds codes to what the routes may answer.
    #[must_use]
    fn problems(self, codes: &[&[Code]]) -> Self;
}

impl Problems for UtoipaMethodRouter<AppState> {
    fn problems(mut self, codes: &[&[Code]]) -> Self {
        describe(&mut self.1, codes);
        self
    }
}

impl Problems for OpenApiRouter<AppState> {
    fn problems(mut self, codes: &[&[Code]]) -> Self {
        describe(&mut self.get_openapi_mut().paths, codes);
        self
    }
}

fn describe(paths: &mut Paths, codes: &[&[Code]]) {
    let operations = paths.paths.values_mut().flat_map(|path| {
        [
            &mut path.get,
            &mut path.put,
            &mut path.post,
            &mut path.patch,
            &mut path.delete,
        ]
    });
    for operation in operations.flatten() {
        for code in codes.iter().copied().flatten() {
            add(operation, *code);
        }
    }
}

/// One response a status: what its codes have in common is that status.
fn add(operation: &mut Operation, code: Code) {
    let responses = &mut operation.responses.responses;
    let response = responses
        .entry(code.status().as_str().to_owned())
        .or_insert_with(|| RefOr::T(Response::new("")));
    if let RefOr::T(response) = response {
        list(response, code);
    }
}

fn list(response: &mut Response, code: Code) {
    let listed = response.extensions.get_or_insert_default();
    let listed = listed.entry(CODES.to_owned()).or_insert_with(|| json!([]));
    let Some(listed) = listed.as_array_mut() else {
        return;
    };
    if listed.contains(&json!(code)) {
        return;
    }
    let text = &mut response.description;
    if !text.is_empty() {
        text.push_str(if listed.is_empty() { "\n\n" } else { "\n" });
    }
    // Writing to a string can't fail.
    let _ = write!(
        text,
        "- `{}`: {}. {}",
        code.as_str(),
        code.title(),
        code.meaning()
    );
    listed.push(json!(code));
    response
        .content
        .entry(PROBLEM_JSON.to_owned())
        .or_insert_with(|| Content::new(Some(Ref::from_schema_name(Problem::name()))).into());
}

/// `/openapi.json`, and `/docs` with the reader that is compiled in. The reader must not send the description to the
/// validator on the Internet that it knows, hence "none".
pub(in crate::http) fn routes(openapi: utoipa::openapi::OpenApi) -> Router<AppState> {
    SwaggerUi::new("/docs")
        .config(Config::default().validator_url("none"))
        .url("/openapi.json", openapi)
        .into()
}
