//! Connections: accepted until the signal to stop, finished within a deadline, then cut off.
//!
//! `axum::serve` would do most of this, but it lets a client take for ever to send a request's head.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::{StatusCode, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Longest time for a request's head, and for a connection between two requests. Longer than the 60 seconds for
/// which proxies commonly keep a connection, so that they close first and never write into a closing one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Pause after a failure to accept that has nothing to do with one connection: most often, no file is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Longest head of a request, in bytes: what is longer is answered 431.
const HEAD_BYTES: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS: usize = 64;
/// Time that requests have to answer that they were cut off.
const CUT: Duration = Duration::from_secs(1);

/// How a server ends, and how many it serves.
pub(super) struct Serving {
    /// Most connections at once; the next one waits until another ends.
    pub(super) max_connections: usize,
    /// Ends the taking of connections.
    pub(super) stop: CancellationToken,
    /// Is cancelled when requests under way must answer that they were cut off.
    pub(super) cut: CancellationToken,
    /// Time that requests under way have to end.
    pub(super) drain: Duration,
    /// Longest time in which a client takes nothing of its answer: whoever never reads must not be kept.
    pub(super) patience: Duration,
}

/// Serves until it is told to stop; then waits for requests under way, has them cut off, and closes what is left. False
/// when something had to be cut off.
pub(super) async fn serve(listener: TcpListener, router: Router, serving: Serving) -> bool {
    let Serving {
        max_connections,
        stop,
        cut,
        drain,
        patience,
    } = serving;
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < max_connections;
        let stream = tokio::select! {
            stream = accept(&listener), if has_room => stream,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let connection = connection(stream, router.clone(), patience);
        connections.spawn(graceful.watch(connection));
    }
    // Whoever connects from now on is refused by the system, and a balancer goes elsewhere.
    drop(listener);

    let finished = graceful.shutdown();
    tokio::pin!(finished);
    if tokio::time::timeout(drain, &mut finished).await.is_ok() {
        return true;
    }
    cut.cancel();
    if tokio::time::timeout(CUT, &mut finished).await.is_err() {
        connections.abort_all();
    }
    false
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small and written whole: waiting to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "can't accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// RFC 9112, section 3.2: such a request must be refused.
fn lacks_host(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && request.uri().authority().is_none()
        && !request.headers().contains_key(HOST)
}

/// A client's connection, of which nobody waits for ever that it reads.
type Client = TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>;

fn connection(
    stream: TcpStream,
    router: Router,
    patience: Duration,
) -> http1::Connection<
    Client,
    impl hyper::service::Service<
        Request<Incoming>,
        Response = axum::response::Response,
        Error = Infallible,
        Future: Send,
    >,
> {
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            if lacks_host(&request) {
                let refusal = "A request of HTTP/1.1 needs a header Host.\n";
                return Ok((StatusCode::BAD_REQUEST, refusal).into_response());
            }
            router.oneshot(request.map(Body::new)).await
        }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    const LONG: Duration = Duration::from_secs(20);
    /// More bytes than the system keeps for somebody who doesn't read.
    const LONG_ANSWER: usize = 32 << 20;

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<bool>,
        /// Rung when a slow request has reached its handler.
        arrived: Arc<Notify>,
        /// Lets a slow request end.
        release: Arc<Notify>,
    }

    /// A server with a quick route, and a slow one that ends when it is released or cut.
    async fn start(drain: Duration) -> io::Result<Server> {
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (seen_cut, rings, waits) = (cut.clone(), Arc::clone(&arrived), Arc::clone(&release));
        let slow = || async move {
            rings.notify_one();
            tokio::select! {
                () = waits.notified() => "done",
                () = seen_cut.cancelled() => "cut",
            }
        };
        let router = Router::new()
            .route("/slow", get(slow))
            .route("/long", get(|| async { "x".repeat(LONG_ANSWER) }))
            .route("/quick", get(|| async { "quick" }));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = Serving {
            max_connections: 2,
            stop: stop.clone(),
            cut,
            drain,
            patience: Duration::from_millis(200),
        };
        let task = tokio::spawn(serve(listener, router, serving));
        Ok(Server {
            address,
            stop,
            task,
            arrived,
            release,
        })
    }

    async fn get_text(address: SocketAddr, path: &str) -> Result<String, reqwest::Error> {
        reqwest::get(format!("http://{address}{path}"))
            .await?
            .text()
            .await
    }

    #[tokio::test]
    async fn a_request_under_way_is_finished_and_a_new_one_refused() -> anyhow::Result<()> {
        let server = start(LONG).await?;
        let slow = tokio::spawn(get_text(server.address, "/slow"));
        server.arrived.notified().await;
        server.stop.cancel();
        let refused = async {
            while get_text(server.address, "/quick").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, refused).await?;
        server.release.notify_one();
        assert_eq!(slow.await??, "done");
        assert!(server.task.await?);
        Ok(())
    }

    #[tokio::test]
    async fn a_request_beyond_the_deadline_is_cut_off() -> anyhow::Result<()> {
        let server = start(Duration::from_millis(100)).await?;
        let slow = tokio::spawn(get_text(server.address, "/slow"));
        server.arrived.notified().await;
        server.stop.cancel();
        assert_eq!(slow.await??, "cut");
        assert!(!server.task.await?);
        Ok(())
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_up_the_end() -> anyhow::Result<()> {
        let server = start(LONG).await?;
        let mut idle = TcpStream::connect(server.address).await?;
        idle.write_all(b"GET /quick HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await?;
        let mut answer = [0; 15];
        idle.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        server.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(2), server.task).await??;
        assert!(ended);
        drop(idle);
        Ok(())
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused_before_it_is_kept() -> anyhow::Result<()> {
        let server = start(LONG).await?;
        let mut greedy = TcpStream::connect(server.address).await?;
        let head = format!(
            "GET /quick HTTP/1.1\r\nhost: localhost\r\nx: {}",
            "x".repeat(40_000)
        );
        // It may be closed before all of it was sent.
        let _ = greedy.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        greedy.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"HTTP/1.1 431");
        server.stop.cancel();
        assert!(server.task.await?);
        Ok(())
    }

    #[tokio::test]
    async fn more_connections_than_there_may_be_wait_until_another_ends() -> anyhow::Result<()> {
        let server = start(LONG).await?;
        let idle = TcpStream::connect(server.address).await?;
        let other = TcpStream::connect(server.address).await?;
        let address = server.address;
        let third = tokio::spawn(get_text(address, "/quick"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!third.is_finished(), "two are all");
        drop(idle);
        assert_eq!(third.await??, "quick");
        drop(other);
        server.stop.cancel();
        assert!(server.task.await?);
        Ok(())
    }

    #[tokio::test]
    async fn clients_that_never_read_their_answers_keep_no_place() -> anyhow::Result<()> {
        let server = start(LONG).await?;
        let mut silent = Vec::new();
        for _ in 0..2 {
            let mut client = TcpStream::connect(server.address).await?;
            client
                .write_all(b"GET /long HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .await?;
            silent.push(client);
        }
        // Two are all there may be.
        let third = tokio::time::timeout(LONG, get_text(server.address, "/quick")).await?;
        assert_eq!(third?, "quick");
        drop(silent);
        server.stop.cancel();
        assert!(server.task.await?);
        Ok(())
    }

    #[tokio::test]
    async fn a_request_without_a_host_is_refused() -> anyhow::Result<()> {
        let server = start(LONG).await?;
        for (head, status) in [
            ("GET /quick HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
            ("GET /quick HTTP/1.0\r\n\r\n", "200"),
        ] {
            let mut stream = TcpStream::connect(server.address).await?;
            stream.write_all(head.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
        }
        server.stop.cancel();
        assert!(server.task.await?);
        Ok(())
    }
}
