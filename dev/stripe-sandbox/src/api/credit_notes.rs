//! Credit notes: less to pay before the payment, or money back after it.

use serde_json::{Value, json};

use super::listing;
use super::{Call, Route, refuse, route};
use crate::engine::{billing, drafts, refunds};
use crate::world::amounts::share;
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::{Json, list};
use crate::world::{World, merge, new_metadata};

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/v1/credit_notes", "credit_note", create),
    route("GET", "/v1/credit_notes", "credit_note", index),
    route("GET", "/v1/credit_notes/{}", "credit_note", retrieve),
    route("POST", "/v1/credit_notes/{}", "credit_note", update),
    route("POST", "/v1/credit_notes/{}/void", "credit_note", void),
    route(
        "GET",
        "/v1/credit_notes/{}/lines",
        "credit_note_line_item",
        lines,
    ),
];

fn create(world: &mut World, call: &Call) -> ApiResult {
    let params = &call.params;
    refuse(params, &["credit_amount", "shipping_cost"])?;
    let id = params.text("invoice");
    let invoice = world.store.find("invoice", id).cloned();
    let invoice = invoice.ok_or_else(|| ApiError::missing_reference("invoice", id, "invoice"))?;
    let lines = note_lines(world, &invoice, params)?;
    let sums = Sums::of(&lines);
    let total = sums.total();
    let is_paid = invoice.text("status") == "paid";
    if !is_paid && invoice.text("status") != "open" {
        let message = format!(
            "You can only create credit notes for open or paid invoices. This one is `{}`.",
            invoice.text("status")
        );
        return Err(ApiError::invalid(message).param("invoice"));
    }
    let credited = invoice.int("pre_payment_credit_notes_amount")
        + invoice.int("post_payment_credit_notes_amount");
    let left = if is_paid {
        invoice.int("total") - credited
    } else {
        invoice.int("amount_remaining")
    };
    if total < 1 || total > left {
        let message = format!(
            "The sum of credit amount, refund amount and out of band amount ({total}) must be between 1 and {left}."
        );
        return Err(ApiError::invalid(message).param("amount"));
    }
    let given_back = if is_paid {
        give_back(world, &invoice, params, total)?
    } else {
        json!([])
    };
    let number = format!(
        "{}-CN-{:02}",
        invoice.text("number"),
        world.store.all("credit_note").len() + 1
    );
    let note_id = ids::new("cn");
    let now = world.now();
    let note = json!({
        "id": note_id, "object": "credit_note", "amount": total, "amount_shipping": 0, "created": now,
        "currency": invoice["currency"], "customer": invoice["customer"], "customer_account": null,
        "customer_balance_transaction": null, "discount_amount": sums.discount, "discount_amounts": sums.discounts,
        "effective_at": params.opt_int("effective_at").unwrap_or(now), "invoice": id,
        "lines": list(&format!("/v1/credit_notes/{note_id}/lines"), lines), "livemode": false, "memo": params.get("memo"),
        "metadata": new_metadata(params.get("metadata")), "number": number, "out_of_band_amount": params.get("out_of_band_amount"),
        "pdf": format!("{}/_sandbox/objects/credit_note", world.base_url),
        "post_payment_amount": if is_paid { total } else { 0 }, "pre_payment_amount": if is_paid { 0 } else { total },
        "pretax_credit_amounts": [], "reason": params.get("reason"), "refunds": given_back, "shipping_cost": null,
        "status": "issued", "subtotal": sums.amount, "subtotal_excluding_tax": sums.amount - sums.inclusive, "total": total,
        "total_excluding_tax": total - sums.inclusive - sums.exclusive, "total_taxes": sums.taxes, "type": if is_paid { "post_payment" } else { "pre_payment" },
        "voided_at": null,
    });
    let note = world.create(note, Some("credit_note.created"));
    let after = world.update(id, "invoice.updated", |object| {
        let key = if is_paid {
            "post_payment_credit_notes_amount"
        } else {
            "pre_payment_credit_notes_amount"
        };
        let sum = object.int(key) + total;
        object.set(key, sum);
        if !is_paid {
            for key in ["amount_due", "amount_remaining"] {
                let less = object.int(key) - total;
                object.set(key, less);
            }
        }
    });
    if !is_paid && after.int("amount_remaining") == 0 {
        billing::mark_paid(world, id, false);
    }
    Ok(note)
}

/// The lines of a note: those that were given, or one for the whole amount.
fn note_lines(world: &World, invoice: &Value, params: &Value) -> Result<Vec<Value>, ApiError> {
    let given = params.items("lines");
    if given.is_empty() {
        let amount = params
            .opt_int("amount")
            .or_else(|| Some(params.opt_int("refund_amount")? + params.int("out_of_band_amount")));
        let Some(amount) = amount.or_else(|| params.opt_int("out_of_band_amount")) else {
            let message = "You must provide one of `amount`, `lines`, `refund_amount` or `out_of_band_amount`.";
            return Err(ApiError::parameter(
                Some("parameter_missing"),
                "amount",
                message,
            ));
        };
        return Ok(vec![line_object(
            "custom_line_item",
            "Credit",
            amount,
            1,
            None,
        )]);
    }
    let mut lines = vec![];
    for (at, line) in given.iter().enumerate() {
        if line.text("type") == "custom_line_item" {
            let quantity = line.opt_int("quantity").unwrap_or(1);
            let amount = line.int("unit_amount") * quantity;
            lines.push(line_object(
                "custom_line_item",
                line.text("description"),
                amount,
                quantity,
                None,
            ));
            continue;
        }
        let id = line.text("invoice_line_item");
        let known = drafts::lines_of(world, invoice)
            .iter()
            .find(|known| known.text("id") == id);
        let param = format!("lines[{at}][invoice_line_item]");
        let known = known.ok_or_else(|| ApiError::missing_reference("line_item", id, &param))?;
        let whole = known.opt_int("quantity").unwrap_or(1).max(1);
        let quantity = line.opt_int("quantity").unwrap_or(whole);
        let amount = line
            .opt_int("amount")
            .unwrap_or(known.int("amount") * quantity / whole);
        if amount > known.int("amount") || quantity > whole {
            let message = "The credited amount is greater than that of the invoice line item.";
            return Err(ApiError::invalid(message).param(&param));
        }
        let mut line = line_object(
            "invoice_line_item",
            known.text("description"),
            amount,
            quantity,
            Some(id),
        );
        take_shares(&mut line, known, amount);
        lines.push(line);
    }
    Ok(lines)
}

/// A credited line takes its share of the discounts and taxes of what it credits.
fn take_shares(line: &mut Value, known: &Value, amount: i64) {
    let part = |given: &Value, key: &str| share(given.int(key), amount, known.int("amount"));
    let scaled = |list: &str, keys: &[&str]| -> Vec<Value> {
        let mut given = known.items(list).to_vec();
        for entry in &mut given {
            for key in keys {
                let scaled = part(entry, key);
                entry.set(key, scaled);
            }
        }
        given
    };
    let discounts = scaled("discount_amounts", &["amount"]);
    let off: i64 = discounts.iter().map(|entry| entry.int("amount")).sum();
    line.set("discount_amount", off);
    line.set("discount_amounts", discounts);
    line.set("taxes", scaled("taxes", &["amount", "taxable_amount"]));
}

/// What the lines of a note come to.
#[derive(Default)]
struct Sums {
    amount: i64,
    discount: i64,
    inclusive: i64,
    exclusive: i64,
    discounts: Vec<Value>,
    taxes: Vec<Value>,
}

impl Sums {
    fn of(lines: &[Value]) -> Self {
        let mut sums = Self::default();
        for line in lines {
            sums.amount += line.int("amount");
            sums.discount += line.int("discount_amount");
            for tax in line.items("taxes") {
                if tax.text("tax_behavior") == "inclusive" {
                    sums.inclusive += tax.int("amount");
                } else {
                    sums.exclusive += tax.int("amount");
                }
                add(&mut sums.taxes, tax, "tax_rate_details");
            }
            for entry in line.items("discount_amounts") {
                add(&mut sums.discounts, entry, "discount");
            }
        }
        sums
    }

    fn total(&self) -> i64 {
        self.amount - self.discount + self.exclusive
    }
}

/// Adds an amount to that of the same rate or discount.
fn add(sums: &mut Vec<Value>, given: &Value, key: &str) {
    let same = |sum: &&mut Value| {
        sum[key] == given[key] && sum["taxability_reason"] == given["taxability_reason"]
    };
    let Some(sum) = sums.iter_mut().find(same) else {
        return sums.push(given.clone());
    };
    for key in ["amount", "taxable_amount"] {
        if given.has(key) {
            let together = sum.int(key) + given.int(key);
            sum.set(key, together);
        }
    }
}

fn line_object(
    kind: &str,
    description: &str,
    amount: i64,
    quantity: i64,
    of: Option<&str>,
) -> Value {
    let unit = (kind == "custom_line_item").then(|| amount / quantity.max(1));
    let mut line = json!({
        "id": ids::new("cnli"), "object": "credit_note_line_item", "amount": amount, "description": description,
        "discount_amount": 0, "discount_amounts": [], "livemode": false, "metadata": {}, "pretax_credit_amounts": [],
        "quantity": quantity, "tax_rates": [], "taxes": [], "type": kind, "unit_amount": unit,
        "unit_amount_decimal": unit.map(|unit| unit.to_string()),
    });
    if let Some(of) = of {
        line.set("invoice_line_item", of);
    }
    line
}

/// How a paid invoice's money goes back: refunds that exist, a new one, or outside Stripe. They must add up.
fn give_back(
    world: &mut World,
    invoice: &Value,
    params: &Value,
    total: i64,
) -> Result<Value, ApiError> {
    let mut refunds = vec![];
    let mut sum = params.int("out_of_band_amount");
    for (at, given) in params.items("refunds").iter().enumerate() {
        let id = given.text("refund");
        let known = world.store.find("refund", id);
        let known = known.ok_or_else(|| {
            ApiError::missing_reference("refund", id, &format!("refunds[{at}][refund]"))
        })?;
        let amount = given
            .opt_int("amount_refunded")
            .unwrap_or(known.int("amount"));
        sum += amount;
        refunds.push(json!({"amount_refunded": amount, "payment_record_refund": null, "refund": id, "type": "refund"}));
    }
    let new = params.int("refund_amount");
    if sum + new != total {
        let message = format!(
            "The sum of refunds, refund_amount, credit_amount and out_of_band_amount ({}) must equal the credit note's \
             total ({total}).",
            sum + new
        );
        return Err(ApiError::invalid(message));
    }
    if new > 0 {
        let charge = charge_of(world, invoice.text("id")).ok_or_else(|| {
            ApiError::invalid("There is no charge on this invoice to refund.")
                .param("refund_amount")
        })?;
        let refund = refunds::create(world, &charge, &json!({"amount": new}))?;
        refunds.push(json!({"amount_refunded": new, "payment_record_refund": null, "refund": refund["id"], "type": "refund"}));
    }
    Ok(refunds.into())
}

fn charge_of(world: &World, invoice: &str) -> Option<String> {
    let mut payments = world.store.linked("invoice_payment", invoice);
    let paid =
        payments.rfind(|row| row.text("invoice") == invoice && row.text("status") == "paid")?;
    let intent = world.store.get(paid["payment"].text("payment_intent"))?;
    intent.opt_text("latest_charge").map(str::to_owned)
}

fn retrieve(world: &mut World, call: &Call) -> ApiResult {
    world.require("credit_note", call.id())
}

fn index(world: &mut World, call: &Call) -> ApiResult {
    listing::page(
        world,
        "credit_note",
        "/v1/credit_notes",
        &call.params,
        |row| listing::matches(row, &call.params, &["customer", "invoice"]),
    )
}

fn update(world: &mut World, call: &Call) -> ApiResult {
    world.require("credit_note", call.id())?;
    Ok(world.update(call.id(), "credit_note.updated", |note| {
        super::set_texts(note, &call.params, &["memo"]);
        merge(note, call.params.get("metadata"));
    }))
}

fn void(world: &mut World, call: &Call) -> ApiResult {
    let note = world.require("credit_note", call.id())?;
    let invoice = world.store.copy(note.text("invoice"));
    if note.text("status") == "void" || invoice.text("status") != "open" {
        let message = "You can only void a credit note that is issued and whose invoice is open.";
        return Err(ApiError::invalid(message));
    }
    let (now, amount) = (world.now(), note.int("amount"));
    let voided = world.change(call.id(), |object| {
        object.set("status", "void");
        object.set("voided_at", now);
    });
    world.emit("credit_note.voided", &voided, None);
    world.update(invoice.text("id"), "invoice.updated", |object| {
        let less = object.int("pre_payment_credit_notes_amount") - amount;
        object.set("pre_payment_credit_notes_amount", less);
        for key in ["amount_due", "amount_remaining"] {
            let more = object.int(key) + amount;
            object.set(key, more);
        }
    });
    Ok(voided)
}

fn lines(world: &mut World, call: &Call) -> ApiResult {
    let note = world.require("credit_note", call.id())?;
    let url = format!("/v1/credit_notes/{}/lines", call.id());
    Ok(listing::of_rows(
        note["lines"].items("data"),
        &url,
        &call.params,
    ))
}
