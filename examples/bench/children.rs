//! The servers: this program once more, each a process of its own, so that what it costs can be told.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::options::Role;

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);

/// A running server; it ends with this handle, and by itself when this process is gone.
pub(crate) struct Child {
    process: process::Child,
    pub role: Role,
    pub address: SocketAddr,
}

impl Child {
    /// Starts a server with these variables and waits until it listens.
    pub(crate) async fn start(
        role: Role,
        scratch: &Path,
        variables: &[(String, String)],
    ) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let announce = scratch.join(format!("{}-{number}.address", role.as_str()));
        // Not by its path, where a build may put another one meanwhile.
        let mut command = Command::new("/proc/self/exe");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("DUES__") || name == "DATABASE_URL" {
                command.env_remove(name.as_ref());
            }
        }
        let process = command
            .args(["--role", role.as_str(), "--announce"])
            .arg(&announce)
            .envs(variables.iter().cloned())
            // All that is called is on this machine.
            .env("NO_PROXY", "127.0.0.1")
            // It serves until this is closed, as it is when we are gone.
            .stdin(Stdio::piped())
            // The service writes its log as in production; nobody reads it here.
            .stdout(Stdio::null())
            // Ctrl-C is for us alone, who then stop it.
            .process_group(0)
            .spawn()
            .context("can't start a server")?;
        let mut child = Self {
            process,
            role,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        child.address = child.wait_for(&announce).await?;
        Ok(child)
    }

    async fn wait_for(&mut self, announce: &Path) -> anyhow::Result<SocketAddr> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let written = std::fs::read_to_string(announce).unwrap_or_default();
            if let Some(address) = written.strip_suffix('\n') {
                return Ok(address.parse()?);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the {} ended: {status}", self.role.as_str());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the {} does not start", self.role.as_str())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets it finish in order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.process.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the {} does not stop", self.role.as_str())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
