//! What happens around every API call: authentication, version, faults, idempotency, headers, journal.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::json;

use super::answer::Outgoing;
use super::auth::authenticate;
use super::faults::{forbidden, refusal, server_error};
use super::idempotency::{self, Claim};
use super::server::Cut;
use super::{faults, form};
use crate::api;
use crate::app::App;
use crate::spec::{older, version};
use crate::world::clock::http_date;
use crate::world::error::ApiError;
use crate::world::faults::{Fault, FaultKind};
use crate::world::{API_VERSION, RequestContext, World, ids};

const BODY_LIMIT: usize = 1 << 20;

/// A call as it came.
struct Incoming {
    id: String,
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
    version: Option<String>,
    idempotency_key: Option<String>,
}

/// Answers a call under `/v1`, or cuts the connection where a fault says so.
pub(crate) async fn answer(app: Arc<App>, request: Request<Body>) -> Result<Response<Body>, Cut> {
    let app = &*app;
    let call = Incoming::read(request).await;
    let fault = app.with(|world| faults::take(&mut world.faults, &call.method, &call.path));
    let Some(fault) = fault else {
        let outgoing = execute(app, &call, None).await;
        call.record(app, Some(&outgoing));
        return Ok(call.respond(app, &outgoing));
    };
    match fault.kind {
        FaultKind::Disconnect => {
            call.record(app, None);
            Err(Cut)
        }
        FaultKind::DisconnectAfterEffect => {
            execute(app, &call, Some(&fault)).await;
            call.record(app, None);
            Err(Cut)
        }
        FaultKind::Garbage => {
            call.record(app, None);
            let body = "<html><body>502 Bad Gateway</body></html>";
            Ok(Response::builder()
                .header("content-type", "text/html")
                .body(Body::from(body))
                .map_err(|_| Cut)?)
        }
        _ => {
            let mut outgoing = execute(app, &call, Some(&fault)).await;
            if fault.kind == FaultKind::WrongTypes {
                call.record(app, None);
                faults::confuse(&mut outgoing.body);
            } else {
                call.record(app, Some(&outgoing));
            }
            if fault.kind == FaultKind::TimeoutAfterEffect {
                tokio::time::sleep(Duration::from_millis(fault.stall_ms)).await;
            }
            Ok(call.respond(app, &outgoing))
        }
    }
}

/// Checks and executes a call, with a fault before or after.
async fn execute(app: &App, call: &Incoming, fault: Option<&Fault>) -> Outgoing {
    if let Err(error) =
        authenticate(&app.secret_key, &call.headers).and_then(|()| call.check_version())
    {
        return error.into();
    }
    // What a key may do is judged before what it asks for.
    if fault.is_some_and(|fault| fault.kind == FaultKind::Forbidden) {
        return forbidden(&app.secret_key, &call.method, &call.path).into();
    }
    if let Some(outgoing) = fault.and_then(refusal) {
        return outgoing;
    }
    let prepared = call.check_encoding().and_then(|()| {
        let (route, ids) = api::find(&call.method, &call.path)?;
        let encoded = if call.body.is_empty() {
            &call.query
        } else {
            &call.body
        };
        Ok((route, route.check(ids, &form::decode(encoded)?)?))
    });
    let (route, checked) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return error.into(),
    };
    // GET and DELETE are idempotent by themselves: a key on them means nothing.
    let key = call
        .idempotency_key
        .as_deref()
        .filter(|_| call.method == "POST");
    let fingerprint = format!("{} {} {}", call.method, call.path, checked.params);
    match key.map(|key| idempotency::claim(&mut app.world(), key, &fingerprint)) {
        Some(Ok(Claim::Replay(status, body))) => {
            return Outgoing {
                status,
                body,
                headers: vec![("idempotent-replayed", "true".to_owned())],
            };
        }
        Some(Err(error)) => return error.into(),
        Some(Ok(Claim::Fresh)) | None => {}
    }
    let kind = fault.map(|fault| fault.kind);
    let pause = Duration::from_millis(fault.map_or(0, |fault| fault.stall_ms));
    if kind == Some(FaultKind::Stall) {
        tokio::time::sleep(pause).await;
    }
    app.with(|world| {
        if kind == Some(FaultKind::Error500Stored) {
            let outgoing = Outgoing::from(server_error());
            store(world, key, &outgoing, true);
            return outgoing;
        }
        let context = RequestContext {
            id: call.id.clone(),
            idempotency_key: call.idempotency_key.clone(),
        };
        world.request = Some(context);
        let result = route.execute(world, &checked);
        world.request = None;
        let executed = !matches!(&result, Err(error) if error.before_execution);
        let outgoing = match kind {
            Some(FaultKind::Error500AfterEffect) => server_error().into(),
            _ => Outgoing::from(result),
        };
        store(world, key, &outgoing, executed);
        outgoing
    })
}

fn store(world: &mut World, key: Option<&str>, outgoing: &Outgoing, executed: bool) {
    if let Some(key) = key {
        idempotency::finish(
            world,
            key,
            executed.then_some((outgoing.status, &outgoing.body)),
        );
    }
}

impl Incoming {
    async fn read(request: Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        Self {
            id: ids::new("req"),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            version: header("stripe-version"),
            idempotency_key: header("idempotency-key"),
            body: String::from_utf8_lossy(&bytes).into_owned(),
            headers: parts.headers,
        }
    }

    fn check_version(&self) -> Result<(), ApiError> {
        match &self.version {
            Some(version) if !version::is_known(version) => Err(ApiError::invalid(format!(
                "Invalid Stripe API version: {version}. The newest that the sandbox knows is {API_VERSION}."
            ))),
            _ => Ok(()),
        }
    }

    fn check_encoding(&self) -> Result<(), ApiError> {
        let declared = self
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let is_form =
            declared.is_empty() || declared.starts_with("application/x-www-form-urlencoded");
        if self.body.is_empty() || (is_form && !self.body.trim_start().starts_with('{')) {
            return Ok(());
        }
        Err(ApiError::invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have \
             questions, we can help at https://support.stripe.com/.",
        ))
    }

    /// Writes the call into the journal; without an answer where it was broken on purpose.
    fn record(&self, app: &App, outgoing: Option<&Outgoing>) {
        let mut headers = serde_json::Map::new();
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| *name != "authorization")
        {
            headers.insert(
                name.as_str().to_owned(),
                value.to_str().unwrap_or_default().into(),
            );
        }
        let mut record = json!({
            "kind": "request", "method": self.method, "path": self.path, "query": self.query, "headers": headers,
            "body": self.body, "request_id": self.id,
        });
        if let (Some(outgoing), Some(fields)) = (outgoing, record.as_object_mut()) {
            fields.insert("status".into(), outgoing.status.into());
            fields.insert("response".into(), outgoing.body.clone());
        }
        app.world().journal.append(record);
    }

    fn respond(&self, app: &App, outgoing: &Outgoing) -> Response<Body> {
        let (now, body) = {
            let world = app.world();
            (
                world.now(),
                older::answer(&world.store, &outgoing.body, self.version.as_deref()),
            )
        };
        let mut response = Response::new(Body::from(format!("{body:#}\n")));
        *response.status_mut() = outgoing.status.try_into().unwrap_or_default();
        let version = self
            .version
            .clone()
            .unwrap_or_else(|| API_VERSION.to_owned());
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("request-id", self.id.clone()),
            ("date", http_date(now)),
            ("stripe-version", version),
        ];
        headers.extend(
            self.idempotency_key
                .clone()
                .map(|key| ("idempotency-key", key)),
        );
        headers.extend(outgoing.headers.iter().cloned());
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
