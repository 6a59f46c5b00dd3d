//! What the demo takes of the machine: a directory, ports, signals.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How many ports after the wanted one are tried.
const PORTS: u16 = 50;

/// Makes the directory ours until this process ends.
pub(crate) fn claim(dir: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    let file = File::open(dir).with_context(|| format!("can't open {}", dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let page = fs::read_to_string(dir.join("url")).unwrap_or_default();
            bail!(
                "a demo already runs in {} (its page: {page}/): stop it with Ctrl-C, or give this one a place of its own \
                 with --dir DIRECTORY",
                dir.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("can't lock {}", dir.display()))
        }
    }
}

/// A port for each part.
pub(crate) struct Ports {
    pub(crate) page: TcpListener,
    pub(crate) service: TcpListener,
    pub(crate) sandbox: TcpListener,
    /// Mosaic's or the operators' login's, where one is wanted.
    pub(crate) beside: Option<TcpListener>,
}

impl Ports {
    /// Takes them, one after the other.
    pub(crate) async fn take(first: u16, whose: Option<&str>) -> anyhow::Result<Self> {
        let page = bind(first, "the page").await?;
        let service = bind(port_of(&page)?.saturating_add(1), "the service").await?;
        let sandbox = bind(port_of(&service)?.saturating_add(1), "the sandbox").await?;
        let beside = match whose {
            Some(whose) => Some(bind(port_of(&sandbox)?.saturating_add(1), whose).await?),
            None => None,
        };
        Ok(Self {
            page,
            service,
            sandbox,
            beside,
        })
    }
}

/// The wanted port or the next free one, and a word about it when it is another.
async fn bind(wanted: u16, whose: &str) -> anyhow::Result<TcpListener> {
    for port in wanted..=wanted.saturating_add(PORTS) {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => {
                if port != wanted {
                    println!("  port {wanted} is taken: {whose} gets {port}");
                }
                return Ok(listener);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("can't listen on port {port} for {whose}"));
            }
        }
    }
    bail!("all ports from {wanted} on are taken: choose another with --port")
}

fn port_of(listener: &TcpListener) -> std::io::Result<u16> {
    listener
        .local_addr()
        .map(|address: SocketAddr| address.port())
}

pub(crate) fn url(listener: &TcpListener) -> std::io::Result<String> {
    listener
        .local_addr()
        .map(|address| format!("http://{address}"))
}

pub(crate) fn remove(file: &Path) -> anyhow::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Cancels at the first signal; the second one ends the process at once.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}
