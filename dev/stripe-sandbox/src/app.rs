//! What all tasks share: the world behind its lock, and the ways to change it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::portal;
use crate::engine::{self, seed};
use crate::spec::objects;
use crate::world::json::Json;
use crate::world::{API_VERSION, World, ids};
use crate::{StartError, Webhook};

/// What all tasks share.
pub(crate) struct App {
    pub world: Mutex<World>,
    pub secret_key: String,
    /// Wakes the webhook sender.
    pub wake: Notify,
    pub deliveries: watch::Sender<u64>,
    pub client: reqwest::Client,
    pub stop: CancellationToken,
    /// Where the state is saved.
    pub state: Option<PathBuf>,
    /// Nothing is saved for now.
    pub in_memory: AtomicBool,
    /// What a reset starts from again.
    pub start: StartingPoint,
}

/// What every sandbox of these options begins with.
pub(crate) struct StartingPoint {
    pub catalogue: Option<String>,
    pub webhook: Option<Webhook>,
    pub clock_start: Option<i64>,
    pub set_up: bool,
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
        hold_events(&mut world);
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

    /// Saves the state where there is a file for it and something has changed.
    pub(crate) fn save(&self) {
        let Some(path) = &self.state else { return };
        if self.in_memory.load(Ordering::Relaxed) {
            return;
        }
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

/// Holds new events against Stripe's description, in debug builds.
fn hold_events(world: &mut World) {
    if !cfg!(debug_assertions) {
        return;
    }
    let events = world.store.all("event");
    let mut new = events.iter().skip(world.events_held);
    let found = new.find_map(objects::wrong_event);
    world.events_held = events.len();
    if let Some(sentence) = found {
        eprintln!("stripe-sandbox: {sentence}");
        world.wrong.get_or_insert(sentence);
    }
}

impl StartingPoint {
    /// Adds what the options name and is not there yet.
    pub(crate) fn apply(&self, world: &mut World) -> Result<(), StartError> {
        // What is there has its times already, and would then be of the future.
        if let Some(start) = self.clock_start
            && world.store.is_empty()
        {
            world.clock.begin_at(start);
        }
        if let Some(text) = &self.catalogue {
            seed::apply(world, text).map_err(StartError::Catalogue)?;
        }
        if self.set_up {
            portal::ensure_default(world)
                .map_err(|error| StartError::Portal(error.message().to_owned()))?;
        }
        if let Some(webhook) = &self.webhook {
            let id = seed_webhook(world, webhook);
            if self.set_up {
                world.change(&id, |endpoint| endpoint.set("api_version", API_VERSION));
            }
        }
        Ok(())
    }
}

/// Adds the endpoint of the options, or moves the one of the last start to where it is now.
fn seed_webhook(world: &mut World, webhook: &Webhook) -> String {
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
    id
}

fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}
