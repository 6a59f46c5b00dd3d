//! What buyers say of themselves on the hosted page, and what of it is kept on the customer.

use serde_json::{Value, json};

use super::checkout::Payment;
use super::offer::refused;
use crate::world::World;
use crate::world::error::ApiError;
use crate::world::ids;
use crate::world::json::Json;

/// Where buyers are who do not say.
pub(crate) const HOME: &str = "AT";

/// A buyer who has filled in the page.
pub(crate) struct Buyer {
    /// As payment methods show it: address, e-mail, name.
    pub billing: Value,
    /// What the session shows of it: the consent that it asked for.
    pub consent: Value,
    /// What the session shows of it: type and value.
    pub tax_ids: Vec<Value>,
}

/// Reads what the buyer filled in.
///
/// # Errors
/// What the hosted page would tell the buyer: a 402 that names the field.
pub(crate) fn read(world: &World, session: &Value, payment: &Payment) -> Result<Buyer, ApiError> {
    let known = world.store.copy(session.text("customer"));
    let email = known
        .opt_text("email")
        .or(session.opt_text("customer_email"))
        .or(payment.email.as_deref());
    let name = payment.name.as_deref().or(known.opt_text("name"));
    let consent = consent(session, payment)?;
    let tax_ids = tax_ids(session, payment)?;
    let billing = json!({
        "address": address(session, &known, payment)?,
        "email": email.unwrap_or("buyer@example.com"), "name": name.unwrap_or("Sandbox Buyer"), "phone": null,
        "tax_id": tax_ids.first().map(|id| id["value"].clone()),
    });
    Ok(Buyer {
        billing,
        consent,
        tax_ids,
    })
}

/// The country that the buyer names, or that is known of the customer.
pub(crate) fn country(known: &Value, payment: &Payment) -> Result<String, ApiError> {
    let country = payment.country.as_deref();
    let country = country
        .or(known["address"].opt_text("country"))
        .unwrap_or(HOME);
    if country.len() == 2 && country.bytes().all(|letter| letter.is_ascii_uppercase()) {
        return Ok(country.to_owned());
    }
    let message = format!("'{country}' is not a country: write two capital letters, as AT.");
    Err(refused("country", &message))
}

fn address(session: &Value, known: &Value, payment: &Payment) -> Result<Value, ApiError> {
    let mut address = json!({"city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null});
    address.set("country", country(known, payment)?);
    let required = session.text("billing_address_collection") == "required";
    // A program that leaves them out lives in the sandbox; a person who leaves them empty is told.
    for (key, given, default) in [
        ("line1", &payment.line1, "Sandkasten 1"),
        ("postal_code", &payment.postal_code, "1010"),
        ("city", &payment.city, "Wien"),
    ] {
        match given.as_deref() {
            Some("") if required => return Err(refused(key, "Please enter your address.")),
            Some("") => {}
            Some(text) => address.set(key, text),
            None if required => address.set(key, default),
            None => {}
        }
    }
    Ok(address)
}

fn consent(session: &Value, payment: &Payment) -> Result<Value, ApiError> {
    let asked = &session["consent_collection"];
    if !asked.is_object() {
        return Ok(Value::Null);
    }
    let terms = asked.text("terms_of_service") == "required";
    if terms && payment.accept_terms == Some(false) {
        return Err(refused(
            "accept_terms",
            "Please accept the terms of service to go on.",
        ));
    }
    let promotions = (asked.text("promotions") == "auto").then(|| {
        if payment.promotions == Some(true) {
            "opt_in"
        } else {
            "opt_out"
        }
    });
    Ok(json!({"promotions": promotions, "terms_of_service": terms.then_some("accepted")}))
}

fn tax_ids(session: &Value, payment: &Payment) -> Result<Vec<Value>, ApiError> {
    let given = payment.tax_id.as_deref().unwrap_or_default().trim();
    if given.is_empty() {
        return Ok(vec![]);
    }
    if !session["tax_id_collection"].flag("enabled") {
        return Err(refused("tax_id", "This session does not collect tax ids."));
    }
    let value: String = given.split_whitespace().collect::<String>().to_uppercase();
    let (country, number) = value.split_at_checked(2).unwrap_or_default();
    let fits = country.bytes().all(|letter| letter.is_ascii_uppercase())
        && (2..=12).contains(&number.len())
        && number.bytes().all(|symbol| symbol.is_ascii_alphanumeric());
    if !fits {
        let message = "Your tax id is not valid. (The sandbox knows European VAT numbers only, as ATU12345678.)";
        return Err(refused("tax_id", message));
    }
    Ok(vec![json!({"type": "eu_vat", "value": value})])
}

/// The customer of a session: its own, or a new one where the mode or the session asks for it.
pub(crate) fn customer_for(world: &mut World, session: &Value, buyer: &Buyer) -> Option<String> {
    let billing = &buyer.billing;
    if let Some(known) = session.opt_text("customer") {
        update(world, session, known, billing);
        keep_tax_ids(world, known, &buyer.tax_ids);
        return Some(known.to_owned());
    }
    let wanted = session.text("mode") == "subscription"
        || session.text("customer_creation") == "always"
        || session["invoice_creation"].flag("enabled");
    wanted.then(|| {
        let mut params = json!({"email": billing["email"], "name": billing["name"]});
        if session["automatic_tax"].flag("enabled")
            || session.text("billing_address_collection") == "required"
        {
            params.set("address", billing["address"].clone());
        }
        if let Some(locale) = session
            .opt_text("locale")
            .filter(|locale| *locale != "auto")
        {
            params.set("preferred_locales", json!([locale]));
        }
        let id = super::customers::new_customer(world, &params)
            .text("id")
            .to_owned();
        keep_tax_ids(world, &id, &buyer.tax_ids);
        id
    })
}

/// Saves on an existing customer what the session may change of it.
fn update(world: &mut World, session: &Value, customer: &str, billing: &Value) {
    let allowed = world
        .store
        .hidden(session.text("id"), "customer_update")
        .clone();
    world.update(customer, "customer.updated", |object| {
        for key in ["address", "name"] {
            if allowed.text(key) == "auto" {
                object.set(key, billing[key].clone());
            }
        }
    });
}

/// A customer's tax ids, as invoices and sessions show them.
pub(crate) fn tax_ids_of(world: &World, customer: &str) -> Vec<Value> {
    let known = world.store.linked("tax_id", customer);
    known
        .filter(|row| row.text("customer") == customer)
        .map(|row| json!({"type": row["type"], "value": row["value"]}))
        .collect()
}

fn keep_tax_ids(world: &mut World, customer: &str, tax_ids: &[Value]) {
    for given in tax_ids {
        let is_known = world
            .store
            .linked("tax_id", customer)
            .any(|row| row.text("customer") == customer && row["value"] == given["value"]);
        if is_known {
            continue;
        }
        let tax_id = json!({
            "id": ids::new("txi"), "object": "tax_id", "country": given.text("value").get(..2), "created": world.now(),
            "customer": customer, "customer_account": null, "livemode": false,
            "owner": {"customer": customer, "type": "customer"}, "type": given["type"], "value": given["value"],
            "verification": {"status": "pending", "verified_address": null, "verified_name": null},
        });
        world.create(tax_id, Some("customer.tax_id.created"));
    }
}
