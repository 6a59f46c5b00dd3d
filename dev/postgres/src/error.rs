//! What can go wrong, each in a sentence that a developer can act on.

use std::io;
use std::path::PathBuf;

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither an installed Postgres nor npm to fetch one.
    #[error(
        "found no Postgres {oldest} or newer, nor npm to fetch one: install it with `{install}`, \
         or set PG_BIN to the directory that holds `postgres` and `initdb`"
    )]
    NotFound {
        /// The oldest major version that will do.
        oldest: u32,
        /// The command for this platform.
        install: &'static str,
    },
    /// `PG_BIN` is set to a directory that won't do.
    #[error("PG_BIN is set to {}, which holds no working `postgres` {oldest} or newer with its `initdb`", path.display())]
    PgBin {
        /// Its value.
        path: PathBuf,
        /// The oldest major version that will do.
        oldest: u32,
    },
    /// npm is there, yet the binaries could not be fetched or do not run.
    #[error(
        "found no installed Postgres, and npm could not fetch one ({reason}): install it with `{install}`"
    )]
    Fetch {
        /// What npm, or the fetched binary, said.
        reason: String,
        /// The command for this platform.
        install: &'static str,
    },
    /// The kept data belongs to a major version of which no binaries are here.
    #[error("the data in {} was made by Postgres {made_by}, but only {found} is here: install Postgres {made_by}, or delete that directory to start afresh", path.display())]
    DataVersion {
        /// The data directory.
        path: PathBuf,
        /// The major version that wrote it.
        made_by: u32,
        /// The major version that was found.
        found: u32,
    },
    /// A directory that we would use belongs to somebody else, or others may write in it.
    #[error("{} is not a directory that only this user may write in: delete it, or run as the user that it belongs to", path.display())]
    NotOurs {
        /// That directory.
        path: PathBuf,
    },
    /// Postgres must run as another user than root, who cannot get at its files.
    #[error("Postgres refuses to run as root, and user id {uid}, as which it would run instead, cannot use {}: run as an ordinary user, or move the project to a directory that everybody may enter", path.display())]
    Unreachable {
        /// The user id that was tried.
        uid: u32,
        /// What it cannot use.
        path: PathBuf,
    },
    /// What is to be deleted is still in use.
    #[error("{} is in use: stop the program that uses it", path.display())]
    InUse {
        /// The cluster's directory.
        path: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb could not make a database in {}: {said}", path.display())]
    Initdb {
        /// The data directory.
        path: PathBuf,
        /// The end of its output.
        said: String,
    },
    /// The server ended before it took connections.
    #[error("Postgres did not start, see {}: {said}", log.display())]
    Start {
        /// The server's log.
        log: PathBuf,
        /// The end of it.
        said: String,
    },
    /// The server runs but does not get ready, or does not stop.
    #[error("Postgres took more than {seconds} s to {action}, see {}", log.display())]
    Slow {
        /// `start` or `stop`.
        action: &'static str,
        /// How long we waited.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
    },
    /// The operating system refused something.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The server refused something.
    #[error("Postgres could not {action}: {source}")]
    Sql {
        /// What was tried.
        action: &'static str,
        /// The refusal.
        source: sqlx::Error,
    },
    /// The caller's own preparation of the template database failed.
    #[error("the template database could not be prepared: {0}")]
    Prepare(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// For `map_err`: names the action and the path of an I/O error.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// For `map_err`: names the action of an SQL error.
    pub(crate) fn sql(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Sql { action, source }
    }
}
