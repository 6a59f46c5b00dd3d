//! Invoices and their payments.

use serde_json::Value;

use super::listing;
use super::{Call, Route, refuse, route, set_texts};
use crate::engine::billing::{self, Collect};
use crate::engine::drafts;
use crate::engine::terms;
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::Json;
use crate::world::{World, merge};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/v1/invoices", "invoice", index),
    route("GET", "/v1/invoices/{}", "invoice", retrieve),
    route("POST", "/v1/invoices/{}", "invoice", update),
    route("POST", "/v1/invoices/{}/finalize", "invoice", finalize),
    route("POST", "/v1/invoices/{}/pay", "invoice", pay),
    route("POST", "/v1/invoices/{}/void", "invoice", void),
    route(
        "POST",
        "/v1/invoices/{}/mark_uncollectible",
        "invoice",
        mark_uncollectible,
    ),
    route("GET", "/v1/invoices/{}/lines", "line_item", lines),
    route("GET", "/v1/invoice_payments", "invoice_payment", payments),
    route("GET", "/v1/invoice_payments/{}", "invoice_payment", payment),
];

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    world.require("invoice", call.id())
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    listing::page(world, "invoice", "/v1/invoices", params, |row| {
        let subscription = row["parent"]["subscription_details"].opt_text("subscription");
        params
            .opt_text("subscription")
            .is_none_or(|wanted| subscription == Some(wanted))
            && (params["due_date"].is_null()
                || row
                    .opt_int("due_date")
                    .is_some_and(|at| listing::in_range(at, &params["due_date"])))
            && listing::matches(row, params, &["collection_method", "customer", "status"])
    })
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    let invoice = world.require("invoice", call.id())?;
    let editable = [
        "auto_advance",
        "description",
        "expand",
        "footer",
        "metadata",
    ];
    if let Some(other) = call
        .params
        .fields()
        .keys()
        .find(|key| !editable.contains(&key.as_str()))
    {
        return Err(ApiError::unmodelled(other));
    }
    if invoice.text("status") != "draft"
        && (call.params.has("description") || call.params.has("footer"))
    {
        let message = "Finalized invoices can't be updated in this way.";
        return Err(ApiError::coded("invoice_not_editable", message));
    }
    Ok(world.update(call.id(), "invoice.updated", |object| {
        set_texts(object, &call.params, &["description", "footer"]);
        if let Some(advance) = call.params.get("auto_advance") {
            object.set("auto_advance", advance.clone());
        }
        merge(object, call.params.get("metadata"));
    }))
}

fn finalize(world: &mut World, call: &Call) -> ApiResult {
    let invoice = world.require("invoice", call.id())?;
    if invoice.text("status") != "draft" {
        let message =
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.";
        return Err(ApiError::coded("invoice_not_editable", message));
    }
    if terms::has_unknown_place(&drafts::refresh(world, call.id())) {
        return Err(terms::unknown_place());
    }
    let open = billing::finalize(world, call.id());
    if invoice.text("collection_method") == "charge_automatically" {
        if open.int("amount_due") == 0 {
            return Ok(billing::mark_paid(world, call.id(), false));
        }
        billing::intent_for(world, &open);
    }
    Ok(world.store.copy(call.id()))
}

fn pay(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, &["forgive", "mandate", "source"])?;
    let invoice = world.require("invoice", call.id())?;
    match invoice.text("status") {
        "paid" => return Err(ApiError::invalid("Invoice is already paid")),
        "void" => {
            return Err(ApiError::invalid(
                "This invoice is void: only open invoices can be paid.",
            ));
        }
        "draft" => {
            billing::finalize(world, call.id());
        }
        _ => {}
    }
    if params.flag("paid_out_of_band") {
        return Ok(billing::mark_paid(world, call.id(), true));
    }
    if let Some(method) = params.opt_text("payment_method") {
        let known = world
            .store
            .find("payment_method", method)
            .filter(|known| known["customer"] == invoice["customer"]);
        known.ok_or_else(|| {
            ApiError::missing_reference("payment_method", method, "payment_method")
        })?;
    }
    let how = Collect {
        method: params.opt_text("payment_method").map(str::to_owned),
        automatic: false,
    };
    billing::collect(world, call.id(), &how)
}

fn void(world: &mut World, call: &Call) -> ApiResult {
    let invoice = world.require("invoice", call.id())?;
    if !matches!(invoice.text("status"), "open" | "uncollectible") {
        let message = format!(
            "You can only void open or uncollectible invoices. This one is `{}`.",
            invoice.text("status")
        );
        return Err(ApiError::coded("status_transition_invalid", message));
    }
    Ok(billing::void(world, call.id()))
}

fn mark_uncollectible(world: &mut World, call: &Call) -> ApiResult {
    let invoice = world.require("invoice", call.id())?;
    if invoice.text("status") != "open" {
        let message = format!(
            "You can only mark open invoices as uncollectible. This one is `{}`.",
            invoice.text("status")
        );
        return Err(ApiError::coded("status_transition_invalid", message));
    }
    Ok(billing::mark_uncollectible(
        world,
        call.id(),
        "user_forgiven",
    ))
}

fn lines(world: &mut World, call: &Call) -> ApiResult {
    let invoice = world.require("invoice", call.id())?;
    let url = format!("/v1/invoices/{}/lines", call.id());
    Ok(listing::of_rows(
        drafts::lines_of(world, &invoice),
        &url,
        &call.params,
    ))
}

fn payment(world: &mut World, call: &Call) -> ApiResult {
    world.require("invoice_payment", call.id())
}

fn payments(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    let by: &Value = &params["payment"];
    if by.is_object() && !by.has("type") {
        let message = "Missing required param: payment[type].";
        return Err(ApiError::parameter(
            Some("parameter_missing"),
            "payment[type]",
            message,
        ));
    }
    listing::page(
        world,
        "invoice_payment",
        "/v1/invoice_payments",
        params,
        |row| {
            listing::matches(row, params, &["invoice", "status"])
                && listing::matches(
                    &row["payment"],
                    by,
                    &["type", "payment_intent", "payment_record"],
                )
        },
    )
}
