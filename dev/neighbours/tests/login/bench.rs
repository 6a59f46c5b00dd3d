//! A login, and a client that does what a browser and the page in it would.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use neighbours::login::{Client, Login, Options};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use url::Url;

pub(crate) const BACK: &str = "http://127.0.0.1:8080/console/back";
pub(crate) const ORIGIN: &str = "http://127.0.0.1:8080";
pub(crate) const API: &str = "https://dues.example/v1/operator";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(crate) struct Bench {
    pub login: Login,
    pub http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub(crate) async fn of(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// The body, once the status is as expected.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default()
    }

    /// The error of a refusal, which nobody may keep.
    pub(crate) fn error(&self) -> String {
        assert_eq!(self.header("cache-control"), "no-store");
        let body: Value = serde_json::from_str(&self.text).unwrap();
        body["error"].as_str().unwrap_or_default().to_owned()
    }

    /// What a redirect to the client brings.
    pub(crate) fn brought(&self) -> BTreeMap<String, String> {
        assert_eq!(self.status, 303, "{}", self.text);
        let to = self.headers[LOCATION].to_str().unwrap();
        assert!(to.starts_with(BACK), "{to}");
        Url::parse(to).unwrap().query_pairs().into_owned().collect()
    }
}

/// Two clients, of which one is the console.
pub(crate) fn options() -> Options {
    let console = Client {
        id: "console".to_owned(),
        redirect_uris: vec![BACK.to_owned()],
        post_logout_redirect_uris: vec![format!("{ORIGIN}/console")],
        audiences: vec![API.to_owned(), "https://other.example".to_owned()],
        scopes: vec!["email".to_owned()],
        offline_access: true,
    };
    let other = Client {
        id: "other".to_owned(),
        redirect_uris: vec!["http://127.0.0.1:9090/".to_owned()],
        audiences: vec!["https://other.example".to_owned()],
        ..Client::default()
    };
    Options {
        clients: vec![console, other],
        ..Options::default()
    }
}

/// A good request of the console; a change of `""` takes a parameter out.
pub(crate) fn asked(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let good = [
        ("response_type", "code"),
        ("client_id", "console"),
        ("redirect_uri", BACK),
        ("scope", "openid profile offline_access"),
        ("state", "af0ifjsldkj"),
        ("nonce", "n-0S6_WzA2Mj"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    changed(&good, changes)
}

fn changed(good: &[(&str, &str)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: BTreeMap<&str, &str> = good.iter().copied().collect();
    all.extend(changes.iter().copied());
    all.retain(|_, value| !value.is_empty());
    let owned = all.into_iter();
    owned
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let http = reqwest::Client::builder().no_proxy();
        let http = http.redirect(reqwest::redirect::Policy::none());
        Self {
            login: Login::start(options).await.unwrap(),
            http: http.timeout(Duration::from_secs(20)).build().unwrap(),
        }
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.login.url())
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.http.get(self.at(path))).await
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Reply {
        Reply::of(request.send().await.unwrap()).await
    }

    pub(crate) fn authorize(&self, asked: &[(String, String)]) -> RequestBuilder {
        self.http.get(self.at("/authorize")).query(asked)
    }

    pub(crate) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.send(self.posted(path, fields)).await
    }

    pub(crate) fn posted(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs(fields).finish();
        let request = self.http.post(self.at(path)).body(body);
        request.header("content-type", "application/x-www-form-urlencoded")
    }

    /// The page that asks who it is, answered by a button.
    pub(crate) async fn choose(&self, asked: &[(String, String)], button: (&str, &str)) -> Reply {
        let page = self.send(self.authorize(asked)).await;
        assert_eq!(page.status, 200, "{page:?}");
        let (_, rest) = page.text.split_once("name=\"request\" value=\"").unwrap();
        let id = rest.split('"').next().unwrap();
        self.form("/authorize/choose", &[("request", id), button])
            .await
    }

    /// The code for somebody.
    pub(crate) async fn code(&self, sub: &str, changes: &[(&str, &str)]) -> String {
        let brought = self.choose(&asked(changes), ("sub", sub)).await.brought();
        brought["code"].clone()
    }

    /// The exchange of a code, as the console would, with changes.
    pub(crate) async fn exchange(&self, code: &str, changes: &[(&str, &str)]) -> Reply {
        let good = [
            ("grant_type", "authorization_code"),
            ("client_id", "console"),
            ("code", code),
            ("redirect_uri", BACK),
            ("code_verifier", VERIFIER),
        ];
        self.pairs("/token", &changed(&good, changes)).await
    }

    pub(crate) async fn refresh(&self, token: &str, changes: &[(&str, &str)]) -> Reply {
        let good = [
            ("grant_type", "refresh_token"),
            ("client_id", "console"),
            ("refresh_token", token),
        ];
        self.pairs("/token", &changed(&good, changes)).await
    }

    async fn pairs(&self, path: &str, pairs: &[(String, String)]) -> Reply {
        let pairs = pairs.iter();
        let pairs: Vec<_> = pairs.map(|(name, value)| (&**name, &**value)).collect();
        self.form(path, &pairs).await
    }

    /// All tokens of somebody who signs in.
    pub(crate) async fn tokens(&self, sub: &str) -> Value {
        let code = self.code(sub, &[]).await;
        self.exchange(&code, &[]).await.json(200)
    }

    pub(crate) async fn state(&self) -> Value {
        self.get("/_login/state").await.json(200)
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> Reply {
        let path = self.at(&format!("/_login/{path}"));
        self.send(self.http.post(path).json(&body)).await
    }

    /// Header and claims of a token whose signature fits the key set.
    pub(crate) async fn read(&self, token: &Value) -> (Value, Value) {
        let keys = self.get("/jwks").await.json(200);
        verified(&keys, token.as_str().unwrap()).expect("the signature fits")
    }
}

/// Header and claims of a token, if a key of the set has signed it.
pub(crate) fn verified(keys: &Value, token: &str) -> Option<(Value, Value)> {
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let (content, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = content.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    let keys = keys["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"])?;
    assert_eq!((&key["alg"], &key["use"]), (&header["alg"], &json!("sig")));
    let part = |name: &str| decode(key[name].as_str().unwrap());
    let (content, signature) = (content.as_bytes(), decode(signature));
    let fits = if header["alg"] == "ES256" {
        let point = [vec![4], part("x"), part("y")].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(content, &signature)
    } else {
        let (n, e) = (part("n"), part("e"));
        let key = PublicKeyComponents { n, e };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, content, &signature)
    };
    fits.ok()?;
    Some((header, serde_json::from_slice(&decode(claims)).unwrap()))
}
