//! What a person sees.

use serde_json::json;

use crate::bench::{Bench, ORIGIN, asked};

#[tokio::test]
async fn the_page_offers_everybody_without_a_script() {
    let bench = Bench::start().await;
    let person = json!({"sub": "x\"y", "name": "<script>alert(1)</script>", "roles": []});
    assert_eq!(bench.control("people", person).await.status, 204);
    let hinted = asked(&[("login_hint", "reader")]);
    let page = bench.send(bench.authorize(&hinted)).await;
    assert!(!page.text.contains("<script"), "{}", page.text);
    assert!(page.text.contains("value=\"x&quot;y\">&lt;script&gt;"));
    let at = |name: &str| page.text.find(name).unwrap();
    assert!(at("Rosa Reader") < at("Olga Operator"));
    assert!(page.text.contains("Noor Nobody <small>no role</small>"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"));
    assert!(
        policy.ends_with(&format!("form-action 'self' {ORIGIN}")),
        "{policy}"
    );
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("cache-control"), "no-store");
    let home = bench.get("/").await;
    assert!(home.text.contains("Theo Treasurer"));
}

#[tokio::test]
async fn a_page_is_answered_once_by_somebody_who_is_known() {
    let bench = Bench::start().await;
    let page = bench.send(bench.authorize(&asked(&[]))).await;
    let (_, rest) = page.text.split_once("name=\"request\" value=\"").unwrap();
    let request = ("request", rest.split('"').next().unwrap());
    let choose = "/authorize/choose";
    let first = bench.form(choose, &[request, ("sub", "nobody")]).await;
    assert_eq!(first.status, 303);
    for fields in [
        &[request, ("sub", "nobody")][..],
        &[("sub", "nobody")],
        &[request, ("sub", "nobody"), ("sub", "operator")],
        &[request, ("role", "operator")],
    ] {
        assert_eq!(bench.form(choose, fields).await.status, 400, "{fields:?}");
    }
    let unknown = bench.choose(&asked(&[]), ("sub", "who")).await;
    assert_eq!(unknown.status, 400);
    let cancelled = bench.choose(&asked(&[]), ("cancel", "1")).await;
    assert_eq!(cancelled.brought()["error"], "access_denied");
    assert_eq!(bench.state().await["issued"]["codes"], 1);
}
