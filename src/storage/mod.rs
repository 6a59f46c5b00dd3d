//! All SQL, one file for each table; functions take a connection, and the use case owns the transaction.

/// Reads a struct from the columns that have its fields' names. The derive of sqlx does the same, but it would have sqlx,
/// tokio and rustls compiled a second time, for the compiler.
macro_rules! from_row {
    ($row:ident { $($field:ident),+ $(,)? }) => {
        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $row {
            fn from_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
                Ok(Self {
                    $($field: sqlx::Row::try_get(row, stringify!($field).trim_start_matches("r#"))?),+
                })
            }
        }
    };
}

pub mod actions;
pub mod baskets;
pub mod checkouts;
pub mod cursors;
pub mod customers;
pub mod differing;
pub mod feed;
pub mod followers;
pub mod objects;
pub mod parts;
pub mod schema;
pub mod status_changes;
pub mod subscriptions;
pub mod today;
pub mod transactions;
pub mod webhook_events;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

pub use self::schema::{MigrationError, check_migrations, connect, migrate};

/// Begins a transaction, with a statement that begins otherwise than with `BEGIN` alone, if one is given.
///
/// In a task of its own: whoever asked may be gone before it has begun (a client that disconnects, while the statement waits
/// for a lock), and sqlx then gives the connection back as if nothing had begun. What others write on it later would never be
/// committed. What has begun and is not wanted any more is rolled back.
async fn begin(
    pool: &PgPool,
    statement: Option<String>,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move {
        match statement {
            Some(statement) => pool.begin_with(AssertSqlSafe(statement)).await,
            None => pool.begin().await,
        }
    });
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Why rows can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database does not answer, or with an error.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A combination of columns that no code of ours writes.
    #[error("impossible row {row} in {table}: {column}")]
    ImpossibleRow {
        /// The table.
        table: &'static str,
        /// The row's id.
        row: String,
        /// The column that does not fit.
        column: &'static str,
    },
}

impl StorageError {
    /// The name of the constraint that was violated, which decides what the caller answers.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.constraint(),
            Self::Database(_) | Self::ImpossibleRow { .. } => None,
        }
    }

    /// Whether it is about what was to be written or what was read, and not about the database: another try, without
    /// whatever is at fault, may do.
    pub fn is_of_the_data(&self) -> bool {
        match self {
            // Data that can't be, violated constraints, deadlocks, values that no index can hold.
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
                ["22", "23", "40", "54"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }),
            Self::Database(_) => false,
            Self::ImpossibleRow { .. } => true,
        }
    }

    /// Whether somebody else has kept locked for too long what was to be written.
    pub fn is_of_a_lock(&self) -> bool {
        const LOCK_NOT_AVAILABLE: &str = "55P03";
        self.has_code(LOCK_NOT_AVAILABLE)
    }

    /// Whether a text was to be written that the database can't hold (a NUL).
    pub fn is_of_a_text(&self) -> bool {
        const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
        self.has_code(CHARACTER_NOT_IN_REPERTOIRE)
    }

    fn has_code(&self, wanted: &str) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().as_deref() == Some(wanted),
            Self::Database(_) | Self::ImpossibleRow { .. } => false,
        }
    }

    /// Whether it would be one more of what a user, or a checkout, can have only once.
    pub fn is_held_already(&self) -> bool {
        matches!(
            self.constraint(),
            Some("subscriptions_single" | "subscriptions_group" | "subscriptions_checkout_plan")
        )
    }
}
