//! The accept loop, and the faults around every call. A fault that cuts the connection is a service that fails: hyper then
//! sends nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::call::Call;
use super::faults::{self, Fault, Kind};
use super::{Forum, control, page, routes};

/// The largest body that is read.
const MOST: usize = 1024 * 1024;

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
struct Cut;

/// Serves the forum until it stops.
pub(super) async fn run(forum: Arc<Forum>, listener: TcpListener, stop: CancellationToken) {
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
        let forum = Arc::clone(&forum);
        let service = service_fn(move |request: Request<Incoming>| {
            let forum = Arc::clone(&forum);
            // A task of its own: a caller who hangs up does not undo what the forum has begun.
            let answered = tokio::spawn(respond(forum, request.map(Body::new)));
            async move { answered.await.unwrap_or(Err(Cut)) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(forum: Arc<Forum>, request: Request<Body>) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST).await else {
        let body = json!({"errors": ["The body is too large."]});
        return Ok(Answer::json(413, body).into_response());
    };
    let path = parts.uri.path();
    if path == "/" {
        return Ok(page::show(&forum.world()));
    }
    if path.starts_with("/_neighbour/") {
        let answer = control::answer(&forum, &parts.method, path, &body).await;
        return Ok(answer.into_response());
    }
    let fault = take_fault(&forum, parts.method.as_str(), path);
    if let Some(fault) = &fault {
        if fault.kind == Kind::Close {
            return Err(Cut);
        }
        if let Some(response) = fault.answer() {
            return Ok(response);
        }
        stall(fault, Kind::StallBefore).await;
    }
    let answer = match Call::read(&parts, &body) {
        Ok(call) => routes::answer(&mut forum.world(), &call),
        Err(refused) => refused,
    };
    if let Some(fault) = &fault {
        if fault.kind == Kind::CloseAfter {
            return Err(Cut);
        }
        stall(fault, Kind::StallAfter).await;
    }
    Ok(answer.into_response())
}

fn take_fault(forum: &Forum, method: &str, path: &str) -> Option<Fault> {
    let mut world = forum.world();
    let fault = faults::take(&mut world.faults, method, path)?;
    *world.faulted.entry(format!("{method} {path}")).or_default() += 1;
    Some(fault)
}

async fn stall(fault: &Fault, when: Kind) {
    if fault.kind == when {
        tokio::time::sleep(Duration::from_millis(fault.ms.unwrap_or_default())).await;
    }
}
