//! The database is restored from a copy of yesterday: what happened since is learnt again, nobody is told it twice by what
//! he knows it by, and who reads the feed is told to begin again.

use std::collections::HashMap;
use std::net::SocketAddr;

use dev_postgres::TestDatabase;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;

use super::assert_in_order;
use crate::harness::lifecycle::{MONTH, text};
use crate::harness::mosaic::{self, Billing, mapped, member, shipped_plans};
use crate::harness::program::{File, run};
use crate::harness::purchase::GOOD_CARD;
use crate::harness::receiver::{self, Receiver};
use crate::harness::replica::{self, Replica};
use crate::harness::{TestSandbox, migrated_database, usual_variables};

const TOKEN: &str = "a token of thirty-two characters";
const PLANS: [&str; 2] = ["membership-monthly", "membership-annual"];

/// A service that can be stopped, with those who follow.
struct Scene {
    sandbox: TestSandbox,
    database: TestDatabase,
    address: SocketAddr,
    more: HashMap<String, String>,
    player: Receiver,
    billing: Billing,
    _files: (File, File),
}

impl Scene {
    async fn set() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound port");
        drop(free);
        let (player, billing) = (Receiver::start().await, Billing::start(&PLANS).await);
        let plans = File::new(
            "plans.toml",
            &mapped(
                &shipped_plans(),
                &["credits-20", "credits-50", "share", "donation"],
            ),
        );
        let followers = format!(
            "{}\n[[follower]]\nname = \"player\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret_env = \"PLAYER_SECRET\"\n",
            billing.named("mosaic", ""),
            player.url
        );
        let followers = File::new("followers.toml", &followers);
        let more = [
            ("DUES__PLANS__FILE", &*plans.path().to_string_lossy()),
            (
                "DUES__FOLLOWERS__FILE",
                &*followers.path().to_string_lossy(),
            ),
            ("DUES__FEED__TOKENS", TOKEN),
            ("DUES__WORKER__RECONCILE_INTERVAL_SECONDS", "86400"),
            ("PLAYER_SECRET", receiver::SECRET),
            ("MOSAIC_SECRET", mosaic::SECRET),
        ];
        Self {
            sandbox: TestSandbox::start(address).await,
            database: migrated_database().await,
            address,
            more: more
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            player,
            billing,
            _files: (plans, followers),
        }
    }

    async fn start(&self) -> Replica {
        Replica::start_at(
            self.address,
            self.database.url(),
            self.sandbox.url(),
            &self.more,
        )
        .await
    }

    async fn pool(&self) -> PgPool {
        PgPool::connect(self.database.url())
            .await
            .expect("the database is there")
    }

    /// Waits until everybody who follows knows everything.
    async fn told(&self) {
        let pool = self.pool().await;
        let told = "SELECT count(*) = 2 AND bool_and(f.position >= h.position) AND NOT EXISTS (SELECT FROM followers_parked)
                      FROM followers f, feed_head h";
        let waiting = async {
            while !sqlx::query_scalar::<_, Option<bool>>(told)
                .fetch_one(&pool)
                .await
                .expect("the tables are there")
                .unwrap_or_default()
            {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let done = tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await;
        done.expect("everybody is told");
        pool.close().await;
    }

    /// Has the server do something with whole databases, which nobody uses meanwhile.
    async fn admin(&self, statements: &[String]) {
        let url = self
            .database
            .url()
            .replace(self.database.name(), "postgres");
        let admin = PgPool::connect(&url).await.expect("the server is there");
        for statement in statements {
            sqlx::query(AssertSqlSafe(statement.clone()))
                .execute(&admin)
                .await
                .expect("the server obeys");
        }
        admin.close().await;
    }

    /// Copies the database, which nobody uses meanwhile.
    async fn dump(&self) {
        let name = self.database.name();
        let copy = format!("CREATE DATABASE \"{name}_copy\" TEMPLATE \"{name}\"");
        self.admin(&[copy]).await;
    }

    /// Puts the copy in its place.
    async fn restore(&self) {
        let name = self.database.name();
        self.admin(&[
            format!("DROP DATABASE \"{name}\""),
            format!("ALTER DATABASE \"{name}_copy\" RENAME TO \"{name}\""),
        ])
        .await;
    }

    async fn buy(&self, service: &Replica, number: u32) -> Value {
        let token = service.member(&member(number));
        let order = service
            .request(Method::POST, "/v1/subscriptions")
            .bearer(&token);
        let opened = order
            .json(json!({ "plan": "membership-monthly" }))
            .send()
            .await
            .assert_status(201)
            .json();
        let url: url::Url = text(&opened["checkout"]["url"]).parse().expect("a URL");
        let session = url
            .path_segments()
            .and_then(|mut all| all.next_back())
            .expect("a session")
            .to_owned();
        let path = format!("/_sandbox/checkout/{session}/pay");
        self.sandbox.post(&path, json!({ "card": GOOD_CARD })).await;
        self.sandbox
            .post(
                "/_sandbox/deliveries/settle",
                json!({ "timeout_ms": 20_000 }),
            )
            .await;
        opened
    }

    async fn read(&self, service: &Replica, query: &str) -> crate::harness::Answer {
        let path = format!("/v1/feed?{query}");
        service
            .request(Method::GET, &path)
            .bearer(TOKEN)
            .send()
            .await
    }

    fn settings(&self) -> dues::settings::Settings {
        replica::settings(
            self.database.url(),
            self.address,
            self.sandbox.url(),
            &self.more,
        )
    }
}

#[tokio::test]
async fn what_happened_since_the_dump_is_learnt_again_and_told_once_by_what_it_is_known_by() {
    let scene = Scene::set().await;
    let mut service = scene.start().await;
    scene.buy(&service, 1).await;
    scene.told().await;
    service.stop().await;
    scene.dump().await;
    // A day's business after the dump: a renewal, and somebody who is told of it.
    let mut service = scene.start().await;
    scene
        .sandbox
        .post("/_sandbox/clock/advance", json!({ "seconds": MONTH }))
        .await;
    scene
        .sandbox
        .post(
            "/_sandbox/deliveries/settle",
            json!({ "timeout_ms": 20_000 }),
        )
        .await;
    scene.told().await;
    let before = scene.billing.state().await;
    assert_eq!(before["transactions"].as_array().map(Vec::len), Some(2));
    let cursor = text(&scene.read(&service, "").await.assert_status(200).json()["next_after"]);
    service.stop().await;
    scene.restore().await;
    let before_restore = scene.player.taken().len();
    let mut variables = usual_variables(scene.database.url(), scene.address, scene.sandbox.url());
    variables.insert("DUES_ENV".to_owned(), "development".to_owned());
    run(&["feed", "new-epoch"], &variables).await.assert_code(0);
    let mut service = scene.start().await;
    // Stripe tells again what the dump does not know.
    let services = replica::services(&scene.settings()).await;
    let stop = CancellationToken::new();
    let walked = services
        .events
        .reconcile_events(&stop, |_, _| {})
        .await
        .expect("Stripe is there");
    assert!(walked.applied > 0, "{walked:?}");
    scene.told().await;
    let pool = scene.pool().await;
    scene
        .billing
        .assert_in_step(&services, &pool, &PLANS, "after the restore")
        .await;
    pool.close().await;
    let after = scene.billing.state().await;
    assert_eq!(
        after["transactions"], before["transactions"],
        "nothing is told twice"
    );
    // The receiver of webhooks gets what happened again by new ids, in order; so the document says.
    let taken = scene.player.taken();
    assert!(taken.len() > before_restore);
    assert_in_order(&taken[before_restore..]);
    let gone = scene.read(&service, &format!("after={cursor}")).await;
    gone.assert_problem(410, "cursor_gone");
    service.stop().await;
}

#[tokio::test]
async fn without_a_new_epoch_a_cursor_from_the_time_after_the_dump_is_gone_all_the_same() {
    let scene = Scene::set().await;
    let mut service = scene.start().await;
    scene.buy(&service, 1).await;
    scene.told().await;
    service.stop().await;
    scene.dump().await;
    let mut service = scene.start().await;
    let old = text(&scene.read(&service, "").await.assert_status(200).json()["next_after"]);
    scene.buy(&service, 2).await;
    let cursor = text(&scene.read(&service, "").await.assert_status(200).json()["next_after"]);
    service.stop().await;
    scene.restore().await;
    let mut service = scene.start().await;
    // It is ahead of all there is; one from before the dump goes on.
    let gone = scene.read(&service, &format!("after={cursor}")).await;
    gone.assert_problem(410, "cursor_gone");
    scene
        .read(&service, &format!("after={old}"))
        .await
        .assert_status(200);
    service.stop().await;
}
