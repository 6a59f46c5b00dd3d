//! `cargo demo`: the whole of Dues on one machine, without a Stripe account and without network.
//!
//! A private Postgres, the sandbox in Stripe's place, the service, and a cooperative's membership page. What was
//! bought stays in `.dues/demo` until `--reset`. Behind it lies a year that the first start lives through.

mod cli;
mod house;
mod machine;
mod mosaic;
mod operators;
mod page;
mod settings;
mod start;
mod year;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use dev_postgres::Cluster;
use dues::app::{self, App};
use dues::clock::Clock;
use dues::outward::followers::CommandError;
use dues::settings::Settings;
use dues::{auth, telemetry};
use neighbours::login;
use neighbours::mosaic::Mosaic;
use serde_json::json;
use stripe_sandbox::{Options, Sandbox};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::cli::Cli;
use self::house::House;
use self::machine::{Ports, claim, stop_on_signal, url};
use self::mosaic::Place;
use self::year::Past;

/// Long, as whoever tries the sandbox's clock jumps months ahead; the page asks for a new one when its own is too old.
const TOKEN_LIFETIME: Duration = Duration::from_hours(400 * 24);

const START_AFRESH: &str = "`cargo demo --reset` starts afresh, without what was bought";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match Box::pin(run(&cli)).await {
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
        demo = Demo::start(cli, stop.clone()) => demo?,
        // Nothing is served yet: the watchdog sees to Postgres when this process is gone.
        () = stop.cancelled() => std::process::exit(130),
    };
    demo.welcome().await;
    demo.serve().await
}

/// All that runs.
struct Demo {
    login: Login,
    cluster: Cluster,
    sandbox: Sandbox,
    _mosaic: Option<Mosaic>,
    _operators: Option<login::Login>,
    service: JoinHandle<()>,
    page: TcpListener,
    urls: Urls,
    past: Option<Past>,
    stop: CancellationToken,
}

/// Where everything listens.
#[derive(Clone)]
struct Urls {
    page: String,
    service: String,
    sandbox: String,
    mosaic: Option<Place>,
    /// Where operators sign in, if not with a token.
    login: Option<String>,
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
    fn new(cli: &Cli, urls: &Urls, settings: Settings, clock: Clock) -> Self {
        let user = format!("member-{}", cli.member.to_lowercase());
        Self {
            user: match &urls.mosaic {
                Some(_) => mosaic::id_of(&user).to_string(),
                None => user,
            },
            name: cli.member.clone(),
            settings,
            clock,
            mosaic: urls.mosaic.clone(),
        }
    }

    /// The token of somebody with roles; there are none where members' tokens come from Mosaic.
    fn token_of(&self, user: &str, roles: &[&str]) -> Option<String> {
        let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        let Self {
            settings, clock, ..
        } = self;
        auth::mint_development_token(settings, clock, user, &roles, TOKEN_LIFETIME).ok()
    }

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
    async fn start(cli: &Cli, stop: CancellationToken) -> anyhow::Result<Self> {
        println!("Dues, the demo; its data is in {}", cli.dir().display());
        let house = House::open(cli).await?;

        println!("  starting Postgres …");
        let cluster = Cluster::demo(&house.postgres).await?;
        cluster.ensure_database("dues").await?;

        // All ports first, as each part must be told of the others.
        let Ports {
            page,
            service,
            sandbox: free,
            beside,
        } = Ports::take(cli.port, cli.beside()).await?;
        let mosaic = beside.as_ref().filter(|_| cli.mosaic);
        let mosaic = mosaic.map(TcpListener::local_addr).transpose()?;
        let login = beside.as_ref().filter(|_| cli.login).map(url).transpose()?;
        let urls = Urls {
            page: url(&page)?,
            service: url(&service)?,
            sandbox: url(&free)?,
            mosaic: mosaic.map(|listen| Place::new(listen, &house.dir)),
            login,
        };
        fs::write(house.dir.join("url"), &urls.page)
            .context("can't write into the demo's directory")?;

        let settings = settings::settings(cli, &cluster, &urls, house.lives)?;
        telemetry::init(&settings.log)?;

        println!("  starting the sandbox, which plays Stripe …");
        let options = settings::sandbox(cli, &settings, &urls, &house);
        let options = Options {
            listen: free.local_addr()?,
            ..options
        };
        drop(free);
        let sandbox = Sandbox::start(options).await.context(START_AFRESH)?;
        name_the_cooperative(&urls.sandbox).await?;
        let (mut mosaic, mut operators) = (None, None);
        if let Some(place) = &urls.mosaic {
            println!("  starting the stand-in for Mosaic …");
            drop(beside);
            let key = settings.stripe.secret_key.expose();
            mosaic = Some(place.start(&cli.plans(), (&urls.sandbox, key)).await?);
        } else if let Some(place) = beside {
            println!("  starting the operators' login …");
            operators = Some(operators::start(place, &urls).await?);
        }

        for name in app::migrate(&settings.database)
            .await
            .context(START_AFRESH)?
        {
            println!("  migrated the database: {name}");
        }
        let places = (urls.service.as_str(), urls.sandbox.as_str());
        if let Some(past) = house.kept.look()? {
            year::forbid_again(&past, places, &settings).await?;
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
        let login = Login::new(cli, &urls, settings, service.clock());
        let services = service.services();
        let service = tokio::spawn(service.run(stop.clone().cancelled_owned()));
        if house.lives {
            sandbox.keep_in_memory();
            let past = year::live(places, &login.settings, &login.clock, &services)
                .await
                .context("the year before today went wrong; --empty begins without it")?;
            // Only what is kept lies behind.
            sandbox.save();
            house.kept.note(&past)?;
        }
        Ok(Self {
            login,
            cluster,
            sandbox,
            _mosaic: mosaic,
            _operators: operators,
            service,
            page,
            urls,
            past: house.kept.look()?,
            stop,
        })
    }

    async fn welcome(&self) {
        let Urls {
            page,
            service,
            mosaic,
            ..
        } = &self.urls;
        println!("\nOpen     {page}/start   what there is to see, and what to try");
        if let Some(mosaic) = mosaic {
            let (client, billing) = (mosaic.client(service), &mosaic.url);
            println!("Mosaic   {billing}/      what Mosaic Billing knows of it");
            println!("         {client}");
            println!("         the client of its old connector: it wants the token below");
            match self.login.token().await {
                Ok(token) => println!("\n{}'s token:\n\n{token}", self.login.name),
                Err(error) => eprintln!("There is no token: {error}"),
            }
        }
        if let Some(login) = &self.urls.login {
            println!("Login    {login}/         where operators sign in");
        }
        println!("\nCtrl-C stops everything. What was bought stays; --reset forgets it.");
    }

    /// Serves until told to stop, then stops everything in the order in which it depends on each other.
    async fn serve(self) -> anyhow::Result<()> {
        let Self { stop, .. } = self;
        let start = start::router(self.login.clone(), self.urls.clone(), self.past);
        let page = page::page(self.login, self.urls).merge(start);
        let stopped = stop.clone();
        let server = axum::serve(self.page, page).with_graceful_shutdown(stopped.cancelled_owned());
        let server = tokio::spawn(server.into_future());
        let ended = self.service.await;
        let asked = stop.is_cancelled();
        stop.cancel();
        println!("\nStopping …");
        // A browser may keep its connection open for as long as it likes.
        server.abort();
        self.sandbox.stop().await;
        self.cluster.close().await?;
        println!("Everything has stopped.");
        ended.context("the service died")?;
        if !asked {
            bail!("the service ended by itself; --verbose shows its log");
        }
        Ok(())
    }
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
