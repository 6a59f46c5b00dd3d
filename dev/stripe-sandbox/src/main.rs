//! Command line of the Stripe sandbox.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use stripe_sandbox::{Options, Sandbox, Webhook};

/// A stateful stand-in for Stripe over HTTP.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Exits with 0 if a sandbox answers at the address.
    Healthcheck,
}

#[derive(Args)]
struct Serve {
    /// Where to listen.
    #[arg(
        long,
        env = "STRIPE_SANDBOX_LISTEN",
        default_value = "127.0.0.1:12111",
        global = true
    )]
    listen: SocketAddr,
    /// Allow an address that other machines can reach.
    #[arg(long, env = "STRIPE_SANDBOX_ALLOW_REMOTE")]
    allow_remote: bool,
    /// Where browsers reach it, if that isn't where it listens.
    #[arg(long, env = "STRIPE_SANDBOX_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Append every call and event to this file, as JSON Lines.
    #[arg(long, env = "STRIPE_SANDBOX_JOURNAL", value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Load the state from this file, and save it there.
    #[arg(long, env = "STRIPE_SANDBOX_STATE", value_name = "FILE")]
    state: Option<PathBuf>,
    /// Products and prices to start with, as TOML.
    #[arg(long, env = "STRIPE_SANDBOX_CATALOGUE", value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// The only API key that is accepted.
    #[arg(
        long,
        env = "STRIPE_SANDBOX_SECRET_KEY",
        default_value = "sk_test_sandbox",
        hide_env_values = true
    )]
    secret_key: String,
    /// Send webhooks there.
    #[arg(long, env = "STRIPE_SANDBOX_WEBHOOK_URL", value_name = "URL")]
    webhook_url: Option<String>,
    /// Sign webhooks with this secret; several make several signatures.
    #[arg(long, env = "STRIPE_SANDBOX_WEBHOOK_SECRET", value_name = "SECRET", value_delimiter = ',', num_args = 1..,
          requires = "webhook_url", hide_env_values = true)]
    webhook_secret: Vec<String>,
    /// Let the clock begin there, in seconds since 1970, unless a state is loaded.
    #[arg(
        long,
        env = "STRIPE_SANDBOX_CLOCK_START",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    clock_start: Option<i64>,
    /// Start with the portal's settings saved, and with the newest version for the endpoint.
    #[arg(long, env = "STRIPE_SANDBOX_SET_UP")]
    set_up: bool,
}

impl Serve {
    fn into_options(self) -> Options {
        let secrets = self.webhook_secret;
        let webhook = self.webhook_url.map(|url| {
            let secrets = if secrets.is_empty() {
                vec!["whsec_sandbox".to_owned()]
            } else {
                secrets
            };
            Webhook { url, secrets }
        });
        Options {
            listen: self.listen,
            allow_remote: self.allow_remote,
            public_url: self.public_url,
            journal: self.journal,
            state: self.state,
            catalogue: self.catalogue,
            secret_key: self.secret_key,
            webhook,
            clock_start: self.clock_start,
            set_up: self.set_up,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Healthcheck) = cli.command {
        return if is_healthy(cli.serve.listen) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let sandbox = match Sandbox::start(cli.serve.into_options()).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            eprintln!("stripe-sandbox: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("Stripe sandbox at {}/", sandbox.url());
    stop_signal().await;
    sandbox.stop().await;
    ExitCode::SUCCESS
}

/// Waits for Ctrl-C or SIGTERM.
async fn stop_signal() {
    let interrupted = async {
        // Without a handler there is only the other signal to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                () = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    interrupted.await;
}

fn is_healthy(mut address: SocketAddr) -> bool {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let timeout = Duration::from_secs(2);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, timeout) else {
        return false;
    };
    let asked = stream.set_read_timeout(Some(timeout)).and_then(|()| {
        stream.write_all(
            b"GET /_sandbox/clock HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n",
        )
    });
    let mut start = [0_u8; 12];
    asked.is_ok() && stream.read_exact(&mut start).is_ok() && start.ends_with(b" 200")
}
