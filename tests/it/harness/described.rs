//! Holds every problem that a test provokes against the description of the API, so that the description stays true.

use std::time::Duration;

use reqwest::{Client, Method, Url};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::Answer;

/// The same for every service, whatever its settings; but for `/metrics`, which may have a port of its own.
static DESCRIPTION: OnceCell<Value> = OnceCell::const_new();

/// Fails if the answer is a problem that its route does not list. A service that can't be asked any more is believed.
pub(super) async fn check(client: &Client, method: &Method, url: &str, answer: &Answer) {
    let Ok(url) = Url::parse(url) else { return };
    if answer.header("content-type") != "application/problem+json" || url.path() == "/metrics" {
        return;
    }
    let description = DESCRIPTION.get_or_try_init(async || {
        let address = url.join("/openapi.json").expect("a path can be joined");
        let asked = client.get(address).timeout(Duration::from_secs(5));
        asked.send().await?.json().await
    });
    let Ok(description) = description.await else {
        return;
    };
    let code = answer.json()["code"].clone();
    // Where the connector of Mosaic Billing took webhooks it is the same handler, and not described again.
    let path = match url.path() {
        "/webhooks" | "/webhooks/" if answer.status != 404 => "/webhooks/stripe",
        path => path,
    };
    let is_listed = match operation(description, method, path) {
        Some(operation) => operation["responses"][answer.status.as_str()]["x-codes"]
            .as_array()
            .is_some_and(|codes| codes.contains(&code)),
        None => code
            .as_str()
            .is_some_and(|code| description["components"]["responses"][code].is_object()),
    };
    assert!(
        is_listed,
        "the description of the API does not list {code} there\n{}",
        answer.story()
    );
}

/// What is described of that method of that path, if there is such a route.
fn operation<'a>(description: &'a Value, method: &Method, path: &str) -> Option<&'a Value> {
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template
                .zip(path)
                .all(|(part, given)| part == given || (part.starts_with('{') && !given.is_empty()))
    };
    let paths = description["paths"].as_object()?;
    let (_, methods) = paths.iter().find(|(template, _)| fits(template))?;
    let method = method.as_str().to_lowercase();
    methods.get(if method == "head" { "get" } else { &method })
}
