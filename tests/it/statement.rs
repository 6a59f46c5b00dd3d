//! The statement: what a member paid, got back and failed to pay, as Stripe has it.

mod many;
mod refusals;
mod taxed;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::harness::lifecycle::{BAD_ACCOUNT, DAY, GOOD_ACCOUNT, HOUR, MONTH, text};
use crate::harness::purchase::{DECLINED_CARD, FAILING_LATER_CARD, GOOD_CARD, Purchase};

impl TestApp {
    /// Alice's statement, checked: its lines sum to its entries, its entries to its totals.
    async fn statement(&self, query: &str) -> Value {
        let path = format!("/v1/statement{query}");
        let answer = self.get(&path).bearer(&self.member("alice")).send().await;
        let statement = answer.assert_status(200).json();
        assert_sums(&statement);
        statement
    }

    /// Alice's statement as rows of cells, without the header.
    async fn statement_rows(&self) -> Vec<Vec<String>> {
        let call = self.get("/v1/statement?format=csv");
        let answer = call.bearer(&self.member("alice")).send().await;
        let answer = answer.assert_status(200);
        assert_eq!(
            answer.header("content-type"),
            "text/csv; charset=utf-8; header=present"
        );
        let disposition = answer.header("content-disposition");
        assert!(
            disposition.starts_with("attachment; filename=\"statement-2"),
            "{disposition}"
        );
        let mut rows = parse_csv(&answer.text);
        let header = rows.remove(0).join(",");
        assert_eq!(
            header,
            "date,type,reference,description,plan,kind,quantity,currency,amount,tax,receipt_url,invoice_url,cause"
        );
        rows
    }

    /// Opens a checkout of alice's and pays it; waits for the webhooks.
    async fn buy_basket(&self, body: Value) -> Purchase {
        let purchase = self.open_basket(&self.member("alice"), body).await;
        self.pay(&purchase).await;
        self.settle().await;
        purchase
    }

    /// Tries to pay with a card that is declined.
    async fn try_in_vain(&self, purchase: &Purchase) {
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        let call = self.sandbox.request(Method::POST, &path);
        let answer = call.json(json!({ "card": DECLINED_CARD })).send().await;
        answer.assert_status(402);
        self.settle().await;
    }
}

/// RFC 4180, strictly: rows end with CRLF, a quote stands only where it must.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut rest = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = rest.next() {
        match letter {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' if quoted || cell.is_empty() => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(rest.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\n' | '"' if !quoted => panic!("a bare {letter:?} in {text}"),
            _ => cell.push(letter),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "{text}");
    rows
}

fn amount(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("no amount but {value}"))
}

fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list but {value}"))
}

#[track_caller]
fn assert_sums(statement: &Value) {
    let mut net = 0;
    for entry in list(&statement["entries"]) {
        for key in ["amount", "tax"] {
            let sum: i64 = list(&entry["lines"])
                .iter()
                .map(|line| amount(&line[key]))
                .sum();
            assert_eq!(sum, amount(&entry[key]), "{entry:#}");
        }
        net += amount(&entry["amount"]);
    }
    let totals = list(&statement["totals"]);
    assert_eq!(
        totals
            .iter()
            .map(|total| amount(&total["net"]))
            .sum::<i64>(),
        net,
        "{statement:#}"
    );
}

/// An entry's type, amount and lines as `kind amount`, in short.
fn short(entry: &Value) -> String {
    let lines = list(&entry["lines"]).iter().map(|line| {
        let kind = line["kind"]
            .as_str()
            .or(line["type"].as_str().filter(|what| *what != "item"));
        format!("{} {}", kind.unwrap_or("?"), line["amount"])
    });
    let lines: Vec<String> = lines.collect();
    let state = entry["state"]
        .as_str()
        .map_or_else(String::new, |state| format!(" {state}"));
    format!(
        "{}{state} {}: {}",
        text(&entry["type"]),
        entry["amount"],
        lines.join(", ")
    )
}

fn shorts(statement: &Value) -> Vec<String> {
    list(&statement["entries"]).iter().map(short).collect()
}

/// The totals as `kind currency paid-refunded-disputed=net`.
fn totals(statement: &Value) -> Vec<String> {
    let total = |total: &Value| {
        format!(
            "{} {} {}-{}-{}={}",
            total["kind"].as_str().unwrap_or("?"),
            text(&total["currency"]),
            total["paid"],
            total["refunded"],
            total["disputed"],
            total["net"]
        )
    };
    list(&statement["totals"]).iter().map(total).collect()
}

#[tokio::test]
async fn a_basket_is_one_payment_with_a_line_for_each_purchase() {
    let app = TestApp::start().await;
    let lines = json!([{"plan": "membership-monthly"}, {"plan": "share", "quantity": 2}, {"plan": "donation", "amount": 700}]);
    let purchase = app.buy_basket(json!({ "lines": lines })).await;
    let calls = app.service_calls_but_events().await;
    let statement = app.statement("").await;
    assert_eq!(
        app.service_calls_but_events().await - calls,
        3,
        "charges, invoices, sessions"
    );
    assert_eq!(
        shorts(&statement),
        ["payment 6000: membership 300, share 5000, donation 700"]
    );
    assert_eq!(
        totals(&statement),
        [
            "membership eur 300-0-0=300",
            "share eur 5000-0-0=5000",
            "donation eur 700-0-0=700"
        ]
    );
    let entry = &statement["entries"][0];
    let session = app
        .sandbox
        .stripe(&format!("/v1/checkout/sessions/{}", purchase.session))
        .await;
    assert_eq!(entry["reference"], session["invoice"]);
    assert_eq!(
        (&entry["currency"], &entry["tax"]),
        (&json!("eur"), &json!(0))
    );
    assert!(text(&entry["receipt_url"]).starts_with("http"), "{entry:#}");
    assert!(text(&entry["invoice_url"]).starts_with("http"), "{entry:#}");
    assert!(text(&entry["invoice_pdf"]).starts_with("http"), "{entry:#}");
    assert_eq!(
        (&entry["cause"], &entry["state"]),
        (&Value::Null, &Value::Null)
    );
    let share = &entry["lines"][1];
    assert_eq!(
        (&share["plan"], &share["quantity"]),
        (&json!("share"), &json!(2))
    );
    assert_eq!(share["description"], "Supporter share");
    let rows: Vec<String> = app.held_by("alice").await;
    let ids: Vec<String> = list(&entry["lines"])
        .iter()
        .map(|line| text(&line["subscription_id"]))
        .collect();
    assert_eq!(ids, rows);
}

impl TestApp {
    /// The ids of what somebody bought, oldest first.
    async fn held_by(&self, user: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT id::text FROM subscriptions WHERE user_id = $1 ORDER BY created_at, position",
        )
        .bind(user)
        .fetch_all(&self.pool)
        .await
        .expect("the rows are there")
    }
}

#[tokio::test]
async fn what_is_bought_once_names_its_payment_and_a_renewal_its_invoice() {
    let app = TestApp::start().await;
    let lines =
        json!([{"plan": "share"}, {"plan": "credits-20"}, {"plan": "donation", "amount": 501}]);
    let once = app.buy_basket(json!({ "lines": lines })).await;
    let intent = app.payment_of(&once).await;
    app.advance(HOUR).await;
    app.sell("membership-monthly", GOOD_CARD).await;
    app.advance(MONTH).await;
    // Somebody else's is nobody's business.
    app.buy_with(&app.member("bob"), "credits-50", GOOD_CARD)
        .await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        [
            "payment 5001: share 2500, top_up 2000, donation 501",
            "payment 300: membership 300",
            "payment 300: membership 300",
        ]
    );
    assert_eq!(statement["entries"][0]["reference"], intent.as_str());
    assert_eq!(statement["entries"][0]["invoice_url"], Value::Null);
    for renewal in [1, 2] {
        assert!(text(&statement["entries"][renewal]["reference"]).starts_with("in_"));
    }
}

#[tokio::test]
async fn an_attempt_that_failed_has_its_cause_and_counts_for_nothing() {
    let app = TestApp::start().await;
    let purchase = app.open(&app.member("alice"), "credits-20").await;
    app.try_in_vain(&purchase).await;
    let statement = app.statement("").await;
    assert_eq!(shorts(&statement), ["payment_failed 0: top_up 0"]);
    assert!(totals(&statement).is_empty());
    let entry = &statement["entries"][0];
    assert_eq!(entry["attempted_amount"], 2000);
    assert_eq!(entry["cause"]["code"], "declined");
    assert!(
        text(&entry["cause"]["message"]).starts_with("The bank declined"),
        "{entry:#}"
    );
    assert!(
        text(&entry["cause"]["advice"]).starts_with("Pay with another"),
        "{entry:#}"
    );
    assert_eq!(entry["receipt_url"], Value::Null);
    app.pay(&purchase).await;
    app.settle().await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        ["payment_failed 0: top_up 0", "payment 2000: top_up 2000"]
    );
    assert_eq!(totals(&statement), ["top_up eur 2000-0-0=2000"]);
}

#[tokio::test]
async fn a_renewal_that_failed_and_was_paid_in_cash_is_a_failure_and_a_payment() {
    let app = TestApp::start().await;
    let purchase = app.sell("membership-monthly", FAILING_LATER_CARD).await;
    app.advance(MONTH).await;
    let customer = app.customer_of(&purchase).await;
    let invoices = app
        .sandbox
        .stripe(&format!("/v1/invoices?customer={customer}&status=open"))
        .await;
    let invoice = text(&invoices["data"][0]["id"]);
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        [
            "payment 300: membership 300",
            "payment_failed 0: membership 0"
        ]
    );
    assert_eq!(statement["entries"][1]["reference"], invoice.as_str());
    app.at_stripe(
        Method::POST,
        &format!("/v1/invoices/{invoice}/pay"),
        &[("paid_out_of_band", "true")],
    )
    .await;
    app.settle().await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        [
            "payment 300: membership 300",
            "payment_failed 0: membership 0",
            "payment 300: membership 300"
        ]
    );
    let paid = &statement["entries"][2];
    assert_eq!(
        (&paid["reference"], &paid["receipt_url"]),
        (&json!(invoice), &Value::Null)
    );
    assert_eq!(totals(&statement), ["membership eur 600-0-0=600"]);
}

#[tokio::test]
async fn a_refund_is_for_the_lines_that_it_names_or_for_all_of_them() {
    let app = TestApp::start().await;
    let (purchase, lines) = app.sell_basket(&["share", "credits-20"], GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let named = ("metadata[dues_subscription_id]", lines[1].as_str());
    app.advance(HOUR).await;
    app.refund(
        &intent,
        &[
            ("amount", "700"),
            named,
            ("reason", "requested_by_customer"),
        ],
    )
    .await;
    app.advance(HOUR).await;
    app.refund(&intent, &[("amount", "500")]).await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        [
            "payment 4500: share 2500, top_up 2000",
            "refund succeeded -700: top_up -700",
            "refund succeeded -500: unassigned -500",
        ]
    );
    assert_eq!(
        totals(&statement),
        [
            "top_up eur 2000-700-0=1300",
            "share eur 2500-0-0=2500",
            "? eur 0-500-0=-500"
        ]
    );
    let refund = &statement["entries"][1];
    assert_eq!(refund["cause"]["code"], "requested_by_customer");
    assert_eq!(
        refund["lines"][0]["quantity"],
        Value::Null,
        "a part has no quantity"
    );
    assert!(text(&refund["reference"]).starts_with("re_"));
    assert!(text(&refund["receipt_url"]).starts_with("http"));
    // The rest goes back too: now every line is empty, and nothing is left unassigned.
    app.advance(HOUR).await;
    app.refund(&intent, &[]).await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement)[3],
        "refund succeeded -3300: share -2500, top_up -1300, unassigned 500"
    );
    assert_eq!(
        totals(&statement),
        ["top_up eur 2000-2000-0=0", "share eur 2500-2500-0=0"]
    );
}

#[tokio::test]
async fn a_refund_of_all_at_once_and_one_of_a_single_line_need_no_name() {
    let app = TestApp::start().await;
    let (basket, _) = app
        .sell_basket(&["share", "membership-monthly"], GOOD_CARD)
        .await;
    let single = app.sell("credits-20", GOOD_CARD).await;
    app.advance(HOUR).await;
    let intent = app.payment_of(&basket).await;
    app.refund(&intent, &[]).await;
    app.advance(HOUR).await;
    let intent = app.payment_of(&single).await;
    app.refund(&intent, &[("amount", "1")]).await;
    let calls = app.service_calls("GET /v1/credit_notes").await;
    let statement = app.statement("").await;
    assert_eq!(
        app.service_calls("GET /v1/credit_notes").await,
        calls,
        "there is none"
    );
    assert_eq!(
        shorts(&statement)[2..],
        [
            "refund succeeded -2800: membership -300, share -2500",
            "refund succeeded -1: top_up -1"
        ]
    );
}

#[tokio::test]
async fn a_credit_note_tells_what_its_refund_was_for_by_name_or_by_line() {
    for by_line in [false, true] {
        let app = TestApp::start().await;
        let (purchase, lines) = app
            .sell_basket(&["share", "membership-monthly"], GOOD_CARD)
            .await;
        let path = format!("/v1/checkout/sessions/{}", purchase.session);
        let id = text(&app.sandbox.stripe(&path).await["invoice"]);
        let invoice = app.sandbox.stripe(&format!("/v1/invoices/{id}")).await;
        let of_share = list(&invoice["lines"]["data"])
            .iter()
            .find(|line| line["amount"] == 2500);
        let share = text(&of_share.expect("the share's line")["id"]);
        let mut form = vec![("invoice", id.as_str()), ("refund_amount", "500")];
        if by_line {
            form.extend([
                ("lines[0][type]", "invoice_line_item"),
                ("lines[0][invoice_line_item]", &share),
                ("lines[0][amount]", "500"),
            ]);
        } else {
            form.push(("metadata[dues_subscription_id]", &lines[0]));
        }
        app.advance(HOUR).await;
        app.at_stripe(Method::POST, "/v1/credit_notes", &form).await;
        app.settle().await;
        let calls = app.service_calls_but_events().await;
        let statement = app.statement("").await;
        assert_eq!(
            app.service_calls_but_events().await - calls,
            4,
            "three lists and the credit notes"
        );
        assert_eq!(
            shorts(&statement)[1],
            "refund succeeded -500: share -500",
            "{by_line}"
        );
    }
}

#[tokio::test]
async fn a_refund_that_did_not_arrive_is_shown_and_counts_for_nothing() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    app.advance(HOUR).await;
    let refund = app.refund(&intent, &[]).await;
    app.sandbox
        .post(&format!("/_sandbox/refunds/{refund}/fail"), json!({}))
        .await;
    app.settle().await;
    let statement = app.statement("").await;
    assert_eq!(shorts(&statement)[1], "refund failed 0: share 0");
    assert_eq!(
        statement["entries"][1]["cause"]["code"],
        "lost_or_stolen_card"
    );
    assert_eq!(totals(&statement), ["share eur 2500-0-0=2500"]);
    app.advance(HOUR).await;
    app.refund(&intent, &[]).await;
    let statement = app.statement("").await;
    assert_eq!(shorts(&statement)[2], "refund succeeded -2500: share -2500");
    assert_eq!(totals(&statement), ["share eur 2500-2500-0=0"]);
}

#[tokio::test]
async fn a_debit_is_there_when_it_has_arrived_or_come_back_and_its_refund_while_it_is_on_its_way() {
    let app = TestApp::start().await;
    let purchase = app.sell("share", GOOD_ACCOUNT).await;
    app.advance(HOUR).await;
    app.sell("credits-20", BAD_ACCOUNT).await;
    assert!(shorts(&app.statement("").await).is_empty());
    app.advance(4 * DAY).await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        ["payment 2500: share 2500", "payment_failed 0: top_up 0"]
    );
    assert!(statement["entries"][1]["cause"]["message"].is_string());
    app.refund(&app.payment_of(&purchase).await, &[]).await;
    let statement = app.statement("").await;
    assert_eq!(shorts(&statement)[2], "refund pending -2500: share -2500");
}

#[tokio::test]
async fn a_dispute_takes_the_money_until_it_is_won() {
    let app = TestApp::start().await;
    let (basket, _) = app
        .sell_basket(&["share", "membership-monthly"], GOOD_CARD)
        .await;
    let single = app.sell("credits-20", GOOD_CARD).await;
    let asked = app.sell("credits-50", GOOD_CARD).await;
    app.advance(HOUR).await;
    let lost = app
        .dispute(&app.payment_of(&basket).await, "fraudulent")
        .await;
    app.advance(HOUR).await;
    let won = app
        .dispute(&app.payment_of(&single).await, "product_not_received")
        .await;
    app.dispute(&app.payment_of(&asked).await, "inquiry").await;
    let calls = app.service_calls_but_events().await;
    let statement = app.statement("").await;
    assert_eq!(
        app.service_calls_but_events().await - calls,
        6,
        "three lists, and one for each disputed payment"
    );
    assert_eq!(
        shorts(&statement)[3..],
        [
            "dispute open -2800: membership -300, share -2500",
            "dispute open -2000: top_up -2000"
        ]
    );
    assert_eq!(statement["entries"][3]["cause"]["code"], "fraudulent");
    assert_eq!(statement["entries"][3]["reference"], lost.as_str());
    app.close_dispute(&lost, "lost").await;
    // An appeal brings nothing back yet.
    app.close_dispute(&lost, "appeal_under_review").await;
    app.close_dispute(&won, "won").await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement)[3..],
        [
            "dispute lost -2800: membership -300, share -2500",
            "dispute won 0: top_up 0"
        ]
    );
    assert_eq!(
        totals(&statement),
        [
            "membership eur 300-0-300=0",
            "top_up eur 7000-0-0=7000",
            "share eur 2500-0-2500=0"
        ]
    );
}

const CATALOGUE: &str = r#"
[[product]]
name = "=cmd|'/c calc'!A1"
price = [{ lookup_key = "pass", currency = "jpy", unit_amount = 1500, currency_options.kwd.unit_amount = 5120 }]
[[product]]
name = "Share, \"founder\""
price = [{ lookup_key = "share", currency = "jpy", unit_amount = 70, currency_options.kwd.unit_amount = 1000, currency_options.eur.unit_amount = 2500 }]
"#;
const PLANS: &str = r#"
[[plan]]
code = "pass"
kind = "top_up"
price = "pass"
[[plan]]
code = "share"
kind = "share"
price = "share"
quantity = { max = 9 }
"#;

#[tokio::test]
async fn amounts_are_exact_in_every_currency_and_no_cell_is_a_formula() {
    let app = TestApp::with().selling(CATALOGUE, PLANS).start().await;
    app.buy_basket(json!({"plan": "pass"})).await;
    app.advance(HOUR).await;
    let lines = json!([{"plan": "pass"}, {"plan": "share", "quantity": 3}]);
    let basket = app
        .buy_basket(json!({"lines": lines, "currency": "kwd"}))
        .await;
    app.advance(HOUR).await;
    app.refund(&app.payment_of(&basket).await, &[("amount", "10")])
        .await;
    app.advance(HOUR).await;
    app.buy_basket(json!({"plan": "share", "currency": "eur"}))
        .await;
    let calls = app.service_calls_but_events().await;
    let statement = app.statement("").await;
    assert_eq!(
        app.service_calls_but_events().await - calls,
        9,
        "three lists of three customers"
    );
    assert_eq!(
        shorts(&statement),
        [
            "payment 1500: top_up 1500",
            "payment 8120: top_up 5120, share 3000",
            "refund succeeded -10: unassigned -10",
            "payment 2500: share 2500",
        ]
    );
    assert_eq!(
        totals(&statement),
        [
            "share eur 2500-0-0=2500",
            "top_up jpy 1500-0-0=1500",
            "top_up kwd 5120-0-0=5120",
            "share kwd 3000-0-0=3000",
            "? kwd 0-10-0=-10",
        ]
    );
    let rows = app.statement_rows().await;
    let of_row = |row: &Vec<String>| [1, 3, 4, 5, 6, 7, 8, 9].map(|at| row[at].clone()).join(";");
    let written: Vec<String> = rows.iter().map(of_row).collect();
    assert_eq!(
        written,
        [
            "payment;'=cmd|'/c calc'!A1;pass;top_up;1;jpy;1500;0",
            "payment;'=cmd|'/c calc'!A1;pass;top_up;1;kwd;5.120;0.000",
            "payment;Share, \"founder\";share;share;3;kwd;3.000;0.000",
            "refund;Not assigned;;;;kwd;-0.010;0.000",
            "payment;Share, \"founder\";share;share;1;eur;25.00;0.00",
        ]
    );
    // What accepts CSV gets it, and what says json does not.
    let alice = app.member("alice");
    let accepting = |path: &str| app.get(path).bearer(&alice).header("accept", "text/csv");
    let answer = accepting("/v1/statement").send().await.assert_status(200);
    assert!(answer.text.starts_with("date,type,"), "{answer:?}");
    accepting("/v1/statement?format=json")
        .send()
        .await
        .assert_status(200)
        .json();
}

#[tokio::test]
async fn a_customer_who_was_deleted_or_replaced_still_has_a_past() {
    let app = TestApp::start().await;
    let before = app.sell("credits-20", GOOD_CARD).await;
    let customer = app.customer_of(&before).await;
    app.at_stripe(Method::DELETE, &format!("/v1/customers/{customer}"), &[])
        .await;
    app.settle().await;
    assert_eq!(
        shorts(&app.statement("").await),
        ["payment 2000: top_up 2000"]
    );
    app.advance(HOUR).await;
    let after = app.sell("share", GOOD_CARD).await;
    assert_ne!(app.customer_of(&after).await, customer);
    assert_eq!(
        shorts(&app.statement("").await),
        ["payment 2000: top_up 2000", "payment 2500: share 2500"]
    );
}

#[tokio::test]
async fn a_range_has_what_happened_in_it_also_to_older_payments_and_the_shares_at_its_end() {
    let app = TestApp::start().await;
    let now = || app.clock.now();
    let instant = |at: time::OffsetDateTime| {
        let at = at.replace_nanosecond(0).expect("a whole second");
        at.format(&time::format_description::well_known::Rfc3339)
            .expect("a time")
    };
    let start = instant(now());
    let basket = app
        .buy_basket(json!({"lines": [{"plan": "share", "quantity": 3}]}))
        .await;
    app.advance(DAY).await;
    let bought = instant(now());
    let second = app.sell("share", GOOD_CARD).await;
    app.advance(DAY).await;
    let both = instant(now());
    app.refund(&app.payment_of(&basket).await, &[]).await;
    app.advance(DAY).await;
    let end = instant(now());
    let range = async |from: &str, to: &str| app.statement(&format!("?from={from}&to={to}")).await;
    let first = range(&start, &bought).await;
    assert_eq!(shorts(&first), ["payment 7500: share 7500"]);
    assert_eq!(first["from"], start.as_str());
    assert_eq!(
        (&first["shares"]["on"], &first["shares"]["quantity"]),
        (&json!(bought), &json!(3))
    );
    assert_eq!(
        first["shares"]["held"][0]["subscription_id"],
        basket.subscription.as_str()
    );
    assert_eq!(first["shares"]["held"][0]["plan"], "share");
    let middle = range(&bought, &both).await;
    assert_eq!(shorts(&middle), ["payment 2500: share 2500"]);
    assert_eq!(middle["shares"]["quantity"], 4);
    let last = range(&both, &end).await;
    assert_eq!(shorts(&last), ["refund succeeded -7500: share -7500"]);
    assert_eq!(last["entries"][0]["lines"][0]["quantity"], 3);
    assert_eq!(last["shares"]["quantity"], 1);
    assert_eq!(
        last["shares"]["held"][0]["subscription_id"],
        second.subscription.as_str()
    );
    // A day belongs to the range whole, and what is to come is asked about today.
    let today = now().date();
    let days = range(&today.to_string(), &today.to_string()).await;
    assert_eq!(shorts(&days).len(), 0, "the refund was yesterday");
    assert_eq!(days["shares"]["quantity"], 1);
    let on = time::OffsetDateTime::parse(
        days["shares"]["on"].as_str().unwrap_or_default(),
        &time::format_description::well_known::Rfc3339,
    );
    assert!(on.is_ok_and(|on| on <= now()), "{days:#}");
    let before = range("2020-01-01", "2020-12-31").await;
    assert_eq!(
        (&before["entries"], &before["shares"]["held"]),
        (&json!([]), &json!([]))
    );
}
