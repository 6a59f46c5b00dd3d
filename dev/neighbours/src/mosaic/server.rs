//! The accept loop. A fault that cuts the connection is a service that fails: hyper then sends nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::gateway::{self, Schemas};
use super::world::App;

/// Headers that let any page call.
pub(super) const OPEN: [(&str, &str); 3] = [
    ("access-control-allow-origin", "*"),
    (
        "access-control-allow-headers",
        "authorization, content-type",
    ),
    (
        "access-control-allow-methods",
        "GET, HEAD, PUT, PATCH, POST, DELETE",
    ),
];

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
pub(super) struct Cut;

/// Serves GraphQL, and the other routes that it is given, until it is aborted.
pub(super) async fn run(app: Arc<App>, schemas: Schemas, listener: TcpListener, routes: Router) {
    let schemas = Arc::new(schemas);
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        let _ = stream.set_nodelay(true);
        let (app, schemas, routes) = (Arc::clone(&app), Arc::clone(&schemas), routes.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (app, schemas, routes) = (Arc::clone(&app), Arc::clone(&schemas), routes.clone());
            async move {
                let request = request.map(Body::new);
                if request.uri().path().ends_with("/graphql") {
                    // A task of its own: a caller who hangs up does not undo what the service has begun.
                    let work = async move { gateway::answer(&app, &schemas, request).await };
                    return tokio::spawn(work).await.unwrap_or(Err(Cut));
                }
                let response: Response<Body> = match routes.oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok::<_, Cut>(response)
            }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
