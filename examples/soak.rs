//! `cargo run --release --example soak -- --minutes 10`: members buy without a pause while webhooks are lost, doubled and
//! shuffled, Stripe is in trouble and the database restarts. Fails when memory grows or when, at the end, the rows and
//! Stripe disagree.
//!
//! The service and its load run in this process, whose memory is watched; the sandbox, which remembers everything, in
//! another.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use dev_postgres::{Cluster, Stop};
use dues::app::{self, App};
use dues::auth::mint_development_token;
use dues::clock::Clock;
use dues::settings::{Environment, Settings};
use serde_json::{Value, json};
use sqlx::PgPool;
use stripe_sandbox::{Options, Sandbox, Webhook};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

const WEBHOOK_SECRET: &str = "whsec_soak";
const BUYERS: u64 = 4;
/// Each buyer's pause between two purchases: what is tested is time, not speed.
const PACE: Duration = Duration::from_millis(150);
/// A try that failed is repeated after so long.
const AGAIN: Duration = Duration::from_millis(50);
const TROUBLE_EVERY: Duration = Duration::from_secs(3);
const RESTART_EVERY: Duration = Duration::from_secs(45);
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Memory may grow by so much after the first quarter of the time: pools and caches fill slowly.
const MAY_GROW_BY: u64 = 24 << 20;
const TROUBLE: [&str; 10] = [
    "error_500",
    "error_500_stored",
    "error_500_after_effect",
    "rate_limited",
    "rate_limited_with_reason",
    "timeout_after_effect",
    "stall",
    "disconnect",
    "disconnect_after_effect",
    "garbage",
];

/// Mixed load with faults for as long as you like
#[derive(Parser)]
struct Cli {
    /// How long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Used by the program itself: be the sandbox of the service at this address
    #[arg(long, hide = true)]
    sandbox: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.sandbox {
        Some(service) => be_the_sandbox(service).await,
        None => soak(Duration::from_secs_f64(cli.minutes * 60.0)).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Serves until whoever started it is gone.
async fn be_the_sandbox(service: SocketAddr) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options {
        catalogue: Some(project("config/sandbox-catalogue.toml")),
        webhook: Some(Webhook {
            url: format!("http://{service}/webhooks/stripe"),
            secrets: vec![WEBHOOK_SECRET.to_owned()],
        }),
        ..Options::default()
    })
    .await?;
    println!("{}", sandbox.url());
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    closed.await??;
    Ok(())
}

/// The sandbox's process; it ends with this handle.
struct Stripe {
    process: Child,
    url: String,
    client: reqwest::Client,
}

impl Stripe {
    fn start(service: SocketAddr) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--sandbox", &service.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        let output = process.stdout.take().context("the sandbox has no output")?;
        BufReader::new(output).read_line(&mut url)?;
        Ok(Self {
            process,
            url: url.trim().to_owned(),
            client: reqwest::Client::new(),
        })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let call = self.client.post(format!("{}{path}", self.url)).json(&body);
        Ok(call.send().await?.error_for_status()?.json().await?)
    }

    async fn now(&self) -> anyhow::Result<i64> {
        let clock = self.get("/_sandbox/clock").await?;
        clock["offset"].as_i64().context("the sandbox has no clock")
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What the buyers share.
struct Scene {
    stripe: Stripe,
    settings: Settings,
    address: SocketAddr,
    client: reqwest::Client,
    over: AtomicBool,
    paid: AtomicU64,
    tried_again: AtomicU64,
}

async fn soak(length: Duration) -> anyhow::Result<()> {
    let directory = std::env::temp_dir().join(format!("dues-soak-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let cluster = Cluster::demo(&directory).await?;
    cluster.ensure_database("dues").await?;
    let outcome = soak_on(&cluster, length).await;
    cluster.close().await?;
    std::fs::remove_dir_all(&directory)?;
    outcome
}

async fn soak_on(cluster: &Cluster, length: Duration) -> anyhow::Result<()> {
    let url = cluster.url("dues");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let stripe = Stripe::start(address)?;
    let settings = settings(&url, address, &stripe.url)?;
    app::migrate(&settings.database).await?;
    let app = App::build_on(listener, settings.clone()).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = tokio::spawn(app.run(async move {
        let _ = stopped.await;
    }));
    let often = json!({"webhook_retry_ms": vec![500; 1000], "webhook_timeout_ms": 5_000});
    stripe.post("/_sandbox/settings", often).await?;
    let chaos =
        json!({"shuffle": true, "duplicate": 0.2, "drop": 0.05, "max_delay_ms": 300, "seed": 1});
    stripe.post("/_sandbox/chaos", chaos).await?;
    let scene = Arc::new(Scene {
        stripe,
        settings,
        address,
        client: reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()?,
        over: AtomicBool::new(false),
        paid: AtomicU64::new(0),
        tried_again: AtomicU64::new(0),
    });
    let buyers: Vec<_> = (0..BUYERS)
        .map(|buyer| tokio::spawn(Arc::clone(&scene).buys(buyer)))
        .collect();

    let pool = PgPool::connect_lazy(&url)?;
    let grown = watch(&scene, cluster, &pool, length).await?;

    scene.over.store(true, Ordering::SeqCst);
    let faults = format!("{}/_sandbox/faults", scene.stripe.url);
    scene.client.delete(faults).send().await?;
    // Orders of which Stripe knows nothing are given up after five minutes, and members try again until then.
    while !buyers.iter().all(tokio::task::JoinHandle::is_finished) {
        let clock = json!({"seconds": 301});
        scene.stripe.post("/_sandbox/clock/advance", clock).await?;
        sleep(Duration::from_secs(1)).await;
    }
    for buyer in buyers {
        buyer.await?;
    }
    // Once more the worker looks for what was lost.
    let end = Instant::now() + Duration::from_mins(1);
    let mut difference = compare(&scene, &pool).await?;
    while difference.is_some() && Instant::now() < end {
        sleep(Duration::from_secs(1)).await;
        difference = compare(&scene, &pool).await?;
    }
    report(&scene, &pool, length).await;
    drop(stop);
    service.await?;
    if let Some(difference) = difference {
        anyhow::bail!("the rows and Stripe disagree: {difference}");
    }
    ensure!(
        grown <= MAY_GROW_BY,
        "memory has grown by {} KiB",
        grown >> 10
    );
    println!("rows and Stripe agree; memory is flat");
    Ok(())
}

fn settings(url: &str, address: SocketAddr, sandbox: &str) -> anyhow::Result<Settings> {
    let variables = [
        ("DUES__HTTP__PUBLIC_URL", format!("http://{address}")),
        ("DUES__DATABASE__URL", url.to_owned()),
        ("DUES__STRIPE__SECRET_KEY", "sk_test_sandbox".to_owned()),
        ("DUES__STRIPE__API_BASE", sandbox.to_owned()),
        ("DUES__STRIPE__WEBHOOK_SECRETS", WEBHOOK_SECRET.to_owned()),
        ("DUES__STRIPE__REQUESTS_PER_SECOND", "500".to_owned()),
        ("DUES__STRIPE__TIMEOUT_MS", "1000".to_owned()),
        (
            "DUES__HTTP__MEMBER_REQUESTS_PER_MINUTE",
            "100000".to_owned(),
        ),
        ("DUES__STRIPE__TOTAL_TIMEOUT_MS", "5000".to_owned()),
        (
            "DUES__AUTH__HS256_SECRET",
            "a secret of the soak, thirty-two bytes".to_owned(),
        ),
        ("DUES__AUTH__ISSUER", "https://login.example.org".to_owned()),
        ("DUES__AUTH__AUDIENCE", "dues".to_owned()),
        (
            "DUES__CLIENT__SUCCESS_URL",
            "https://app.example.org/".to_owned(),
        ),
        (
            "DUES__CLIENT__CANCEL_URL",
            "https://app.example.org/".to_owned(),
        ),
        (
            "DUES__CLIENT__ERROR_URL",
            "https://app.example.org/".to_owned(),
        ),
        (
            "DUES__PLANS__FILE",
            project("config/plans.toml").display().to_string(),
        ),
        ("DUES__WORKER__RECONCILE_INTERVAL_SECONDS", "10".to_owned()),
        ("DUES__CLOCK__FOLLOW", sandbox.to_owned()),
    ];
    let variables: HashMap<String, String> = variables
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    Ok(Settings::load(Environment::Development, None, variables)?)
}

/// Makes trouble and reports until time is up; returns by how much memory has grown since the first quarter.
async fn watch(
    scene: &Scene,
    cluster: &Cluster,
    pool: &PgPool,
    length: Duration,
) -> anyhow::Result<u64> {
    let start = Instant::now();
    let (mut trouble, mut restart, mut next_report) = (start, start + RESTART_EVERY, start);
    let (mut settled, mut highest) = (None, 0);
    while start.elapsed() < length {
        let now = Instant::now();
        if trouble <= now {
            let kind = fastrand::choice(TROUBLE).unwrap_or("error_500");
            let fault = json!({"kind": kind, "path": "/v1/*", "times": 3, "stall_ms": 1_500});
            scene.stripe.post("/_sandbox/faults", fault).await?;
            trouble = now + TROUBLE_EVERY;
        }
        if restart <= now {
            cluster
                .stop(fastrand::choice([Stop::Fast, Stop::Immediate]).unwrap_or(Stop::Fast))
                .await?;
            cluster.start().await?;
            restart = now + RESTART_EVERY;
        }
        if next_report <= now {
            report(scene, pool, start.elapsed()).await;
            next_report = now + REPORT_EVERY;
        }
        // An order of which Stripe knows nothing is given up after five minutes; here they are short.
        let clock = json!({"seconds": 20});
        scene.stripe.post("/_sandbox/clock/advance", clock).await?;
        if start.elapsed() >= length / 4 {
            settled = settled.or(Some(memory()?));
            highest = memory()?;
        }
        sleep(Duration::from_millis(500)).await;
    }
    Ok(highest.saturating_sub(settled.unwrap_or(highest)))
}

async fn report(scene: &Scene, pool: &PgPool, elapsed: Duration) {
    let counts: Result<(i64, i64, i64), _> = sqlx::query_as(
        "SELECT (SELECT count(*) FROM webhook_events), (SELECT count(*) FROM transactions),
                (SELECT count(*) FROM webhook_events WHERE state <> 'applied')",
    )
    .fetch_one(pool)
    .await;
    let (events, transactions, open) = counts.unwrap_or_default();
    println!(
        "{:>4} s  {:>6} paid  {:>5} tried again  {events:>7} events ({open} not applied)  {transactions:>6} payments  {:>6} KiB",
        elapsed.as_secs(),
        scene.paid.load(Ordering::SeqCst),
        scene.tried_again.load(Ordering::SeqCst),
        memory().unwrap_or_default() >> 10,
    );
}

/// What this process holds in memory, in bytes.
fn memory() -> anyhow::Result<u64> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("no /proc on this machine")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kib.parse::<u64>()? << 10)
}

/// The first thing in which the rows and Stripe disagree, if any.
async fn compare(scene: &Scene, pool: &PgPool) -> anyhow::Result<Option<String>> {
    let sessions = scene
        .stripe
        .get("/_sandbox/objects/checkout.session")
        .await?;
    let sessions = sessions.as_array().context("no sessions")?.iter();
    let mut paid: Vec<String> = sessions
        .filter(|session| session["payment_status"] == "paid")
        .filter_map(|session| Some(session["id"].as_str()?.to_owned()))
        .collect();
    paid.sort_unstable();
    let ours: Vec<String> = sqlx::query_scalar(
        "SELECT stripe_session_id FROM checkouts c WHERE EXISTS (SELECT FROM subscriptions s
          WHERE s.checkout_id = c.id AND s.status = 'ACTIVE') ORDER BY stripe_session_id COLLATE \"C\"",
    )
    .fetch_all(pool)
    .await?;
    if ours != paid {
        return Ok(Some(format!("{} paid, {} active", paid.len(), ours.len())));
    }
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM subscriptions s WHERE (status = 'ACTIVE') <> (1 = (SELECT count(*) FROM transactions t
          WHERE t.subscription_id = s.id AND t.kind = 'payment'))",
    )
    .fetch_one(pool)
    .await?;
    let undone: i64 =
        sqlx::query_scalar("SELECT count(*) FROM webhook_events WHERE state <> 'applied'")
            .fetch_one(pool)
            .await?;
    Ok(match (wrong, undone) {
        (0, 0) => None,
        _ => Some(format!(
            "{wrong} lines without their one payment, {undone} events not applied"
        )),
    })
}

impl Scene {
    async fn buys(self: Arc<Self>, buyer: u64) {
        let bodies = [
            json!({"plan": "membership-annual"}),
            json!({"plan": "credits-20"}),
            json!({"lines": [{"plan": "membership-monthly"}, {"plan": "share", "quantity": 2}]}),
        ];
        for number in 0_u64.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let body = &bodies[usize::try_from(number % 3).unwrap_or_default()];
            while self
                .buy(&format!("member-{buyer}-{number}"), body)
                .await
                .is_none()
            {
                self.tried_again.fetch_add(1, Ordering::SeqCst);
                sleep(AGAIN).await;
            }
            self.paid.fetch_add(1, Ordering::SeqCst);
            sleep(PACE).await;
        }
    }

    /// Orders, pays and comes back; none when it must be tried again, with the same key.
    async fn buy(&self, user: &str, body: &Value) -> Option<()> {
        let clock = Clock::system();
        clock.set_offset(self.stripe.now().await.ok()?);
        let hour = Duration::from_hours(1);
        let token = mint_development_token(&self.settings, &clock, user, &[], hour).ok()?;
        let order = self
            .client
            .post(format!("http://{}/v1/subscriptions", self.address))
            .bearer_auth(token)
            .header("idempotency-key", user)
            .json(body);
        let opened: Value = order
            .send()
            .await
            .ok()?
            .error_for_status()
            .ok()?
            .json()
            .await
            .ok()?;
        // Without an address it is no longer open: an earlier try has paid it.
        let Some(url) = opened["checkout"]["url"].as_str() else {
            return Some(());
        };
        let session = url.split('/').find(|part| part.starts_with("cs_"))?;
        let path = format!("/_sandbox/checkout/{session}/pay");
        let card = json!({"card": "4242424242424242"});
        let paid = self.stripe.post(&path, card).await.ok()?;
        drop(self.client.get(paid["redirect_url"].as_str()?).send().await);
        Some(())
    }
}
