//! A running sandbox: what was saved is loaded, the tasks are started and stopped.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, StartingPoint};
use crate::transport::{auth, server};
use crate::webhooks::sender;
use crate::world::World;
use crate::world::journal::Journal;
use crate::world::json::Json;
use crate::{Options, StartError, control, pages};

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
    world.forget_old_events();
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
        if auth::is_live(&options.secret_key) {
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
            clock_start: options.clock_start,
            set_up: options.set_up,
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
            in_memory: AtomicBool::new(false),
            start,
        });
        let rooms = pages::router(Arc::clone(&app)).merge(control::router(Arc::clone(&app)));
        let mut tasks = JoinSet::new();
        tasks.spawn(server::run(Arc::clone(&app), listener, rooms));
        tasks.spawn(sender::run(Arc::clone(&app)));
        tasks.spawn(tick(Arc::clone(&app)));
        Ok(Self { app, url, tasks })
    }

    /// Where it is reached, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Saves nothing until [`Self::save`]: for who makes a past that is worth keeping only when it is whole.
    pub fn keep_in_memory(&self) {
        self.app.in_memory.store(true, Ordering::Relaxed);
    }

    /// Saves its state now, without the events that the API no longer shows, and from now on again by itself.
    pub fn save(&self) {
        self.app.world().forget_old_events();
        self.app.in_memory.store(false, Ordering::Relaxed);
        self.app.save();
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
