//! The GraphQL client of a Mosaic Billing Service, with the token of its service account.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use super::Config;
use crate::outward::followers::receiver::{Failure, body_within, client};
use crate::settings::Secret;

/// A token is asked for anew so long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_mins(1);
/// A token that says nothing of its end is used for so long.
const TOKEN_LIFE: u64 = 300;
/// Longest answer that is read.
const ANSWER_BYTES: usize = 1024 * 1024;

const AUTHENTICATE: &str = "mutation GetServiceToken($clientId: String!, $clientSecret: String!) {
    authenticateServiceAccount(input: { clientId: $clientId, clientSecret: $clientSecret }) {
        accessToken expiresInSeconds tokenType } }";

/// Codes that say that the token is at fault, and not what was asked.
const OF_THE_TOKEN: [&str; 8] = [
    "ACCESS_TOKEN_REQUIRED",
    "ACCESS_TOKEN_INVALID",
    "ACCESS_TOKEN_EXPIRED",
    "ACCESS_TOKEN_VERIFICATION_FAILED",
    "MALFORMED_TOKEN",
    "SIGNING_KEY_NOT_FOUND",
    "JWKS_ERROR",
    "IDENTITY_SERVICE_NOT_ACCESSIBLE",
];
/// Codes that say that the account may not do this, whoever it is about.
const OF_THE_ACCOUNT: [&str; 2] = ["USER_NOT_AUTHORIZED", "UNAUTHORIZED"];
/// Codes that say that the service has a trouble of its own.
const OF_THE_SERVICE: [&str; 4] = [
    "DATABASE_LOCK_TIMEOUT_ERROR",
    "UNHANDLED_DATABASE_ERROR",
    "UNHANDLED_ERROR",
    "INTERNAL_SERVER_ERROR",
];

/// What was answered.
pub(super) enum Answer {
    /// The data.
    Data(Value),
    /// The service refuses this; its code.
    Refused(String),
}

/// The client.
pub(super) struct Client {
    http: reqwest::Client,
    management: Url,
    identity: Url,
    /// The service account's id and secret.
    account: (String, Secret),
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    secret: Secret,
    until: Instant,
}

/// What any GraphQL service answers.
#[derive(Deserialize)]
struct GraphQl {
    data: Option<Value>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    code: Option<String>,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: client()?,
            management: graphql(&config.url),
            identity: graphql(&config.id_url),
            account: (config.client_id.clone(), config.client_secret.clone()),
            token: Mutex::new(None),
        })
    }

    /// Asks the management API. A token that ended meanwhile is replaced once. Judged by `errors`, not by HTTP's status.
    pub(super) async fn ask(&self, query: &str, variables: Value) -> Result<Answer, Failure> {
        let body = json!({ "query": query, "variables": variables });
        let mut is_new = false;
        loop {
            let token = self.token(is_new).await?;
            let request = self.http.post(self.management.clone()).json(&body);
            let answer = self.send(request.bearer_auth(token.expose())).await?;
            let Some(problem) = answer.errors.into_iter().next() else {
                return Ok(Answer::Data(answer.data.unwrap_or_default()));
            };
            let code = problem.code.as_deref().unwrap_or("no code");
            if OF_THE_TOKEN.contains(&code) && !is_new {
                is_new = true;
                continue;
            }
            // What it says beside that may repeat what was sent, which is somebody's.
            let why = format!("refused with {code}");
            let is_about_all = [&OF_THE_TOKEN[..], &OF_THE_ACCOUNT, &OF_THE_SERVICE];
            return if is_about_all.iter().any(|codes| codes.contains(&code)) {
                Err(Failure::away(why))
            } else {
                Ok(Answer::Refused(why))
            };
        }
    }

    /// The token, a new one where it ends soon or is to be new. One asks, and the others wait for it.
    async fn token(&self, is_to_be_new: bool) -> Result<Secret, Failure> {
        let mut held = self.token.lock().await;
        let good = held.as_ref().filter(|token| token.until > Instant::now());
        if let Some(token) = good.filter(|_| !is_to_be_new) {
            return Ok(token.secret.clone());
        }
        let (id, secret) = &self.account;
        let variables = json!({ "clientId": id, "clientSecret": secret.expose() });
        let body = json!({ "query": AUTHENTICATE, "variables": variables });
        let asked = self.send(self.http.post(self.identity.clone()).json(&body));
        // Without a token nobody can be told anything, whatever the reason.
        let answer = asked.await.map_err(|failure| match failure {
            Failure::Away { .. } => failure,
            other => Failure::away(format!("no token: {}", other.why())),
        })?;
        let data = answer.data.unwrap_or_default();
        let account = &data["authenticateServiceAccount"];
        let Some(secret) = account["accessToken"].as_str() else {
            let code = { answer.errors.iter() }.find_map(|problem| problem.code.as_deref());
            return Err(Failure::away(format!(
                "the service account gets no token ({}): do client_id and its secret fit?",
                code.unwrap_or("no code")
            )));
        };
        let life = account["expiresInSeconds"].as_u64().unwrap_or(TOKEN_LIFE);
        let life = Duration::from_secs(life).saturating_sub(TOKEN_MARGIN);
        let secret = Secret::new(secret);
        *held = Some(Token {
            secret: secret.clone(),
            until: Instant::now() + life,
        });
        Ok(secret)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<GraphQl, Failure> {
        let sent = request.send().await;
        let response = sent.map_err(|error| Failure::of_error(&error))?;
        let failure = Failure::of_status(&response);
        // Whatever a gateway says beside that: nobody has judged what was asked.
        if let Some(away @ Failure::Away { .. }) = failure {
            return Err(away);
        }
        let body = body_within(response, ANSWER_BYTES).await?;
        let body = body.ok_or_else(|| Failure::away("answered more than a megabyte"))?;
        match serde_json::from_slice::<GraphQl>(&body) {
            // PostGraphile answers 400 for what it can't parse, with errors as ever.
            Ok(answer) if answer.data.is_some() || !answer.errors.is_empty() => Ok(answer),
            _ => Err(failure.unwrap_or_else(|| Failure::away("answered what is no GraphQL"))),
        }
    }
}

/// Where GraphQL is asked below a base, with or without its last slash.
fn graphql(base: &Url) -> Url {
    let mut url = base.clone();
    let path = format!("{}/graphql", base.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}
