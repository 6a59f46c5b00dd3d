//! A story that was played once at the sandbox, and is told as often as one likes.

use std::collections::HashMap;
use std::time::Duration;

use dev_postgres::TestDatabase;
use dues::services::Services;
use fastrand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use crate::harness::mosaic::{Billing, SECRET, mapped, member};
use crate::harness::program::File;
use crate::harness::purchase::at_once;
use crate::harness::replica::{self, Replica};
use crate::harness::{Call, TestSandbox, in_project, migrated_database};

/// How often each story is told in the ordinary run.
const CASES: u64 = 12;
/// So many deliveries are under way at once.
const AT_ONCE: usize = 6;
/// How long a test waits for the workers, before it gives up.
const PATIENCE: Duration = Duration::from_secs(20);
/// All tables, parents first.
const TABLES: [&str; 8] = [
    "customers",
    "checkouts",
    "idempotency_keys",
    "subscriptions",
    "transactions",
    "webhook_events",
    "status_changes",
    "cursors",
];
/// All plans: the Mosaic Billing that follows knows them.
const PLANS: [&str; 7] = [
    "membership-annual",
    "membership-monthly",
    "credits-20",
    "credits-50",
    "share",
    "donation",
    "daily",
];
/// What must be the same at the end, however the story was told. Left out are what says when we learnt of it, and the
/// line item: only a read of the session tells it.
const OUTCOME: &str = "
    SELECT jsonb_build_object(
        'checkouts', (SELECT jsonb_agg(jsonb_build_object('id', id, 'status', status, 'session', stripe_session_id,
                          'customer', stripe_customer_id) ORDER BY id) FROM checkouts),
        'subscriptions', (SELECT jsonb_agg(to_jsonb(s) - '{version,stripe_state_at,stripe_line_item_id,excused_at,looked_at,next_look_at,updated_at}'::text[]
                          ORDER BY id) FROM subscriptions s),
        'transactions', (SELECT jsonb_agg(to_jsonb(t) - '{id,created_at}'::text[]
                          ORDER BY subscription_id, kind, stripe_reference) FROM transactions t))";

/// An opened checkout.
pub(super) struct Purchase {
    session: String,
    /// The ids of the lines, in their order.
    pub(super) lines: Vec<String>,
}

/// Where a line is to end.
pub(super) struct Expected {
    line: String,
    status: (&'static str, &'static str),
    money: HashMap<&'static str, i64>,
}

/// The sandbox and what was recorded there.
pub(super) struct Stage {
    sandbox: TestSandbox,
    database: TestDatabase,
    pool: PgPool,
    variables: HashMap<String, String>,
    _plans: PlansFile,
    recorder: Option<Replica>,
    buyers: u32,
    /// The rows before anybody paid, by table.
    rows: Vec<Value>,
    /// Where the browsers of those who paid were sent.
    returns: Vec<String>,
    /// Why events of this story may be flagged.
    pub(super) flags: Vec<&'static str>,
}

/// A plans file with a membership that renews every day: a story of several renewals fits into Stripe's 30 days.
struct PlansFile(std::path::PathBuf);

impl PlansFile {
    fn write() -> Self {
        let shipped =
            std::fs::read_to_string(in_project("config/plans.toml")).expect("the shipped plans");
        let daily = "\n[[plan]]\ncode = \"daily\"\nkind = \"membership\"\nprice = \"daily\"\n";
        let plans = mapped(&(shipped + daily), &[]);
        let name = format!("dues-plans-{:016x}.toml", fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, plans).expect("a file can be written");
        Self(path)
    }
}

impl Drop for PlansFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Expected {
    /// Where the first line of a purchase is to end.
    pub(super) fn new(purchase: &Purchase, status: &'static str, reason: &'static str) -> Self {
        Self::line(purchase, 0, status, reason)
    }

    /// Where a line of a purchase is to end.
    pub(super) fn line(
        purchase: &Purchase,
        line: usize,
        status: &'static str,
        reason: &'static str,
    ) -> Self {
        Self {
            line: purchase.lines[line].clone(),
            status: (status, reason),
            money: HashMap::new(),
        }
    }

    pub(super) fn payments(self, count: i64) -> Self {
        self.money("payment", count)
    }

    pub(super) fn failures(self, count: i64) -> Self {
        self.money("payment_failed", count)
    }

    pub(super) fn refunds(self, count: i64) -> Self {
        self.money("refund", count)
    }

    pub(super) fn disputes(self, count: i64) -> Self {
        self.money("dispute", count)
    }

    fn money(mut self, kind: &'static str, count: i64) -> Self {
        self.money.insert(kind, count);
        self
    }
}

/// What happens at Stripe and to its buyers.
impl Stage {
    /// A sandbox that keeps its webhooks to itself, and a service to order at.
    pub(super) async fn open() -> Self {
        let sandbox = TestSandbox::start(([127, 0, 0, 1], 9).into()).await;
        sandbox.post("/_sandbox/deliveries/hold", json!({})).await;
        let settings = json!({"retry_hours": [3, 3], "debit_seconds": 4 * 3_600});
        sandbox.post("/_sandbox/settings", settings).await;
        let plans = PlansFile::write();
        let variables = [
            ("DUES__PLANS__FILE", plans.0.display().to_string()),
            ("DUES__STRIPE__REQUESTS_PER_SECOND", "1000".to_owned()),
            ("DUES__WORKER__INTERVAL_MS", "20".to_owned()),
            (
                "DUES__WORKER__RECONCILE_INTERVAL_SECONDS",
                "86400".to_owned(),
            ),
            ("DUES__CHECKOUT__EXPIRES_MINUTES", "60".to_owned()),
        ];
        let variables: HashMap<String, String> = variables
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let database = migrated_database().await;
        let mut stage = Self {
            pool: PgPool::connect_lazy(database.url()).expect("the URL is good"),
            database,
            sandbox,
            variables,
            _plans: plans,
            recorder: None,
            buyers: 0,
            rows: Vec::new(),
            returns: Vec::new(),
            flags: Vec::new(),
        };
        let product = [("name", "Day by day")];
        let product = stage.stripe(Method::POST, "/v1/products", &product).await;
        let product = product["id"].as_str().expect("an id").to_owned();
        let price = [
            ("product", product.as_str()),
            ("lookup_key", "daily"),
            ("currency", "eur"),
            ("unit_amount", "100"),
            ("recurring[interval]", "day"),
        ];
        stage.stripe(Method::POST, "/v1/prices", &price).await;
        stage.recorder = Some(stage.replica().await);
        stage
    }

    async fn replica(&self) -> Replica {
        Replica::start(self.database.url(), self.sandbox.url(), &self.variables).await
    }

    /// A replica that tells what happens to a Mosaic Billing Service.
    async fn telling_replica(&self, followers: &File) -> Replica {
        let mut variables = self.variables.clone();
        for (name, value) in [
            (
                "DUES__FOLLOWERS__FILE",
                &*followers.path().to_string_lossy(),
            ),
            ("MOSAIC_SECRET", SECRET),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
        Replica::start(self.database.url(), self.sandbox.url(), &variables).await
    }

    /// A member of her own orders this.
    pub(super) async fn order(&mut self, body: Value) -> Purchase {
        let recorder = self.recorder.as_ref().expect("the story has not begun");
        self.buyers += 1;
        let token = recorder.member(&member(self.buyers));
        let call = recorder.request(Method::POST, "/v1/subscriptions");
        let opened = call.bearer(&token).json(body).send().await;
        let opened = opened.assert_status(201).json();
        let lines = opened["subscriptions"].as_array().expect("a list").iter();
        let checkout = opened["checkout"]["id"].as_str().expect("an id");
        let session =
            sqlx::query_scalar("SELECT stripe_session_id FROM checkouts WHERE id = $1::uuid")
                .bind(checkout)
                .fetch_one(&self.pool)
                .await
                .expect("the session is attached");
        Purchase {
            session,
            lines: lines
                .map(|line| line["id"].as_str().expect("an id").to_owned())
                .collect(),
        }
    }

    /// From here on it all happens at Stripe: the rows as they are now are where every telling begins.
    pub(super) async fn begin(&mut self) {
        let mut recorder = self.recorder.take().expect("it begins once");
        recorder.stop().await;
        for table in TABLES {
            let query = format!(
                "SELECT coalesce(jsonb_agg(t), '[]') FROM {table} t WHERE '{table}' <> 'cursors'"
            );
            let rows = sqlx::query_scalar(AssertSqlSafe(query));
            self.rows
                .push(rows.fetch_one(&self.pool).await.expect("the rows"));
        }
    }

    /// The buyer pays.
    pub(super) async fn pay(&mut self, purchase: &Purchase, with: Value) {
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        let paid = self.sandbox.post(&path, with).await;
        let url: url::Url = paid["redirect_url"]
            .as_str()
            .and_then(|url| url.parse().ok())
            .expect("a URL");
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        self.returns.push(path);
    }

    pub(super) async fn advance(&self, seconds: i64) {
        self.told("/_sandbox/clock/advance", json!({ "seconds": seconds }))
            .await;
    }

    pub(super) async fn now(&self) -> i64 {
        let clock = self.sandbox.get("/_sandbox/clock").await;
        clock["now"].as_i64().expect("a time")
    }

    /// The buyer takes another card for what comes.
    pub(super) async fn give_card(&self, purchase: &Purchase, card: &str) {
        let session = self.session(purchase).await;
        let customer = session["customer"].as_str().expect("a customer");
        let path = format!("/_sandbox/customers/{customer}/card");
        self.told(&path, json!({ "card": card })).await;
    }

    pub(super) async fn refund(&self, payment: &str, more: &[(&str, &str)]) -> String {
        let form = [&[("payment_intent", payment)], more].concat();
        let refund = self.stripe(Method::POST, "/v1/refunds", &form).await;
        refund["id"].as_str().expect("an id").to_owned()
    }

    pub(super) async fn dispute(&self, payment: &str) -> String {
        let dispute = json!({ "payment_intent": payment });
        let dispute = self.told("/_sandbox/disputes", dispute).await;
        dispute["id"].as_str().expect("an id").to_owned()
    }

    pub(super) async fn close_dispute(&self, dispute: &str, status: &str) {
        let path = format!("/_sandbox/disputes/{dispute}/close");
        self.told(&path, json!({ "status": status })).await;
    }

    /// Tells the sandbox's control API something.
    pub(super) async fn told(&self, path: &str, body: Value) -> Value {
        self.sandbox.post(path, body).await
    }

    /// The organisation does something in Stripe's own pages.
    pub(super) async fn stripe(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Value {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let call = self.sandbox.request(method, path).bearer("sk_test_sandbox");
        call.body(body).send().await.assert_status(200).json()
    }

    async fn session(&self, purchase: &Purchase) -> Value {
        let path = format!("/v1/checkout/sessions/{}", purchase.session);
        self.sandbox.stripe(&path).await
    }

    pub(super) async fn stripe_subscription(&self, purchase: &Purchase) -> String {
        let session = self.session(purchase).await;
        session["subscription"].as_str().expect("an id").to_owned()
    }

    /// The payment intent of the checkout.
    pub(super) async fn payment_of(&self, purchase: &Purchase) -> String {
        let session = self.session(purchase).await;
        if let Some(intent) = session["payment_intent"].as_str() {
            return intent.to_owned();
        }
        let invoice = session["invoice"].as_str().expect("an invoice");
        let path = format!("/v1/invoice_payments?invoice={invoice}");
        let payments = self.sandbox.stripe(&path).await;
        let intent = &payments["data"][0]["payment"]["payment_intent"];
        intent.as_str().expect("a payment intent").to_owned()
    }
}

/// How a story is told.
struct Telling {
    /// What arrives at the first or at the second replica: an event or a return.
    early: Vec<(usize, Arrival)>,
    /// What arrives only after everything was reconciled.
    late: Vec<(usize, Arrival)>,
}

#[derive(Clone)]
enum Arrival {
    Event(usize),
    Return(usize),
}

impl Telling {
    /// In order, once each, to one replica.
    fn straight(events: usize) -> Self {
        let early = (0..events).map(|event| (0, Arrival::Event(event)));
        Self {
            early: early.collect(),
            late: Vec::new(),
        }
    }

    /// In any order: one in six events is lost, one in eight comes when all is over, one in four comes more than once.
    fn random(events: usize, returns: usize, rng: &mut Rng) -> Self {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for event in 0..events {
            let copies = if rng.u8(..4) == 0 { rng.usize(2..4) } else { 1 };
            for _ in 0..copies {
                let arrival = (rng.usize(..2), Arrival::Event(event));
                match rng.u8(..24) {
                    0..=3 => {}
                    4..=6 => late.push(arrival),
                    _ => early.push(arrival),
                }
            }
        }
        for buyer in 0..returns {
            for _ in 0..rng.usize(..3) {
                early.push((rng.usize(..2), Arrival::Return(buyer)));
            }
        }
        rng.shuffle(&mut early);
        rng.shuffle(&mut late);
        Self { early, late }
    }
}

impl Stage {
    /// Tells the story in many ways and fails unless each ends where it must.
    pub(super) async fn converges(&self, expected: &[Expected]) {
        let events = self.events().await;
        let address = ([127, 0, 0, 1], 1).into();
        let url = self.database.url();
        // Boxed: what is held over every telling would make the story's future too large.
        let settings = Box::new(replica::settings(
            url,
            address,
            self.sandbox.url(),
            &self.variables,
        ));
        let services = Box::pin(replica::services(&settings)).await;
        let straight = Telling::straight(events.len());
        let told = self.tell(&services, &events, &straight, "in order", true);
        let reference = Box::pin(told).await;
        self.is_expected(expected, "in order").await;
        self.is_what_stripe_says().await;
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let first = number("DUES_TEST_SEED").unwrap_or(1);
        for seed in first..first + number("DUES_TEST_CASES").unwrap_or(CASES) {
            let mut rng = Rng::with_seed(seed);
            let telling = Telling::random(events.len(), self.returns.len(), &mut rng);
            let story = format!("DUES_TEST_SEED={seed}");
            // Who follows costs more than all else: a third of the tellings says as much.
            let is_followed = seed.is_multiple_of(3);
            let told = self.tell(&services, &events, &telling, &story, is_followed);
            let outcome = Box::pin(told).await;
            self.is_expected(expected, &story).await;
            same(&outcome, &reference, &story);
        }
    }

    /// Everything that Stripe has to tell, oldest first.
    async fn events(&self) -> Vec<Vec<u8>> {
        let mut events: Vec<Vec<u8>> = Vec::new();
        let mut after = String::new();
        loop {
            let page = self
                .sandbox
                .stripe(&format!("/v1/events?limit=100{after}"))
                .await;
            let data = page["data"].as_array().expect("a list");
            events.extend(data.iter().map(|event| event.to_string().into_bytes()));
            match data.last().filter(|_| page["has_more"] == true) {
                Some(last) => {
                    after = format!("&starting_after={}", last["id"].as_str().expect("an id"));
                }
                None => break,
            }
        }
        events.reverse();
        events
    }

    /// Tells the story once, from the beginning; returns where the rows have ended.
    async fn tell(
        &self,
        services: &Services,
        events: &[Vec<u8>],
        telling: &Telling,
        story: &str,
        is_followed: bool,
    ) -> Value {
        self.restore().await;
        // A replica looks for what was lost as soon as it starts: it shall not know the end of the story.
        let never = "INSERT INTO cursors VALUES ('events', '2100-01-01T00:00:00Z', now())";
        self.execute(never).await;
        let billing = Billing::start(&PLANS).await;
        let followers = if is_followed {
            billing.named("mosaic", "from = \"snapshot\"\n")
        } else {
            String::new()
        };
        let followers = File::new("followers.toml", &followers);
        let mut replicas = [
            self.telling_replica(&followers).await,
            self.telling_replica(&followers).await,
        ];
        if is_followed {
            self.follower_is("state = 'following'", story).await;
        }
        self.arrive(&replicas, events, &telling.early).await;
        self.worker_is_done(story).await;
        self.execute("DELETE FROM cursors").await;
        let stop = CancellationToken::new();
        let walk = services.events.reconcile_events(&stop, |_, _| {});
        walk.await
            .unwrap_or_else(|error| panic!("{story}: reconciling: {error}"));
        self.worker_is_done(story).await;
        self.is_a_chain(story).await;
        let before = self.outcome().await;
        self.arrive(&replicas, events, &telling.late).await;
        self.worker_is_done(story).await;
        same(&self.outcome().await, &before, &format!("{story}, late"));
        if is_followed {
            self.followers_know_all(&billing, services, story).await;
        }
        for replica in &mut replicas {
            replica.stop().await;
        }
        before
    }

    /// Mosaic Billing has been told everything, and holds what the rows say.
    async fn followers_know_all(&self, billing: &Billing, services: &Services, story: &str) {
        self.follower_is("f.position >= (SELECT position FROM feed_head)", story)
            .await;
        let parked: Vec<String> = sqlx::query_scalar("SELECT last_error FROM followers_parked")
            .fetch_all(&self.pool)
            .await
            .expect("the table is there");
        assert_eq!(parked, [""; 0], "{story}");
        billing
            .assert_in_step(services, &self.pool, &PLANS, story)
            .await;
    }

    /// Waits until the follower is so.
    async fn follower_is(&self, so: &str, story: &str) {
        let asked = format!("SELECT count(*) FROM followers f WHERE {so}");
        let waiting = async {
            loop {
                let count: i64 = sqlx::query_scalar(AssertSqlSafe(asked.clone()))
                    .fetch_one(&self.pool)
                    .await
                    .expect("the table is there");
                if count == 1 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(done.is_ok(), "{story}: the follower is never so: {so}");
    }

    async fn execute(&self, statement: &'static str) {
        let done = sqlx::query(statement).execute(&self.pool).await;
        done.expect("the statement is good");
    }

    async fn empty(&self) {
        let all = TABLES.join(", ");
        let truncate = format!("TRUNCATE {all} RESTART IDENTITY");
        sqlx::query(AssertSqlSafe(truncate))
            .execute(&self.pool)
            .await
            .expect("the tables are emptied");
    }

    async fn restore(&self) {
        self.empty().await;
        self.execute("TRUNCATE followers CASCADE").await;
        for (table, rows) in TABLES.iter().zip(&self.rows) {
            let insert = format!(
                "INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1)"
            );
            sqlx::query(AssertSqlSafe(insert))
                .bind(rows)
                .execute(&self.pool)
                .await
                .expect("the rows are put back");
        }
        sqlx::query("SELECT setval(pg_get_serial_sequence('status_changes', 'seq'), 1 + count(*)) FROM status_changes")
            .execute(&self.pool)
            .await
            .expect("history goes on");
    }

    /// Lets things arrive, some at a time; each must be answered.
    async fn arrive(
        &self,
        replicas: &[Replica],
        events: &[Vec<u8>],
        arrivals: &[(usize, Arrival)],
    ) {
        for some in arrivals.chunks(AT_ONCE) {
            let calls = some.iter().map(|(to, arrival)| -> Call {
                let replica = &replicas[*to];
                match arrival {
                    Arrival::Event(event) => replica.webhook(&events[*event]),
                    Arrival::Return(buyer) => replica.request(Method::GET, &self.returns[*buyer]),
                }
            });
            for (answer, (_, arrival)) in at_once(calls).await.into_iter().zip(some) {
                let status = match arrival {
                    Arrival::Event(_) => 200,
                    Arrival::Return(_) => 303,
                };
                answer.assert_status(status);
            }
        }
    }

    async fn worker_is_done(&self, story: &str) {
        let waiting = async {
            while self
                .count("SELECT count(*) FROM webhook_events WHERE state = 'deferred'")
                .await
                > 0
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(done.is_ok(), "{story}: events stay deferred");
        let stuck = "SELECT concat(type, ': ', last_error) FROM webhook_events
                      WHERE state = 'failed' OR state = 'flagged' AND last_error <> ALL ($1)";
        let stuck: Vec<String> = sqlx::query_scalar(stuck)
            .bind(&self.flags)
            .fetch_all(&self.pool)
            .await
            .expect("the events are there");
        assert!(stuck.is_empty(), "{story}: {stuck:#?}");
    }

    async fn outcome(&self) -> Value {
        sqlx::query_scalar(OUTCOME)
            .fetch_one(&self.pool)
            .await
            .expect("the rows")
    }

    /// Every history is a chain: each `from` is the `to` before it, and the last `to` is the row's status.
    async fn is_a_chain(&self, story: &str) {
        let broken = "
            WITH links AS (
                SELECT subscription_id, from_status, to_status,
                       lag(to_status) OVER (PARTITION BY subscription_id ORDER BY seq) AS before,
                       lead(seq) OVER (PARTITION BY subscription_id ORDER BY seq) IS NULL AS last
                  FROM status_changes)
            SELECT count(*) FROM links JOIN subscriptions s ON s.id = subscription_id
             WHERE from_status IS DISTINCT FROM before OR last AND to_status <> status";
        assert_eq!(
            self.count(broken).await,
            0,
            "{story}: a history is no chain"
        );
        let without = "SELECT count(*) FROM subscriptions s
                        WHERE NOT EXISTS (SELECT FROM status_changes c WHERE c.subscription_id = s.id)";
        assert_eq!(self.count(without).await, 0, "{story}: a history is lost");
    }

    async fn is_expected(&self, expected: &[Expected], story: &str) {
        for Expected {
            line,
            status,
            money,
        } in expected
        {
            let row: (String, String) = sqlx::query_as(
                "SELECT status, status_reason FROM subscriptions WHERE id = $1::uuid",
            )
            .bind(line)
            .fetch_one(&self.pool)
            .await
            .expect("the row");
            assert_eq!((row.0.as_str(), row.1.as_str()), *status, "{story}: {line}");
            for kind in ["payment", "payment_failed", "refund", "dispute"] {
                let count: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM transactions WHERE subscription_id = $1::uuid AND kind = $2",
                )
                .bind(line)
                .bind(kind)
                .fetch_one(&self.pool)
                .await
                .expect("a count");
                let wanted = money.get(kind).copied().unwrap_or(0);
                assert_eq!(count, wanted, "{story}: {kind} of {line} {status:?}");
            }
        }
        let lines = i64::try_from(expected.len()).expect("few");
        assert_eq!(
            self.count("SELECT count(*) FROM subscriptions").await,
            lines
        );
    }

    /// Stripe's own words against the rows: states and dates of subscriptions, and one row for each paid invoice.
    async fn is_what_stripe_says(&self) {
        let rows: Vec<(String, Value)> = sqlx::query_as(
            "SELECT stripe_subscription_id, jsonb_build_object('status', stripe_status,
                    'cancel_at', extract(epoch FROM cancel_at)::bigint, 'cancel_at_period_end', cancel_at_period_end,
                    'ended_at', extract(epoch FROM ended_at)::bigint,
                    'until', extract(epoch FROM current_period_end)::bigint,
                    'payments', (SELECT jsonb_agg(stripe_reference ORDER BY stripe_reference) FROM transactions
                                  WHERE subscription_id = s.id AND kind = 'payment'))
               FROM subscriptions s WHERE stripe_subscription_id IS NOT NULL",
        )
        .fetch_all(&self.pool)
        .await
        .expect("the rows");
        for (id, ours) in rows {
            let theirs = self
                .sandbox
                .stripe(&format!("/v1/subscriptions/{id}"))
                .await;
            for name in ["status", "cancel_at", "cancel_at_period_end", "ended_at"] {
                assert_eq!(ours[name], theirs[name], "{id} {name}");
            }
            assert_eq!(
                ours["until"], theirs["items"]["data"][0]["current_period_end"],
                "{id}"
            );
            let path = format!("/v1/invoices?subscription={id}&status=paid&limit=100");
            let invoices = self.sandbox.stripe(&path).await;
            let paid = invoices["data"].as_array().expect("a list").iter();
            let mut paid: Vec<&str> = paid.filter_map(|invoice| invoice["id"].as_str()).collect();
            paid.sort_unstable();
            let payments = match &ours["payments"] {
                Value::Null => json!([]),
                payments => payments.clone(),
            };
            assert_eq!(payments, json!(paid), "{id}");
        }
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .expect("a count")
    }
}

/// Fails and names the rows that differ.
#[track_caller]
fn same(outcome: &Value, reference: &Value, story: &str) {
    for table in ["checkouts", "subscriptions", "transactions"] {
        let rows = |value: &Value| value[table].as_array().cloned().unwrap_or_default();
        let (ours, theirs) = (rows(outcome), rows(reference));
        let only = |these: &[Value], those: &[Value]| -> Vec<Value> {
            let missing = these.iter().filter(|row| !those.contains(row));
            missing.cloned().collect()
        };
        let (new, gone) = (only(&ours, &theirs), only(&theirs, &ours));
        assert!(
            new.is_empty() && gone.is_empty(),
            "{story}: {table} differ\nthis time: {new:#?}\notherwise: {gone:#?}"
        );
        assert_eq!(ours.len(), theirs.len(), "{story}: {table}");
    }
}
