//! The accept loop, and the faults around every call. A fault that cuts the connection is a service that fails: hyper
//! then sends nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::ORIGIN;
use axum::http::{Method, Request};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::faults::{self, Fault, Kind};
use super::{App, authorize, control, cors, logout, metadata, page, token};

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
struct Cut;

/// Serves the login until it stops.
pub(super) async fn run(app: Arc<App>, listener: TcpListener, stop: CancellationToken) {
    let routes = routes().with_state(Arc::clone(&app));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => return,
        };
        let _ = stream.set_nodelay(true);
        let (app, routes) = (Arc::clone(&app), routes.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let answered = respond(Arc::clone(&app), routes.clone(), request.map(Body::new));
            // A task of its own: a caller who hangs up does not undo what the login has begun.
            let answered = tokio::spawn(answered);
            async move { answered.await.unwrap_or(Err(Cut)) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(page::home))
        .route(
            "/.well-known/openid-configuration",
            get(metadata::configuration),
        )
        .route("/jwks", get(metadata::keys))
        .route("/authorize", get(authorize::get).post(authorize::post))
        .route("/authorize/choose", post(authorize::choose))
        .route("/token", post(token::token))
        .route("/revoke", post(token::revoke))
        .route("/logout", get(logout::get).post(logout::post))
        .merge(control::router())
}

async fn respond(app: Arc<App>, routes: Router, request: Request<Body>) -> Result<Response, Cut> {
    let path = request.uri().path().to_owned();
    if path.starts_with("/_login/") {
        return Ok(route(routes, request).await);
    }
    let origin = request.headers().get(ORIGIN);
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let allowed = cors::allowed(&app.world(), &path, origin);
    let mut response = if request.method() == Method::OPTIONS && allowed.is_some() {
        cors::preflight(&path)
    } else {
        faulty(&app, routes, request, &path).await?
    };
    cors::open(&mut response, allowed);
    Ok(response)
}

async fn faulty(
    app: &App,
    routes: Router,
    request: Request<Body>,
    path: &str,
) -> Result<Response, Cut> {
    let fault = take_fault(app, request.method(), path);
    let kind = fault.as_ref().map(|fault| fault.kind);
    if kind == Some(Kind::Close) {
        return Err(Cut);
    }
    if let Some(response) = fault.as_ref().and_then(Fault::answer) {
        return Ok(response);
    }
    if let Some(ms) = fault.and_then(|fault| fault.ms) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let response = route(routes, request).await;
    if kind == Some(Kind::CloseAfter) {
        return Err(Cut);
    }
    Ok(response)
}

fn take_fault(app: &App, method: &Method, path: &str) -> Option<Fault> {
    let mut world = app.world();
    *world
        .requests
        .entry(format!("{method} {path}"))
        .or_default() += 1;
    faults::take(&mut world.faults, path)
}

async fn route(routes: Router, request: Request<Body>) -> Response {
    match routes.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
