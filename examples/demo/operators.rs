//! Those who sit at the console, and with `--login` where they sign in: a stand-in for an organisation's own login.

use anyhow::Context;
use neighbours::login::{Client, Login, Options, Person};
use tokio::net::TcpListener;

use crate::Urls;

/// Her id.
type User = &'static str;

/// Who, what she is called, with which role, and what she may.
pub(crate) const OPERATORS: [(User, &str, &str, &str); 4] = [
    (
        "operator-grace",
        "Grace",
        "dues:operator",
        "may do everything",
    ),
    (
        "operator-ruth",
        "Ruth",
        "dues:reader",
        "sees everything but names",
    ),
    (
        "operator-sami",
        "Sami",
        "dues:support",
        "acts on one member at a time, and sees names",
    ),
    (
        "operator-tilda",
        "Tilda",
        "dues:treasurer",
        "moves money: refunds, and what was paid elsewhere",
    ),
];

const CLIENT: &str = "dues-console";
const AUDIENCE: &str = "dues-operators";

/// What the service must know of that login.
pub(crate) fn settings(login: &str) -> [(&'static str, String); 5] {
    [
        ("CONSOLE__ISSUER", login.to_owned()),
        ("CONSOLE__JWKS_URL", format!("{login}/jwks")),
        ("CONSOLE__AUDIENCE", AUDIENCE.to_owned()),
        ("CONSOLE__CLIENT_ID", CLIENT.to_owned()),
        ("CONSOLE__SCOPE", "openid offline_access".to_owned()),
    ]
}

/// Starts it on a port that was taken for it; its clock is the sandbox's, as everybody's here.
pub(crate) async fn start(place: TcpListener, urls: &Urls) -> anyhow::Result<Login> {
    let console = format!("{}/console/", urls.service);
    let options = Options {
        listen: place.local_addr()?,
        clients: vec![Client {
            id: CLIENT.to_owned(),
            redirect_uris: vec![console.clone()],
            post_logout_redirect_uris: vec![console],
            audiences: vec![AUDIENCE.to_owned()],
            offline_access: true,
            ..Client::default()
        }],
        people: OPERATORS
            .iter()
            .map(|(user, name, role, _)| Person::new(user, name, &[*role]))
            .collect(),
        follow: Some(urls.sandbox.clone()),
        ..Options::default()
    };
    drop(place);
    Login::start(options)
        .await
        .context("the login does not start")
}
