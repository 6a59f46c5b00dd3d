//! All objects by kind, in order of creation, found by id.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::json::Json;

/// Fields that lead from an object to another, or to a name that it is known by. Who looks for the objects of a customer
/// must not pay for everybody's.
const LINKS: &[&[&str]] = &[
    &["charge"],
    &["customer"],
    &["invoice"],
    &["lookup_key"],
    &["parent", "subscription_details", "subscription"],
    &["payment", "payment_intent"],
    &["payment_intent"],
    &["product"],
    &["source"],
    &["subscription"],
    &["test_clock"],
];

/// The objects as the API shows them, and beside them what the API never shows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Store {
    tables: BTreeMap<String, Vec<Value>>,
    /// What belongs to an object and is not part of it: card behaviour, secrets, parameters kept for later.
    hidden: BTreeMap<String, Value>,
    #[serde(skip)]
    index: HashMap<String, (String, usize)>,
    /// By kind and what a row links to: where it is, and where rows are that once linked to it.
    #[serde(skip)]
    linked: HashMap<String, HashMap<String, BTreeSet<usize>>>,
}

/// What an object links to.
fn links_of(row: &Value) -> impl Iterator<Item = &str> {
    let by_field = LINKS.iter().filter_map(move |path| {
        let (last, way) = path.split_last()?;
        let owner = way.iter().try_fold(row, |value, key| value.get(*key))?;
        owner.reference(last)
    });
    // A subscription links to the prices of its items.
    let items = row["items"].items("data").iter();
    by_field.chain(items.filter_map(|item| item["price"].opt_text("id")))
}

fn link(linked: &mut HashMap<String, HashMap<String, BTreeSet<usize>>>, row: &Value, at: usize) {
    for id in links_of(row) {
        let rows = linked.entry(row.text("object").to_owned()).or_default();
        rows.entry(id.to_owned()).or_default().insert(at);
    }
}

impl Store {
    /// Rebuilds the index after loading.
    pub(crate) fn reindex(&mut self) {
        self.index.clear();
        self.linked.clear();
        for (kind, rows) in &self.tables {
            for (at, row) in rows.iter().enumerate() {
                self.index
                    .insert(row.text("id").to_owned(), (kind.clone(), at));
                link(&mut self.linked, row, at);
            }
        }
    }

    /// Whether nothing was ever added.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Takes objects of a kind out for good.
    pub(crate) fn forget(&mut self, kind: &str, is_gone: impl Fn(&Value) -> bool) {
        if let Some(rows) = self.tables.get_mut(kind) {
            rows.retain(|row| !is_gone(row));
            self.reindex();
        }
    }

    /// Adds an object under the kind that it names itself.
    pub(crate) fn insert(&mut self, object: Value) {
        let kind = object.text("object").to_owned();
        let rows = self.tables.entry(kind.clone()).or_default();
        self.index
            .insert(object.text("id").to_owned(), (kind, rows.len()));
        link(&mut self.linked, &object, rows.len());
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

    /// Changes an object, and returns what it has become.
    pub(crate) fn edit(&mut self, id: &str, edit: impl FnOnce(&mut Value)) -> Option<&Value> {
        let (kind, at) = self.index.get(id)?;
        let object = self.tables.get_mut(kind)?.get_mut(*at)?;
        edit(object);
        link(&mut self.linked, object, *at);
        Some(object)
    }

    /// The objects of a kind that link to an id, or once did, oldest first.
    pub(crate) fn linked(&self, kind: &str, id: &str) -> impl DoubleEndedIterator<Item = &Value> {
        let rows = self.all(kind);
        let places = self.linked.get(kind).and_then(|links| links.get(id));
        places.into_iter().flatten().filter_map(|at| rows.get(*at))
    }

    /// The objects of a kind from before a place, newest first; with an id those that link to it, or once did.
    pub(crate) fn before<'a>(
        &'a self,
        kind: &str,
        link: Option<&str>,
        place: usize,
    ) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
        let rows = self.all(kind);
        let Some(id) = link else {
            return Box::new(rows[..place.min(rows.len())].iter().rev());
        };
        let places = self.linked.get(kind).and_then(|links| links.get(id));
        let places = places
            .into_iter()
            .flat_map(move |places| places.range(..place).rev());
        Box::new(places.filter_map(|at| rows.get(*at)))
    }

    /// The objects of a kind from after a place, oldest first; with an id those that link to it, or once did.
    pub(crate) fn after<'a>(
        &'a self,
        kind: &str,
        link: Option<&str>,
        place: usize,
    ) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
        let rows = self.all(kind);
        let Some(id) = link else {
            return Box::new(rows.iter().skip(place + 1));
        };
        let places = self.linked.get(kind).and_then(|links| links.get(id));
        let places = places
            .into_iter()
            .flat_map(move |places| places.range(place + 1..));
        Box::new(places.filter_map(|at| rows.get(*at)))
    }

    /// Where an object of a kind stands among them, oldest first.
    pub(crate) fn place(&self, kind: &str, id: &str) -> Option<usize> {
        let (known, at) = self.index.get(id)?;
        (known == kind).then_some(*at)
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

    /// The ids of the objects of a kind that link to an id and fit.
    pub(crate) fn ids_linked(
        &self,
        kind: &str,
        id: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Vec<String> {
        self.linked(kind, id)
            .filter(|row| fits(row))
            .map(|row| row.text("id").to_owned())
            .collect()
    }

    /// Adds copies of objects of another store, with what is kept beside them.
    pub(crate) fn adopt<'a>(&mut self, from: &'a Self, rows: impl Iterator<Item = &'a Value>) {
        for row in rows {
            let id = row.text("id");
            if let Some(hidden) = from.hidden.get(id) {
                self.hidden.insert(id.to_owned(), hidden.clone());
            }
            self.insert(row.clone());
        }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Store;
    use crate::world::json::Json;

    fn ids<'a>(rows: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
        rows.map(|row| row.text("id")).collect()
    }

    fn store() -> Store {
        let mut store = Store::default();
        for (id, customer) in [("ch_1", "cus_1"), ("ch_2", "cus_2"), ("ch_3", "cus_1")] {
            store.insert(json!({"id": id, "object": "charge", "customer": customer}));
        }
        store
    }

    #[test]
    fn links_follow_what_changes() {
        let mut store = store();
        assert_eq!(ids(store.linked("charge", "cus_1")), ["ch_1", "ch_3"]);
        store.edit("ch_2", |charge| charge.set("customer", "cus_1"));
        assert_eq!(
            ids(store.linked("charge", "cus_1")),
            ["ch_1", "ch_2", "ch_3"]
        );
        assert_eq!(ids(store.linked("refund", "cus_1")), [""; 0]);
        store.reindex();
        assert_eq!(
            ids(store.linked("charge", "cus_1")),
            ["ch_1", "ch_2", "ch_3"]
        );
        assert_eq!(ids(store.linked("charge", "cus_2")), [""; 0]);
    }

    #[test]
    fn a_link_may_stand_deeper() {
        let mut store = Store::default();
        let parent = json!({"subscription_details": {"subscription": "sub_1"}});
        store.insert(json!({"id": "in_1", "object": "invoice", "parent": parent}));
        assert_eq!(ids(store.linked("invoice", "sub_1")), ["in_1"]);
    }

    #[test]
    fn pages_go_both_ways_from_a_place() {
        let store = store();
        let place = store.place("charge", "ch_2").unwrap_or_default();
        assert_eq!(
            ids(store.before("charge", None, usize::MAX)),
            ["ch_3", "ch_2", "ch_1"]
        );
        assert_eq!(ids(store.before("charge", Some("cus_1"), place)), ["ch_1"]);
        assert_eq!(ids(store.after("charge", Some("cus_1"), place)), ["ch_3"]);
        assert_eq!(ids(store.after("charge", None, place)), ["ch_3"]);
        assert_eq!(store.place("refund", "ch_2"), None);
    }
}
