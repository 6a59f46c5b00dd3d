//! A running sandbox: the world behind its lock, and the tasks around it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::json::Json;
use crate::world::World;
use crate::{Options, StartError, Webhook, engine, ids, seed, sender, server};

/// What all tasks share.
pub(crate) struct App {
    world: Mutex<World>,
    pub secret_key: String,
    /// Wakes the webhook sender.
    pub wake: Notify,
    deliveries: watch::Sender<u64>,
    pub client: reqwest::Client,
    pub stop: CancellationToken,
    state: Option<PathBuf>,
    /// What a reset starts from again.
    start: StartingPoint,
}

struct StartingPoint {
    catalogue: Option<String>,
    webhook: Option<Webhook>,
}

impl App {
    /// The world, locked. Whoever panicked with the lock has left whole objects behind.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something in the world, after whatever was due before it, and sends what it caused.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        engine::clock::run_due(&mut world);
        let result = act(&mut world);
        drop(world);
        self.wake.notify_one();
        result
    }

    /// Tells those who wait that a delivery was answered.
    pub(crate) fn deliveries_changed(&self) {
        self.deliveries.send_modify(|count| *count += 1);
        self.wake.notify_one();
    }

    /// Waits until the world is as wanted, looking again after each delivery; false when time is up.
    pub(crate) async fn wait_for(
        &self,
        timeout: Duration,
        wanted: impl Fn(&World) -> bool,
    ) -> bool {
        let mut changes = self.deliveries.subscribe();
        let deadline = Instant::now() + timeout;
        loop {
            if wanted(&self.world()) {
                return true;
            }
            tokio::select! {
                _ = changes.changed() => {}
                // A retry that falls due changes what is wanted without an answer.
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                () = self.stop.cancelled() => return false,
            }
            if Instant::now() >= deadline {
                return wanted(&self.world());
            }
        }
    }

    /// Forgets everything but the catalogue and the endpoint of the start.
    pub(crate) fn reset(&self) -> Result<(), StartError> {
        let mut world = self.world();
        let journal = std::mem::take(&mut world.journal);
        let base_url = std::mem::take(&mut world.base_url);
        *world = World {
            journal,
            base_url,
            dirty: true,
            ..World::default()
        };
        world.journal.clear();
        self.start.apply(&mut world)
    }

    fn save(&self) {
        let Some(path) = &self.state else { return };
        let text = {
            let mut world = self.world();
            if !std::mem::take(&mut world.dirty) {
                return;
            }
            serde_json::to_string(&*world)
        };
        let written = text
            .map_err(io::Error::from)
            .and_then(|text| write_atomically(path, &text));
        if let Err(error) = written {
            eprintln!("stripe-sandbox: the state cannot be saved: {error}");
        }
    }
}

impl StartingPoint {
    fn apply(&self, world: &mut World) -> Result<(), StartError> {
        if let Some(text) = &self.catalogue {
            seed::apply(world, text).map_err(StartError::Catalogue)?;
        }
        if let Some(webhook) = &self.webhook {
            seed_webhook(world, webhook);
        }
        Ok(())
    }
}

/// Adds the endpoint of the options, or moves the one of the last start to where it is now.
fn seed_webhook(world: &mut World, webhook: &Webhook) {
    let is_seeded =
        |row: &Value| world.store.hidden(row.text("id"), "seeded") == &Value::Bool(true);
    let known = world.store.ids_where("webhook_endpoint", |row| {
        is_seeded(row) && !row.flag("deleted")
    });
    let id = known.into_iter().next().unwrap_or_else(|| {
        let id = ids::new("we");
        world.store.insert(json!({
            "id": id, "object": "webhook_endpoint", "api_version": null, "application": null, "created": world.now(),
            "description": "From the sandbox's options", "enabled_events": ["*"], "livemode": false, "metadata": {},
            "status": "enabled", "url": webhook.url,
        }));
        world.store.hide(&id, "seeded", true);
        id
    });
    world.change(&id, |endpoint| endpoint.set("url", webhook.url.as_str()));
    world.store.hide(&id, "secrets", webhook.secrets.clone());
}

/// Lets the links of loaded objects lead here: the port may be another one now.
fn adopt_links(world: &mut World, url: &str) {
    url.clone_into(&mut world.base_url);
    for (kind, field, path) in [
        ("checkout.session", "url", "c/pay"),
        ("billing_portal.session", "url", "p/session"),
        ("charge", "receipt_url", "receipts"),
    ] {
        for id in world.store.ids_where(kind, |row| row.has(field)) {
            world.change(&id, |object| {
                object.set(field, format!("{url}/{path}/{id}"));
            });
        }
    }
    for id in world
        .store
        .ids_where("invoice", |row| row.has("hosted_invoice_url"))
    {
        world.change(&id, |object| {
            object.set("hosted_invoice_url", format!("{url}/i/{id}"));
            object.set("invoice_pdf", format!("{url}/i/{id}/pdf"));
        });
    }
}

fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}

fn load(path: Option<&Path>) -> Result<World, StartError> {
    let Some(path) = path else {
        return Ok(World::default());
    };
    let failed = |error: io::Error| StartError::State(path.to_owned(), error);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(World::default()),
        Err(error) => return Err(failed(error)),
    };
    let mut world: World = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
    world.store.reindex();
    world.idempotency.retain(|_, stored| stored.is_answered());
    world.deliveries.reindex();
    Ok(world)
}

/// A running sandbox; stop it with [`Sandbox::stop`], or drop it to stop it without saving.
pub struct Sandbox {
    app: Arc<App>,
    url: String,
    tasks: JoinSet<()>,
}

impl Sandbox {
    /// Starts a sandbox.
    ///
    /// # Errors
    /// When the address, the key or one of the files cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        if is_live(&options.secret_key) {
            return Err(StartError::LiveKey);
        }
        if !options.listen.ip().is_loopback() && !options.allow_remote {
            return Err(StartError::Remote(options.listen));
        }
        let mut world = load(options.state.as_deref())?;
        let journal = options
            .journal
            .clone()
            .or_else(Journal::file_from_environment);
        world.journal = Journal::open(journal.as_deref())
            .map_err(|error| StartError::Journal(journal.unwrap_or_default(), error))?;
        let catalogue = options
            .catalogue
            .map(|path| match std::fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                Err(error) => Err(StartError::CatalogueFile(path, error)),
            });
        let start = StartingPoint {
            catalogue: catalogue.transpose()?,
            webhook: options.webhook,
        };
        start.apply(&mut world)?;
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.map_err(|error| StartError::Listen(options.listen, error))?;
        let address = listener
            .local_addr()
            .map_err(|error| StartError::Listen(options.listen, error))?;
        let url = format!("http://{address}");
        let public_url = options.public_url.as_deref().unwrap_or(&url);
        adopt_links(&mut world, public_url.trim_end_matches('/'));
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        let app = Arc::new(App {
            world: Mutex::new(world),
            secret_key: options.secret_key,
            wake: Notify::new(),
            deliveries: watch::Sender::new(0),
            client: client.map_err(StartError::Client)?,
            stop: CancellationToken::new(),
            state: options.state,
            start,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(server::run(Arc::clone(&app), listener));
        tasks.spawn(sender::run(Arc::clone(&app)));
        tasks.spawn(tick(Arc::clone(&app)));
        Ok(Self { app, url, tasks })
    }

    /// Where it is reached, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Stops it and saves its state.
    pub async fn stop(mut self) {
        self.app.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.app.save();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.app.stop.cancel();
    }
}

/// Whether a key moves real money.
pub(crate) fn is_live(key: &str) -> bool {
    ["sk_live_", "rk_live_", "pk_live_"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

/// Does what falls due as time passes, and saves at most once a second.
async fn tick(app: Arc<App>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = app.stop.cancelled() => return,
        }
        app.with(|_| ());
        app.save();
    }
}

/// How many deliveries are open and failed, in the words of the control API.
pub(crate) fn delivery_counts(world: &World) -> Value {
    let counts = world.count_deliveries();
    json!({"settled": counts.busy == 0, "pending": counts.pending, "failed": counts.failed})
}
