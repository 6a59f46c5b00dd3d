//! `cargo demo`: the whole of Dues on one machine, without a Stripe account and without network.
//!
//! A private Postgres, the sandbox in Stripe's place, the service, and a cooperative's membership page. What was
//! bought stays in `.dues/demo` until `--reset`.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use dev_postgres::Cluster;
use dues::app::{self, App};
use dues::clock::Clock;
use dues::settings::{Environment, Settings};
use dues::{auth, telemetry};
use serde_json::json;
use stripe_sandbox::{Options, Sandbox, Webhook};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// Long, as whoever tries the sandbox's clock jumps months ahead; the page asks for a new one when its own is too old.
const TOKEN_LIFETIME: Duration = Duration::from_hours(400 * 24);

/// How many ports after the wanted one are tried.
const PORTS: u16 = 50;

const START_AFRESH: &str = "`cargo demo --reset` starts afresh, without what was bought";

/// Everything on one machine: Postgres, Stripe's sandbox, the service and a membership page
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Cli {
    /// Forget what was bought in earlier runs
    #[arg(long)]
    reset: bool,
    /// Port of the page; the service and the sandbox take the next ones
    #[arg(long, default_value_t = 8180)]
    port: u16,
    /// Where the data is kept
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = project().join(".dues/demo"))]
    dir: PathBuf,
    /// Who is signed in
    #[arg(long, default_value = "Ada")]
    member: String,
    /// Sell these plans instead of the demo's
    #[arg(long, value_name = "FILE", default_value_os_t = project().join("config/plans.toml"))]
    plans: PathBuf,
    /// The products and prices that the plans point at
    #[arg(long, value_name = "FILE", default_value_os_t = project().join("config/sandbox-catalogue.toml"))]
    catalogue: PathBuf,
    /// Show the service's log
    #[arg(long, short)]
    verbose: bool,
    /// A setting of the service, like `LIFECYCLE__GRACE_DAYS=3`; can be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    more: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    let _alone = claim(cli)?;
    let demo = tokio::select! {
        demo = Demo::start(cli) => demo?,
        // Nothing is served yet: the watchdog sees to Postgres when this process is gone.
        () = stop.cancelled() => std::process::exit(130),
    };
    demo.welcome();
    demo.serve(stop).await
}

/// All that runs.
struct Demo {
    member: Member,
    settings: Settings,
    cluster: Cluster,
    sandbox: Sandbox,
    service: App,
    page: TcpListener,
    urls: Urls,
}

/// Where everything listens.
#[derive(Clone)]
struct Urls {
    page: String,
    service: String,
    sandbox: String,
}

/// Who is signed in at the page.
#[derive(Clone)]
struct Member {
    name: String,
    user: String,
}

impl Demo {
    async fn start(cli: &Cli) -> anyhow::Result<Self> {
        println!("Dues, the demo; its data is in {}", cli.dir.display());
        let postgres = cli.dir.join("postgres");
        let state = cli.dir.join("stripe.json");
        if cli.reset {
            Cluster::remove(&postgres).await?;
            remove(&state)?;
        }

        println!("  starting Postgres …");
        let cluster = Cluster::demo(&postgres).await?;
        cluster.ensure_database("dues").await?;

        // All ports first, as each part must be told of the others.
        let page = bind(cli.port, "the page").await?;
        let service = bind(port_of(&page)?.saturating_add(1), "the service").await?;
        let free = bind(port_of(&service)?.saturating_add(1), "the sandbox").await?;
        let urls = Urls {
            page: url(&page)?,
            service: url(&service)?,
            sandbox: url(&free)?,
        };
        fs::write(cli.dir.join("url"), &urls.page)
            .context("can't write into the demo's directory")?;

        let settings = settings(cli, &cluster, &urls)?;
        telemetry::init(&settings.log)?;

        println!("  starting the sandbox, which plays Stripe …");
        let listen = free.local_addr()?;
        drop(free);
        let sandbox = Sandbox::start(Options {
            listen,
            state: Some(state),
            catalogue: Some(cli.catalogue.clone()),
            secret_key: settings.stripe.secret_key.expose().to_owned(),
            webhook: Some(Webhook {
                url: format!("{}/webhooks/stripe", urls.service),
                secrets: settings
                    .stripe
                    .webhook_secrets
                    .iter()
                    .map(|secret| secret.expose().to_owned())
                    .collect(),
            }),
            ..Options::default()
        })
        .await
        .context(START_AFRESH)?;
        name_the_cooperative(&urls.sandbox).await?;

        for name in app::migrate(&settings.database)
            .await
            .context(START_AFRESH)?
        {
            println!("  migrated the database: {name}");
        }
        println!("  starting the service …");
        let service = App::build_on(service, settings.clone()).await?;
        let member = Member {
            user: format!("member-{}", cli.member.to_lowercase()),
            name: cli.member.clone(),
        };
        Ok(Self {
            member,
            settings,
            cluster,
            sandbox,
            service,
            page,
            urls,
        })
    }

    fn welcome(&self) {
        let Urls {
            page,
            service,
            sandbox,
        } = &self.urls;
        let name = &self.member.name;
        println!("\nOpen     {page}/      and buy as {name}, with the card 4242 4242 4242 4242");
        println!("Look at  {sandbox}/      what Stripe would show: objects, webhooks, the clock");
        println!("         {service}/docs  the API");
        match self.token() {
            Ok(token) => {
                println!("\n{name}'s token, to call the API yourself:\n\n{token}\n");
                println!("    curl -H \"Authorization: Bearer $TOKEN\" {service}/v1/entitlements");
            }
            Err(error) => eprintln!("There is no token: {error}"),
        }
        println!("\nSomebody else's, or an operator's with --role dues:operator:");
        println!("    DUES_ENV=development cargo run --quiet -- token --user member-grace");
        println!("\nCtrl-C stops everything. What was bought stays; --reset forgets it.");
    }

    fn token(&self) -> Result<String, auth::MintError> {
        mint(&self.settings, &self.member, &self.service.clock())
    }

    /// Serves until told to stop, then stops everything in the order in which it depends on each other.
    async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let page = page(&self);
        let stopped = stop.clone();
        let server = axum::serve(self.page, page).with_graceful_shutdown(stopped.cancelled_owned());
        let server = tokio::spawn(server.into_future());
        self.service.run(stop.clone().cancelled_owned()).await;
        let asked = stop.is_cancelled();
        stop.cancel();
        println!("\nStopping …");
        // A browser may keep its connection open for as long as it likes.
        server.abort();
        self.sandbox.stop().await;
        self.cluster.close().await?;
        println!("Everything has stopped.");
        if !asked {
            bail!("the service ended by itself; --verbose shows its log");
        }
        Ok(())
    }
}

fn settings(cli: &Cli, cluster: &Cluster, urls: &Urls) -> anyhow::Result<Settings> {
    let returning = |to: &str| format!("{}/{to}.html", urls.page);
    let variables = [
        ("HTTP__PUBLIC_URL", urls.service.clone()),
        ("HTTP__SHUTDOWN_SECONDS", "3".to_owned()),
        ("DATABASE__URL", cluster.url("dues")),
        ("STRIPE__API_BASE", urls.sandbox.clone()),
        ("CLIENT__SUCCESS_URL", returning("success")),
        ("CLIENT__CANCEL_URL", returning("cancel")),
        ("CLIENT__ERROR_URL", returning("error")),
        ("CLIENT__PORTAL_RETURN_URL", format!("{}/?back", urls.page)),
        (
            "CLIENT__ALLOWED_ORIGINS",
            format!(
                "{0},{1}",
                urls.page,
                urls.page.replace("127.0.0.1", "localhost")
            ),
        ),
        ("PLANS__FILE", cli.plans.display().to_string()),
        ("CLOCK__FOLLOW", urls.sandbox.clone()),
        (
            "LOG__LEVEL",
            if cli.verbose {
                "info,dues=debug"
            } else {
                "error"
            }
            .to_owned(),
        ),
    ];
    // Secrets and issuer come from config/development.toml, so that `dues token` knows them too.
    let variables = variables.map(|(key, value)| (key.to_owned(), value));
    let variables = variables.into_iter().chain(cli.more.iter().cloned());
    let variables = variables.map(|(key, value)| (format!("DUES__{key}"), value));
    // What a followers' file names may hold a secret.
    let others = std::env::vars().filter(|(name, _)| !name.starts_with("DUES"));
    let variables = variables.chain(others);
    Ok(Settings::load(
        Environment::Development,
        Some(&project().join("config")),
        variables,
    )?)
}

/// The membership page, and what it must know of the rest.
fn page(demo: &Demo) -> Router {
    let (settings, member, clock) = (
        demo.settings.clone(),
        demo.member.clone(),
        demo.service.clock(),
    );
    let urls = demo.urls.clone();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        urls.service
    );
    let config = move || async move {
        let token = mint(&settings, &member, &clock).unwrap_or_default();
        Json(json!({
            "api_base": urls.service,
            "token": token,
            "member": { "name": member.name },
            "links": [
                { "text": "Payments sandbox", "href": format!("{}/", urls.sandbox) },
                { "text": "API", "href": format!("{}/docs", urls.service) },
            ],
        }))
    };
    let header =
        |name: HeaderName, value: HeaderValue| SetResponseHeaderLayer::overriding(name, value);
    let constant = |name, value| header(name, HeaderValue::from_static(value));
    Router::new()
        .route("/config.json", get(config))
        .fallback_service(ServeDir::new(project().join("web")))
        .layer(
            ServiceBuilder::new()
                .layer(constant(CACHE_CONTROL, "no-cache"))
                .layer(constant(X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .layer(constant(REFERRER_POLICY, "no-referrer"))
                .option_layer(
                    HeaderValue::from_str(&policy)
                        .ok()
                        .map(|value| header(CONTENT_SECURITY_POLICY, value)),
                ),
        )
}

fn mint(settings: &Settings, member: &Member, clock: &Clock) -> Result<String, auth::MintError> {
    auth::mint_development_token(settings, clock, &member.user, &[], TOKEN_LIFETIME)
}

/// The name that a buyer reads on the payment page.
async fn name_the_cooperative(sandbox: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client
        .post(format!("{sandbox}/_sandbox/settings"))
        .json(&json!({ "organisation": "Morrowfield" }))
        .send()
        .await
        .context("the sandbox does not answer")?;
    answer
        .error_for_status()
        .context("the sandbox does not take its settings")?;
    Ok(())
}

/// Makes the directory ours until this process ends.
fn claim(cli: &Cli) -> anyhow::Result<File> {
    let dir = &cli.dir;
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

fn url(listener: &TcpListener) -> std::io::Result<String> {
    listener
        .local_addr()
        .map(|address| format!("http://{address}"))
}

fn remove(file: &Path) -> anyhow::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Cancels at the first signal; the second one ends the process at once.
fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
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
