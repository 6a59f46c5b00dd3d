//! What Mosaic Billing holds, as tables: both GraphQL schemas, their filters and the rows follow from this description.
//!
//! Names, types and permissions are those of the service's own schema.

use super::{plan_tables, subscription_tables};

/// What a column, or a field of an input, holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Uuid,
    Text,
    Texts,
    Boolean,
    Int,
    /// A decimal number, written as text.
    Decimal,
    Moment,
    Json,
    Enum(&'static str),
    /// A list of an enum; of inputs only.
    Enums(&'static str),
}

/// Who is served a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Management,
    EndUser,
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    /// End users are not shown it.
    pub internal: bool,
}

impl Column {
    pub(super) const fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(super) fn is_for(&self, audience: Audience) -> bool {
        !self.internal || audience == Audience::Management
    }
}

pub(super) const fn column(name: &'static str, kind: Kind) -> Column {
    Column {
        name,
        kind,
        required: true,
        internal: false,
    }
}

pub(super) const CREATED: Column = column("createdDate", Kind::Moment);
pub(super) const UPDATED: Column = column("updatedDate", Kind::Moment);
pub(super) const CREATED_BY: Column = column("createdUser", Kind::Text).internal();
pub(super) const UPDATED_BY: Column = column("updatedUser", Kind::Text).internal();
pub(super) const PROVIDER_KEY: Column = column("paymentProviderKey", Kind::Text);
pub(super) const REFERENCE: Column = column("paymentProviderReference", Kind::Text).optional();
/// A way from a row to others.
#[derive(Debug)]
pub(super) struct Relation {
    pub name: &'static str,
    pub table: &'static str,
    /// The column here that equals `theirs` there.
    pub ours: &'static str,
    pub theirs: &'static str,
}

pub(super) const fn to(
    name: &'static str,
    table: &'static str,
    ours: &'static str,
    theirs: &'static str,
) -> Relation {
    Relation {
        name,
        table,
        ours,
        theirs,
    }
}

pub(super) const PROVIDER: Relation = to(
    "paymentProvider",
    "PaymentProvider",
    "paymentProviderKey",
    "key",
);

/// A table, and what GraphQL calls it.
#[derive(Debug)]
pub(super) struct Table {
    /// Type of one row.
    pub name: &'static str,
    /// Beginning of the names of its connection and order.
    pub plural: &'static str,
    /// Root field for one row by its key.
    pub one: &'static str,
    /// Root field for the connection.
    pub many: &'static str,
    pub key: &'static [&'static str],
    pub columns: &'static [Column],
    pub ones: &'static [Relation],
    pub manys: &'static [Relation],
    /// Any of them opens the root fields.
    pub permissions: &'static [&'static str],
    /// End users have its root fields too.
    pub public: bool,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// What opens the settings.
pub(super) const SETTINGS_READERS: &[&str] = &["SETTINGS_VIEW", "SETTINGS_EDIT", "ADMIN"];

/// The table of a name.
pub(super) fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().copied().find(|table| table.name == name)
}

/// All of them.
pub(super) const TABLES: &[&Table] = &[
    &plan_tables::CLAIM_SET,
    &plan_tables::PAYMENT_PLAN,
    &plan_tables::PAYMENT_PLAN_PRICE,
    &plan_tables::PAYMENT_PLAN_PROVIDER_CONFIG,
    &plan_tables::PAYMENT_PROVIDER,
    &plan_tables::SUBSCRIPTION_PLAN,
    &plan_tables::SUBSCRIPTION_PLAN_CLAIM_SET,
    &plan_tables::SUBSCRIPTION_PLAN_PROVIDER_CONFIG,
    &subscription_tables::SUBSCRIPTION_STATUS_CHANGE,
    &subscription_tables::SUBSCRIPTION_TRANSACTION,
    &subscription_tables::SUBSCRIPTION_TYPE,
];

#[cfg(test)]
mod tests {
    use super::{TABLES, table};

    #[test]
    fn relations_and_keys_name_columns_that_exist() {
        for one in TABLES {
            for key in one.key {
                assert!(one.column(key).is_some(), "{}.{key}", one.name);
            }
            for relation in one.ones.iter().chain(one.manys) {
                let other = table(relation.table).expect("names a table");
                let (ours, theirs) = (one.column(relation.ours), other.column(relation.theirs));
                assert_eq!(
                    ours.map(|column| column.kind),
                    theirs.map(|column| column.kind)
                );
                assert!(ours.is_some(), "{}.{}", one.name, relation.name);
            }
        }
    }
}
