//! How often the database is asked: counted on the wire between the service and a real Postgres.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use crate::harness::TestApp;
use crate::harness::purchase::GOOD_CARD;
use crate::harness::replica::Replica;

/// A wire to a Postgres, and the beginnings of what was asked through it: a text each round trip.
struct Wire {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    /// Lays a wire to the server that listens on a Unix socket.
    async fn to(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).expect("a good URL");
        let directory = options.get_socket().expect("a Unix socket").clone();
        let socket = directory.join(format!(".s.PGSQL.{}", options.get_port()));
        let (user, database) = (options.get_username(), options.get_database());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let wire = Self {
            url: format!(
                "postgres://{user}@127.0.0.1:{port}/{}?sslmode=disable",
                database.expect("a database")
            ),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&wire.asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("the server");
                let (questions, answers) = (client.into_split(), server.into_split());
                let asked = Arc::clone(&asked);
                tokio::spawn(async move {
                    // A connection that ends ends its wire.
                    let _ended = forward(questions.0, answers.1, &asked).await;
                });
                tokio::spawn(async move {
                    let (mut from, mut to) = (answers.0, questions.1);
                    let _ended = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        wire
    }

    /// What was asked since the last look, but for what each connection does once: to get ready, to prepare a
    /// statement, and, after a pause, to see whether it is alive.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().expect("nobody panicked");
        let asked = std::mem::take(&mut *asked).into_iter();
        asked
            .filter(|text| {
                let once = ["prepare ", "SET "];
                !text.is_empty() && !once.iter().any(|beginning| text.starts_with(beginning))
            })
            .collect()
    }
}

/// Passes the client's messages on, and notes each after which it waits for an answer: a Sync of the extended protocol
/// or a simple Query (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    // The first message has no type.
    let (length, body) = message(&mut from).await?;
    to.write_all(&length).await?;
    to.write_all(&body).await?;
    let mut names: HashMap<Vec<u8>, String> = HashMap::new();
    let mut doing = String::new();
    loop {
        let kind = from.read_u8().await?;
        let (length, body) = message(&mut from).await?;
        let mut texts = body.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        let mut next = || texts.next().unwrap_or_default();
        match kind {
            // Parse: a statement's name, and its text.
            b'P' => {
                let name = next();
                let text = String::from_utf8_lossy(&next()).into_owned();
                doing = format!("prepare {text}");
                names.insert(name, text);
            }
            // Bind: a portal's name, and the statement's.
            b'B' => {
                next();
                doing = names.get(&next()).cloned().unwrap_or_default();
            }
            b'Q' => {
                let text = String::from_utf8_lossy(&next()).into_owned();
                asked.lock().expect("nobody panicked").push(text);
            }
            b'S' => {
                let text = std::mem::take(&mut doing);
                asked.lock().expect("nobody panicked").push(text);
            }
            _ => {}
        }
        // Only now: what was asked is noted before anybody can answer.
        to.write_u8(kind).await?;
        to.write_all(&length).await?;
        to.write_all(&body).await?;
        to.flush().await?;
    }
}

/// A message's length as it was sent, and its body.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<([u8; 4], Vec<u8>)> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let count = usize::try_from(u32::from_be_bytes(length)).unwrap_or(4);
    let mut body = vec![0; count.saturating_sub(4)];
    from.read_exact(&mut body).await?;
    Ok((length, body))
}

/// What a service asks when it starts: whether its tables are there, and what each job of its upkeep asks to find nothing.
const FIRST_LOOK: usize = 22;

/// A second service beside the usual one, on a wire; its upkeep has looked once and won't for an hour.
async fn on_a_wire(app: &TestApp) -> (Replica, Wire) {
    // Else it would look for what was lost as soon as it starts, and find it.
    sqlx::query(
        "INSERT INTO cursors VALUES ('events', '2100-01-01T00:00:00Z', now())
          ON CONFLICT (name) DO UPDATE SET position = excluded.position",
    )
    .execute(&app.pool)
    .await
    .expect("the walk gets a place");
    let wire = Wire::to(app.settings.database.url.expose()).await;
    let settings = [
        ("DUES__DATABASE__MAX_CONNECTIONS", "2"),
        ("DUES__WORKER__INTERVAL_MS", "3600000"),
        ("DUES__WORKER__RECONCILE_INTERVAL_SECONDS", "3600"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let replica = Replica::start(&wire.url, app.sandbox.url(), &HashMap::from(settings)).await;
    let mut asked = Vec::new();
    app.until("the upkeep has looked once", async || {
        asked.extend(wire.asked());
        (asked.len() >= FIRST_LOOK).then_some(())
    })
    .await;
    assert_eq!(asked.len(), FIRST_LOOK, "\n{}", told(&asked));
    (replica, wire)
}

fn told(asked: &[String]) -> String {
    let beginnings = asked.iter().map(|text| {
        let words: Vec<&str> = text.split_whitespace().take(12).collect();
        format!("  {}", words.join(" "))
    });
    beginnings.collect::<Vec<_>>().join("\n")
}

async fn buy(replica: &Replica, member: &str, plan: &str) {
    let order = replica.request(Method::POST, "/v1/subscriptions");
    let order = order.bearer(&replica.member(member));
    let order = order.json(json!({ "lines": [{ "plan": plan }, { "plan": "share" }] }));
    order.send().await.assert_status(201);
}

#[tokio::test]
async fn a_purchase_is_five_round_trips_and_a_new_members_first_one_more() {
    let app = TestApp::start().await;
    let (replica, wire) = on_a_wire(&app).await;
    // The connection prepares its statements once.
    buy(&replica, "somebody", "membership-annual").await;
    wire.asked();
    buy(&replica, "alice", "membership-annual").await;
    let first = wire.asked();
    assert_eq!(first.len(), 6, "\n{}", told(&first));
    buy(&replica, "alice", "credits-50").await;
    let again = wire.asked();
    assert_eq!(again.len(), 5, "\n{}", told(&again));
}

#[tokio::test]
async fn a_webhook_is_one_read_and_one_write() {
    let app = TestApp::start().await;
    app.hold_deliveries().await;
    let mut events = Vec::new();
    for member in ["alice", "bob"] {
        let token = app.member(member);
        let purchase = app.open(&token, "membership-annual").await;
        app.pay(&purchase).await;
    }
    for kind in ["checkout.session.completed", "invoice.paid"] {
        events.extend(app.events_of(kind).await);
    }
    let (replica, wire) = on_a_wire(&app).await;
    let [first, rest @ ..] = events.as_slice() else {
        panic!("there are events");
    };
    let deliver = async |event: &serde_json::Value| {
        let body = event.to_string().into_bytes();
        replica.webhook(&body).send().await.assert_status(200);
    };
    deliver(first).await;
    wire.asked();
    for event in rest {
        deliver(event).await;
        let asked = wire.asked();
        assert_eq!(asked.len(), 2, "\n{}", told(&asked));
    }
    // One that was seen before is read alone.
    deliver(first).await;
    assert_eq!(wire.asked().len(), 1);
    // And what is none of ours, too.
    let mut foreign = events[0].clone();
    foreign["id"] = json!("evt_foreign");
    for key in ["id", "customer", "client_reference_id", "subscription"] {
        foreign["data"]["object"][key] = json!("other");
    }
    foreign["data"]["object"]["metadata"] = json!({});
    deliver(&foreign).await;
    assert_eq!(wire.asked().len(), 1);
}

#[tokio::test]
async fn what_an_operator_looks_at_is_one_round_trip_or_two() {
    let app = TestApp::start().await;
    app.first_walk_is_over().await;
    let bought = app.sell("membership-annual", GOOD_CARD).await;
    let (replica, wire) = on_a_wire(&app).await;
    let token = app.staff("boss", &["operator"]);
    let subscription = &bought.subscription;
    let search = async |q: &str| {
        let call = replica.request(Method::POST, "/v1/operator/search");
        call.bearer(&token).json(json!({ "q": q })).send().await
    };
    let look = async |path: &str| {
        let call = replica.request(Method::GET, &format!("/v1/operator/{path}"));
        call.bearer(&token).send().await
    };
    // Counted once, where nobody has yet.
    look("today").await.assert_status(200);
    wire.asked();
    for (path, trips) in [
        ("today".to_owned(), 1),
        ("subscriptions".to_owned(), 1),
        ("subscriptions?kind=membership&status=ACTIVE".to_owned(), 1),
        (format!("subscriptions/{subscription}"), 1),
        ("members/alice".to_owned(), 2),
        ("events".to_owned(), 2),
        ("parked".to_owned(), 1),
    ] {
        look(&path).await.assert_status(200);
        let asked = wire.asked();
        assert_eq!(asked.len(), trips, "{path}\n{}", told(&asked));
    }
    for q in [subscription.as_str(), &bought.session, "alice"] {
        search(q).await.assert_status(200);
        let asked = wire.asked();
        assert_eq!(asked.len(), 1, "{q}\n{}", told(&asked));
    }
}
