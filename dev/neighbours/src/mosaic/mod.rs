//! A stand-in for Axinom Mosaic: the Billing Service's two GraphQL APIs, the identity service that gives tokens for them,
//! and the payment connector for Stripe whose place Dues takes.
//!
//! It is stateful and in memory. It refuses what the service's published schema forbids and what its descriptions say is
//! refused; where nothing is published the strict reading is taken, and the code says so.
//!
//! A request goes from `server` to `gateway` (form, faults, counts) and through one of three schemas: `identity`, and two
//! that `schema` makes from `tables`. Queries read through `query`, mutations write through `rules`. Whatever isn't GraphQL
//! goes to `control`, `pages` or `connector`.
//!
//! It shares no code with the service that it is used to test, so that both cannot agree on a mistake.

mod connections;
mod connector;
mod control;
mod document;
mod faults;
mod gateway;
mod identity;
mod mutations;
mod pages;
mod plan_tables;
mod positions;
mod query;
mod rules;
mod schema;
mod seeds;
mod server;
mod stripe;
mod subscription_tables;
mod tables;
mod tokens;
mod values;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_graphql::dynamic::SchemaError;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use seeds::{PaymentPlan, Plan, Price, SubscriptionPlan};
use tables::Audience;
use values::write_moment;
use world::{App, World, now};

/// The tenant in every token, and in the paths of the key sets.
pub const TENANT_ID: &str = "7a1c5f0e-2f5b-4c1e-9d57-0c6a4e0b8f11";
/// The environment in every token, and in the paths of the key sets.
pub const ENVIRONMENT_ID: &str = "c2d3a9b4-6e1f-4a77-8b0a-51f0d2c7e922";
/// The application in every member's token, and in the path of the user service's key set.
pub const APPLICATION_ID: &str = "e9b6d1a8-3c40-4f6d-a2c5-7b8d9e0f1a33";
/// Issuer of members' tokens.
pub const USER_ISSUER: &str = "ax-user-service";
/// Issuer of service accounts' tokens.
pub const SERVICE_ISSUER: &str = "ax-id-service";

/// How to start a stand-in.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Id of the one service account.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// What it may do at the Billing Service.
    pub permissions: Vec<String>,
    /// Key of the one custom payment provider.
    pub provider_key: String,
    /// How long an access token of the service account is valid, in seconds.
    pub token_seconds: u64,
    /// Plans to start with.
    pub plans: Vec<Plan>,
    /// Where a browser goes after a purchase; also set by `setSettings`.
    pub success_redirect: Option<String>,
    /// Where a browser goes after a purchase was given up.
    pub cancel_redirect: Option<String>,
    /// Where a browser goes after a purchase has failed.
    pub error_redirect: Option<String>,
    /// Serves the routes of the payment connector too.
    pub connector: Option<Connector>,
}

/// How the payment connector reaches Stripe and is reached.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Stripe's API without `/v1`, for example the sandbox's address.
    pub stripe_base: String,
    /// Secret key.
    pub stripe_key: String,
    /// Where browsers reach its routes, with a slash at the end, if that isn't `{url}/connector/`.
    pub public_base: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            client_id: "neighbour-service-account".to_owned(),
            client_secret: "neighbour-secret".to_owned(),
            permissions: vec!["SUBSCRIPTIONS_EDIT".to_owned(), "SETTINGS_VIEW".to_owned()],
            provider_key: "CPC_STRIPE".to_owned(),
            token_seconds: 600,
            plans: vec![],
            success_redirect: None,
            cancel_redirect: None,
            error_redirect: None,
            connector: None,
        }
    }
}

/// Why a stand-in does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached from other machines.
    #[error("{0} can be reached from other machines, and the control API asks nobody who she is")]
    Remote(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A plan to start with is not what it should be.
    #[error("a plan is wrong: {0}")]
    Plan(String),
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// The description of the tables makes no schema.
    #[error("the GraphQL schema is wrong: {0}")]
    Schema(#[from] SchemaError),
}

/// A running stand-in; it stops when it is dropped.
#[derive(Debug)]
pub struct Mosaic {
    url: String,
    task: JoinHandle<()>,
}

impl Mosaic {
    /// Starts a stand-in.
    ///
    /// # Errors
    /// When the address or a plan cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        if !options.listen.ip().is_loopback() {
            return Err(StartError::Remote(options.listen));
        }
        let failed = |error| StartError::Listen(options.listen, error);
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let world = first_world(&options)?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(StartError::Client)?;
        let app = Arc::new(App::new(world, options, url.clone(), client));
        let schemas = gateway::Schemas {
            identity: identity::build(&app)?,
            management: schema::build(&app, Audience::Management)?,
            billing: schema::build(&app, Audience::EndUser)?,
        };
        let mut routes = pages::router().merge(control::router());
        if app.options.connector.is_some() {
            routes = routes.merge(connector::router());
        }
        let routes = routes.with_state(Arc::clone(&app));
        let task = tokio::spawn(server::run(app, schemas, listener, routes));
        Ok(Self { url, task })
    }

    /// Where it is reached, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Mosaic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a stand-in of these options begins with.
fn first_world(options: &Options) -> Result<World, StartError> {
    let mut world = World::default();
    let at = write_moment(now());
    let settings = json!({
        "successRedirect": options.success_redirect, "cancelRedirect": options.cancel_redirect,
        "errorRedirect": options.error_redirect, "createdDate": at, "updatedDate": at,
    });
    world.settings = settings.as_object().cloned().unwrap_or_default();
    let provider = json!({"key": options.provider_key, "title": "Stripe"});
    world.insert("PaymentProvider", &provider);
    for plan in &options.plans {
        seeds::add_plan(&mut world, &options.provider_key, plan).map_err(StartError::Plan)?;
    }
    Ok(world)
}
