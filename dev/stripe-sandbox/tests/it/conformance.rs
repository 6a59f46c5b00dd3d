//! `spec/conformance.py` holds journals against the description: it takes ours, and refuses what is broken.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use stripe_sandbox::Options;

use crate::bench::{Bench, temporary, text};

/// Whether it is content, and what it says.
fn check(journals: &[&Path]) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/conformance.py");
    let output = Command::new("python3")
        .arg(script)
        .args(journals)
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.stderr.is_empty(),
        "{said}\n{}",
        text_of(&output.stderr)
    );
    (output.status.success(), said)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(records: &[Value]) -> PathBuf {
    let path = temporary("journal.jsonl");
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// What a sandbox wrote while someone subscribed and asked for what came of it.
async fn journal_of_a_purchase() -> Vec<Value> {
    let path = temporary("journal.jsonl");
    let bench = Bench::with(Options {
        journal: Some(path.clone()),
        ..Options::default()
    })
    .await;
    let (subscription, customer) = bench.subscribe("annual", "4242424242424242").await;
    let list = format!("/v1/invoices?customer={customer}&expand[]=data.payments&created[gte]=1");
    bench.get(&list).await.ok();
    let one = format!("/v1/subscriptions/{subscription}?expand[]=latest_invoice.payments");
    bench.get(&one).await.ok();
    let change = "metadata[note]=x&cancel_at_period_end=true";
    let path_of_it = format!("/v1/subscriptions/{subscription}");
    bench.post(&path_of_it, change).await.ok();
    bench.sandbox.stop().await;
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let lines = written.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn the_journal_of_a_purchase_conforms() {
    let path = write(&journal_of_a_purchase().await);
    let (content, said) = check(&[&path]);
    assert!(content, "{said}");
    assert!(said.contains(", 0 findings"), "{said}");
    std::fs::remove_file(path).unwrap();
}

/// A way to break a record, and what must be said of it.
type Breakage = (&'static str, fn(&mut Value), &'static str);

const OF_CALLS: &[Breakage] = &[
    (
        "/v1/checkout/sessions",
        |record| append(record, "body", "&sucess_url=x"),
        "sucess_url: there is no such parameter",
    ),
    (
        "/v1/checkout/sessions",
        |record| append(record, "body", "&ui_mode=hostde"),
        "ui_mode: 'hostde' is none of its values",
    ),
    (
        "/v1/checkout/sessions",
        |record| append(record, "body", "&expires_at=soon"),
        "expires_at: 'soon' is not of its type",
    ),
    (
        "/v1/checkout/sessions",
        |record| append(record, "body", "&mode[a]=x"),
        "mode[a]: is given both as a value and as a hash",
    ),
    (
        "/v1/checkout/sessions",
        |record| append(record, "body", "&metadata[a]=%zz"),
        "metadata[a]: is badly encoded",
    ),
    (
        "/v1/checkout/sessions",
        |record| record["body"] = json!("customer=cus_1"),
        "mode: is required and missing",
    ),
    (
        "/v1/checkout/sessions",
        |record| record["response"]["expiers_at"] = json!(1),
        "$.expiers_at: checkout.session has no such key",
    ),
    (
        "/v1/checkout/sessions",
        |record| record["response"]["status"] = json!("opne"),
        "$.status: \"opne\" is none of its values",
    ),
    (
        "/v1/checkout/sessions",
        |record| record["response"]["created"] = json!(1_700_000_000_000_i64),
        "$.created: 1700000000000 is not of its type",
    ),
    (
        "/v1/checkout/sessions",
        |record| record["response"]["livemode"] = Value::Null,
        "$.livemode: null is not of its type",
    ),
    (
        "/v1/checkout/sessions",
        |record| remove(&mut record["response"], "payment_status"),
        "$.payment_status: checkout.session lacks this key",
    ),
    (
        "/v1/checkout/sessions",
        |record| record["path"] = json!("/v1/checkout/sesions"),
        "the description has no such operation",
    ),
    (
        "/v1/checkout/sessions",
        |record| record["status"] = json!(400),
        "$.error: error lacks this key",
    ),
    (
        "/v1/invoices",
        |record| append(record, "query", "&expand[]=data.pyaments"),
        "expand: data.pyaments cannot be expanded",
    ),
    (
        "/v1/invoices",
        |record| append(record, "query", "&expand[]=data.a.b.c.d"),
        "expand: data.a.b.c.d is deeper than 4",
    ),
    (
        "/v1/invoices",
        |record| append(record, "query", "&created[gt]=x"),
        "created[gt]: 'x' is not of its type",
    ),
    (
        "/v1/invoices",
        |record| record["response"]["data"][0]["payments"]["data"][0]["paymnet"] = json!({}),
        "$.data[0].payments.data[0].paymnet: ",
    ),
    (
        "/v1/invoices",
        |record| record["kind"] = json!("call"),
        "is no record of a call or an event",
    ),
];

const OF_EVENTS: &[Breakage] = &[
    (
        "customer.subscription.updated",
        |record| record["body"]["type"] = json!("customer.subscription.changed"),
        "$.type: ",
    ),
    (
        "customer.subscription.updated",
        |record| record["body"]["data"]["object"]["itmes"] = json!([]),
        "$.data.object.itmes: ",
    ),
    (
        "customer.subscription.updated",
        |record| record["body"]["data"]["previous_attributes"]["canceld_at"] = Value::Null,
        "subscription has no key 'canceld_at'",
    ),
    (
        "customer.subscription.updated",
        |record| record["body"]["data"]["object"]["metadata"]["x".repeat(41)] = json!("x"),
        "is too long or has brackets",
    ),
];

fn append(record: &mut Value, key: &str, more: &str) {
    record[key] = json!(text(&record[key]) + more);
}

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key).unwrap();
}

#[tokio::test]
async fn every_broken_record_is_refused_with_its_place() {
    let records = journal_of_a_purchase().await;
    let of_call = |path: &str| records.iter().find(|record| record["path"] == path);
    let of_event = |kind: &str| records.iter().find(|record| record["body"]["type"] == kind);
    let broken: Vec<(Value, &str)> = OF_CALLS
        .iter()
        .map(|breakage| (breakage, of_call(breakage.0)))
        .chain(
            OF_EVENTS
                .iter()
                .map(|breakage| (breakage, of_event(breakage.0))),
        )
        .map(|((name, damage, wanted), record)| {
            let mut record = record.unwrap_or_else(|| panic!("no {name}")).clone();
            damage(&mut record);
            (record, *wanted)
        })
        .collect();
    let path = write(
        &broken
            .iter()
            .map(|(record, _)| record.clone())
            .collect::<Vec<_>>(),
    );
    let (content, said) = check(&[&path]);
    assert!(!content, "{said}");
    for (at, (_, wanted)) in broken.iter().enumerate() {
        let place = format!("{}:{} ", path.display(), at + 1);
        let found: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with(&place))
            .collect();
        assert!(
            found.iter().any(|line| line.contains(wanted)),
            "line {}: wanted {wanted}, got {found:?}",
            at + 1
        );
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_journal_without_records_proves_nothing() {
    let path = write(&[]);
    let (content, said) = check(&[&path]);
    assert!(!content && said.starts_with("0 records"), "{said}");
    std::fs::write(&path, "not JSON\n").unwrap();
    let (content, said) = check(&[&path]);
    assert!(!content && said.contains("is no JSON"), "{said}");
    std::fs::remove_file(path).unwrap();
}
