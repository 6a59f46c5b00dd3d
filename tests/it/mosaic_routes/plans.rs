//! `dues plans from-mosaic`: what Mosaic Billing sells, as a plans file.

use std::collections::HashMap;
use std::net::SocketAddr;

use neighbours::mosaic::Options;

use super::price;
use crate::harness::mosaic::{Billing, SECRET, payment_plan};
use crate::harness::program::{Ended, File, run};
use crate::harness::{TestSandbox, usual_variables};

async fn from_mosaic(variables: &HashMap<String, String>, more: &[&str]) -> Ended {
    let command = ["plans", "from-mosaic"];
    run(&[&command, more].concat(), variables).await
}

fn variables(stripe: &TestSandbox, followers: &File) -> HashMap<String, String> {
    let mut variables = usual_variables(
        "postgres://nobody@127.0.0.1:1/none",
        SocketAddr::from(([127, 0, 0, 1], 1)),
        stripe.url(),
    );
    // Whoever writes the file has no endpoint yet.
    variables.remove("DUES__STRIPE__WEBHOOK_SECRETS");
    let followers = followers.path().display().to_string();
    variables.insert("DUES__FOLLOWERS__FILE".to_owned(), followers);
    variables.insert("MOSAIC_SECRET".to_owned(), SECRET.to_owned());
    variables
}

#[tokio::test]
async fn what_is_sold_becomes_a_plans_file_that_can_be_sold_from() {
    let stripe = TestSandbox::start(SocketAddr::from(([127, 0, 0, 1], 1))).await;
    // It may look at plans, and at nothing else.
    let options = Options {
        permissions: vec!["PLANS_VIEW".to_owned()],
        ..Options::default()
    };
    let billing = Billing::with(&[], options).await;
    for code in ["membership-annual", "membership-monthly"] {
        billing.sell(code, Some(&price(&stripe, code).await)).await;
    }
    billing.sell("without-a-price", None).await;
    billing.sell("with-a-product", Some("prod_1")).await;
    billing
        .retire("retired", &price(&stripe, "credits-20").await)
        .await;
    let followers = File::new("followers.toml", &billing.named("mosaic", ""));
    let mut variables = variables(&stripe, &followers);
    let printed = from_mosaic(&variables, &[]).await.assert_code(0);
    assert!(
        printed
            .stderr
            .contains("5 payment plans, 2 of them to be sold"),
        "{printed:?}"
    );
    let entry = format!(
        "# every 1 MONTH, 30.00 EUR (DE)\n[[plan]]\ncode = \"membership-annual-monthly\"\nkind = \"membership\"\n\
         price = \"{}\"\nname = \"membership-annual, Monthly\"\nmosaic_payment_plan = \"{}\"\n",
        price(&stripe, "membership-annual").await,
        payment_plan("membership-annual")
    );
    assert!(printed.stdout.contains(&entry), "{}", printed.stdout);
    for (why, code) in [
        (
            "# Not sold: it has no price",
            "# code = \"without-a-price-monthly\"",
        ),
        (
            "# Not sold: what it has as price",
            "# code = \"with-a-product-monthly\"",
        ),
        (
            "# Not sold: it, or what it sells, is inactive",
            "# code = \"retired-monthly\"",
        ),
    ] {
        let (_, rest) = printed.stdout.split_once(why).expect(why);
        assert!(rest.contains(code), "{}", printed.stdout);
    }
    let plans = File::new("plans.toml", &printed.stdout);
    let plans = plans.path().display().to_string();
    variables.insert("DUES__PLANS__FILE".to_owned(), plans);
    let checked = run(&["plans", "check"], &variables).await.assert_code(0);
    assert!(
        checked.stderr.contains("2 plans can be sold"),
        "{checked:?}"
    );
    let annual = checked.line("ok membership-annual-monthly:");
    assert!(
        annual.contains("every year, \"membership-annual, Monthly\""),
        "{annual}"
    );
}

#[tokio::test]
async fn more_plans_than_a_page_has_are_all_there() {
    let stripe = TestSandbox::start(SocketAddr::from(([127, 0, 0, 1], 1))).await;
    let codes: Vec<String> = (0..120).map(|number| format!("plan-{number:03}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let billing = Billing::start(&codes).await;
    let followers = File::new("followers.toml", &billing.named("mosaic", ""));
    let printed = from_mosaic(&variables(&stripe, &followers), &[]).await;
    let printed = printed.assert_code(0);
    assert_eq!(printed.stdout.matches("mosaic_payment_plan").count(), 120);
    for code in codes {
        let id = payment_plan(code).to_string();
        assert_eq!(printed.stdout.matches(&id).count(), 1, "{code}");
    }
}

#[tokio::test]
async fn it_says_what_to_configure_and_which_of_several() {
    let stripe = TestSandbox::start(SocketAddr::from(([127, 0, 0, 1], 1))).await;
    let billing = Billing::start(&["plus"]).await;
    let file = File::new("followers.toml", "");
    let variables = variables(&stripe, &file);
    let says = async |more: &[&str], what: &str| {
        let ended = from_mosaic(&variables, more).await.assert_code(1);
        assert!(ended.stderr.contains(what), "{ended:?}");
    };
    says(&[], "no follower of kind \"mosaic\" is named").await;
    let two = [billing.named("old", ""), billing.named("new", "")];
    file.write(&two.concat());
    says(&[], "say which, with --follower old or new").await;
    says(&["--follower", "none"], "there are: old, new").await;
    let named = from_mosaic(&variables, &["--follower", "new"]).await;
    assert_eq!(named.assert_code(0).stdout.matches("code =").count(), 1);
    let fault = serde_json::json!({ "kind": "errors", "code": "USER_NOT_AUTHORIZED", "message": "m", "operation": "paymentPlans", "times": 1 });
    billing.fault(fault).await;
    says(
        &["--follower", "new"],
        "can't be read: refused with USER_NOT_AUTHORIZED",
    )
    .await;
}
