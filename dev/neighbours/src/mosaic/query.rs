//! Rows as a caller may ask for them: her own, filtered, ordered, in pages.
//!
//! Conditions follow SQL: what is compared with null is neither true nor false, and only true rows are shown.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::tables::{Audience, Column, Kind, Relation, Table, table};
use super::values::compare;
use super::world::{Refusal, Row, World};

/// The world as one caller sees it.
pub(super) struct View<'w> {
    pub world: &'w World,
    /// The member to whose rows it is limited.
    pub owner: Option<&'w str>,
}

impl View<'_> {
    fn sees(&self, row: &Row) -> bool {
        let user = row.get("userId");
        self.owner
            .is_none_or(|owner| user.is_none_or(|user| user == owner))
    }

    pub(super) fn rows(&self, table: &str) -> impl Iterator<Item = &Row> {
        self.world.rows(table).iter().filter(|row| self.sees(row))
    }

    /// The rows that a relation leads to.
    pub(super) fn related(&self, row: &Row, relation: &Relation) -> impl Iterator<Item = &Row> {
        let ours = row.get(relation.ours).filter(|value| !value.is_null());
        self.rows(relation.table)
            .filter(move |row| ours.is_some_and(|ours| row.get(relation.theirs) == Some(ours)))
    }

    /// Whether a row fits a filter.
    fn fits(&self, table: &Table, row: &Row, filter: &Value) -> Option<bool> {
        let parts = filter.as_object().into_iter().flatten();
        all(parts.map(|(name, wanted)| self.fits_part(table, row, name, wanted)))
    }

    fn fits_part(&self, table: &Table, row: &Row, name: &str, wanted: &Value) -> Option<bool> {
        let each = |value: &Value| -> Vec<Option<bool>> {
            let items = as_list(value);
            items
                .iter()
                .map(|item| self.fits(table, row, item))
                .collect()
        };
        match name {
            "and" => return all(each(wanted).into_iter()),
            "or" => return any(each(wanted).into_iter()),
            "not" => return self.fits(table, row, wanted).map(|fits| !fits),
            _ => {}
        }
        if let Some(column) = table.column(name) {
            let value = row.get(name).unwrap_or(&Value::Null);
            let operators = wanted.as_object().into_iter().flatten();
            return all(
                operators.map(|(operator, operand)| holds(column, value, operator, operand))
            );
        }
        if let Some(relation) = table.ones.iter().find(|relation| relation.name == name) {
            let other = self.related(row, relation).next();
            return Some(other.is_some_and(|other| self.is_related(other, relation, wanted)));
        }
        if let Some(relation) = table.manys.iter().find(|relation| relation.name == name) {
            return Some(self.fits_many(row, relation, wanted));
        }
        let relation = name.strip_suffix("Exist").and_then(|name| {
            let mut manys = table.manys.iter();
            manys.find(|relation| relation.name == name)
        })?;
        let exist = self.related(row, relation).next().is_some();
        Some(wanted.as_bool() == Some(exist))
    }

    fn fits_many(&self, row: &Row, relation: &Relation, wanted: &Value) -> bool {
        let mut quantifiers = wanted.as_object().into_iter().flatten();
        quantifiers.all(|(quantifier, filter)| {
            let mut others = self.related(row, relation);
            match quantifier.as_str() {
                "every" => others.all(|other| self.is_related(other, relation, filter)),
                "none" => !others.any(|other| self.is_related(other, relation, filter)),
                _ => others.any(|other| self.is_related(other, relation, filter)),
            }
        })
    }

    fn is_related(&self, other: &Row, relation: &Relation, filter: &Value) -> bool {
        let table = table(relation.table);
        table.is_some_and(|table| self.fits(table, other, filter) == Some(true))
    }

    /// A page of rows, as the arguments of a connection ask for it.
    pub(super) fn page(
        &self,
        table: &Table,
        rows: Vec<Row>,
        arguments: &Map<String, Value>,
    ) -> Result<Page, Refusal> {
        let mut rows = rows;
        if let Some(condition) = given(arguments, "condition") {
            let fields = condition.as_object();
            rows.retain(|row| {
                let mut fields = fields.into_iter().flatten();
                fields.all(|(name, wanted)| has(table, row, name, wanted))
            });
        }
        // The service forbids both, because an accident of theirs would read as "all rows".
        if let Some(filter) = arguments.get("filter") {
            check_filter(filter)?;
            rows.retain(|row| self.fits(table, row, filter) == Some(true));
        }
        let orders = match given(arguments, "orderBy") {
            Some(orders) => as_list(orders).to_vec(),
            None => vec!["PRIMARY_KEY_ASC".into()],
        };
        rows.sort_by(|one, other| order(table, &orders, one, other));
        Page::cut(&rows, arguments)
    }
}

fn given<'a>(arguments: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    arguments.get(name).filter(|value| !value.is_null())
}

/// A list; a single value stands for a list of one.
pub(super) fn as_list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        single => std::slice::from_ref(single),
    }
}

fn check_filter(filter: &Value) -> Result<(), Refusal> {
    match filter {
        Value::Null => {
            let message = "Null literals are forbidden in filter argument input.";
            Err(Refusal::new("GRAPHQL_VALIDATION_FAILED", message))
        }
        Value::Object(fields) if fields.is_empty() => {
            let message = "Empty objects are forbidden in filter argument input.";
            Err(Refusal::new("GRAPHQL_VALIDATION_FAILED", message))
        }
        Value::Object(fields) => fields.values().try_for_each(check_filter),
        Value::Array(items) => items.iter().try_for_each(check_filter),
        _ => Ok(()),
    }
}

/// True where all are, false where one is false, else unknown.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => result = None,
        }
    }
    result
}

fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(parts.map(|part| part.map(|holds| !holds))).map(|none| !none)
}

fn has(table: &Table, row: &Row, name: &str, wanted: &Value) -> bool {
    let value = row.get(name).unwrap_or(&Value::Null);
    let kind = table.column(name).map(|column| column.kind);
    match kind {
        _ if wanted.is_null() => value.is_null(),
        Some(kind) => compare(kind, value, wanted) == Some(Ordering::Equal),
        None => false,
    }
}

fn holds(column: &Column, value: &Value, operator: &str, operand: &Value) -> Option<bool> {
    let kind = column.kind;
    let is_in = || any(as_list(operand).iter().map(|item| equal(kind, value, item)));
    match operator {
        "isNull" => Some(operand.as_bool() == Some(value.is_null())),
        "in" => is_in(),
        "notIn" => is_in().map(|found| !found),
        "equalTo" => equal(kind, value, operand),
        "notEqualTo" => equal(kind, value, operand).map(|equal| !equal),
        "distinctFrom" => Some(equal(kind, value, operand) != Some(true)),
        "notDistinctFrom" => Some(equal(kind, value, operand) == Some(true)),
        "lessThan" => compare(kind, value, operand).map(Ordering::is_lt),
        "lessThanOrEqualTo" => compare(kind, value, operand).map(Ordering::is_le),
        "greaterThan" => compare(kind, value, operand).map(Ordering::is_gt),
        "greaterThanOrEqualTo" => compare(kind, value, operand).map(Ordering::is_ge),
        "includes" => Some(value.as_str()?.contains(operand.as_str()?)),
        "includesInsensitive" => {
            let (value, operand) = (value.as_str()?, operand.as_str()?);
            Some(value.to_lowercase().contains(&operand.to_lowercase()))
        }
        "startsWith" => Some(value.as_str()?.starts_with(operand.as_str()?)),
        _ => None,
    }
}

fn equal(kind: Kind, value: &Value, operand: &Value) -> Option<bool> {
    compare(kind, value, operand).map(Ordering::is_eq)
}

/// `paymentPlanId` as `PAYMENT_PLAN_ID`.
fn constant_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            text.push('_');
        }
        text.extend(letter.to_uppercase());
    }
    text
}

/// The names by which a table can be ordered.
pub(super) fn orders(table: &Table, audience: Audience) -> Vec<String> {
    let shown = table.columns.iter().filter(|column| {
        column.is_for(audience) && !matches!(column.kind, Kind::Texts | Kind::Json)
    });
    let names = shown.map(|column| constant_case(column.name));
    let names = names.chain(["PRIMARY_KEY".to_owned()]);
    let both = names.flat_map(|name| [format!("{name}_ASC"), format!("{name}_DESC")]);
    both.chain(["NATURAL".to_owned()]).collect()
}

fn order(table: &Table, orders: &[Value], one: &Row, other: &Row) -> Ordering {
    let steps = orders.iter().filter_map(Value::as_str);
    // Whatever else decides, equal rows come in the order of their key, so that pages never overlap.
    let steps = steps.chain(["PRIMARY_KEY_ASC"]);
    for step in steps {
        let (name, descending) = match step.strip_suffix("_DESC") {
            Some(name) => (name, true),
            None => (step.strip_suffix("_ASC").unwrap_or(step), false),
        };
        if name == "NATURAL" {
            return Ordering::Equal;
        }
        let columns = table.columns.iter().filter(|column| match name {
            "PRIMARY_KEY" => table.key.contains(&column.name),
            name => constant_case(column.name) == name,
        });
        let compared = columns.map(|column| order_by(column, one, other));
        let found = compared.fold(Ordering::Equal, Ordering::then);
        let found = if descending { found.reverse() } else { found };
        if found != Ordering::Equal {
            return found;
        }
    }
    Ordering::Equal
}

/// Nulls come last, as the database has it.
fn order_by(column: &Column, one: &Row, other: &Row) -> Ordering {
    let value = |row: &Row| row.get(column.name).cloned().unwrap_or_default();
    let (one, other) = (value(one), value(other));
    let nulls = one.is_null().cmp(&other.is_null());
    nulls.then_with(|| compare(column.kind, &one, &other).unwrap_or(Ordering::Equal))
}

/// A part of a list of rows.
#[derive(Debug)]
pub(super) struct Page {
    pub rows: Vec<Row>,
    /// How many rows of the list come before it.
    pub before: usize,
    pub total: usize,
}

impl Page {
    fn cut(rows: &[Row], arguments: &Map<String, Value>) -> Result<Self, Refusal> {
        let wrong = |message: &str| Refusal::new("GRAPHQL_VALIDATION_FAILED", message);
        let count = |name: &str| -> Result<Option<usize>, Refusal> {
            let number = given(arguments, name).and_then(Value::as_i64);
            let count = number.map(usize::try_from).transpose();
            count.map_err(|_| wrong(&format!("'{name}' must not be negative.")))
        };
        let cursor = |name: &str| -> Result<Option<usize>, Refusal> {
            let text = given(arguments, name).and_then(Value::as_str);
            let position =
                text.map(|text| read_cursor(text).ok_or_else(|| wrong("Invalid cursor.")));
            position.transpose()
        };
        let (first, last, offset) = (count("first")?, count("last")?, count("offset")?);
        if last.is_some() && (first.is_some() || offset.is_some()) {
            return Err(wrong(
                "'last' cannot be used together with 'first' or 'offset'.",
            ));
        }
        let total = rows.len();
        let mut start = cursor("after")?
            .unwrap_or(0)
            .saturating_add(offset.unwrap_or(0));
        let mut end = cursor("before")?.map_or(total, |position| position.saturating_sub(1));
        end = end.min(total);
        start = start.min(end);
        if let Some(first) = first {
            end = end.min(start.saturating_add(first));
        }
        if let Some(last) = last {
            start = start.max(end.saturating_sub(last));
        }
        let rows = rows.get(start..end).unwrap_or_default().to_vec();
        Ok(Self {
            rows,
            before: start,
            total,
        })
    }

    /// The cursor of a row of this page.
    pub(super) fn cursor(&self, at: usize) -> String {
        STANDARD.encode(format!("[\"position\",{}]", self.before + at + 1))
    }

    pub(super) fn has_next(&self) -> bool {
        self.before + self.rows.len() < self.total
    }
}

fn read_cursor(text: &str) -> Option<usize> {
    let bytes = STANDARD.decode(text).ok()?;
    let (name, position): (String, usize) = serde_json::from_slice(&bytes).ok()?;
    (name == "position").then_some(position)
}
