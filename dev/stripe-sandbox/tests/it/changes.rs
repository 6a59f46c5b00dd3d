//! Changes to what a subscription bills, in the middle of a period.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, assert_has, text};

const GOOD: &str = "4242424242424242";
const BAD_LATER: &str = "4000000000000341";

/// A subscription with one item, and how to change it.
struct Plan {
    bench: Bench,
    id: String,
    customer: String,
    item: String,
    start: i64,
    end: i64,
}

impl Plan {
    async fn buy(key: &str, card: &str) -> Self {
        Self::on(Bench::start().await, key, card).await
    }

    async fn on(bench: Bench, key: &str, card: &str) -> Self {
        let (id, customer) = bench.subscribe(key, card).await;
        let bought = bench.get(&format!("/v1/subscriptions/{id}")).await.ok();
        let item = &bought["items"]["data"][0];
        Self {
            item: text(&item["id"]),
            start: item["current_period_start"].as_i64().unwrap(),
            end: item["current_period_end"].as_i64().unwrap(),
            bench,
            id,
            customer,
        }
    }

    /// The moment after this part of the period.
    fn after(&self, part: i64, of: i64) -> i64 {
        self.start + (self.end - self.start) * part / of
    }

    async fn change(&self, what: &str) -> Answer {
        let form = format!("items[0][id]={}&{what}", self.item);
        self.bench
            .post(&format!("/v1/subscriptions/{}", self.id), &form)
            .await
    }

    async fn preview(&self, what: &str) -> Answer {
        let mut form = format!(
            "subscription={}&subscription_details[items][0][id]={}",
            self.id, self.item
        );
        for pair in what.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap();
            let (first, rest) = name.split_once('[').unwrap_or((name, ""));
            let rest = if rest.is_empty() {
                String::new()
            } else {
                format!("[{rest}")
            };
            let _ = write!(form, "&subscription_details[{first}]{rest}={value}");
        }
        self.bench.post("/v1/invoices/create_preview", &form).await
    }

    async fn now(&self) -> Value {
        self.bench
            .get(&format!(
                "/v1/subscriptions/{}?expand[]=latest_invoice",
                self.id
            ))
            .await
            .ok()
    }

    async fn balance(&self) -> i64 {
        let customer = self
            .bench
            .get(&format!("/v1/customers/{}", self.customer))
            .await
            .ok();
        customer["balance"].as_i64().unwrap()
    }
}

fn amounts(invoice: &Value) -> Vec<i64> {
    let lines = invoice["lines"]["data"].as_array().unwrap().iter();
    lines.map(|line| line["amount"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn prorations_wait_for_the_renewal() {
    let plan = Plan::buy("monthly", GOOD).await;
    let seen = plan.bench.events().await.len();
    let form = format!("items[0][quantity]=3&proration_date={}", plan.after(1, 2));
    let changed = plan.change(&form).await.ok();
    assert_eq!(changed["items"]["data"][0]["quantity"], 3);
    assert_eq!(
        plan.bench.types_since(seen).await,
        [
            "invoiceitem.created",
            "invoiceitem.created",
            "customer.subscription.updated"
        ]
    );
    let events = plan.bench.events().await;
    let previous = &events.last().unwrap()["data"]["previous_attributes"];
    assert_eq!(previous["items"]["data"][0]["quantity"], 1);
    assert!(previous.get("latest_invoice").is_none());
    let credit = &events[seen]["data"]["object"];
    assert_eq!(
        (&credit["amount"], &credit["proration"], &credit["invoice"]),
        (&json!(-250), &json!(true), &json!(null))
    );
    plan.bench
        .control("clock/advance", json!({"to": plan.end + 4_000}))
        .await;
    let renewed = plan.now().await;
    let invoice = &renewed["latest_invoice"];
    assert_eq!(amounts(invoice), [-250, 750, 1_500]);
    assert_eq!(
        (&invoice["total"], &invoice["status"]),
        (&json!(2_000), &json!("paid"))
    );
    let parent = &invoice["lines"]["data"][0]["parent"];
    assert_eq!(parent["type"], "subscription_item_details");
    let details = &parent["subscription_item_details"];
    assert_eq!(
        (&details["proration"], &details["subscription_item"]),
        (&json!(true), &json!(plan.item))
    );
    assert!(details["invoice_item"].is_string());
    let credited = &details["proration_details"]["credited_items"];
    assert!(text(&credited["invoice"]).starts_with("in_"));
    // The item that it was before says the same in another shape.
    let item = plan.bench.look("objects/invoiceitem").await[0].clone();
    assert_eq!(
        item["proration_details"]["credited_items"],
        json!({"invoice_item": null, "invoice_line_item_details": credited, "type": "invoice_line_items"})
    );
    let url = format!("{}/v1/invoices/{}", plan.bench.url, text(&invoice["id"]));
    let request = plan.bench.http.get(url).bearer_auth("sk_test_sandbox");
    let request = request.header("stripe-version", "2024-06-20");
    let answer = request.send().await.unwrap().text().await.unwrap();
    let old: Value = serde_json::from_str(&answer).unwrap();
    let line = &old["lines"]["data"][0];
    assert_eq!(
        (&line["proration"], &line["type"]),
        (&json!(true), &json!("invoiceitem"))
    );
}

#[tokio::test]
async fn an_upgrade_is_collected_at_once_when_asked() {
    let plan = Plan::buy("annual", GOOD).await;
    let seen = plan.bench.events().await.len();
    let form = format!(
        "items[0][quantity]=2&proration_behavior=always_invoice&metadata[plan]=double&proration_date={}",
        plan.after(1, 2)
    );
    plan.change(&form).await.ok();
    let changed = plan.now().await;
    let invoice = &changed["latest_invoice"];
    assert_eq!(amounts(invoice), [-1_500, 3_000]);
    assert_eq!(
        invoice["parent"]["subscription_details"]["metadata"],
        json!({"dues_subscription_id": "s1", "plan": "double"})
    );
    for (field, wanted) in [
        ("billing_reason", json!("subscription_update")),
        ("status", json!("paid")),
        ("amount_paid", json!(1_500)),
        ("starting_balance", json!(0)),
        ("ending_balance", json!(0)),
    ] {
        assert_eq!(invoice[field], wanted, "{field}");
    }
    assert_eq!(
        plan.bench.types_since(seen).await,
        [
            "invoiceitem.created",
            "invoiceitem.created",
            "invoice.created",
            "customer.subscription.updated",
            "invoice.finalized",
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "invoice.paid",
            "invoice.payment_succeeded",
            "invoice_payment.paid"
        ]
    );
    assert_eq!(
        changed["items"]["data"][0]["current_period_end"], plan.end,
        "the period stays"
    );
    let events = plan.bench.events().await;
    let updated = events[seen..]
        .iter()
        .find(|event| event["type"] == "customer.subscription.updated")
        .unwrap();
    let previous = updated["data"]["previous_attributes"].as_object().unwrap();
    assert_eq!(
        previous.keys().collect::<Vec<_>>(),
        ["items", "latest_invoice", "metadata"]
    );
}

#[tokio::test]
async fn a_downgrade_is_credit_that_the_renewal_uses() {
    let plan = Plan::buy("annual", GOOD).await;
    let date = plan.after(1, 2);
    plan.change("items[0][quantity]=2&proration_behavior=none")
        .await
        .ok();
    let form =
        format!("items[0][quantity]=1&proration_behavior=always_invoice&proration_date={date}");
    plan.change(&form).await.ok();
    let invoice = plan.now().await["latest_invoice"].clone();
    assert_eq!(
        amounts(&invoice),
        [-1_500, 1_500],
        "what was never debited is not credited"
    );
    let form =
        format!("items[0][quantity]=0&proration_behavior=always_invoice&proration_date={date}");
    let seen = plan.bench.events().await.len();
    plan.change(&form).await.ok();
    let invoice = plan.now().await["latest_invoice"].clone();
    assert_eq!(
        (
            &invoice["total"],
            &invoice["amount_due"],
            &invoice["status"]
        ),
        (&json!(-1_500), &json!(0), &json!("paid"))
    );
    assert_eq!(invoice["ending_balance"], -1_500);
    assert_eq!(plan.balance().await, -1_500);
    assert_has(&plan.bench.types_since(seen).await, &["customer.updated"]);
    plan.change("items[0][quantity]=1&proration_behavior=none")
        .await
        .ok();
    plan.bench
        .control("clock/advance", json!({"to": plan.end + 4_000}))
        .await;
    let invoice = plan.now().await["latest_invoice"].clone();
    for (field, wanted) in [
        ("total", 3_000),
        ("amount_due", 1_500),
        ("amount_paid", 1_500),
        ("starting_balance", -1_500),
        ("ending_balance", 0),
    ] {
        assert_eq!(invoice[field], wanted, "{field}");
    }
    assert_eq!(plan.balance().await, 0);
    let charges = plan.bench.look("objects/charge").await;
    assert_eq!(charges[1]["amount"], 1_500);
}

#[tokio::test]
async fn a_payment_that_fails_leaves_the_change_and_a_debt() {
    let plan = Plan::buy("annual", BAD_LATER).await;
    let changed = plan
        .change("items[0][quantity]=2&proration_behavior=always_invoice")
        .await
        .ok();
    assert_eq!(
        (&changed["status"], &changed["items"]["data"][0]["quantity"]),
        (&json!("past_due"), &json!(2))
    );
    let invoice = plan.now().await["latest_invoice"].clone();
    assert_eq!(invoice["status"], "open");
    assert!(invoice["next_payment_attempt"].is_i64());
    plan.bench
        .control(
            &format!("customers/{}/card", plan.customer),
            json!({"card": GOOD}),
        )
        .await;
    plan.bench.advance_days(3).await;
    assert_eq!(plan.now().await["status"], "active");
}

#[tokio::test]
async fn a_change_that_must_be_paid_happens_only_if_it_is() {
    let plan = Plan::buy("annual", BAD_LATER).await;
    let before = plan.now().await;
    let invoices = plan.bench.look("objects/invoice").await;
    let seen = plan.bench.events().await.len();
    let form = "items[0][quantity]=2&proration_behavior=always_invoice&payment_behavior=error_if_incomplete&metadata[k]=v";
    let refused = plan.change(form).await;
    assert_eq!(refused.error(), (402, "card_declined", ""));
    assert_eq!(refused.body["error"]["type"], "card_error");
    assert_eq!(plan.now().await, before);
    assert_eq!(plan.bench.look("objects/invoice").await, invoices);
    assert_eq!(plan.bench.look("objects/invoiceitem").await, json!([]));
    assert_eq!(
        plan.bench.types_since(seen).await,
        [
            "payment_intent.created",
            "charge.failed",
            "payment_intent.payment_failed",
            "payment_intent.canceled"
        ]
    );
    plan.bench
        .control(
            &format!("customers/{}/card", plan.customer),
            json!({"card": GOOD}),
        )
        .await;
    let seen = plan.bench.events().await.len();
    plan.change(form).await.ok();
    let invoice = plan.now().await["latest_invoice"].clone();
    assert_eq!(invoice["status"], "paid");
    assert_has(
        &plan.bench.types_since(seen).await,
        &["invoice.paid", "invoice_payment.paid"],
    );
    let found = plan
        .bench
        .get(&format!(
            "/v1/invoice_payments?invoice={}",
            text(&invoice["id"])
        ))
        .await
        .ok();
    assert_eq!(found["data"][0]["amount_paid"], invoice["amount_due"]);
}

#[tokio::test]
async fn a_bank_that_asks_for_authentication_fails_a_change_that_must_be_paid() {
    let bench = Bench::start().await;
    let customer = bench.customer().await;
    let session = bench
        .session("subscription", "annual", &format!("&customer={customer}"))
        .await;
    let path = format!("checkout/{}/pay", text(&session["id"]));
    bench
        .control(
            &path,
            json!({"card": "4000002760003184", "authenticate": true}),
        )
        .await;
    let list = bench
        .get(&format!("/v1/subscriptions?customer={customer}"))
        .await
        .ok();
    let (id, item) = (
        text(&list["data"][0]["id"]),
        text(&list["data"][0]["items"]["data"][0]["id"]),
    );
    let form = format!(
        "items[0][id]={item}&items[0][quantity]=2&proration_behavior=always_invoice&payment_behavior=error_if_incomplete"
    );
    let refused = bench.post(&format!("/v1/subscriptions/{id}"), &form).await;
    assert_eq!(
        refused.error(),
        (402, "subscription_payment_intent_requires_action", "")
    );
    let same = bench.get(&format!("/v1/subscriptions/{id}")).await.ok();
    assert_eq!(same, list["data"][0]);
}

#[tokio::test]
async fn another_interval_starts_a_new_cycle_now() {
    for (behavior, credited) in [("create_prorations", true), ("none", false)] {
        let plan = Plan::buy("monthly", GOOD).await;
        let annual = plan.bench.price("annual").await;
        plan.bench.advance_days(10).await;
        let date = plan.after(1, 2);
        let form =
            format!("items[0][price]={annual}&proration_behavior={behavior}&proration_date={date}");
        plan.change(&form).await.ok();
        let changed = plan.now().await;
        let item = &changed["items"]["data"][0];
        let start = item["current_period_start"].as_i64().unwrap();
        assert!(start >= plan.start + 10 * 86_400);
        assert_eq!(changed["billing_cycle_anchor"], start);
        let days = (item["current_period_end"].as_i64().unwrap() - start) / 86_400;
        assert!((365..=366).contains(&days));
        let invoice = &changed["latest_invoice"];
        let wanted: &[i64] = if credited { &[-250, 3_000] } else { &[3_000] };
        assert_eq!(amounts(invoice), wanted);
        assert_eq!(
            (&invoice["status"], &invoice["billing_reason"]),
            (&json!("paid"), &json!("subscription_update"))
        );
        let own =
            &invoice["lines"]["data"][wanted.len() - 1]["parent"]["subscription_item_details"];
        assert_eq!(own["proration"], false);
        let count = plan.bench.look("objects/invoice").await;
        plan.bench
            .control("clock/advance", json!({"to": plan.end + 86_400}))
            .await;
        assert_eq!(
            plan.bench.look("objects/invoice").await,
            count,
            "the old period's end means nothing any more"
        );
    }
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let plan = Plan::buy("monthly", GOOD).await;
    let seen = plan.bench.events().await.len();
    let price = plan.bench.price("monthly").await;
    let form =
        format!("items[0][price]={price}&items[0][quantity]=1&proration_behavior=always_invoice");
    plan.change(&form).await.ok();
    assert!(plan.bench.types_since(seen).await.is_empty());
    plan.change("items[0][metadata][note]=kept").await.ok();
    assert_eq!(
        plan.bench.types_since(seen).await,
        ["customer.subscription.updated"]
    );
    assert_eq!(plan.bench.look("objects/invoiceitem").await, json!([]));
}

#[tokio::test]
async fn a_trial_prorates_nothing() {
    let bench = Bench::start().await;
    let session = bench
        .session(
            "subscription",
            "monthly",
            "&subscription_data[trial_period_days]=14",
        )
        .await;
    bench.pay(&session, GOOD).await.ok();
    let list = bench.get("/v1/subscriptions").await.ok();
    let (id, item) = (
        text(&list["data"][0]["id"]),
        text(&list["data"][0]["items"]["data"][0]["id"]),
    );
    let annual = bench.price("annual").await;
    let seen = bench.events().await.len();
    let form =
        format!("items[0][id]={item}&items[0][price]={annual}&proration_behavior=always_invoice");
    let changed = bench
        .post(&format!("/v1/subscriptions/{id}"), &form)
        .await
        .ok();
    assert_eq!(
        (&changed["status"], &changed["latest_invoice"]),
        (&json!("trialing"), &list["data"][0]["latest_invoice"])
    );
    assert_eq!(
        bench.types_since(seen).await,
        ["customer.subscription.updated"]
    );
    bench.advance_days(15).await;
    let invoices = bench.get("/v1/invoices").await.ok();
    assert_eq!(invoices["data"][0]["total"], 3_000);
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused() {
    let plan = Plan::on(Bench::unrecorded().await, "monthly", GOOD).await;
    let bench = &plan.bench;
    let (share, annual) = (bench.price("share").await, bench.price("annual").await);
    let product = text(&bench.get(&format!("/v1/prices/{annual}")).await.ok()["product"]);
    let dollars = bench
        .post(
            "/v1/prices",
            &format!("currency=usd&unit_amount=700&recurring[interval]=month&product={product}"),
        )
        .await
        .ok();
    let retired = bench
        .post(
            "/v1/prices",
            &format!(
                "currency=eur&unit_amount=700&recurring[interval]=month&product={product}&active=false"
            ),
        )
        .await
        .ok();
    let before = plan.now().await;
    for (form, status, param) in [
        (format!("items[0][price]={share}"), 400, "items[0][price]"),
        (
            format!("items[0][price]={}", text(&dollars["id"])),
            400,
            "items[0][price]",
        ),
        (
            format!("items[0][price]={}", text(&retired["id"])),
            400,
            "items[0][price]",
        ),
        (
            "items[0][price]=price_none".to_owned(),
            400,
            "items[0][price]",
        ),
        (
            "items[0][quantity]=-1".to_owned(),
            400,
            "items[0][quantity]",
        ),
        (
            format!("items[0][quantity]=2&proration_date={}", plan.end + 1),
            400,
            "proration_date",
        ),
        (
            format!("items[0][quantity]=2&proration_date={}", plan.start - 1),
            400,
            "proration_date",
        ),
        (
            "items[0][quantity]=2&payment_behavior=pending_if_incomplete".to_owned(),
            400,
            "payment_behavior=pending_if_incomplete",
        ),
        (
            "items[0][quantity]=2&payment_behavior=default_incomplete".to_owned(),
            400,
            "payment_behavior=default_incomplete",
        ),
        (
            format!("items[1][price]={annual}"),
            400,
            "items[1] without an id",
        ),
        ("items[0][deleted]=true".to_owned(), 400, "deleted"),
    ] {
        let refused = plan.change(&form).await;
        let (got, _, blamed) = refused.error();
        assert_eq!((got, blamed), (status, param), "{form}");
    }
    assert_eq!(plan.now().await, before);
}

#[tokio::test]
async fn what_waits_is_dropped_at_a_sudden_end_and_collected_at_a_planned_one() {
    for planned in [false, true] {
        let plan = Plan::buy("annual", GOOD).await;
        let form = format!("items[0][quantity]=2&proration_date={}", plan.after(1, 2));
        plan.change(&form).await.ok();
        let seen = plan.bench.events().await.len();
        let path = format!("/v1/subscriptions/{}", plan.id);
        if planned {
            plan.bench
                .post(&path, "cancel_at_period_end=true")
                .await
                .ok();
            plan.bench
                .control("clock/advance", json!({"to": plan.end + 4_000}))
                .await;
        } else {
            plan.bench.delete(&path).await.ok();
        }
        let types = plan.bench.types_since(seen).await;
        let ended = plan.now().await;
        assert_eq!(ended["status"], "canceled");
        if planned {
            assert_eq!(amounts(&ended["latest_invoice"]), [-1_500, 3_000]);
            assert_eq!(ended["latest_invoice"]["status"], "paid");
        } else {
            assert_eq!(
                types
                    .iter()
                    .filter(|kind| *kind == "invoiceitem.deleted")
                    .count(),
                2
            );
        }
    }
}

#[tokio::test]
async fn a_void_invoice_gives_the_balance_back() {
    let plan = Plan::buy("annual", BAD_LATER).await;
    plan.bench
        .post(&format!("/v1/customers/{}", plan.customer), "balance=-500")
        .await
        .ok();
    plan.change("items[0][quantity]=2&proration_behavior=always_invoice")
        .await
        .ok();
    let invoice = plan.now().await["latest_invoice"].clone();
    assert_eq!(
        (&invoice["starting_balance"], plan.balance().await),
        (&json!(-500), 0)
    );
    let path = format!("/v1/invoices/{}/void", text(&invoice["id"]));
    plan.bench.post(&path, "").await.ok();
    assert_eq!(plan.balance().await, -500);
}

#[tokio::test]
async fn too_little_to_charge_is_carried_over() {
    let plan = Plan::buy("monthly", GOOD).await;
    let form = format!(
        "items[0][quantity]=2&proration_behavior=always_invoice&proration_date={}",
        plan.after(95, 100)
    );
    plan.change(&form).await.ok();
    let invoice = plan.now().await["latest_invoice"].clone();
    assert_eq!(
        (
            &invoice["total"],
            &invoice["amount_due"],
            &invoice["status"]
        ),
        (&json!(25), &json!(0), &json!("paid"))
    );
    assert_eq!(plan.balance().await, 25);
}

#[tokio::test]
async fn a_preview_tells_what_the_change_will_cost() {
    for behavior in ["create_prorations", "always_invoice", "none"] {
        for (key, change) in [
            ("annual", "items[0][quantity]=7"),
            ("monthly", "items[0][quantity]=0"),
            ("monthly", "items[0][price]=ANNUAL&items[0][quantity]=3"),
        ] {
            for (part, of) in [(0, 1), (1, 3), (5, 7), (999, 1_000), (1, 1)] {
                let plan = Plan::buy(key, GOOD).await;
                let annual = plan.bench.price("annual").await;
                let form = format!(
                    "{}&proration_behavior={behavior}&proration_date={}",
                    change.replace("ANNUAL", &annual),
                    plan.after(part, of)
                );
                let seen = plan.bench.events().await.len();
                let before = plan.now().await;
                let preview = plan.preview(&form).await.ok();
                assert_eq!(plan.now().await, before);
                assert_eq!(plan.bench.events().await.len(), seen, "without effect");
                assert!(text(&preview["id"]).starts_with("upcoming_in_"));
                assert_eq!(
                    (&preview["status"], &preview["billing_reason"]),
                    (&json!("draft"), &json!("upcoming"))
                );
                plan.change(&form).await.ok();
                let mut real = plan.now().await;
                if real["latest_invoice"]["id"] == before["latest_invoice"]["id"] {
                    plan.bench
                        .control("clock/advance", json!({"to": plan.end + 60}))
                        .await;
                    real = plan.now().await;
                }
                let real = &real["latest_invoice"];
                assert_eq!(amounts(&preview), amounts(real), "{form}");
                for field in ["total", "subtotal", "amount_due", "starting_balance"] {
                    assert_eq!(preview[field], real[field], "{field} {form}");
                }
                for (expected, line) in preview["lines"]["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .zip(real["lines"]["data"].as_array().unwrap())
                {
                    assert_eq!(expected["description"], line["description"]);
                    assert_eq!(expected["pricing"], line["pricing"]);
                }
            }
        }
    }
}

#[tokio::test]
async fn previews_show_the_renewal_and_refuse_what_is_not_modelled() {
    let plan = Plan::on(Bench::unrecorded().await, "annual", GOOD).await;
    let path = "/v1/invoices/create_preview";
    plan.bench
        .post(&format!("/v1/customers/{}", plan.customer), "balance=-1000")
        .await
        .ok();
    let form = format!("subscription={}&customer={}", plan.id, plan.customer);
    let next = plan.bench.post(path, &form).await.ok();
    assert_eq!(
        (
            &next["total"],
            &next["amount_due"],
            &next["next_payment_attempt"]
        ),
        (&json!(3_000), &json!(2_000), &json!(plan.end + 3_600))
    );
    for (form, code, param) in [
        ("customer=cus_none", "", "customer without subscription"),
        ("expand[]=customer", "parameter_missing", "customer"),
        ("subscription=sub_none", "resource_missing", "subscription"),
        (
            "subscription=SUB&subscription_details[cancel_now]=true",
            "",
            "cancel_now",
        ),
        (
            "subscription=SUB&preview_mode=recurring",
            "",
            "preview_mode=recurring",
        ),
        ("subscription=SUB&customer=cus_other", "", "customer"),
        (
            "subscription=SUB&subscription_details[items][0][id]=si_none",
            "resource_missing",
            "subscription_details[items][0][id]",
        ),
    ] {
        let refused = plan.bench.post(path, &form.replace("SUB", &plan.id)).await;
        assert_eq!(refused.error(), (400, code, param), "{form}");
    }
    plan.bench
        .post(
            &format!("/v1/subscriptions/{}", plan.id),
            "cancel_at_period_end=true",
        )
        .await
        .ok();
    let none = plan.preview("items[0][quantity]=1").await;
    assert_eq!(none.error(), (404, "invoice_upcoming_none", ""));
}
