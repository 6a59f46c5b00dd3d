//! Searches for customers, which know less than lists do, and later.

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, text};

/// Asks for what a query finds, with further parameters.
async fn search(bench: &Bench, query: &str, more: &str) -> Answer {
    let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    bench
        .get(&format!("/v1/customers/search?query={query}{more}"))
        .await
}

async fn names(bench: &Bench, query: &str) -> Vec<String> {
    let found = search(bench, query, "").await.ok();
    let rows = found["data"].as_array().unwrap().iter();
    rows.map(|row| text(&row["name"])).collect()
}

async fn without_lag(bench: Bench) -> Bench {
    let settings = json!({"search_lag_seconds": 0});
    bench.control("settings", settings).await;
    bench
}

async fn advance(bench: &Bench, seconds: i64) {
    let body = json!({"seconds": seconds});
    bench.control("clock/advance", body).await;
}

#[tokio::test]
async fn customers_are_found_by_what_is_known_of_them() {
    let bench = without_lag(Bench::start().await).await;
    for body in [
        "name=Ada&email=Ada@Example.org&phone=%2B43123&metadata[member]=M-1",
        "name=Bob&email=bob@example.org&metadata[member]=M-2",
        "name=Cy",
    ] {
        bench.post("/v1/customers", body).await.ok();
    }
    for (query, found) in [
        (r#"email:"ada@example.org""#, &["Ada"][..]),
        (r#"name:"BOB""#, &["Bob"]),
        (r#"email~"EXAMPLE""#, &["Bob", "Ada"]),
        (r#"phone:"+43123""#, &["Ada"]),
        (r#"metadata["member"]:"m-2""#, &["Bob"]),
        (r#"metadata["Member"]:"M-2""#, &[]),
        (r#"-email:"ada@example.org""#, &["Cy", "Bob"]),
        ("email:null", &["Cy"]),
        (r#"name:"Ada" OR name:"Cy""#, &["Cy", "Ada"]),
        (r#"email~"example" -name:"ada""#, &["Bob"]),
        ("created>1000 AND name:'ada'", &["Ada"]),
        ("created<1000", &[]),
    ] {
        assert_eq!(names(&bench, query).await, found, "{query}");
    }
    // A list takes an address to the letter.
    let exact = bench.get("/v1/customers?email=ada@example.org").await.ok();
    assert_eq!(exact["data"], json!([]));
}

#[tokio::test]
async fn a_wrong_query_is_refused() {
    let bench = Bench::unrecorded().await;
    let missing = bench.get("/v1/customers/search").await;
    assert_eq!(missing.error(), (400, "parameter_missing", "query"));
    for (query, more, param) in [
        ("ada", "", ""),
        ("colour:\"red\"", "", ""),
        ("email~\"ad\"", "", ""),
        ("name:\"a\" AND name:\"b\" OR name:\"c\"", "", ""),
        ("created>1", "&limit=0", "limit"),
        ("created>1", "&limit=101", "limit"),
        ("created>1", "&page=2", "page"),
        ("created>1", "&starting_after=cus_1", "starting_after"),
        ("created>1", "&email=a", "email"),
    ] {
        let refused = search(&bench, query, more).await;
        let (status, _, given) = refused.error();
        assert_eq!((status, given), (400, param), "{query}{more}");
    }
    let unknown = search(&bench, "colour:\"red\"", "").await;
    let message = text(&unknown.body["error"]["message"]);
    let expected = "Field `colour` is an unsupported search field for resource `customers`.";
    assert!(message.starts_with(expected), "{message}");
    // An empty query is one that is missing.
    assert_eq!(search(&bench, "", "").await.error().0, 400);
}

#[tokio::test]
async fn pages_lead_from_one_to_the_next() {
    let bench = without_lag(Bench::start().await).await;
    for number in 0..5 {
        let body = format!("name=n{number}&email=all@example.org");
        bench.post("/v1/customers", &body).await.ok();
    }
    let query = r#"email:"all@example.org""#;
    let (mut seen, mut more) = (vec![], "&limit=2".to_owned());
    loop {
        let page = search(&bench, query, &more).await.ok();
        assert_eq!(
            (&page["object"], &page["url"]),
            (&json!("search_result"), &json!("/v1/customers/search"))
        );
        seen.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| text(&row["name"])),
        );
        assert_eq!(
            page["has_more"].as_bool().unwrap(),
            page["next_page"].is_string()
        );
        let Some(next) = page["next_page"].as_str() else {
            break;
        };
        more = format!("&limit=2&page={next}");
    }
    assert_eq!(seen, ["n4", "n3", "n2", "n1", "n0"]);
    let expanded = search(&bench, query, "&limit=1&expand[]=data.subscriptions")
        .await
        .ok();
    assert_eq!(expanded["data"][0]["subscriptions"]["object"], "list");
    // The name of a page belongs to its query.
    let other = Bench::unrecorded().await;
    assert_eq!(
        search(&other, "created>1", &more).await.error(),
        (400, "", "page")
    );
}

#[tokio::test]
async fn what_is_new_is_found_a_minute_later() {
    let bench = Bench::start().await;
    let id = text(
        &bench
            .post("/v1/customers", "name=Ada&email=old@example.org")
            .await
            .ok()["id"],
    );
    let (old, new) = (r#"email:"old@example.org""#, r#"email:"new@example.org""#);
    assert!(names(&bench, old).await.is_empty());
    let listed = bench.get("/v1/customers?email=old@example.org").await.ok();
    assert_eq!(listed["data"][0]["id"], json!(id));
    advance(&bench, 61).await;
    assert_eq!(names(&bench, old).await, ["Ada"]);
    // Found by what she was, shown as she is.
    let path = format!("/v1/customers/{id}");
    bench
        .post(&path, "email=new@example.org&name=Ava")
        .await
        .ok();
    assert_eq!(names(&bench, old).await, ["Ava"]);
    assert!(names(&bench, new).await.is_empty());
    advance(&bench, 30).await;
    bench.post(&path, "metadata[x]=y").await.ok();
    advance(&bench, 31).await;
    assert!(names(&bench, old).await.is_empty());
    assert_eq!(names(&bench, new).await, ["Ava"]);
    assert!(names(&bench, "metadata['x']:'y'").await.is_empty());
    advance(&bench, 30).await;
    assert_eq!(names(&bench, "metadata['x']:'y'").await, ["Ava"]);
    // In trouble the index is an hour behind.
    let settings = json!({"search_lag_seconds": 3600});
    let settings = bench.control("settings", settings).await;
    assert_eq!(settings["search_lag_seconds"], 3600);
    assert!(names(&bench, new).await.is_empty());
    advance(&bench, 3600).await;
    assert_eq!(names(&bench, new).await, ["Ava"]);
    bench.delete(&path).await.ok();
    assert_eq!(names(&bench, new).await, Vec::<Value>::new());
}
