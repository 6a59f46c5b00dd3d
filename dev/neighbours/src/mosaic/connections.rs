//! The ways from one row to others, and to the first: fields for one row, and connections with their pages.

use std::sync::Arc;

use async_graphql::Value as GraphQlValue;
use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, TypeRef,
};

use super::query::{Page, View};
use super::schema::{Access, arguments, authorise, done, plain, type_of};
use super::tables::{Relation, Table};
use super::values::normal;
use super::world::{App, Refusal, Row};

/// The app and the member to whose rows the caller is limited; for fields below a root that was authorised.
fn surroundings<'a>(context: &ResolverContext<'a>) -> Option<(&'a App, Option<&'a str>)> {
    let app = context.ctx.data::<Arc<App>>().ok()?;
    let access = context.ctx.data::<Access>().ok()?;
    let caller = access.0.as_ref().ok()?;
    Some((app, caller.user.as_deref()))
}

/// The root field for one row by its key.
pub(super) fn one(table: &'static Table) -> Field {
    let field = Field::new(table.one, TypeRef::named(table.name), move |context| {
        let found = authorise(&context, table.permissions).map(|(app, caller)| {
            let world = app.world();
            let view = View {
                world: &world,
                owner: caller.user.as_deref(),
            };
            let keys = arguments(&context);
            let is_it = |row: &&Row| {
                table.key.iter().all(|name| {
                    let kind = table.column(name).map(|column| column.kind);
                    let wanted = keys.get(*name).cloned().zip(kind);
                    row.get(*name).cloned() == wanted.map(|(value, kind)| normal(kind, value))
                })
            };
            let row = view.rows(table.name).find(is_it).cloned();
            row.map(FieldValue::owned_any)
        });
        done(&context, found)
    });
    let keys = table.key.iter().filter_map(|name| table.column(name));
    keys.fold(field, |field, column| {
        field.argument(InputValue::new(column.name, type_of(column.kind, true)))
    })
}

/// The field for the one row that a relation leads to.
pub(super) fn to_one(relation: &'static Relation) -> Field {
    Field::new(
        relation.name,
        TypeRef::named(relation.table),
        move |context| {
            let found = surroundings(&context).and_then(|(app, owner)| {
                let row = context.parent_value.downcast_ref::<Row>()?;
                let world = app.world();
                let view = View {
                    world: &world,
                    owner,
                };
                let other = view.related(row, relation).next().cloned();
                other.map(FieldValue::owned_any)
            });
            done(&context, Ok(found))
        },
    )
}

/// A field for a connection: of a whole table, or of the rows that a relation leads to.
pub(super) fn connection(
    name: &'static str,
    table: &'static Table,
    kind: TypeRef,
    relation: Option<&'static Relation>,
) -> Field {
    let field = Field::new(name, kind, move |context| {
        done(
            &context,
            page(&context, table, relation).map(|page| Some(FieldValue::owned_any(page))),
        )
    });
    field
        .argument(InputValue::new("first", TypeRef::named(TypeRef::INT)))
        .argument(InputValue::new("last", TypeRef::named(TypeRef::INT)))
        .argument(InputValue::new("offset", TypeRef::named(TypeRef::INT)))
        .argument(InputValue::new("before", TypeRef::named("Cursor")))
        .argument(InputValue::new("after", TypeRef::named("Cursor")))
        .argument(InputValue::new(
            "orderBy",
            TypeRef::named_nn_list(format!("{}OrderBy", table.plural)),
        ))
        .argument(InputValue::new(
            "condition",
            TypeRef::named(format!("{}Condition", table.name)),
        ))
        .argument(InputValue::new(
            "filter",
            TypeRef::named(format!("{}Filter", table.name)),
        ))
}

fn page(
    context: &ResolverContext<'_>,
    table: &Table,
    relation: Option<&Relation>,
) -> Result<Page, Refusal> {
    let (app, owner) = match relation {
        None => authorise(context, table.permissions)
            .map(|(app, caller)| (app, caller.user.as_deref()))?,
        Some(_) => surroundings(context)
            .ok_or_else(|| Refusal::new("INTERNAL_SERVER_ERROR", "The request has no context."))?,
    };
    let world = app.world();
    let view = View {
        world: &world,
        owner,
    };
    let rows = match relation.zip(context.parent_value.downcast_ref::<Row>()) {
        Some((relation, row)) => view.related(row, relation).cloned().collect(),
        None => view.rows(table.name).cloned().collect(),
    };
    view.page(table, rows, &arguments(context))
}

/// An edge: a row and where it stands.
struct Edge {
    cursor: String,
    node: Row,
}

/// The connection's type.
pub(super) fn object(table: &Table) -> Object {
    Object::new(format!("{}Connection", table.plural))
        .field(of_page("nodes", TypeRef::named_nn_list_nn(table.name), |page| {
            FieldValue::list(page.rows.iter().cloned().map(FieldValue::owned_any))
        }))
        .field(of_page(
            "edges",
            TypeRef::named_nn_list_nn(format!("{}Edge", table.plural)),
            |page| {
                let edges = page.rows.iter().enumerate().map(|(at, row)| Edge {
                    cursor: page.cursor(at),
                    node: Arc::clone(row),
                });
                FieldValue::list(edges.map(FieldValue::owned_any))
            },
        ))
        .field(of_page("pageInfo", TypeRef::named_nn("PageInfo"), |page| {
            let last = page.rows.len().checked_sub(1);
            let row = serde_json::json!({
                "hasNextPage": page.has_next(), "hasPreviousPage": page.before > 0,
                "startCursor": last.map(|_| page.cursor(0)), "endCursor": last.map(|last| page.cursor(last)),
            });
            let row: Row = Arc::new(row.as_object().cloned().unwrap_or_default());
            FieldValue::owned_any(row)
        }))
        .field(of_page("totalCount", TypeRef::named_nn(TypeRef::INT), |page| {
            FieldValue::value(GraphQlValue::from(page.total))
        }))
}

fn of_page(name: &'static str, kind: TypeRef, read: fn(&Page) -> FieldValue<'static>) -> Field {
    Field::new(name, kind, move |context| {
        done(
            &context,
            Ok(context.parent_value.downcast_ref::<Page>().map(read)),
        )
    })
}

/// The type of the connection's edges.
pub(super) fn edge(table: &Table) -> Object {
    Object::new(format!("{}Edge", table.plural))
        .field(Field::new("cursor", TypeRef::named("Cursor"), |context| {
            let edge = context.parent_value.downcast_ref::<Edge>();
            FieldFuture::from_value(edge.map(|edge| edge.cursor.clone().into()))
        }))
        .field(Field::new(
            "node",
            TypeRef::named_nn(table.name),
            |context| {
                let edge = context.parent_value.downcast_ref::<Edge>();
                done(
                    &context,
                    Ok(edge.map(|edge| FieldValue::owned_any(Arc::clone(&edge.node)))),
                )
            },
        ))
}

/// `PageInfo`.
pub(super) fn page_info() -> Object {
    Object::new("PageInfo")
        .field(plain("hasNextPage", TypeRef::named_nn(TypeRef::BOOLEAN)))
        .field(plain(
            "hasPreviousPage",
            TypeRef::named_nn(TypeRef::BOOLEAN),
        ))
        .field(plain("startCursor", TypeRef::named("Cursor")))
        .field(plain("endCursor", TypeRef::named("Cursor")))
}
