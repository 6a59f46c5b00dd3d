//! Followers are told of each change in order from their own place, whatever happens to them, to us or to the database.

mod commands;
mod discourse;
mod mosaic;
mod restore;
mod trouble;
mod webhook;

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::TestApp;
use crate::harness::program::{Ended, File, run};
use crate::harness::receiver::{Got, OTHER_SECRET, Receiver, SECRET};
use crate::harness::usual_variables;

/// A service with followers, their file, and a receiver.
struct Followed {
    app: TestApp,
    receiver: Receiver,
    file: File,
}

/// The file that names one follower, `player`.
fn naming(receiver: &Receiver, more: &str) -> String {
    naming_one("player", receiver, more)
}

/// The file that names one follower.
fn naming_one(name: &str, receiver: &Receiver, more: &str) -> String {
    format!(
        "[[follower]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret_env = \"PLAYER_SECRET\"\n{more}",
        receiver.url
    )
}

impl Followed {
    /// A service whose only follower has these lines more.
    async fn start(more: &str) -> Self {
        Self::named("player", more).await
    }

    /// The same by another name: the metrics of all tests' services are one.
    async fn named(name: &str, more: &str) -> Self {
        let receiver = Receiver::start().await;
        let file = File::new("followers.toml", &naming_one(name, &receiver, more));
        let app = TestApp::with()
            .setting("DUES__FOLLOWERS__FILE", file.path().display())
            .setting("PLAYER_SECRET", SECRET)
            .setting("PLAYER_OLD_SECRET", OTHER_SECRET)
            .start()
            .await;
        let this = Self {
            app,
            receiver,
            file,
        };
        this.place(name, async |_| true).await;
        this
    }

    /// Settings of the service, for a command beside it.
    fn variables(&self) -> HashMap<String, String> {
        let url = self.app.settings.database.url.expose();
        let mut variables = usual_variables(url, self.app.address, self.app.sandbox.url());
        for (name, value) in [
            ("DUES_ENV", "development"),
            ("PLAYER_SECRET", SECRET),
            ("PLAYER_OLD_SECRET", OTHER_SECRET),
            (
                "DUES__FOLLOWERS__FILE",
                &self.file.path().display().to_string(),
            ),
            // The sandbox's clock was moved, and theirs with it.
            ("DUES__CLOCK__FOLLOW", self.app.sandbox.url()),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
        variables
    }

    /// `dues followers …`
    async fn command(&self, arguments: &[&str]) -> Ended {
        let arguments = [&["followers"], arguments].concat();
        run(&arguments, &self.variables()).await
    }

    /// The row of a follower, as soon as it is so.
    async fn place(&self, name: &str, is_so: impl AsyncFn(&Value) -> bool) -> Value {
        self.app
            .until("a follower's place is so", async || {
                let row: Option<Value> =
                    sqlx::query_scalar("SELECT to_jsonb(f) FROM followers f WHERE name = $1")
                        .bind(name)
                        .fetch_optional(&self.app.pool)
                        .await
                        .expect("the table is there");
                match row {
                    Some(row) if is_so(&row).await => Some(row),
                    _ => None,
                }
            })
            .await
    }

    /// Waits until a follower has been told everything, but for members whose rows wait.
    async fn told(&self, name: &str) -> Value {
        let head: i64 = sqlx::query_scalar("SELECT position FROM feed_head")
            .fetch_one(&self.app.pool)
            .await
            .expect("the table is there");
        self.place(name, async |row| row["position"].as_i64() >= Some(head))
            .await
    }

    /// Members whose rows wait, with what waits.
    async fn parked(&self) -> Vec<(String, Vec<i64>)> {
        sqlx::query_as("SELECT user_id, positions FROM followers_parked ORDER BY user_id")
            .fetch_all(&self.app.pool)
            .await
            .expect("the table is there")
    }

    /// The feed, as rows have it: position and id.
    async fn feed(&self) -> Vec<(i64, String)> {
        sqlx::query_as("SELECT position, id::text FROM feed ORDER BY position")
            .fetch_all(&self.app.pool)
            .await
            .expect("the table is there")
    }

    /// Fails unless all of the feed was taken, each row once, each member's in order.
    async fn assert_all_taken_once(&self) {
        let taken = self.receiver.taken();
        let mut positions: Vec<(i64, String)> = taken.iter().map(place_of).collect();
        positions.sort();
        assert_eq!(positions, self.feed().await);
        assert_in_order(&taken);
    }
}

fn place_of(got: &Got) -> (i64, String) {
    let position = got.body["position"].as_i64().expect("a position");
    (position, got.id.clone())
}

/// The first time that each row is taken, each member's rows are in order.
pub(crate) fn assert_in_order(taken: &[Got]) {
    let mut last: HashMap<String, i64> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    for got in taken {
        if !seen.insert(got.id.clone()) {
            continue;
        }
        let user = got.body["user_id"].as_str().expect("a member").to_owned();
        let (position, _) = place_of(got);
        let before = last.insert(user, position);
        assert!(before < Some(position), "{before:?} before {position}");
    }
}
