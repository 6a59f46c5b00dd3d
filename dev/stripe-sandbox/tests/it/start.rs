//! Starting and stopping.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use stripe_sandbox::{Options, Sandbox, StartError};

use crate::bench::Bench;

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!(
        "stripe-sandbox-{}-{}-{name}",
        std::process::id(),
        fastrand::u64(..)
    ))
}

async fn refusal(options: Options) -> String {
    match Sandbox::start(options).await {
        Ok(_) => panic!("started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn other_machines_are_kept_out_unless_allowed() {
    let listen: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = refusal(Options {
        listen,
        ..Options::default()
    })
    .await;
    assert!(refused.contains("loopback only"), "{refused}");
    let allowed = Sandbox::start(Options {
        listen,
        allow_remote: true,
        ..Options::default()
    })
    .await
    .unwrap();
    allowed.stop().await;
}

#[tokio::test]
async fn live_keys_and_broken_files_stop_the_start() {
    let refused = refusal(Options {
        secret_key: "sk_live_x".into(),
        ..Options::default()
    })
    .await;
    assert!(refused.contains("live keys"));
    let path = temporary("broken.toml");
    for (text, reason) in [
        ("product = 5\n[", "catalogue"),
        ("[[plan]]\nname = 'x'", "unknown key 'plan'"),
        (
            "[[product]]\nname = 'x'\n[[product.price]]\ncurrency = 'eur'",
            "unit_amount",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let refused = refusal(Options {
            catalogue: Some(path.clone()),
            ..Options::default()
        })
        .await;
        assert!(refused.contains(reason), "{refused}");
    }
    std::fs::write(&path, "not json").unwrap();
    let result = Sandbox::start(Options {
        state: Some(path.clone()),
        ..Options::default()
    })
    .await;
    assert!(matches!(result, Err(StartError::State(..))));
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn the_state_survives_a_restart() {
    let path = temporary("state.json");
    let options = Options {
        state: Some(path.clone()),
        ..Options::default()
    };
    let bench = Bench::with(options.clone()).await;
    let (subscription, _) = bench.subscribe("monthly", "4242424242424242").await;
    let price = bench.price("monthly").await;
    let open = bench.session("payment", "share", "").await;
    bench
        .control("clock/advance", json!({"seconds": 3_600}))
        .await;
    bench
        .post_with("/v1/customers", "name=A", &[("idempotency-key", "k")])
        .await
        .ok();
    let before = bench.look("clock").await;
    bench.sandbox.stop().await;

    let again = Bench::with(options).await;
    assert_eq!(again.look("clock").await["offset"], before["offset"]);
    assert_eq!(
        again.price("monthly").await,
        price,
        "seeding leaves what is there"
    );
    assert_eq!(
        again.look("objects/price").await.as_array().unwrap().len(),
        4
    );
    let replayed = again
        .post_with("/v1/customers", "name=A", &[("idempotency-key", "k")])
        .await;
    assert_eq!(replayed.header("idempotent-replayed"), "true");
    let open = format!("/v1/checkout/sessions/{}", open["id"].as_str().unwrap());
    let url = again.get(&open).await.ok()["url"].clone();
    assert!(
        url.as_str().unwrap().starts_with(&again.url),
        "links lead to where it is now"
    );
    again.advance_days(32).await;
    let invoices = again
        .get(&format!("/v1/invoices?subscription={subscription}"))
        .await
        .ok();
    assert_eq!(
        invoices["data"].as_array().unwrap().len(),
        2,
        "what was due is still due"
    );
    assert_eq!(invoices["data"][0]["status"], json!("paid"));
    let page = invoices["data"][1]["hosted_invoice_url"].as_str().unwrap();
    assert!(page.starts_with(&again.url), "so do those of invoices");
    again.sandbox.stop().await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn an_empty_sandbox_begins_where_it_is_told_and_a_saved_one_goes_on() {
    let path = temporary("past.json");
    let options = Options {
        state: Some(path.clone()),
        clock_start: Some(1_700_000_000),
        ..Options::default()
    };
    let bench = Bench::with(options.clone()).await;
    let clock = bench.look("clock").await;
    let began = clock["now"].as_i64().unwrap();
    assert!((1_700_000_000..1_700_000_060).contains(&began), "{clock}");
    let product = bench.post("/v1/products", "name=Old").await.ok();
    assert!(product["created"].as_i64().unwrap() >= began);
    assert_eq!(clock["next_due"], json!(null), "nobody has bought anything");
    let session = bench.session("payment", "share", "").await;
    let due = bench.look("clock").await["next_due"].clone();
    assert_eq!(due, session["expires_at"]);
    let today = json!({"seconds": -clock["offset"].as_i64().unwrap()});
    let clock = bench.control("clock/advance", today).await;
    let ahead = clock["offset"].as_i64().unwrap();
    assert!((-1..=0).contains(&ahead), "today is today: {clock}");
    bench.sandbox.stop().await;

    let again = Bench::with(options).await;
    let clock = again.look("clock").await;
    assert_eq!(clock["offset"], ahead, "what is there keeps its time");
    let kinds = again.look("objects/event").await;
    let kinds = kinds.as_array().unwrap().iter();
    assert!(
        kinds
            .clone()
            .all(|event| event["created"].as_i64().unwrap() > began + 30 * 86_400),
        "what the API no longer shows is forgotten"
    );
    again.control("reset", json!({})).await;
    let clock = again.look("clock").await;
    assert!(
        clock["now"].as_i64().unwrap() < 1_700_000_060,
        "a reset begins as the start did: {clock}"
    );
    again.sandbox.stop().await;
    std::fs::remove_file(path).unwrap();
}
