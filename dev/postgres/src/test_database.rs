//! A database for one test, cloned from a template.

use std::error::Error as StdError;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::cluster::{Cluster, has_code, quote};
use crate::error::Error;
use crate::pid_file::is_alive;

const TEMPLATE: &str = "template_";
const TEST: &str = "test_";

/// A failed test's database stays this long.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// How many templates stay: those of the branches that one works on.
const TEMPLATES_KEPT: i64 = 5;

/// A database of its own, dropped with this handle unless the thread is panicking.
#[derive(Debug)]
pub struct TestDatabase {
    cluster: Cluster,
    name: String,
    url: String,
}

impl TestDatabase {
    /// Clones the template of this key, which `prepare` fills the first time, given its URL.
    ///
    /// The key stands for what `prepare` does: take the checksum of the migrations.
    pub async fn create<F, Fut>(key: &str, prepare: F) -> Result<Self, Error>
    where
        F: FnOnce(String) -> Fut,
        Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>>,
    {
        let cluster = Cluster::test().await?;
        let template = template_name(key);
        let name = next_name();
        let mut admin = cluster.admin().await?;
        if !clone(&mut admin, &name, &template).await? {
            make_template(&cluster, &mut admin, &template, prepare).await?;
            clone(&mut admin, &name, &template).await?;
        }
        // Nothing depends on a polite end of this session.
        drop(admin.close().await);
        let url = cluster.url(&name);
        Ok(Self { cluster, name, url })
    }

    /// The URL to connect to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!(
                "the database of the failed test is kept for a day: {}\n  \
                 look into it with: cargo run -p dev-postgres -- test psql '{}'",
                self.url, self.url
            );
        }
        let sql = if failed {
            format!("COMMENT ON DATABASE {} IS 'kept'", quote(&self.name))
        } else {
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(&self.name))
        };
        let cluster = self.cluster.clone();
        // Drop isn't async, and the test's own runtime may be at its end: a thread with another.
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            runtime.block_on(async {
                let mut admin = cluster.admin().await.map_err(|error| error.to_string())?;
                let result = sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await;
                result.map(drop).map_err(|error| error.to_string())
            })
        });
        match done.join() {
            Ok(Ok(())) => {}
            // What is left behind is swept when the server starts the next time.
            Ok(Err(said)) => eprintln!("could not clear away {}: {said}", self.name),
            Err(_) => eprintln!("could not clear away {}", self.name),
        }
    }
}

/// Drops what killed tests and changed migrations left behind, when a server starts.
pub(crate) async fn sweep(cluster: &Cluster) -> Result<(), Error> {
    let mut admin = cluster.admin().await?;
    let tests: Vec<(String, bool)> = sqlx::query_as(
        "SELECT datname, shobj_description(oid, 'pg_database') IS NOT NULL \
         FROM pg_database WHERE starts_with(datname, 'test_')",
    )
    .fetch_all(&mut admin)
    .await
    .map_err(Error::sql("list the databases"))?;
    for (name, kept) in tests {
        if is_stale(&name, kept) {
            drop_database(&mut admin, &name).await?;
        }
    }
    let templates: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database WHERE starts_with(datname, 'template_') \
         ORDER BY oid DESC OFFSET $1",
    )
    .bind(TEMPLATES_KEPT)
    .fetch_all(&mut admin)
    .await
    .map_err(Error::sql("list the templates"))?;
    for name in templates {
        drop_database(&mut admin, &name).await?;
    }
    Ok(())
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> Result<(), Error> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(name));
    let result = sqlx::query(AssertSqlSafe(sql)).execute(admin).await;
    result.map(drop).map_err(Error::sql("drop a database"))
}

/// Its test is gone, and it was not kept or not lately.
fn is_stale(name: &str, kept: bool) -> bool {
    let mut parts = name.trim_start_matches(TEST).split('_');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (Some(created), Some(process)) = (number(), number()) else {
        return false;
    };
    if kept {
        created + KEPT_FOR.as_secs() < now()
    } else {
        !u32::try_from(process).is_ok_and(is_alive)
    }
}

/// False if there is no such template.
async fn clone(admin: &mut PgConnection, name: &str, template: &str) -> Result<bool, Error> {
    // Nothing waits for a disk here, so that copying files takes half the time of logging them.
    let sql = format!(
        "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy",
        quote(name),
        quote(template)
    );
    match sqlx::query(AssertSqlSafe(sql)).execute(admin).await {
        Ok(_) => Ok(true),
        Err(error) if has_code(&error, "3D000") => Ok(false),
        Err(error) => Err(Error::sql("clone the template database")(error)),
    }
}

/// Fills a database and gives it the template's name when it is whole; once for all processes.
async fn make_template<F, Fut>(
    cluster: &Cluster,
    admin: &mut PgConnection,
    template: &str,
    prepare: F,
) -> Result<(), Error>
where
    F: FnOnce(String) -> Fut,
    Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>>,
{
    // Held until this session ends or unlocks; of a killed process, the server ends it.
    lock(admin, template).await?;
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(template)
            .fetch_one(&mut *admin)
            .await
            .map_err(Error::sql("look for the template database"))?;
    if !exists {
        let unfinished = format!("unfinished_{template}");
        drop_database(admin, &unfinished).await?;
        cluster.ensure_database(&unfinished).await?;
        prepare(cluster.url(&unfinished))
            .await
            .map_err(Error::Prepare)?;
        close_to_others(admin, &unfinished).await?;
        let rename = format!(
            "ALTER DATABASE {} RENAME TO {}",
            quote(&unfinished),
            quote(template)
        );
        sqlx::query(AssertSqlSafe(rename))
            .execute(&mut *admin)
            .await
            .map_err(Error::sql("name the template database"))?;
    }
    sqlx::query("SELECT pg_advisory_unlock_all()")
        .execute(admin)
        .await
        .map(drop)
        .map_err(Error::sql("unlock the template database"))
}

/// Asks again and again rather than waiting in the server, where a waiting statement's
/// snapshot would hold up `CREATE INDEX CONCURRENTLY` and its like.
async fn lock(admin: &mut PgConnection, template: &str) -> Result<(), Error> {
    loop {
        let locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext($1))")
            .bind(template)
            .fetch_one(&mut *admin)
            .await
            .map_err(Error::sql("lock the template database"))?;
        if locked {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A database can't be renamed or copied while a session is in it, such as those of a pool
/// that `prepare` has not closed.
async fn close_to_others(admin: &mut PgConnection, name: &str) -> Result<(), Error> {
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quote(name));
    sqlx::query(AssertSqlSafe(close))
        .execute(&mut *admin)
        .await
        .map_err(Error::sql("close the template database"))?;
    sqlx::query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1")
        .bind(name)
        .execute(admin)
        .await
        .map(drop)
        .map_err(Error::sql("close the template database"))
}

fn template_name(key: &str) -> String {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    format!("{TEMPLATE}{:016x}", hasher.finish())
}

/// Tells the sweep when it was made and by whom.
fn next_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{TEST}{}_{}_{number}", now(), std::process::id())
}

/// Seconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "this crate's own bookkeeping, which no test moves"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_is_stale_when_its_process_is_gone_or_its_day_is_over() {
        let own = std::process::id();
        assert!(!is_stale(&format!("test_{}_{own}_0", now()), false));
        assert!(is_stale(&format!("test_{}_4194999_0", now()), false));
        assert!(!is_stale(&format!("test_{}_4194999_0", now()), true));
        assert!(is_stale("test_1700000000_4194999_0", true));
        assert!(!is_stale("test_of_somebody", false));
    }
}
