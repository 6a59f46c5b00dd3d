//! What a test stands on: `TestApp::start()` gives it a service, a database and a sandbox of its own.
//!
//! A test reads like the requests that it makes:
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let alice = app.member("alice");
//! app.post("/v1/subscriptions").bearer(&alice).json(json!({"plan": "share"})).send().await.assert_status(201);
//! ```
//!
//! A step that fails panics with what was asked and what came back: tests need no error handling of their own.

mod call;
mod described;
pub(crate) mod issuer;
pub(crate) mod lifecycle;
pub(crate) mod mosaic;
pub(crate) mod own_affairs;
pub(crate) mod program;
pub(crate) mod purchase;
pub(crate) mod receiver;
pub(crate) mod replica;
mod sandbox;
mod staff;

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dev_postgres::TestDatabase;
use dues::app::App;
use dues::auth::mint_development_token;
use dues::clock::Clock;
use dues::services::Services;
use dues::settings::{Environment, Settings};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use self::call::{Answer, Call};
pub(crate) use self::sandbox::TestSandbox;

/// The secret with which the sandbox signs webhooks in tests.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_test_0123456789";
/// The secret with which tests sign tokens.
pub(crate) const TOKEN_SECRET: &str = "a secret of tests, thirty-two bytes or more";

/// A running service with everything it needs, all its own; stops with the test.
pub(crate) struct TestApp {
    /// Where the service listens.
    pub(crate) address: SocketAddr,
    /// Stripe's stand-in.
    pub(crate) sandbox: TestSandbox,
    /// The service's database, to look at its rows.
    pub(crate) pool: PgPool,
    /// What the service was started with.
    pub(crate) settings: Settings,
    /// The service's clock.
    pub(crate) clock: Clock,
    /// Its use cases, for what nobody can ask over HTTP.
    pub(crate) services: Arc<Services>,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
    // Last: it goes when everything that uses it is gone.
    database: TestDatabase,
}

/// How a [`TestApp`] is to differ from the usual one.
#[derive(Default)]
pub(crate) struct Builder {
    variables: HashMap<String, String>,
    follows_clock: bool,
    catalogue: Option<PathBuf>,
}

impl TestApp {
    /// The usual service.
    pub(crate) async fn start() -> Self {
        Self::with().start().await
    }

    /// A service with other settings: `TestApp::with().setting("DUES__WORKER__INTERVAL_MS", 50).start().await`.
    pub(crate) fn with() -> Builder {
        Builder::default()
    }

    /// A request with this method to this path.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> Call {
        Call::new(
            &self.client,
            method,
            &format!("http://{}{path}", self.address),
        )
    }

    /// `GET path`.
    pub(crate) fn get(&self, path: &str) -> Call {
        self.request(reqwest::Method::GET, path)
    }

    /// `POST path`.
    pub(crate) fn post(&self, path: &str) -> Call {
        self.request(reqwest::Method::POST, path)
    }

    /// A member's token, good for an hour.
    pub(crate) fn member(&self, user: &str) -> String {
        mint_development_token(
            &self.settings,
            &self.clock,
            user,
            &[],
            Duration::from_hours(1),
        )
        .expect("tests run in development, with a secret")
    }

    /// Ends the service and waits until it has ended, as a signal to stop would.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.await.expect("the service ends in order");
        }
    }

    /// Makes the database unreachable for the service, as if its server were gone.
    pub(crate) async fn lose_database(&self) {
        self.pool.close().await;
        let admin_url = self
            .database
            .url()
            .replace(self.database.name(), "postgres");
        let admin = PgPool::connect(&admin_url)
            .await
            .expect("the server is there");
        let name = self.database.name();
        for statement in [
            format!("ALTER DATABASE \"{name}\" WITH ALLOW_CONNECTIONS false"),
            format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(&admin)
                .await
                .expect("the server obeys");
        }
        admin.close().await;
    }
}

impl Builder {
    /// Sets `DUES__SECTION__KEY`; an empty value takes the harness's own away.
    pub(crate) fn setting(mut self, name: &str, value: impl Display) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// Sells something else than the shipped plans: the sandbox's catalogue and the plans, as their files have them.
    pub(crate) fn selling(mut self, catalogue: &str, plans: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = format!("dues-selling-{}-{count}", std::process::id());
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(place);
        std::fs::create_dir_all(&place).expect("a directory for temporary files");
        let write = |name: &str, text: &str| {
            let path = place.join(name);
            std::fs::write(&path, text).expect("a place for a file");
            path
        };
        self.catalogue = Some(write("catalogue.toml", catalogue));
        self.setting("DUES__PLANS__FILE", write("plans.toml", plans).display())
    }

    /// Lets the service's clock follow the sandbox's, as in the demo.
    pub(crate) fn following_the_sandbox(mut self) -> Self {
        self.follows_clock = true;
        self
    }

    /// Sells what `tests/it/cooperative` says: a plan for everything that a plan can say.
    pub(crate) fn cooperative(mut self) -> Self {
        self.catalogue = Some(in_project("tests/it/cooperative/catalogue.toml"));
        let plans = in_project("tests/it/cooperative/plans.toml");
        self.setting("DUES__PLANS__FILE", plans.display())
    }

    /// Starts it.
    pub(crate) async fn start(self) -> TestApp {
        // The port is taken first: the sandbox must know where to send webhooks, and the service where the sandbox is.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let sandbox = match &self.catalogue {
            Some(catalogue) => TestSandbox::selling(&catalogue.to_string_lossy(), address).await,
            None => TestSandbox::start(address).await,
        };
        let database = migrated_database().await;
        let mut variables = usual_variables(database.url(), address, sandbox.url());
        if self.follows_clock {
            variables.insert("DUES__CLOCK__FOLLOW".to_owned(), sandbox.url().to_owned());
        }
        variables.extend(self.variables);
        let settings = Settings::load(Environment::Development, None, variables)
            .unwrap_or_else(|error| panic!("the settings of the test are wrong:\n{error}"));
        let app = App::build_on(listener, settings.clone())
            .await
            .unwrap_or_else(|error| panic!("the service does not start: {error}"));
        let clock = app.clock();
        let services = app.services();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async move {
            // Also when the test is over and the sender is gone.
            let _ = stopped.await;
        }));
        TestApp {
            address,
            sandbox,
            pool: PgPool::connect_lazy(database.url()).expect("the URL is good"),
            settings,
            clock,
            services,
            client: client(),
            stop: Some(stop),
            running: Some(running),
            database,
        }
    }
}

/// The settings that every test has unless it says otherwise, as environment variables.
pub(crate) fn usual_variables(
    database_url: &str,
    address: SocketAddr,
    sandbox_url: &str,
) -> HashMap<String, String> {
    let variables = [
        ("DUES__HTTP__PUBLIC_URL", format!("http://{address}")),
        ("DUES__HTTP__SHUTDOWN_SECONDS", "5".to_owned()),
        ("DUES__HTTP__DRAIN_SECONDS", "0".to_owned()),
        // Tests make in seconds what a member does in a month.
        (
            "DUES__HTTP__MEMBER_REQUESTS_PER_MINUTE",
            "100000".to_owned(),
        ),
        // It begins after a pause: no test lasts so long.
        ("DUES__WORKER__COMPARE_INTERVAL_SECONDS", "86400".to_owned()),
        ("DUES__DATABASE__URL", database_url.to_owned()),
        ("DUES__DATABASE__MAX_CONNECTIONS", "5".to_owned()),
        ("DUES__STRIPE__SECRET_KEY", "sk_test_sandbox".to_owned()),
        ("DUES__STRIPE__API_BASE", sandbox_url.to_owned()),
        ("DUES__STRIPE__WEBHOOK_SECRETS", WEBHOOK_SECRET.to_owned()),
        ("DUES__AUTH__HS256_SECRET", TOKEN_SECRET.to_owned()),
        ("DUES__AUTH__ISSUER", "https://login.example.org".to_owned()),
        ("DUES__AUTH__AUDIENCE", "dues".to_owned()),
        (
            "DUES__CLIENT__SUCCESS_URL",
            "https://app.example.org/thanks?from=dues".to_owned(),
        ),
        (
            "DUES__CLIENT__CANCEL_URL",
            "https://app.example.org/cancelled".to_owned(),
        ),
        (
            "DUES__CLIENT__ERROR_URL",
            "https://app.example.org/problem".to_owned(),
        ),
        (
            "DUES__CLIENT__ALLOWED_ORIGINS",
            "https://app.example.org".to_owned(),
        ),
        (
            "DUES__PLANS__FILE",
            in_project("config/plans.toml").display().to_string(),
        ),
    ];
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A database with the current schema, cloned from a template that the first test makes.
pub(crate) async fn migrated_database() -> TestDatabase {
    let key = migrations_key();
    TestDatabase::create(&key, |url| async move {
        let variables = usual_variables(
            &url,
            SocketAddr::from(([127, 0, 0, 1], 1)),
            "http://127.0.0.1:1",
        );
        let settings = Settings::load(Environment::Development, None, variables)?;
        dues::app::migrate(&settings.database).await?;
        Ok(())
    })
    .await
    .unwrap_or_else(|error| panic!("no test database: {error}"))
}

/// A database without any schema.
pub(crate) async fn empty_database() -> TestDatabase {
    TestDatabase::create("empty", |_| async { Ok(()) })
        .await
        .unwrap_or_else(|error| panic!("no test database: {error}"))
}

/// A checksum of the migrations: another one, another template.
fn migrations_key() -> String {
    let directory = in_project("migrations");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        std::fs::read(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
            .hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// A path in the project, wherever the test runs.
pub(crate) fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A client that shows redirects instead of following them.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client without special wishes")
}
