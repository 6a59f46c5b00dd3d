//! The handle of a running server.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::server::{Attached, Kind, Server, USER};
use crate::{binaries, place, test_database};

/// Test processes come one after another: the next should find the server still there.
const BETWEEN_TESTS: Duration = Duration::from_secs(8);
const AFTER_THE_LAST_USER: Duration = Duration::from_millis(300);

/// A Postgres server that runs at least until this handle is dropped.
///
/// Threads and processes may hold the same server; a watchdog stops it when the last of them
/// is gone, however it ended.
#[derive(Debug, Clone)]
pub struct Cluster {
    server: Server,
    attached: Arc<Attached>,
}

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ends all sessions and writes everything out.
    Fast,
    /// Drops everything, as a crash would; the next start recovers.
    Immediate,
}

impl Cluster {
    /// A server whose data is kept in `directory` and survives a power cut.
    pub async fn demo(directory: &Path) -> Result<Self, Error> {
        let directory = directory.to_owned();
        Self::attach(move || Server::new(&directory, Kind::Kept, AFTER_THE_LAST_USER)).await
    }

    /// A server of its own in `directory` whose data may be lost, for tests that stop it.
    pub async fn throw_away(directory: &Path) -> Result<Self, Error> {
        let directory = directory.to_owned();
        Self::attach(move || Server::new(&directory, Kind::ThrowAway, AFTER_THE_LAST_USER)).await
    }

    /// The server that all tests of this user and project share.
    pub async fn test() -> Result<Self, Error> {
        let cluster = Self::attach(|| {
            let directory = place::throw_away(preferred_major()?);
            Server::new(&directory, Kind::ThrowAway, BETWEEN_TESTS)
        })
        .await?;
        if cluster.attached.started {
            test_database::sweep(&cluster).await?;
        }
        Ok(cluster)
    }

    async fn attach<F>(place: F) -> Result<Self, Error>
    where
        F: FnOnce() -> Result<Server, Error> + Send + 'static,
    {
        blocking(move || {
            let server = place()?;
            let attached = Arc::new(server.attach()?);
            Ok(Self { server, attached })
        })
        .await
    }

    /// The URL of a database, fit for sqlx, psql and `DATABASE_URL`.
    pub fn url(&self, database: &str) -> String {
        let socket = percent_encode(&self.attached.socket);
        format!("postgres:///{database}?host={socket}&port=5432&user={USER}&sslmode=disable")
    }

    /// What libpq's programs, such as psql, read from their environment instead of a URL.
    pub fn variables(&self) -> [(&'static str, OsString); 4] {
        [
            ("PGHOST", self.attached.socket.clone().into()),
            ("PGPORT", "5432".into()),
            ("PGUSER", USER.into()),
            ("PGDATABASE", "postgres".into()),
        ]
    }

    /// Creates the database if it isn't there.
    pub async fn ensure_database(&self, name: &str) -> Result<(), Error> {
        let mut admin = self.admin().await?;
        let result = sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {}", quote(name))))
            .execute(&mut admin)
            .await;
        match result {
            Err(error) if has_code(&error, "42P04") => Ok(()),
            // Two at once: the later one meets the unique index instead.
            Err(error) if has_code(&error, "23505") => Ok(()),
            Err(error) => Err(Error::sql("create the database")(error)),
            Ok(_) => Ok(()),
        }
    }

    /// The process id of the server; 0 when it was stopped.
    pub fn server_pid(&self) -> u32 {
        self.server.pid_file().map_or(0, |file| file.pid)
    }

    /// Stops the server, under everybody who uses it.
    pub async fn stop(&self, how: Stop) -> Result<(), Error> {
        let server = self.server.clone();
        let signal = match how {
            Stop::Fast => libc::SIGINT,
            Stop::Immediate => libc::SIGQUIT,
        };
        blocking(move || server.stop(signal)).await
    }

    /// Starts the server again, where it was; does nothing if it runs.
    pub async fn start(&self) -> Result<(), Error> {
        let server = self.server.clone();
        blocking(move || server.attach().map(drop)).await
    }

    /// Stops the server and starts it again, where it was.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop(Stop::Fast).await?;
        self.start().await
    }

    /// Gives up this handle and, if it was the last, waits until the server is gone.
    pub async fn close(self) -> Result<(), Error> {
        let Self { server, attached } = self;
        drop(attached);
        blocking(move || server.left()).await
    }

    /// Deletes what [`Self::demo`] has kept in `directory`, unless somebody uses it.
    pub async fn remove(directory: &Path) -> Result<(), Error> {
        let directory = directory.to_owned();
        blocking(move || {
            if directory.exists() {
                Server::new(&directory, Kind::Kept, AFTER_THE_LAST_USER)?.remove()
            } else {
                Ok(())
            }
        })
        .await
    }

    /// A session in the database that is always there.
    pub(crate) async fn admin(&self) -> Result<PgConnection, Error> {
        PgConnection::connect(&self.url("postgres"))
            .await
            .map_err(Error::sql("take a connection"))
    }
}

/// Files, locks and processes are waited for off the async threads.
async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Of the binaries that a new cluster would be made with; asked once, as it runs a program.
fn preferred_major() -> Result<u32, Error> {
    static MAJOR: OnceLock<u32> = OnceLock::new();
    if let Some(&major) = MAJOR.get() {
        return Ok(major);
    }
    let major = binaries::find(None, Path::new(""))?.major;
    Ok(*MAJOR.get_or_init(|| major))
}

/// Whether the server answered with this SQLSTATE.
pub(crate) fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|found| found == code)
}

/// An SQL identifier.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn percent_encode(path: &Path) -> String {
    let mut encoded = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_quoted() {
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
        assert_eq!(percent_encode(Path::new("/tmp/a b&c")), "/tmp/a%20b%26c");
    }
}
