//! The service killed, the database restarted, Stripe in trouble, all in the middle of a rush: whoever paid has what she
//! paid for, once, and nobody had to help.

mod rush;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dev_postgres::{Cluster, Stop};
use fastrand::Rng;
use serde_json::json;
use sqlx::PgPool;
use tokio::process::{Child, Command};

use self::rush::Rush;
use crate::harness::mosaic::{self, Billing, mapped, shipped_plans};
use crate::harness::program::File;
use crate::harness::receiver::{self, Receiver};
use crate::harness::replica::{self, Replica};
use crate::harness::{TestSandbox, in_project, migrated_database, usual_variables};

/// Settings that make a service quick to try again.
const QUICK: [(&str, &str); 6] = [
    ("DUES__WORKER__INTERVAL_MS", "20"),
    ("DUES__WORKER__RECONCILE_INTERVAL_SECONDS", "86400"),
    ("DUES__STRIPE__REQUESTS_PER_SECOND", "1000"),
    ("DUES__STRIPE__TIMEOUT_MS", "400"),
    ("DUES__STRIPE__TOTAL_TIMEOUT_MS", "3000"),
    ("DUES__DATABASE__ACQUIRE_TIMEOUT_MS", "1000"),
];

/// Plans that Mosaic Billing keeps.
const PLANS: [&str; 4] = [
    "membership-annual",
    "membership-monthly",
    "credits-20",
    "donation",
];

fn quick() -> HashMap<String, String> {
    QUICK
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn free_port() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("a bound port")
}

/// The program as somebody else's process.
fn dues(arguments: &[&str], variables: &HashMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dues"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .env("DUES_CONFIG_DIR", in_project("tests/no-config"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_again_and_again_loses_nothing_and_books_nothing_twice() {
    const KILLS: usize = 8;
    let seed = std::env::var("DUES_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut rng = Rng::with_seed(seed);
    let database = migrated_database().await;
    let address = free_port();
    let sandbox = TestSandbox::start(address).await;
    let mut variables = usual_variables(database.url(), address, sandbox.url());
    variables.extend(quick());
    let (player, billing) = (Receiver::start().await, Billing::start(&PLANS).await);
    let (plans, followers) = followed(&player, &billing);
    for (name, value) in [
        ("DUES_ENV", "development"),
        ("DUES__CLOCK__FOLLOW", sandbox.url()),
        ("DUES__HTTP__LISTEN", &address.to_string()),
        ("DUES__PLANS__FILE", &plans.path().to_string_lossy()),
        ("DUES__FOLLOWERS__FILE", &followers.path().to_string_lossy()),
        ("PLAYER_SECRET", receiver::SECRET),
        ("MOSAIC_SECRET", mosaic::SECRET),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let rush = Rush::begin(sandbox, database.url(), address, &quick()).await;
    // Some events never come, and others come twice and in any order.
    rush.chaos(
        json!({"shuffle": true, "duplicate": 0.3, "drop": 0.1, "max_delay_ms": 50, "seed": seed}),
    )
    .await;
    let start = || -> Child {
        let child = dues(&["serve"], &variables).spawn();
        child.expect("the program runs")
    };
    let mut service = start();
    for _ in 0..KILLS {
        rush.service_answers().await;
        // The moment is random: that is the test.
        tokio::time::sleep(Duration::from_millis(rng.u64(5..500))).await;
        service.kill().await.expect("kill -9");
        rush.leases_end().await;
        service = start();
    }
    rush.service_answers().await;
    let mut counts = rush.end().await;
    let reconciled = dues(&["reconcile"], &variables).status().await;
    assert!(reconciled.expect("the program runs").success());
    rush.followers_know_all(&player, &billing, &PLANS).await;
    rush.check(&mut counts).await;
    eprintln!("{KILLS} kills, seed {seed}: {counts:?}");
    service.kill().await.expect("kill -9");
}

/// The plans that Mosaic Billing keeps, and a file that names it and a receiver of webhooks.
fn followed(player: &Receiver, billing: &Billing) -> (File, File) {
    let plans = mapped(&shipped_plans(), &["credits-50", "share"]);
    let plans = File::new("plans.toml", &plans);
    let named = format!(
        "{}\n[[follower]]\nname = \"player\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret_env = \"PLAYER_SECRET\"\n",
        billing.named("mosaic", ""),
        player.url
    );
    (plans, File::new("followers.toml", &named))
}

/// A directory of the test's own, removed after it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let path = parent.join(format!("dues-faults-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restarted_and_crashes_under_load_costs_nothing_but_time() {
    let scratch = Scratch::new();
    // One that keeps what it has confirmed, as in production.
    let cluster = Cluster::demo(&scratch.0)
        .await
        .expect("a server of our own");
    cluster.ensure_database("dues").await.expect("a database");
    let url = cluster.url("dues");
    let address = free_port();
    let sandbox = TestSandbox::start(address).await;
    let settings = replica::settings(&url, address, sandbox.url(), &quick());
    dues::app::migrate(&settings.database)
        .await
        .expect("the schema");
    let mut service = Replica::start_at(address, &url, sandbox.url(), &quick()).await;
    let rush = Rush::begin(sandbox, &url, address, &quick()).await;
    for how in [Stop::Fast, Stop::Immediate, Stop::Fast] {
        rush.more_is_paid().await;
        cluster.stop(how).await.expect("it stops");
        cluster.start().await.expect("it starts again");
    }
    rush.more_is_paid().await;
    let mut counts = rush.end().await;
    rush.check(&mut counts).await;
    eprintln!("3 restarts of the database: {counts:?}");
    service.stop().await;
    cluster.close().await.expect("it stops for good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_in_every_kind_of_trouble_is_outlived_without_hands() {
    let database = migrated_database().await;
    let address = free_port();
    let sandbox = TestSandbox::start(address).await;
    let mut service = Replica::start_at(address, database.url(), sandbox.url(), &quick()).await;
    let rush = Rush::begin(sandbox, database.url(), address, &quick()).await;
    rush.chaos(json!({"shuffle": true, "duplicate": 0.2, "max_delay_ms": 30, "seed": 7}))
        .await;
    let kinds = [
        "error_500",
        "error_500_stored",
        "error_500_after_effect",
        "should_not_retry_500",
        "rate_limited",
        "rate_limited_with_reason",
        "lock_timeout",
        "timeout_after_effect",
        "stall",
        "disconnect",
        "disconnect_after_effect",
        "garbage",
    ];
    for kind in kinds {
        rush.fault(json!({"kind": kind, "path": "/v1/*", "times": 4, "stall_ms": 600}))
            .await;
        rush.more_is_paid().await;
    }
    let mut counts = rush.end().await;
    rush.check(&mut counts).await;
    eprintln!("{} kinds of trouble at Stripe: {counts:?}", kinds.len());
    service.stop().await;
    let pool = PgPool::connect_lazy(database.url()).expect("the URL is good");
    let flagged = "SELECT count(*) FROM webhook_events WHERE state IN ('flagged', 'failed')";
    let flagged: i64 = sqlx::query_scalar(flagged)
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(flagged, 0);
}
