//! `dues plans check`: what whoever edits the plans file is told.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::json;

use crate::harness::program::{Ended, File, run};
use crate::harness::{TestSandbox, in_project, usual_variables};

async fn sandbox() -> TestSandbox {
    TestSandbox::start(SocketAddr::from(([127, 0, 0, 1], 1))).await
}

/// Only what the command needs: neither database nor webhook secret nor token key.
fn variables(sandbox: &TestSandbox, file: &File) -> HashMap<String, String> {
    let mut variables = usual_variables("", SocketAddr::from(([127, 0, 0, 1], 1)), sandbox.url());
    variables.retain(|name, _| {
        ["DUES__STRIPE__SECRET_KEY", "DUES__STRIPE__API_BASE"].contains(&name.as_str())
    });
    let file = file.path().display().to_string();
    variables.insert("DUES__PLANS__FILE".to_owned(), file);
    variables
}

async fn check(sandbox: &TestSandbox, file: &File) -> Ended {
    run(&["plans", "check"], &variables(sandbox, file)).await
}

/// The shipped plans.
fn shipped() -> String {
    std::fs::read_to_string(in_project("config/plans.toml")).expect("the shipped plans")
}

/// The form of a request to Stripe's API.
async fn at_stripe(sandbox: &TestSandbox, path: &str, form: &str) -> serde_json::Value {
    sandbox
        .request(reqwest::Method::POST, path)
        .bearer("sk_test_sandbox")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .assert_status(200)
        .json()
}

async fn price_id(sandbox: &TestSandbox, key: &str) -> String {
    let prices = sandbox
        .stripe(&format!("/v1/prices?lookup_keys[]={key}"))
        .await;
    prices["data"][0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn good_plans_are_listed_with_their_prices_and_what_no_plan_uses_is_noted() {
    let sandbox = sandbox().await;
    let all = File::new("plans.toml", &shipped());
    let ended = check(&sandbox, &all).await.assert_code(0);
    let annual = ended.line("ok membership-annual:");
    assert!(
        annual.contains("30.00 EUR or 33.00 USD every year, \"Annual membership\", price_"),
        "{annual}"
    );
    let donation = ended.line("ok donation:");
    assert!(donation.contains("2.00 to 500.00 EUR once"), "{donation}");
    assert!(!ended.stdout.contains("note"), "{ended:?}");

    let one = File::new(
        "plans.toml",
        "[[plan]]\ncode = \"m\"\nkind = \"membership\"\nprice = \"membership_annual\"\n",
    );
    let ended = check(&sandbox, &one).await.assert_code(0);
    ended.line("note credits_20: an active price");
}

#[tokio::test]
async fn every_wrong_plan_is_named_with_its_line_and_what_to_do() {
    let sandbox = sandbox().await;
    let archived = price_id(&sandbox, "credits_50").await;
    at_stripe(&sandbox, &format!("/v1/prices/{archived}"), "active=false").await;
    let file = File::new(
        "plans.toml",
        r#"[[plan]]
code = "fine"
kind = "share"
price = "share"

[[plan]]
code = "unknown"
kind = "membership"
price = "nowhere"

[[plan]]
code = "archived"
kind = "top_up"
price = "credits_50"

[[plan]]
code = "term"
kind = "membership"
price = "membership_annual"
term = "P1Y"
amount = { min = 300, max = 900 }

[[plan]]
code = "misspelt"
kind = "share"
prise = "share"

[[plan]]
code = "tax"
kind = "share"
price = "share"
tax_behavior = "inclusive"
trial_days = 900
"#,
    );
    let ended = check(&sandbox, &file).await.assert_code(1);
    ended.line("ok fine:");
    let unknown = ended.line("WRONG unknown (line 6):");
    assert!(unknown.contains("no active price with the lookup key or id \"nowhere\""));
    let archived = ended.line("WRONG archived (line 11):");
    assert!(archived.contains("is archived at Stripe"), "{archived}");
    let term = ended.line("WRONG term (line 16):");
    assert!(term.contains("can't choose an amount") && term.contains("take term out"));
    let misspelt = ended.line("WRONG misspelt (line 23):");
    assert!(misspelt.contains("unknown field `prise`"), "{misspelt}");
    let tax = ended.line("WRONG tax (line 28):");
    assert!(tax.contains("tax behavior unspecified at Stripe"), "{tax}");
    assert!(
        ended.stderr.contains("5 of 6 plans can't be sold"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn rules_between_plans_and_a_file_that_is_not_toml_are_told_too() {
    let sandbox = sandbox().await;
    let plan =
        "[[plan]]\ncode = \"a\"\nkind = \"share\"\nprice = \"share\"\nquantity = { max = 0 }\n";
    let twice = File::new("plans.toml", &format!("{plan}\n{plan}"));
    let ended = check(&sandbox, &twice).await.assert_code(1);
    let second = ended.line("WRONG a (line 7):");
    assert!(second.contains("code is used twice"), "{second}");
    assert!(second.contains("quantity needs"), "{second}");

    let broken = File::new("plans.toml", "[[plan]]\ncode = \"a\n");
    let ended = check(&sandbox, &broken).await.assert_code(1);
    assert!(ended.stderr.contains("line 2"), "{ended:?}");

    let empty = File::new("plans.toml", "");
    let ended = check(&sandbox, &empty).await.assert_code(1);
    ended.line("WRONG the file: it has no [[plan]]");

    let gone = File::new("plans.toml", "");
    let mut variables = variables(&sandbox, &gone);
    variables.insert(
        "DUES__PLANS__FILE".to_owned(),
        "/nowhere/plans.toml".to_owned(),
    );
    let ended = run(&["plans", "check"], &variables).await.assert_code(1);
    assert!(
        ended.stderr.contains("/nowhere/plans.toml can't be read"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn programs_get_json() {
    let sandbox = sandbox().await;
    let file = File::new(
        "plans.toml",
        "[[plan]]\ncode = \"m\"\nkind = \"membership\"\nprice = \"membership_monthly\"\n\
         [[plan]]\ncode = \"n\"\nkind = \"membership\"\nprice = \"nowhere\"\n",
    );
    let variables = variables(&sandbox, &file);
    let ended = run(&["plans", "check", "--json"], &variables)
        .await
        .assert_code(1);
    let report = ended.json();
    assert_eq!(report["plans"][0]["problems"], json!([]));
    assert_eq!(report["plans"][1]["line"], 5);
    assert_eq!(report["plans"][1]["offer"], json!(null));
    assert_eq!(report["file"], json!([]));
    assert!(
        report["unused"]
            .as_array()
            .is_some_and(|keys| keys.contains(&json!("share")))
    );
}

#[tokio::test]
async fn a_refused_key_and_a_stripe_that_is_away_are_told_without_the_key() {
    let sandbox = sandbox().await;
    let file = File::new("plans.toml", &shipped());
    let mut variables = variables(&sandbox, &file);
    variables.insert(
        "DUES__STRIPE__SECRET_KEY".to_owned(),
        "sk_test_wrong".to_owned(),
    );
    let ended = run(&["plans", "check"], &variables).await.assert_code(1);
    assert!(
        ended.stderr.contains("DUES__STRIPE__SECRET_KEY"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("refused with 401"), "{ended:?}");
    assert!(!ended.stderr.contains("sk_test_wrong"), "{ended:?}");

    variables.remove("DUES__STRIPE__SECRET_KEY");
    let ended = run(&["plans", "check"], &variables).await.assert_code(1);
    assert!(
        ended.stderr.contains("DUES__STRIPE__SECRET_KEY is missing"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_price_without_a_tax_behavior_is_remarked_where_stripe_computes_tax() {
    let sandbox = sandbox().await;
    let file = File::new(
        "plans.toml",
        "[[plan]]\ncode = \"s\"\nkind = \"share\"\nprice = \"share\"\n",
    );
    let mut variables = variables(&sandbox, &file);
    variables.insert(
        "DUES__CHECKOUT__AUTOMATIC_TAX".to_owned(),
        "true".to_owned(),
    );
    let ended = run(&["plans", "check"], &variables).await.assert_code(0);
    let line = ended.line("warn s (line 1): 25.00 EUR once");
    assert!(line.contains("its tax behavior is unspecified"), "{line}");
}
