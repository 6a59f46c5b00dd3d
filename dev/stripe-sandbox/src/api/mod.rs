//! The API under `/v1`: from method and path to a handler, with checked parameters.

mod catalogue;
mod coupons;
mod credit_notes;
mod customers;
mod disputes;
mod events;
mod expand;
mod invoices;
mod line_items;
mod listing;
mod payments;
pub(crate) mod portal;
pub(crate) mod portal_features;
mod portal_flow;
mod previews;
mod promotion_codes;
mod search;
mod search_query;
mod session_discounts;
mod session_options;
mod sessions;
mod subscription_create;
mod subscription_items;
mod subscription_update;
mod subscriptions;
mod test_clocks;
mod webhook_endpoints;

use serde_json::Value;

use crate::spec::{objects, table};
use crate::world::error::{ApiError, ApiResult};
use crate::world::{World, set_texts};

pub(crate) use subscription_items::change as subscription_change;
pub(crate) use subscription_update::{set_cancel_at, set_cancel_at_period_end};

/// A checked call.
pub(crate) struct Call {
    /// Parameters in their types.
    pub params: Value,
    /// The ids in the path.
    pub ids: Vec<String>,
}

impl Call {
    /// The first id in the path.
    pub(crate) fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }
}

/// What executes a call.
pub(crate) type Handler = fn(&mut World, &Call) -> ApiResult;

/// One modelled operation.
pub(crate) struct Route {
    method: &'static str,
    path: &'static str,
    /// The resource that it answers with, or a list of: what `expand` starts from.
    resource: &'static str,
    handler: Handler,
}

/// A route, written as in the tables of the resource modules.
pub(crate) const fn route(
    method: &'static str,
    path: &'static str,
    resource: &'static str,
    handler: Handler,
) -> Route {
    Route {
        method,
        path,
        resource,
        handler,
    }
}

fn routes() -> impl Iterator<Item = &'static Route> {
    [
        catalogue::ROUTES,
        coupons::ROUTES,
        credit_notes::ROUTES,
        customers::ROUTES,
        disputes::ROUTES,
        events::ROUTES,
        invoices::ROUTES,
        payments::ROUTES,
        portal::ROUTES,
        previews::ROUTES,
        promotion_codes::ROUTES,
        sessions::ROUTES,
        subscriptions::ROUTES,
        test_clocks::ROUTES,
        webhook_endpoints::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// Finds the operation for a path and the ids in it.
pub(crate) fn find(method: &str, path: &str) -> Result<(&'static Route, Vec<String>), ApiError> {
    let fitting = routes().filter(|route| route.method == method);
    // A fixed segment wins over an id.
    let best = fitting
        .filter(|_| !table::is_elsewhere(method, path))
        .filter_map(|route| ids_in(route.path, path).map(|ids| (route, ids)))
        .min_by_key(|(_, ids)| ids.len());
    best.ok_or_else(|| {
        let message = format!(
            "Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing \
             slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in \
             your code. The path may exist at Stripe: the sandbox does not model it."
        );
        eprintln!("stripe-sandbox: {method} {path} is not modelled");
        ApiError::new(404, "invalid_request_error", None, message)
    })
}

fn ids_in(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut ids = vec![];
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(ids),
            (Some("{}"), Some(id)) if !id.is_empty() => ids.push(id.to_owned()),
            (Some(want), Some(got)) if want == got => {}
            _ => return None,
        }
    }
}

impl Route {
    /// Checks the decoded parameters of a call.
    pub(crate) fn check(&self, ids: Vec<String>, params: &Value) -> Result<Call, ApiError> {
        let operation = format!("{} {}", self.method, self.path);
        let params = table::check(&operation, params)?;
        Ok(Call { params, ids })
    }

    /// Executes a call and expands its answer.
    pub(crate) fn execute(&self, world: &mut World, call: &Call) -> ApiResult {
        let is_list = self.method == "GET" && !self.path.ends_with("{}");
        // A wrong expand must not leave an effect behind: it is tried on nothing first.
        expand::expand(
            world,
            &mut Value::Null,
            self.resource,
            is_list,
            &call.params,
        )?;
        let mut answer = (self.handler)(world, call)?;
        expand::expand(world, &mut answer, self.resource, is_list, &call.params)?;
        if cfg!(debug_assertions) {
            let operation = format!("{} {}", self.method, self.path);
            if let Some(sentence) = objects::wrong_answer(&operation, &answer) {
                return Err(ApiError::wrong(sentence));
            }
        }
        Ok(answer)
    }
}

/// Refuses parameters that change what happens and are not modelled.
pub(crate) fn refuse(params: &Value, names: &[&str]) -> Result<(), ApiError> {
    let given = names.iter().find(|name| match params.get(**name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(elements)) => !elements.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    });
    given.map_or(Ok(()), |name| Err(ApiError::unmodelled(name)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::routes;
    use crate::spec::table::operations;

    #[test]
    fn routes_and_the_table_of_parameters_agree() {
        let routed: BTreeSet<String> = routes()
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        let described: BTreeSet<String> = operations().cloned().collect();
        let difference: Vec<_> = routed.symmetric_difference(&described).collect();
        assert!(difference.is_empty(), "{difference:?}");
    }
}
