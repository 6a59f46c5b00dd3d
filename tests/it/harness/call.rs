//! A request as a sentence, and its answer.

use std::fmt::Display;
use std::io::Read as _;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::described;

/// A request that is being put together.
pub(crate) struct Call {
    client: Client,
    method: Method,
    url: String,
    request: RequestBuilder,
}

/// What came back, with what was asked, so that a failed assertion tells the whole story.
#[derive(Debug)]
pub(crate) struct Answer {
    what: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Call {
    pub(crate) fn new(client: &Client, method: Method, url: &str) -> Self {
        Self {
            client: client.clone(),
            request: client.request(method.clone(), url),
            method,
            url: url.to_owned(),
        }
    }

    /// Sends the token.
    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.request = self.request.bearer_auth(token);
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl Display) -> Self {
        self.request = self.request.header(name, value.to_string());
        self
    }

    /// Sends a JSON body.
    #[expect(clippy::needless_pass_by_value, reason = "reads well with json!")]
    pub(crate) fn json(mut self, body: Value) -> Self {
        self.request = self.request.json(&body);
        self
    }

    /// Sends these bytes and says nothing of what they are.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request = self.request.body(body.into());
        self
    }

    /// Sends it and reads the whole answer; a problem must be one that the description of the API lists.
    pub(crate) async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.url);
        let response = self
            .request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{what}: no answer: {error:?}"));
        let answer = Answer {
            what,
            status: response.status(),
            headers: response.headers().clone(),
            text: text(response).await,
        };
        described::check(&self.client, &self.method, &self.url, &answer).await;
        answer
    }
}

/// An answer's body, unpacked.
async fn text(response: reqwest::Response) -> String {
    if response.headers().get("content-encoding").is_none() {
        return response.text().await.expect("the answer is text");
    }
    let packed = response.bytes().await.expect("the answer's bytes");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed)
        .read_to_string(&mut text)
        .expect("the answer is packed text");
    text
}

impl Answer {
    /// Fails, and prints the answer, unless the status is this one.
    #[track_caller]
    pub(crate) fn assert_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.story());
        self
    }

    /// Fails unless this is a problem document with this status and code.
    #[track_caller]
    pub(crate) fn assert_problem(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.story());
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.story()
        );
        assert_eq!(self.json()["code"], code, "{}", self.story());
        self
    }

    /// Fails unless the problem document names this field with this code.
    #[track_caller]
    pub(crate) fn assert_field(self, field: &str, code: &str) -> Self {
        let body = self.json();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        assert!(
            errors
                .iter()
                .any(|error| error["field"] == field && error["code"] == code),
            "{field}: {code} is not named\n{}",
            self.story()
        );
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("the body is not JSON: {error}\n{}", self.story()))
    }

    /// A header's text; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// What was asked and what came back.
    pub(super) fn story(&self) -> String {
        format!(
            "{}\n{} {:#?}\n{}",
            self.what, self.status, self.headers, self.text
        )
    }
}
