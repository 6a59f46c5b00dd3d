//! The connection pool, and the schema that the program needs.

use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, SqlStr};

use crate::settings::Database;

/// A connection that was idle for longer is pinged before it is used.
const PING_AFTER: Duration = Duration::from_secs(5);

/// Postgres' code for a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// Why the schema is not this version's.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database does not answer, or with an error.
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema is older than the program; the names of the migrations that it lacks, oldest first.
    #[error("migrations are pending ({}): run `dues migrate`, or set DUES__DATABASE__MIGRATE=true", .0.join(", "))]
    Pending(Vec<String>),
    /// A migration was edited after it had been applied.
    #[error("migration {0} is not the one that the database was migrated with")]
    Changed(String),
    /// A migration failed.
    #[error("the migrations can't be run: {0}")]
    Failed(#[from] MigrateError),
}

/// Opens the pool; fails when the database can't be reached within the acquire timeout.
pub async fn connect(settings: &Database) -> Result<PgPool, MigrationError> {
    let options = PgConnectOptions::from_str(settings.url.expose())?.application_name("dues");
    // The pool would only say that it timed out; a connection before it says why.
    let first = PgConnection::connect_with(&options);
    match tokio::time::timeout(settings.acquire_timeout, first).await {
        Ok(connected) => connected?.close().await?,
        Err(_) => return Err(sqlx::Error::PoolTimedOut.into()),
    }
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        // A ping on every acquisition would double the round trips of a webhook; after a pause it finds connections
        // that a restart of the database has left dead.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > PING_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(async move { plan_as_look_ups(connection).await }))
        .connect_with(options)
        .await?)
}

/// Bounds how long a connection's statements take and wait, and makes their plans independent of how many rows there
/// are and of when they were last counted. All that the service asks is a look-up by key, so a plan that reads a whole
/// table is never right; but for a small table, or one that has grown since it was counted, Postgres takes it to be
/// cheaper, and keeps it.
async fn plan_as_look_ups(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "SET plan_cache_mode = force_generic_plan;
         SET enable_seqscan = off; SET jit = off;
         SET statement_timeout = '15s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s'",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Runs the pending migrations and names them; several processes may try at once, one at a time does it.
pub async fn migrate(pool: &PgPool) -> Result<Vec<String>, MigrationError> {
    let pending = pending(pool).await?;
    // A migration may take its time, and wait for those who work.
    let mut connection = pool.acquire().await?.detach();
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0")
        .execute(&mut connection)
        .await?;
    migrator().run_direct(None, &mut connection, false).await?;
    connection.close().await?;
    Ok(pending)
}

/// Fails unless every migration of the program is applied. A database that is ahead is fine: while a deployment
/// rolls out, a replica of the older version may restart.
pub async fn check_migrations(pool: &PgPool) -> Result<(), MigrationError> {
    let pending = pending(pool).await?;
    if pending.is_empty() {
        Ok(())
    } else {
        Err(MigrationError::Pending(pending))
    }
}

/// The database as somebody who looks after it sees it.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The server's version.
    pub server: String,
    /// How long it took to answer.
    pub latency: Duration,
    /// How many of our migrations are applied.
    pub applied: usize,
    /// The names of those that are not, oldest first.
    pub pending: Vec<String>,
    /// How many are applied that this program does not know: the database is ahead.
    pub unknown: usize,
}

/// Looks at server and schema without changing anything.
pub async fn look(pool: &PgPool) -> Result<Schema, MigrationError> {
    let mut connection = pool.acquire().await?;
    let asked = Instant::now();
    let server: String = sqlx::query_scalar("SHOW server_version")
        .fetch_one(&mut *connection)
        .await?;
    let latency = asked.elapsed();
    drop(connection);
    let pending = pending(pool).await?;
    let known = migrator().iter().count();
    let all = match sqlx::query_scalar::<_, i64>("SELECT count(*) FROM _sqlx_migrations")
        .fetch_one(pool)
        .await
    {
        Ok(count) => usize::try_from(count).unwrap_or_default(),
        Err(error) if is_undefined_table(&error) => 0,
        Err(error) => return Err(error.into()),
    };
    let applied = known - pending.len();
    Ok(Schema {
        // Debian's packages add a word of their own.
        server: server.split(' ').next().unwrap_or_default().to_owned(),
        latency,
        applied,
        pending,
        unknown: all.saturating_sub(applied),
    })
}

async fn pending(pool: &PgPool) -> Result<Vec<String>, MigrationError> {
    let migrator = migrator();
    let mut connection = pool.acquire().await?;
    let applied = match connection
        .list_applied_migrations(&migrator.table_name)
        .await
    {
        Ok(applied) => applied,
        Err(MigrateError::Execute(error)) if is_undefined_table(&error) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut pending = Vec::new();
    for migration in migrator.iter() {
        let name = format!("{:04} {}", migration.version, migration.description);
        match applied
            .iter()
            .find(|applied| applied.version == migration.version)
        {
            None => pending.push(name),
            Some(applied) if applied.checksum != migration.checksum => {
                return Err(MigrationError::Changed(name));
            }
            Some(_) => {}
        }
    }
    Ok(pending)
}

/// Version, description and text of each file in `migrations/`.
const MIGRATIONS: &[(i64, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, description, sql)| {
        let sql = SqlStr::from_static(sql);
        // sqlx' word for a migration that asks to run outside of a transaction.
        let alone = sql.as_str().starts_with("-- no-transaction");
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql,
            alone,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == UNDEFINED_TABLE)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Reading the directory is what the macro of sqlx does when it compiles: same version, name and checksum, so a
    /// database that an older program has migrated stays valid.
    #[tokio::test]
    async fn migrations_are_those_that_sqlx_itself_finds_in_the_directory() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let found = Migrator::new(directory.as_path())
            .await
            .expect("sqlx reads the directory");
        let told = |migrator: &Migrator| -> Vec<_> {
            let migrations = migrator.iter();
            migrations
                .map(|one| {
                    (
                        one.version,
                        one.description.clone(),
                        one.migration_type,
                        one.no_tx,
                        one.checksum.clone(),
                        one.sql.as_str().to_owned(),
                    )
                })
                .collect()
        };
        assert!(found.iter().count() > 1, "there are migrations");
        assert_eq!(told(&migrator()), told(&found));
        assert_eq!(migrator().table_name, found.table_name);
    }
}
