//! All objects by kind, in order of creation, found by id.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::json::Json;

/// The objects as the API shows them, and beside them what the API never shows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Store {
    tables: BTreeMap<String, Vec<Value>>,
    /// What belongs to an object and is not part of it: card behaviour, secrets, parameters kept for later.
    hidden: BTreeMap<String, Value>,
    #[serde(skip)]
    index: HashMap<String, (String, usize)>,
}

impl Store {
    /// Rebuilds the index after loading.
    pub(crate) fn reindex(&mut self) {
        self.index.clear();
        for (kind, rows) in &self.tables {
            for (at, row) in rows.iter().enumerate() {
                self.index
                    .insert(row.text("id").to_owned(), (kind.clone(), at));
            }
        }
    }

    /// Adds an object under the kind that it names itself.
    pub(crate) fn insert(&mut self, object: Value) {
        let kind = object.text("object").to_owned();
        let rows = self.tables.entry(kind.clone()).or_default();
        self.index
            .insert(object.text("id").to_owned(), (kind, rows.len()));
        rows.push(object);
    }

    /// An object of whatever kind.
    pub(crate) fn get(&self, id: &str) -> Option<&Value> {
        let (kind, at) = self.index.get(id)?;
        self.tables.get(kind)?.get(*at)
    }

    /// An object of one kind.
    pub(crate) fn find(&self, kind: &str, id: &str) -> Option<&Value> {
        self.get(id).filter(|object| object.text("object") == kind)
    }

    /// A copy of an object that must exist: our own references are never dangling.
    pub(crate) fn copy(&self, id: &str) -> Value {
        self.get(id).cloned().unwrap_or(Value::Null)
    }

    /// An object to change.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Value> {
        let (kind, at) = self.index.get(id)?;
        self.tables.get_mut(kind)?.get_mut(*at)
    }

    /// All objects of a kind, oldest first.
    pub(crate) fn all(&self, kind: &str) -> &[Value] {
        self.tables.get(kind).map_or(&[], Vec::as_slice)
    }

    /// The kinds that have objects.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &String> {
        self.tables.keys()
    }

    /// The ids of the objects of a kind that fit.
    pub(crate) fn ids_where(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Vec<String> {
        self.all(kind)
            .iter()
            .filter(|row| fits(row))
            .map(|row| row.text("id").to_owned())
            .collect()
    }

    /// Copies of the objects of some kinds that fit, with what is kept beside them.
    pub(crate) fn excerpt(&self, kinds: &[&str], fits: impl Fn(&Value) -> bool) -> Self {
        let mut copy = Self::default();
        for row in kinds.iter().flat_map(|kind| self.all(kind)) {
            if fits(row) {
                if let Some(hidden) = self.hidden.get(row.text("id")) {
                    copy.hidden
                        .insert(row.text("id").to_owned(), hidden.clone());
                }
                copy.insert(row.clone());
            }
        }
        copy
    }

    /// What is kept beside an object under a name.
    pub(crate) fn hidden(&self, id: &str, name: &str) -> &Value {
        self.hidden
            .get(id)
            .and_then(|entry| entry.get(name))
            .unwrap_or(&Value::Null)
    }

    /// Keeps something beside an object.
    pub(crate) fn hide(&mut self, id: &str, name: &str, value: impl Into<Value>) {
        self.hidden
            .entry(id.to_owned())
            .or_insert_with(|| json!({}))
            .set(name, value);
    }
}
