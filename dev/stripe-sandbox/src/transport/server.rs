//! The accept loop. A fault that cuts the connection is a service that fails: hyper then sends nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::gateway;
use crate::app::App;
use crate::world::error::ApiError;

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
pub(crate) struct Cut;

/// Serves calls under `/v1`, and the other routes that it is given, until the sandbox stops.
pub(crate) async fn run(app: Arc<App>, listener: TcpListener, pages: Router) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
            () = app.stop.cancelled() => return,
        };
        let _ = stream.set_nodelay(true);
        let (app, pages) = (Arc::clone(&app), pages.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (app, pages) = (Arc::clone(&app), pages.clone());
            async move {
                let request = request.map(Body::new);
                if request.uri().path().starts_with("/v1/")
                    || request.uri().path().starts_with("/v2/")
                {
                    // A task of its own: a caller who hangs up does not undo what Stripe has begun.
                    let answered = tokio::spawn(gateway::answer(Arc::clone(&app), request)).await;
                    return answered
                        .unwrap_or(Err(Cut))
                        .map(|response| complaint(&app).unwrap_or(response));
                }
                let response: Response<Body> = match pages.oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok::<_, Cut>(complaint(&app).unwrap_or(response))
            }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// What every call is answered once a debug build has found an event of its own that Stripe would never send.
fn complaint(app: &App) -> Option<Response<Body>> {
    let sentence = app.world().wrong.clone()?;
    let body = ApiError::new(500, "api_error", None, sentence).to_json();
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Some(response)
}
