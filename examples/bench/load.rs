//! The load: as many connections as wanted, each with one request under way, and as little work of our own as possible.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long what is under way at the end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to send, and how.
pub(crate) struct Load {
    pub address: SocketAddr,
    pub requests: Vec<Vec<u8>>,
    /// Whether to begin anew when all are sent: for a server that keeps nothing.
    pub again: bool,
    pub connections: u16,
    pub length: Duration,
}

/// What came of it.
pub(crate) struct Outcome {
    /// So many of the requests were answered, from the first on.
    pub sent: usize,
    pub elapsed: Duration,
    /// Of every answer, ascending.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.latencies, percent)
    }
}

/// Of ascending times.
pub(crate) fn percentile(ascending: &[Duration], percent: usize) -> Duration {
    let at = ascending.len().saturating_sub(1) * percent / 100;
    ascending.get(at).copied().unwrap_or_default()
}

/// Sends until time is up or nothing is left; any answer but "applied" is an error. Blocks: one thread of its own.
pub(crate) fn drive(load: Load) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let length = load.length + PATIENCE;
        let all = tokio::time::timeout(length, run(Arc::new(load)));
        all.await.context("the server answers no more")?
    })
}

async fn run(load: Arc<Load>) -> anyhow::Result<Outcome> {
    let mut streams = Vec::new();
    for _ in 0..load.connections {
        let stream = TcpStream::connect(load.address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let deadline = began + load.length;
    let workers: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let (load, next) = (Arc::clone(&load), Arc::clone(&next));
            tokio::spawn(deliver(stream, load, next, deadline))
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.append(&mut worker.await??);
    }
    let elapsed = began.elapsed();
    latencies.sort_unstable();
    Ok(Outcome {
        sent: latencies.len(),
        elapsed,
        latencies,
    })
}

async fn deliver(
    mut stream: TcpStream,
    load: Arc<Load>,
    next: Arc<AtomicUsize>,
    deadline: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(load.requests.len() / usize::from(load.connections));
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        let sent = Instant::now();
        if sent >= deadline {
            return Ok(latencies);
        }
        let mut number = next.fetch_add(1, Ordering::Relaxed);
        if load.again {
            number %= load.requests.len();
        }
        let Some(request) = load.requests.get(number) else {
            return Ok(latencies);
        };
        stream.write_all(request).await?;
        receive(&mut stream, &mut buffer).await?;
        latencies.push(sent.elapsed());
    }
}

/// Reads one answer and checks it.
async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    buffer.clear();
    let mut whole = None;
    while whole.is_none_or(|whole| buffer.len() < whole) {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the server closed a connection");
        }
        whole = whole.or_else(|| length(buffer));
    }
    let applied = buffer.starts_with(b"HTTP/1.1 200 ") && contains(buffer, b"\"applied\"");
    if !applied {
        bail!(
            "an event was not applied: {}",
            String::from_utf8_lossy(buffer)
        );
    }
    Ok(())
}

/// Of head and body, as soon as the head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?;
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    Some(head + body.unwrap_or_default())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|bytes| bytes == needle)
}
