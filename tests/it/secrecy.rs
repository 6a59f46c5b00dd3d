//! Other people's values, in our log and in our rows: whatever Stripe, a member or a stranger sends, none of it is kept.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::harness::lifecycle::text;
use crate::harness::program::program;
use crate::harness::replica::{settings, signature};
use crate::harness::{Call, TestSandbox, client, migrated_database, usual_variables};

/// As the sandbox writes them where it was told to give wrong types.
const PERSONAL: &str = "ada@example.org, +49 170 1234567, 4242 4242 4242 4242";
/// None of these may be found in what the service wrote down.
const MARKS: [&str; 7] = [
    "@",
    "170 1234567",
    "4242 4242",
    "+49",
    "ada%40",
    NAME,
    "%22Augusta",
];
/// What somebody is called.
const NAME: &str = "Augusta Byron";

/// Puts a text with personal data wherever a number stands, one at a time.
fn confused(event: &Value) -> Vec<Value> {
    fn places(value: &Value, here: &str, found: &mut Vec<String>) {
        match value {
            Value::Number(_) => found.push(here.to_owned()),
            Value::Object(fields) => fields
                .iter()
                .for_each(|(name, value)| places(value, &format!("{here}/{name}"), found)),
            Value::Array(values) => values
                .iter()
                .enumerate()
                .for_each(|(at, value)| places(value, &format!("{here}/{at}"), found)),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    places(event, "", &mut found);
    let confuse = |place: &String| {
        let mut event = event.clone();
        if let Some(number) = event.pointer_mut(place) {
            *number = PERSONAL.into();
        }
        event
    };
    found.iter().map(confuse).collect()
}

/// The program in a process of its own, with a sandbox.
struct Running {
    address: SocketAddr,
    client: reqwest::Client,
    sandbox: TestSandbox,
    token: String,
    staff: String,
    process: Child,
    log: JoinHandle<String>,
}

impl Running {
    async fn start(database: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = port.local_addr().expect("a bound port has an address");
        drop(port);
        let sandbox = TestSandbox::start(address).await;
        let mut variables = usual_variables(database, address, sandbox.url());
        for (name, value) in [
            ("DUES_ENV", "development".to_owned()),
            ("DUES__HTTP__LISTEN", address.to_string()),
            ("DUES__STRIPE__MAX_RETRIES", "0".to_owned()),
            ("DUES__STRIPE__SEND_EMAIL", "true".to_owned()),
            ("DUES__LOG__LEVEL", "debug".to_owned()),
        ] {
            variables.insert(name.to_owned(), value);
        }
        let mut process = program(&["serve"], &variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut written = process.stdout.take().expect("piped");
        let mut complained = process.stderr.take().expect("piped");
        let log = tokio::spawn(async move {
            let mut text = String::new();
            written.read_to_string(&mut text).await.expect("text");
            complained.read_to_string(&mut text).await.expect("text");
            text
        });
        let settings = settings(database, address, sandbox.url(), &variables);
        let clock = dues::app::machine_clock();
        let life = Duration::from_hours(1);
        let token = dues::auth::mint_development_token(&settings, &clock, "alice", &[], life);
        let roles = ["dues:support".to_owned()];
        let staff = dues::auth::mint_development_token(&settings, &clock, "sue", &roles, life);
        let running = Self {
            address,
            client: client(),
            sandbox,
            token: token.expect("tests run in development"),
            staff: staff.expect("tests run in development"),
            process,
            log,
        };
        let answers = async {
            let address = format!("http://{address}/healthz");
            while running.client.get(&address).send().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, answers)
            .await
            .expect("it starts");
        running
    }

    fn call(&self, method: Method, path: &str) -> Call {
        Call::new(
            &self.client,
            method,
            &format!("http://{}{path}", self.address),
        )
    }

    fn buy(&self, body: Value) -> Call {
        let call = self.call(Method::POST, "/v1/subscriptions");
        call.bearer(&self.token).json(body)
    }

    /// What a member, and what anybody, may write.
    async fn people_write(&self) {
        for body in [
            json!({"plan": PERSONAL}),
            json!({"plan": "share", "locale": PERSONAL}),
            json!({"plan": "share", "currency": PERSONAL, PERSONAL: 1}),
            json!({"lines": [{"plan": "share", "quantity": PERSONAL}]}),
        ] {
            assert!(self.buy(body).send().await.status.is_client_error());
        }
        for path in [
            "/v1/plans?locale=ada%40example.org",
            "/v1/subscriptions?cursor=ada%40example.org",
            "/v1/subscriptions/ada%40example.org",
            "/checkout/success?session_id=ada%40example.org",
            "/ada%40example.org",
        ] {
            for token in [self.token.as_str(), "ada@example.org"] {
                self.call(Method::GET, path).bearer(token).send().await;
            }
        }
    }

    /// What operators look for, and what they are shown.
    async fn operators_look(&self) {
        for q in [
            PERSONAL,
            "ada@example.org",
            "Ada@Example.org",
            "+49 170 1234567",
            "4242 4242 4242 4242",
            NAME,
            "https://example.org/members/ada@example.org",
        ] {
            let call = self.call(Method::POST, "/v1/operator/search");
            let call = call.bearer(&self.staff).json(json!({ "q": q }));
            call.send().await.assert_status(200);
        }
        for q in [json!(1), json!(format!("{PERSONAL}{}", "x".repeat(200)))] {
            let call = self.call(Method::POST, "/v1/operator/search");
            let call = call.bearer(&self.staff).json(json!({ "q": q }));
            call.send().await.assert_status(422);
        }
        let call = self.call(Method::POST, "/v1/operator/members/alice/reveal");
        call.bearer(&self.staff).send().await.assert_status(200);
        for path in [
            "/v1/operator/members/ada%40example.org",
            "/v1/operator/subscriptions?plan=ada%40example.org",
            "/v1/operator/events?object=ada%40example.org",
            "/v1/operator/events/ada%40example.org",
        ] {
            let call = self.call(Method::GET, path).bearer(&self.staff);
            call.send().await;
        }
    }

    /// Sells alice a membership; its id.
    async fn sell(&self) -> String {
        let opened = self
            .buy(json!({"plan": "membership-monthly"}))
            .send()
            .await
            .assert_status(201);
        let sessions = self.sandbox.stripe("/v1/checkout/sessions").await;
        let pay = format!(
            "/_sandbox/checkout/{}/pay",
            text(&sessions["data"][0]["id"])
        );
        self.sandbox
            .post(&pay, json!({"card": "4242424242424242"}))
            .await;
        self.sandbox
            .post("/_sandbox/deliveries/settle", json!({"timeout_ms": 10_000}))
            .await;
        text(&opened.json()["subscriptions"][0]["id"])
    }

    async fn stripe_is_confused(&self, whether: bool) {
        if whether {
            let fault = json!({"kind": "wrong_types", "times": 10_000});
            self.sandbox.post("/_sandbox/faults", fault).await;
        } else {
            let call = self.sandbox.request(Method::DELETE, "/_sandbox/faults");
            call.send().await.assert_status(200);
        }
    }

    /// What Stripe answers, read by each use case.
    async fn use_cases_read(&self, id: &str) {
        for (path, body) in [
            ("/v1/subscriptions".to_owned(), json!({"plan": "share"})),
            (format!("/v1/subscriptions/{id}/cancel"), json!({})),
            (
                format!("/v1/subscriptions/{id}/change"),
                json!({"plan": "membership-annual"}),
            ),
            ("/v1/portal-sessions".to_owned(), json!({})),
        ] {
            let call = self.call(Method::POST, &path).bearer(&self.token);
            call.json(body).send().await;
        }
        for path in [
            &format!("/v1/subscriptions/{id}/open-invoices"),
            "/v1/statement",
        ] {
            let call = self.call(Method::GET, path).bearer(&self.token);
            call.send().await;
        }
    }

    /// What webhooks say, with each of their numbers in turn.
    async fn webhooks_say(&self, events: &Value) {
        for event in events["data"].as_array().expect("a list") {
            for mut event in confused(event) {
                event["id"] = format!("evt_{:016x}", fastrand::u64(..)).into();
                let body = event.to_string().into_bytes();
                let signature = signature(&body);
                let call = self.call(Method::POST, "/webhooks/stripe");
                let call = call.header("stripe-signature", signature);
                call.body(body).send().await;
            }
        }
    }

    /// Ends it; everything that it has logged.
    async fn stop(mut self) -> String {
        let number = self.process.id().expect("it runs").to_string();
        let kill = Command::new("kill").arg(&number).status().await;
        assert!(kill.expect("kill is there").success());
        self.process.wait().await.expect("it ends");
        self.log.await.expect("the log")
    }
}

fn holds_nothing_personal(what: &str, text: &str) {
    for mark in MARKS {
        assert!(!text.contains(mark), "{mark:?} in {what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_run_of_all_flows_writes_holds_a_mail_address_a_phone_number_or_a_card() {
    let database = migrated_database().await;
    let running = Running::start(database.url()).await;
    running.people_write().await;
    let id = running.sell().await;
    running.operators_look().await;
    let events = running.sandbox.stripe("/v1/events?limit=100").await;
    running.stripe_is_confused(true).await;
    running.use_cases_read(&id).await;
    running.webhooks_say(&events).await;
    running.stripe_is_confused(false).await;
    let pool = sqlx::PgPool::connect(database.url())
        .await
        .expect("the database");
    for table in [
        "subscriptions",
        "checkouts",
        "transactions",
        "webhook_events",
        "status_changes",
        "customers",
        "cursors",
        "actions",
        "action_log",
    ] {
        let rows = format!("SELECT coalesce(jsonb_agg(t), '[]')::text FROM {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
            .fetch_one(&pool)
            .await
            .expect("the rows");
        holds_nothing_personal(table, &rows);
    }
    let log = running.stop().await;
    assert!(log.contains("can't be read"), "{log}");
    for line in log.lines() {
        holds_nothing_personal("the log", line);
    }
}
