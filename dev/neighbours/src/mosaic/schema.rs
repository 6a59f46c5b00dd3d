//! The two GraphQL schemas of the Billing Service, made from the tables: types, filters, conditions, orders, connections.

use std::sync::Arc;

use async_graphql::dynamic::{
    Enum, Field, FieldFuture, FieldValue, InputObject, InputValue, Object, ResolverContext, Scalar,
    Schema, SchemaBuilder, SchemaError, TypeRef,
};
use async_graphql::{Error, ErrorExtensions, QueryPathNode, Value as GraphQlValue};
use serde_json::{Map, Value};

use super::connections::{self, connection, one, to_one};
use super::mutations;
use super::query::orders;
use super::tables::{self, Audience, Column, Kind, SETTINGS_READERS, TABLES, Table};
use super::tokens::Caller;
use super::values::{enums, is_valid};
use super::world::{App, Refusal, Row};

const DEPTH: usize = 16;

/// Who calls, or why nobody does: judged by each root field, as the service does.
pub(super) struct Access(pub Result<Caller, Refusal>);

/// What a resolver found. A refusal carries its code and its path, because the library forgets the path of what a
/// resolver refuses.
pub(super) fn done<'a>(
    context: &ResolverContext<'_>,
    found: Result<Option<FieldValue<'a>>, Refusal>,
) -> FieldFuture<'a> {
    let node = context.ctx.path_node;
    let path = node.map(QueryPathNode::to_string_vec).unwrap_or_default();
    let found = found.map_err(|refusal| {
        let Refusal { code, message } = refusal;
        Error::new(message).extend_with(|_, extensions| {
            extensions.set("code", code);
            extensions.set("path", path);
        })
    });
    FieldFuture::new(async move { found })
}

/// The world and the caller, if she may use the root field.
pub(super) fn authorise<'a>(
    context: &ResolverContext<'a>,
    permissions: &[&str],
) -> Result<(&'a App, &'a Caller), Refusal> {
    let missing = |_| Refusal::new("INTERNAL_SERVER_ERROR", "The request has no context.");
    let app = context.ctx.data::<Arc<App>>().map_err(missing)?;
    let access = context.ctx.data::<Access>().map_err(missing)?;
    let caller = access.0.as_ref().map_err(Clone::clone)?;
    let may = |permission: &String| permissions.contains(&permission.as_str());
    // A member may use whatever her schema has; it shows her nothing but her own.
    if caller.user.is_none() && !caller.permissions.iter().any(may) {
        let field = context.ctx.field().name();
        let wanted = permissions.join(", ");
        let message = format!("Not authorized to use '{field}': one of {wanted} is needed.");
        return Err(Refusal::new("USER_NOT_AUTHORIZED", message));
    }
    Ok((app, caller))
}

/// The arguments of a field as JSON.
pub(super) fn arguments(context: &ResolverContext<'_>) -> Map<String, Value> {
    let given = context.args.as_index_map().iter();
    given
        .filter_map(|(name, value)| Some((name.to_string(), value.clone().into_json().ok()?)))
        .collect()
}

/// The type of a kind of value.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Uuid => "UUID",
        Kind::Text | Kind::Texts => TypeRef::STRING,
        Kind::Boolean => TypeRef::BOOLEAN,
        Kind::Int => TypeRef::INT,
        Kind::Decimal => "BigFloat",
        Kind::Moment => "Datetime",
        Kind::Json => "JSON",
        Kind::Enum(name) | Kind::Enums(name) => name,
    }
}

/// How an input or a field of a kind is typed.
pub(super) fn type_of(kind: Kind, required: bool) -> TypeRef {
    let name = type_name(kind);
    match (kind, required) {
        (Kind::Texts, true) => TypeRef::named_list_nn(name),
        (Kind::Texts, false) => TypeRef::named_list(name),
        (Kind::Enums(_), _) => TypeRef::named_nn_list(name),
        (_, true) => TypeRef::named_nn(name),
        (_, false) => TypeRef::named(name),
    }
}

/// Builds the schema for those who manage, or for members.
pub(super) fn build(app: &Arc<App>, audience: Audience) -> Result<Schema, SchemaError> {
    let managed = audience == Audience::Management;
    let mutation = managed.then_some("Mutation");
    let mut schema = Schema::build("Query", mutation, None)
        .data(Arc::clone(app))
        .limit_depth(DEPTH)
        .disable_suggestions();
    for kind in [Kind::Uuid, Kind::Decimal, Kind::Moment, Kind::Json] {
        let valid = move |value: &GraphQlValue| {
            let value = value.clone().into_json();
            value.is_ok_and(|value| is_valid(kind, &value))
        };
        schema = schema.register(Scalar::new(type_name(kind)).validator(valid));
    }
    schema = schema.register(
        Scalar::new("Cursor").validator(|value| matches!(value, GraphQlValue::String(_))),
    );
    for (name, values) in enums() {
        if managed || !name.starts_with("CreateSubscription") {
            schema = schema.register(Enum::new(name).items(values));
        }
    }
    schema = schema.register(connections::page_info());
    schema = operator_filters(schema, audience);
    let mut query = Object::new("Query");
    for table in TABLES {
        schema = register(schema, table, audience);
        if managed || table.public {
            query = query.field(one(table)).field(connection(
                table.many,
                table,
                TypeRef::named(format!("{}Connection", table.plural)),
                None,
            ));
        }
    }
    if managed {
        query = query.field(Field::new(
            "getSettings",
            TypeRef::named("Setting"),
            |context| {
                let found = authorise(&context, SETTINGS_READERS)
                    .map(|(app, _)| FieldValue::owned_any(Arc::new(app.world().settings.clone())));
                done(&context, found.map(Some))
            },
        ));
        schema = mutations::register(schema);
    }
    schema.register(query).finish()
}

fn is_comparable(column: &Column, audience: Audience) -> bool {
    column.is_for(audience) && !matches!(column.kind, Kind::Texts | Kind::Json)
}

fn filter_name(kind: Kind) -> String {
    format!("{}Filter", type_name(kind))
}

/// One filter of operators for each kind of column.
fn operator_filters(mut schema: SchemaBuilder, audience: Audience) -> SchemaBuilder {
    let columns = TABLES.iter().flat_map(|table| table.columns);
    let mut kinds: Vec<Kind> = columns
        .filter(|column| is_comparable(column, audience))
        .map(|column| column.kind)
        .collect();
    kinds.sort_by_key(|kind| type_name(*kind));
    kinds.dedup();
    for kind in kinds {
        let name = type_name(kind);
        let mut filter = InputObject::new(filter_name(kind))
            .field(InputValue::new("isNull", TypeRef::named(TypeRef::BOOLEAN)))
            .field(InputValue::new("in", TypeRef::named_nn_list(name)))
            .field(InputValue::new("notIn", TypeRef::named_nn_list(name)));
        for operator in [
            "equalTo",
            "notEqualTo",
            "distinctFrom",
            "notDistinctFrom",
            "lessThan",
            "lessThanOrEqualTo",
            "greaterThan",
            "greaterThanOrEqualTo",
        ] {
            filter = filter.field(InputValue::new(operator, TypeRef::named(name)));
        }
        if kind == Kind::Text {
            for operator in ["includes", "includesInsensitive", "startsWith"] {
                filter = filter.field(InputValue::new(operator, TypeRef::named(name)));
            }
        }
        schema = schema.register(filter);
    }
    schema
}

/// All types of a table.
fn register(schema: SchemaBuilder, table: &'static Table, audience: Audience) -> SchemaBuilder {
    let name = table.name;
    let filter = format!("{name}Filter");
    let mut object = Object::new(name);
    let mut condition = InputObject::new(format!("{name}Condition"));
    let mut filters = InputObject::new(&filter)
        .field(InputValue::new("and", TypeRef::named_nn_list(&filter)))
        .field(InputValue::new("or", TypeRef::named_nn_list(&filter)))
        .field(InputValue::new("not", TypeRef::named(&filter)));
    for column in table
        .columns
        .iter()
        .filter(|column| column.is_for(audience))
    {
        object = object.field(plain(column.name, type_of(column.kind, column.required)));
        if is_comparable(column, audience) {
            let operators = TypeRef::named(filter_name(column.kind));
            filters = filters.field(InputValue::new(column.name, operators));
            condition = condition.field(InputValue::new(column.name, type_of(column.kind, false)));
        }
    }
    for relation in table.ones {
        let other = TypeRef::named(format!("{}Filter", relation.table));
        filters = filters.field(InputValue::new(relation.name, other));
        object = object.field(to_one(relation));
    }
    let mut schema = schema;
    for relation in table.manys {
        let Some(other) = tables::table(relation.table) else {
            continue;
        };
        let quantified = format!("{name}ToMany{}Filter", relation.table);
        let exist = format!("{}Exist", relation.name);
        filters = filters
            .field(InputValue::new(relation.name, TypeRef::named(&quantified)))
            .field(InputValue::new(exist, TypeRef::named(TypeRef::BOOLEAN)));
        let mut quantifiers = InputObject::new(quantified);
        for quantifier in ["every", "none", "some"] {
            let filter = TypeRef::named(format!("{}Filter", relation.table));
            quantifiers = quantifiers.field(InputValue::new(quantifier, filter));
        }
        schema = schema.register(quantifiers);
        let connection_type = TypeRef::named_nn(format!("{}Connection", other.plural));
        let related = Some(relation);
        object = object.field(connection(relation.name, other, connection_type, related));
    }
    schema
        .register(object)
        .register(filters)
        .register(condition)
        .register(Enum::new(format!("{}OrderBy", table.plural)).items(orders(table, audience)))
        .register(connections::object(table))
        .register(connections::edge(table))
}

/// A field that is in its row as it stands.
pub(super) fn plain(name: &'static str, kind: TypeRef) -> Field {
    Field::new(name, kind, move |context| {
        let row = context.parent_value.downcast_ref::<Row>();
        let value = row
            .and_then(|row| row.get(name))
            .cloned()
            .unwrap_or_default();
        let value = GraphQlValue::from_json(value).unwrap_or_default();
        FieldFuture::from_value((value != GraphQlValue::Null).then_some(value))
    })
}
