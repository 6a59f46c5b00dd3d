//! `cargo demo`: the whole of Dues on one machine, without a Stripe account and without network.
//!
//! A private Postgres, the sandbox in Stripe's place, the service, and a cooperative's membership page. What was
//! bought stays in `.dues/demo` until `--reset`.

mod machine;
mod mosaic;
mod page;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use dev_postgres::Cluster;
use dues::app::{self, App};
use dues::clock::Clock;
use dues::outward::followers::CommandError;
use dues::settings::{Environment, Settings};
use dues::{auth, telemetry};
use neighbours::mosaic::Mosaic;
use serde_json::json;
use stripe_sandbox::{Options, Sandbox, Webhook};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::machine::{bind, claim, port_of, remove, stop_on_signal, url};
use self::mosaic::Place;

/// Long, as whoever tries the sandbox's clock jumps months ahead; the page asks for a new one when its own is too old.
const TOKEN_LIFETIME: Duration = Duration::from_hours(400 * 24);

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
    /// Where the data is kept; by default .dues/demo, with --mosaic .dues/demo-mosaic
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// With a Mosaic Billing Service that follows, and the client of its old payment connector
    #[arg(long)]
    mosaic: bool,
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

impl Cli {
    /// Members have other ids with Mosaic, so what was bought without it is kept apart.
    fn dir(&self) -> PathBuf {
        let usual = if self.mosaic { "demo-mosaic" } else { "demo" };
        let usual = || project().join(".dues").join(usual);
        self.dir.clone().unwrap_or_else(usual)
    }
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
    let _alone = claim(&cli.dir())?;
    let demo = tokio::select! {
        demo = Demo::start(cli) => demo?,
        // Nothing is served yet: the watchdog sees to Postgres when this process is gone.
        () = stop.cancelled() => std::process::exit(130),
    };
    demo.welcome().await;
    demo.serve(stop).await
}

/// All that runs.
struct Demo {
    login: Login,
    cluster: Cluster,
    sandbox: Sandbox,
    _mosaic: Option<Mosaic>,
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
    mosaic: Option<Place>,
}

/// Who is signed in at the page, and what her token is made of.
#[derive(Clone)]
struct Login {
    name: String,
    user: String,
    settings: Settings,
    clock: Clock,
    mosaic: Option<Place>,
}

impl Login {
    async fn token(&self) -> anyhow::Result<String> {
        let Self {
            name,
            user,
            settings,
            clock,
            mosaic,
        } = self;
        match mosaic {
            Some(mosaic) => mosaic.token(user, name, TOKEN_LIFETIME.as_secs()).await,
            None => Ok(auth::mint_development_token(
                settings,
                clock,
                user,
                &[],
                TOKEN_LIFETIME,
            )?),
        }
    }
}

impl Demo {
    async fn start(cli: &Cli) -> anyhow::Result<Self> {
        let dir = cli.dir();
        println!("Dues, the demo; its data is in {}", dir.display());
        let postgres = dir.join("postgres");
        let state = dir.join("stripe.json");
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
        let beside = if cli.mosaic {
            Some(bind(port_of(&free)?.saturating_add(1), "Mosaic").await?)
        } else {
            None
        };
        let mosaic = beside.as_ref().map(TcpListener::local_addr).transpose()?;
        let urls = Urls {
            page: url(&page)?,
            service: url(&service)?,
            sandbox: url(&free)?,
            mosaic: mosaic.map(|listen| Place::new(listen, &dir)),
        };
        fs::write(dir.join("url"), &urls.page).context("can't write into the demo's directory")?;

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
                // Where the connector took them, the endpoint can stay as it is.
                url: match &urls.mosaic {
                    Some(_) => format!("{}/webhooks", urls.service),
                    None => format!("{}/webhooks/stripe", urls.service),
                },
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
        let mosaic = match &urls.mosaic {
            Some(place) => {
                println!("  starting the stand-in for Mosaic …");
                drop(beside);
                let key = settings.stripe.secret_key.expose();
                Some(place.start(&cli.plans, (&urls.sandbox, key)).await?)
            }
            None => None,
        };

        for name in app::migrate(&settings.database)
            .await
            .context(START_AFRESH)?
        {
            println!("  migrated the database: {name}");
        }
        println!("  starting the service …");
        let service = App::build_on(service, settings.clone()).await?;
        if mosaic.is_some() {
            let followers = &service.services().followers;
            match followers.resync(mosaic::FOLLOWER).await {
                // In the first run it begins so anyway.
                Ok(()) | Err(CommandError::Unknown { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let user = format!("member-{}", cli.member.to_lowercase());
        let login = Login {
            user: match &urls.mosaic {
                Some(_) => mosaic::id_of(&user).to_string(),
                None => user,
            },
            name: cli.member.clone(),
            settings,
            clock: service.clock(),
            mosaic: urls.mosaic.clone(),
        };
        Ok(Self {
            login,
            cluster,
            sandbox,
            _mosaic: mosaic,
            service,
            page,
            urls,
        })
    }

    async fn welcome(&self) {
        let Urls {
            page,
            service,
            sandbox,
            mosaic,
        } = &self.urls;
        let name = &self.login.name;
        println!("\nOpen     {page}/      and buy as {name}, with the card 4242 4242 4242 4242");
        println!("Look at  {sandbox}/      what Stripe would show: objects, webhooks, the clock");
        println!("         {service}/docs  the API");
        if let Some(mosaic) = mosaic {
            let (client, billing) = (mosaic.client(service), &mosaic.url);
            println!("Mosaic   {billing}/      what Mosaic Billing knows of it");
            println!("         {client}");
            println!("         the client of its old connector: it wants the token below");
        }
        match self.login.token().await {
            Ok(token) => {
                println!("\n{name}'s token, to call the API yourself:\n\n{token}\n");
                println!("    curl -H \"Authorization: Bearer $TOKEN\" {service}/v1/entitlements");
            }
            Err(error) => eprintln!("There is no token: {error}"),
        }
        if mosaic.is_none() {
            println!("\nSomebody else's, or an operator's with --role dues:operator:");
            println!("    DUES_ENV=development cargo run --quiet -- token --user member-grace");
        }
        println!("\nCtrl-C stops everything. What was bought stays; --reset forgets it.");
    }

    /// Serves until told to stop, then stops everything in the order in which it depends on each other.
    async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let page = page::page(self.login.clone(), self.urls.clone());
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
    // What a followers' file names may hold a secret.
    let others = std::env::vars().filter(|(name, _)| !name.starts_with("DUES"));
    let named = |(key, value)| (format!("DUES__{key}"), value);
    let ours = variables.into_iter().map(named);
    let mut variables: HashMap<String, String> = others.chain(ours).collect();
    if let Some(mosaic) = &urls.mosaic {
        variables.extend(mosaic.settings());
    }
    let more = cli.more.iter().cloned();
    variables.extend(more.map(|(key, value)| (format!("DUES__{key}"), value)));
    Ok(Settings::load(
        Environment::Development,
        Some(&project().join("config")),
        variables,
    )?)
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
