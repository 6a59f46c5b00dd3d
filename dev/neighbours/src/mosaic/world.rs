//! All that the stand-in knows, behind one lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Options;
use super::faults::Fault;
use super::tables::table;
use super::values::write_moment;

/// A row, as GraphQL and the control API show it.
pub(super) type Row = Arc<Map<String, Value>>;

const REFUSALS_KEPT: usize = 100;
const EDITOR: &str = "neighbour";

/// Wall time.
#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in has no clock but the wall's, as the service it stands for"
)]
pub(super) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Why a call was refused.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// What the stand-in knows.
#[derive(Debug, Default)]
pub(super) struct World {
    tables: BTreeMap<&'static str, Vec<Row>>,
    pub settings: Map<String, Value>,
    /// How often each operation was asked for, refused or not.
    pub requests: BTreeMap<String, u64>,
    pub refused: VecDeque<Value>,
    pub faults: Vec<Fault>,
    /// Number of the next token.
    pub next_token: u64,
    /// Tokens with a lower number have expired, whatever they say.
    pub tokens_expired_below: u64,
    /// Customers at Stripe that the old connector made, by user and currency.
    pub customers: BTreeMap<(String, String), Value>,
}

impl World {
    pub(super) fn rows(&self, table: &str) -> &[Row] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    /// The row whose column has a value.
    pub(super) fn find(&self, table: &str, column: &str, value: &str) -> Option<&Row> {
        let is_it = |row: &&Row| row.get(column).is_some_and(|field| field == value);
        self.rows(table).iter().find(is_it)
    }

    /// Adds a row to the table of a name; columns that are not given are null, and it gets its dates.
    pub(super) fn insert(&mut self, name: &str, given: &Value) -> Option<Row> {
        let table = table(name)?;
        let at = write_moment(now());
        let mut row = Map::new();
        for column in table.columns {
            let value = match column.name {
                "createdDate" | "updatedDate" => at.clone().into(),
                "createdUser" | "updatedUser" => EDITOR.into(),
                name => given.get(name).cloned().unwrap_or_default(),
            };
            row.insert(column.name.to_owned(), value);
        }
        let row = Arc::new(row);
        let rows = self.tables.entry(table.name).or_default();
        rows.push(Arc::clone(&row));
        Some(row)
    }

    /// Sets columns of the rows whose column has a value, and gives the last of them.
    pub(super) fn update(
        &mut self,
        table: &str,
        key: (&str, &str),
        patch: &Map<String, Value>,
    ) -> Option<Row> {
        let rows = self.tables.get_mut(table)?;
        let mut changed = None;
        for row in rows {
            if row.get(key.0).is_some_and(|field| field == key.1) {
                let fields = Arc::make_mut(row);
                fields.extend(patch.clone());
                fields.insert("updatedDate".to_owned(), write_moment(now()).into());
                changed = Some(Arc::clone(row));
            }
        }
        changed
    }

    /// Removes the rows whose column has a value.
    pub(super) fn remove(&mut self, table: &str, column: &str, value: &str) {
        if let Some(rows) = self.tables.get_mut(table) {
            rows.retain(|row| row.get(column).is_none_or(|field| field != value));
        }
    }

    /// Remembers a refusal for those who look.
    pub(super) fn note_refusal(&mut self, operation: &str, code: &str, message: &str) {
        if self.refused.len() == REFUSALS_KEPT {
            self.refused.pop_front();
        }
        let refusal = json!({"operation": operation, "code": code, "message": message});
        self.refused.push_back(refusal);
    }
}

/// A new id of the service's own.
pub(super) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// What all tasks share.
#[derive(Debug)]
pub(super) struct App {
    world: Mutex<World>,
    pub options: Options,
    /// Where it is reached.
    pub url: String,
    pub client: reqwest::Client,
}

impl App {
    pub(super) fn new(
        world: World,
        options: Options,
        url: String,
        client: reqwest::Client,
    ) -> Self {
        Self {
            world: Mutex::new(world),
            options,
            url,
            client,
        }
    }

    /// The world, locked. Whoever panicked with the lock has left whole rows behind.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
