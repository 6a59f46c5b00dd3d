//! What happens around every GraphQL request: size, form, faults, counts, and errors in the service's own shape.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::dynamic::Schema;
use async_graphql::parser::parse_query;
use async_graphql::{Request as Query, Response as Answer, ServerError, Variables};
use axum::body::{Body, to_bytes};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::{root_fields, settle_variables};
use super::faults::{self, FaultKind};
use super::mutations;
use super::positions;
use super::schema::Access;
use super::server::Cut;
use super::tokens::{self, Issuer};
use super::world::App;

/// The service takes no more than this either: it is the limit of `PostGraphile` where nobody sets another.
const BODY_LIMIT: usize = 100 * 1024;
const NESTING: i32 = 100;
const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";

/// The three schemas.
pub(super) struct Schemas {
    pub identity: Schema,
    pub management: Schema,
    pub billing: Schema,
}

impl Schemas {
    /// The schema of a path, and who signs the tokens for it.
    fn of(&self, path: &str) -> Option<(&Schema, Option<Issuer>)> {
        match path {
            "/id/graphql" => Some((&self.identity, None)),
            "/management/graphql" => Some((&self.management, Some(Issuer::Id))),
            "/billing/graphql" => Some((&self.billing, Some(Issuer::User))),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    query: String,
    #[serde(default)]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<serde_json::Map<String, Value>>,
}

/// Answers a GraphQL request, or cuts the connection where a fault says so; nothing for another path.
pub(super) async fn answer(
    app: &Arc<App>,
    schemas: &Schemas,
    request: Request<Body>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let Some((schema, issuer)) = schemas.of(parts.uri.path()) else {
        return Ok(plain(StatusCode::NOT_FOUND, "Not found."));
    };
    // Only a page in a browser asks this, and the service lets any page call it.
    if parts.method == Method::OPTIONS {
        return Ok(open(plain(StatusCode::NO_CONTENT, "")));
    }
    if parts.method != Method::POST {
        let mut response = plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only POST requests are allowed.",
        );
        let allowed = HeaderValue::from_static("POST, OPTIONS");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    let Ok(bytes) = to_bytes(body, BODY_LIMIT).await else {
        return Ok(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Request entity too large.",
        ));
    };
    let (mut query, fields) = match prepare(schema, &parts.headers, &bytes) {
        Ok(prepared) => prepared,
        Err((status, message)) => {
            app.world().note_refusal("", INVALID, &message);
            let body = json!({"errors": [{"message": message, "code": INVALID}]});
            return Ok(open(json_response(status, &body)));
        }
    };
    let fault = {
        let mut world = app.world();
        for field in &fields {
            *world.requests.entry(field.clone()).or_default() += 1;
        }
        faults::take(&mut world, &fields)
    };
    if let Some(response) = before(fault.as_ref()).await {
        return response.map(open);
    }
    if let Some(issuer) = issuer {
        let header = parts.headers.get(AUTHORIZATION);
        let header = header.map(|header| header.to_str().unwrap_or("?"));
        let caller = tokens::read(&app.world(), issuer, header);
        query = query.data(Access(caller));
    }
    let (status, body) = shape(app, &fields, schema.execute(query).await);
    match fault {
        Some(FaultKind::StallAfter { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(FaultKind::CloseAfter) => return Err(Cut),
        Some(FaultKind::Garbage) => {
            return Ok(open(plain(
                StatusCode::OK,
                "<html><body>502 Bad Gateway</body></html>",
            )));
        }
        _ => {}
    }
    Ok(open(json_response(status, &body)))
}

/// What a fault does before anything is done.
async fn before(fault: Option<&FaultKind>) -> Option<Result<Response<Body>, Cut>> {
    match fault? {
        FaultKind::Status { status } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some(Ok(plain(status, "The service is not available.")))
        }
        FaultKind::Errors { code, message } => {
            let body = json!({"errors": [{"message": message, "code": code}], "data": null});
            Some(Ok(json_response(StatusCode::OK, &body)))
        }
        FaultKind::Close => Some(Err(Cut)),
        FaultKind::StallBefore { ms } => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            None
        }
        FaultKind::CloseAfter | FaultKind::StallAfter { .. } | FaultKind::Garbage => None,
    }
}

/// Reads a request as far as it can be read without a schema.
fn prepare(
    schema: &Schema,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<(Query, Vec<String>), (StatusCode, String)> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media = declared.and_then(|declared| declared.split(';').next());
    if media.map(str::trim) != Some("application/json") {
        let message = "The content type must be application/json.".to_owned();
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let wrong = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let incoming: Incoming = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
    if is_too_deep(&incoming.query) {
        return Err(wrong(&"The query is nested too deep."));
    }
    let mut document = parse_query(&incoming.query).map_err(|error| wrong(&error))?;
    let variables = Variables::from_json(incoming.variables.unwrap_or_default().into());
    let checked = positions::check(schema.registry(), &document, &variables);
    checked.map_err(|error| wrong(&error))?;
    let name = incoming
        .operation_name
        .as_deref()
        .filter(|name| !name.is_empty());
    settle_variables(&mut document, name, &variables).map_err(|error| wrong(&error))?;
    let fields = root_fields(&mut document, name);
    let mut query = Query::new(incoming.query).variables(variables);
    if let Some(name) = name {
        query = query.operation_name(name);
    }
    query.set_parsed_query(document);
    Ok((query, fields))
}

/// Deeper than any query that could be executed; the walks through it go as deep as it is nested.
fn is_too_deep(query: &str) -> bool {
    let mut depth = 0_i32;
    query.bytes().any(|symbol| {
        match symbol {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            _ => {}
        }
        depth > NESTING
    })
}

/// The answer as the service gives it: a code beside each message, and 400 for what was not executed.
fn shape(app: &App, fields: &[String], answer: Answer) -> (StatusCode, Value) {
    let data = answer.data.into_json().unwrap_or_default();
    if answer.errors.is_empty() {
        return (StatusCode::OK, json!({"data": data}));
    }
    let errors: Vec<Value> = answer.errors.iter().map(shape_error).collect();
    let mut world = app.world();
    for error in &errors {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let operation = text(&error["path"][0]).unwrap_or_else(|| fields.join(", "));
        let (code, message) = (text(&error["code"]), text(&error["message"]));
        world.note_refusal(
            &operation,
            &code.unwrap_or_default(),
            &message.unwrap_or_default(),
        );
    }
    if errors.iter().all(|error| error["path"].is_array()) {
        let data = nulled(&errors, fields).unwrap_or(data);
        return (StatusCode::OK, json!({"errors": errors, "data": data}));
    }
    (StatusCode::BAD_REQUEST, json!({"errors": errors}))
}

/// The library lets an error take the whole data with it, where the service answers null for the field that failed;
/// except for its mutations, of which most can't be null.
fn nulled(errors: &[Value], fields: &[String]) -> Option<Value> {
    let key = errors.first()?["path"][0].as_str()?;
    match fields {
        [field] if !mutations::is_never_null(field) => Some(json!({ key: null })),
        _ => None,
    }
}

fn shape_error(error: &ServerError) -> Value {
    let extension = |name: &str| {
        let value = error.extensions.as_ref()?.get(name)?;
        value.clone().into_json().ok()
    };
    let path = match extension("path") {
        Some(Value::Array(path)) => path.into_iter().map(path_segment).collect(),
        _ => serde_json::to_value(&error.path).unwrap_or_default(),
    };
    let executed = path.as_array().is_some_and(|path| !path.is_empty());
    let otherwise = if executed {
        "INTERNAL_SERVER_ERROR"
    } else {
        INVALID
    };
    let code = extension("code").unwrap_or_else(|| otherwise.into());
    let mut body = json!({"message": error.message, "code": code});
    if executed {
        body["path"] = path;
    }
    if !error.locations.is_empty() {
        body["locations"] = serde_json::to_value(&error.locations).unwrap_or_default();
    }
    body
}

/// The place in a list is a number; no field has a name like one.
fn path_segment(segment: Value) -> Value {
    let number = segment.as_str().and_then(|text| text.parse::<u64>().ok());
    number.map_or(segment, Value::from)
}

/// A response of plain text.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let media = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let media = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// Lets any page read a response.
fn open(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in super::server::OPEN {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
