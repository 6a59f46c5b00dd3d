//! Many members who buy at once, and try again as a client app does; at the end everything must add up.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dues::auth::mint_development_token;
use dues::clock::Clock;
use dues::settings::Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::feed::assert_tells_what_rows_say;
use crate::followers::assert_in_order;
use crate::harness::mosaic::{Billing, member};
use crate::harness::purchase::GOOD_CARD;
use crate::harness::receiver::Receiver;
use crate::harness::replica;
use crate::harness::{TestSandbox, client};

/// So many buy at once.
const BUYERS: usize = 4;
/// Pause of a client before it tries again.
const PAUSE: Duration = Duration::from_millis(25);
/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_mins(1);
/// What every paid checkout leaves behind at least, if its webhooks were answered.
const TOLD: [&str; 3] = [
    "checkout.session.completed",
    "customer.subscription.created",
    "invoice.paid",
];

/// What has happened.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "they are printed")]
pub(super) struct Counts {
    paid: usize,
    tried_again: usize,
    acknowledged: usize,
    deliveries_that_failed: usize,
    events: i64,
    transactions: i64,
}

/// The rush.
pub(super) struct Rush {
    scene: Arc<Scene>,
    buyers: Vec<JoinHandle<Vec<Bought>>>,
}

struct Scene {
    sandbox: TestSandbox,
    settings: Settings,
    address: SocketAddr,
    pool: PgPool,
    client: reqwest::Client,
    over: AtomicBool,
    paid: AtomicUsize,
    tried_again: AtomicUsize,
}

/// A purchase that the service has acknowledged and its buyer has paid.
struct Bought {
    session: String,
    lines: Vec<String>,
}

impl Rush {
    /// Members begin to buy.
    pub(super) async fn begin(
        sandbox: TestSandbox,
        database_url: &str,
        address: SocketAddr,
        more: &HashMap<String, String>,
    ) -> Self {
        let often = json!({"webhook_retry_ms": vec![100; 300], "webhook_timeout_ms": 2_000});
        sandbox.post("/_sandbox/settings", often).await;
        let settings = replica::settings(database_url, address, sandbox.url(), more);
        let scene = Arc::new(Scene {
            sandbox,
            settings,
            address,
            pool: PgPool::connect_lazy(database_url).expect("the URL is good"),
            client: client(),
            over: AtomicBool::new(false),
            paid: AtomicUsize::new(0),
            tried_again: AtomicUsize::new(0),
        });
        let buyers = (0..BUYERS).map(|buyer| tokio::spawn(Arc::clone(&scene).buys(buyer)));
        Self {
            buyers: buyers.collect(),
            scene,
        }
    }

    pub(super) async fn chaos(&self, chaos: Value) {
        self.scene.sandbox.post("/_sandbox/chaos", chaos).await;
    }

    pub(super) async fn fault(&self, fault: Value) {
        self.scene.sandbox.post("/_sandbox/faults", fault).await;
    }

    /// Waits until the service answers.
    pub(super) async fn service_answers(&self) {
        let url = format!("http://{}/healthz", self.scene.address);
        wait("the service answers", async || {
            self.scene.client.get(&url).send().await.is_ok()
        })
        .await;
    }

    /// Waits until some have paid since. An order of which Stripe knows nothing is given up after five minutes: where
    /// all wait for that, they pass.
    pub(super) async fn more_is_paid(&self) {
        let paid = || self.scene.paid.load(Ordering::SeqCst);
        let enough = paid() + BUYERS;
        while paid() < enough {
            let before = paid();
            let some = async {
                while paid() < enough {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let waited = tokio::time::timeout(PATIENCE / 60, some).await;
            if waited.is_err() && paid() == before {
                self.five_minutes_pass().await;
            }
        }
    }

    async fn five_minutes_pass(&self) {
        let clock = json!({"seconds": 301});
        let sandbox = &self.scene.sandbox;
        sandbox.post("/_sandbox/clock/advance", clock).await;
    }

    /// Nobody begins to buy any more, and Stripe is well: waits until all has arrived that will arrive.
    pub(super) async fn end(&self) -> Counts {
        let Scene {
            sandbox,
            over,
            pool,
            ..
        } = &*self.scene;
        over.store(true, Ordering::SeqCst);
        sandbox
            .request(Method::DELETE, "/_sandbox/faults")
            .send()
            .await
            .assert_status(200);
        wait("everybody has finished", async || {
            self.five_minutes_pass().await;
            tokio::time::sleep(PAUSE * 10).await;
            self.buyers.iter().all(JoinHandle::is_finished)
        })
        .await;
        wait("all deliveries have arrived", async || {
            let settle = json!({"timeout_ms": 1_000});
            let counts = sandbox.post("/_sandbox/deliveries/settle", settle).await;
            counts["pending"] == 0
        })
        .await;
        let log = sandbox.get("/_sandbox/deliveries").await;
        let log = log.as_array().expect("a list");
        let acknowledged: HashSet<&str> = log
            .iter()
            .filter(|attempt| attempt["status"] == 200)
            .filter(|attempt| TOLD.iter().any(|kind| attempt["type"] == *kind))
            .filter_map(|attempt| attempt["event"].as_str())
            .collect();
        let ids: Vec<String> = acknowledged.iter().map(|&id| id.to_owned()).collect();
        let lost: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM unnest($1::text[]) AS id WHERE NOT EXISTS (SELECT FROM webhook_events e WHERE e.id = id.id)",
        )
        .bind(&ids)
        .fetch_all(pool)
        .await
        .expect("the events");
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let failed = log
            .iter()
            .filter(|attempt| attempt["attempt"] != 0 && attempt["status"] != 200);
        Counts {
            acknowledged: ids.len(),
            deliveries_that_failed: failed.count(),
            tried_again: self.scene.tried_again.load(Ordering::SeqCst),
            ..Counts::default()
        }
    }

    /// Leases of a process that was killed end: it could not give them back.
    pub(super) async fn leases_end(&self) {
        sqlx::query("UPDATE followers SET lease_until = now() - interval '1 second'")
            .execute(&self.scene.pool)
            .await
            .expect("the table is there");
    }

    /// Whoever follows has been told everything: nothing is lost, doubled or out of order.
    pub(super) async fn followers_know_all(
        &self,
        player: &Receiver,
        billing: &Billing,
        plans: &[&str],
    ) {
        let pool = &self.scene.pool;
        wait("all is told", async || {
            // Whoever waits need not wait so long.
            self.five_minutes_pass().await;
            let told = "SELECT bool_and(f.position >= h.position) AND NOT EXISTS (SELECT FROM followers_parked)
                          FROM followers f, feed_head h";
            let told = sqlx::query_scalar(told).fetch_one(pool).await;
            told.expect("the tables are there")
        })
        .await;
        let rows: HashSet<String> = sqlx::query_scalar::<_, String>("SELECT id::text FROM feed")
            .fetch_all(pool)
            .await
            .expect("the table is there")
            .into_iter()
            .collect();
        let taken = player.taken();
        assert_in_order(&taken);
        let told: HashSet<String> = taken.into_iter().map(|got| got.id).collect();
        assert_eq!(told, rows, "what was told, and what has changed");
        let services = replica::services(&self.scene.settings).await;
        billing
            .assert_in_step(&services, pool, plans, "after all")
            .await;
    }

    /// Everybody has what she paid for, once; nothing is left undone; every history is a chain.
    pub(super) async fn check(mut self, counts: &mut Counts) {
        let pool = &self.scene.pool;
        let count = async |query: &'static str| -> i64 {
            let rows = sqlx::query_scalar(query).fetch_one(pool).await;
            rows.expect("a count")
        };
        wait("the worker is done", async || {
            count("SELECT count(*) FROM webhook_events WHERE state = 'deferred'").await == 0
        })
        .await;
        let mut sessions = HashSet::new();
        let mut lines = 0;
        for buyer in self.buyers.drain(..) {
            for bought in buyer.await.expect("a buyer") {
                for line in &bought.lines {
                    let row: (String, String, i64, Option<String>) = sqlx::query_as(
                        "SELECT s.status, s.status_reason, (SELECT count(*) FROM transactions t
                                  WHERE t.subscription_id = s.id AND t.kind = 'payment'), c.stripe_session_id
                           FROM subscriptions s JOIN checkouts c ON c.id = s.checkout_id WHERE s.id = $1::uuid",
                    )
                    .bind(line)
                    .fetch_one(pool)
                    .await
                    .expect("the row");
                    let (status, reason, payments, session) = row;
                    assert_eq!(
                        (status.as_str(), reason.as_str(), payments),
                        ("ACTIVE", "paid", 1),
                        "{line} of {}",
                        bought.session
                    );
                    assert_eq!(session.as_ref(), Some(&bought.session));
                    lines += 1;
                }
                assert!(sessions.insert(bought.session), "one session, paid twice");
            }
        }
        counts.paid = sessions.len();
        assert!(counts.paid > BUYERS, "hardly anybody could buy");
        let complete = self.scene.complete_sessions().await;
        assert_eq!(complete, sessions, "paid at Stripe, and paid by a buyer");
        counts.events = count("SELECT count(*) FROM webhook_events").await;
        counts.transactions = count("SELECT count(*) FROM transactions").await;
        assert_eq!(counts.transactions, lines, "one payment a line");
        let active = count("SELECT count(*) FROM subscriptions WHERE status = 'ACTIVE'").await;
        assert_eq!(active, lines, "nobody has what she did not pay");
        let stuck = "SELECT count(*) FROM webhook_events WHERE state <> 'applied'";
        assert_eq!(count(stuck).await, 0, "no event is left undone");
        let broken = "
            WITH links AS (
                SELECT subscription_id, from_status, to_status,
                       lag(to_status) OVER (PARTITION BY subscription_id ORDER BY seq) AS before,
                       lead(seq) OVER (PARTITION BY subscription_id ORDER BY seq) IS NULL AS last
                  FROM status_changes)
            SELECT count(*) FROM links JOIN subscriptions s ON s.id = subscription_id
             WHERE from_status IS DISTINCT FROM before OR last AND to_status <> status";
        assert_eq!(count(broken).await, 0, "every history is a chain");
        assert_tells_what_rows_say(pool).await;
        pool.close().await;
    }
}

impl Scene {
    /// One member after the other buys, until it is over.
    async fn buys(self: Arc<Self>, buyer: usize) -> Vec<Bought> {
        let mut all = Vec::new();
        while !self.over.load(Ordering::SeqCst) {
            let number = all.len();
            all.push(self.buy(buyer, number).await);
            self.paid.fetch_add(1, Ordering::SeqCst);
        }
        all
    }

    /// Orders until it is acknowledged, pays, and comes back if the service is there.
    async fn buy(&self, buyer: usize, number: usize) -> Bought {
        let bodies = [
            json!({"plan": "membership-annual"}),
            json!({"plan": "credits-20"}),
            json!({"lines": [{"plan": "membership-monthly"}, {"plan": "donation", "amount": 500}]}),
        ];
        let user = u32::try_from(buyer * 100_000 + number).expect("few");
        let user = member(user);
        let opened = loop {
            match self.order(&user, &bodies[(buyer + number) % 3]).await {
                Some(opened) if opened["checkout"]["url"].is_string() => break opened,
                _ => {
                    self.tried_again.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let url = opened["checkout"]["url"].as_str().expect("a URL");
        let session = url
            .split('/')
            .find(|part| part.starts_with("cs_"))
            .expect("the session's page")
            .to_owned();
        let path = format!("/_sandbox/checkout/{session}/pay");
        let paid = self.sandbox.post(&path, json!({"card": GOOD_CARD})).await;
        if number.is_multiple_of(2) {
            let back = paid["redirect_url"].as_str().expect("a URL");
            // The browser may find nobody there; the webhooks tell all the same.
            drop(self.client.get(back).send().await);
        }
        let lines = opened["subscriptions"].as_array().expect("a list").iter();
        Bought {
            lines: lines
                .map(|line| line["id"].as_str().expect("an id").to_owned())
                .collect(),
            session,
        }
    }

    /// An order with the member's key; none when it must be tried again.
    async fn order(&self, user: &str, body: &Value) -> Option<Value> {
        // The service follows the sandbox's clock, and so do its tokens.
        let clock = Clock::system();
        let offset = self.sandbox.get("/_sandbox/clock").await["offset"].as_i64();
        clock.set_offset(offset.expect("an offset"));
        let hour = Duration::from_hours(1);
        let token = mint_development_token(&self.settings, &clock, user, &[], hour);
        let answer = self
            .client
            .post(format!("http://{}/v1/subscriptions", self.address))
            .bearer_auth(token.expect("tests run in development"))
            .header("idempotency-key", format!("order-of-{user}"))
            .timeout(Duration::from_secs(5))
            .json(body)
            .send()
            .await
            .ok()?;
        match answer.status() {
            StatusCode::CREATED => answer.json().await.ok(),
            // In progress, or out of order: whatever else would be the client's own mistake.
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED => None,
            status if status.is_server_error() => None,
            status => panic!("{status}: {:?}", answer.text().await),
        }
    }

    async fn complete_sessions(&self) -> HashSet<String> {
        let all = self.sandbox.get("/_sandbox/objects/checkout.session").await;
        let all = all.as_array().expect("a list").iter();
        all.filter(|session| session["status"] == "complete")
            .map(|session| session["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

async fn wait(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(done.is_ok(), "it never came to pass that {what}");
}
