//! The hosted checkout page: what its form does. How it looks is next door.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::checkout_page::{authentication, page};
use super::html::Page;
use crate::app::App;
use crate::engine::checkout::{self, NotPaid, Payment};
use crate::engine::offer;
use crate::webhooks::wait_for_delivery;
use crate::world::World;
use crate::world::amounts::ZERO_DECIMAL;
use crate::world::json::Json;

type Shared = State<Arc<App>>;

/// What the page's form sends, in order: the page for authentication sends it again.
pub(super) struct Filled(pub Vec<(String, String)>);

impl Filled {
    /// The trimmed text of a field that is there.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let mut fields = self.0.iter();
        let (_, value) = fields.find(|(known, _)| known == name)?;
        Some(value.trim().to_owned())
    }

    fn some(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    fn payment(&self, world: &World, id: &str) -> Payment {
        let quantities = self.0.iter().filter_map(|(name, value)| {
            let line = name.strip_prefix("quantity_")?;
            Some((line.to_owned(), value.trim().parse().unwrap_or_default()))
        });
        Payment {
            card: self.some("instrument"),
            authenticate: self.some("authenticate").map(|passed| passed == "true"),
            amount: self
                .text("amount")
                .and_then(|typed| minor_units(world, id, &typed)),
            email: self.some("email"),
            name: self.some("name"),
            country: self.some("country"),
            line1: self.text("line1"),
            postal_code: self.text("postal_code"),
            city: self.text("city"),
            tax_id: self.some("tax_id"),
            promotion_code: self.text("promotion_code"),
            // An unticked box sends nothing.
            accept_terms: Some(self.some("terms").is_some()),
            promotions: Some(self.some("promotions").is_some()),
            quantities: quantities.collect(),
            ..Payment::default()
        }
    }
}

/// Shows a session to its buyer.
pub(super) async fn show(State(app): Shared, Path(id): Path<String>) -> Response {
    app.with(|world| page(world, &id, None)).into_response()
}

/// Tries to pay, waits for the webhook, and sends the buyer on; or prices anew what was chosen.
pub(super) async fn submit(
    State(app): Shared,
    Path(id): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let filled = Filled(fields);
    let payment = filled.payment(&app.world(), &id);
    if filled.some("update").is_some() {
        return app
            .with(|world| update(world, &id, &payment))
            .into_response();
    }
    match app.with(|world| checkout::pay(world, &id, &payment)) {
        Ok(done) => {
            wait_for_delivery(&app, &done.event).await;
            Redirect::to(&done.redirect_url).into_response()
        }
        Err(NotPaid::NotOpen(_)) => app.with(|world| page(world, &id, None)).into_response(),
        Err(NotPaid::Refused(error)) if error.code() == "authentication_required" => {
            authentication(&id, &filled).into_response()
        }
        Err(NotPaid::Refused(error)) => app
            .with(|world| page(world, &id, Some(error.message())))
            .into_response(),
    }
}

/// Keeps what the buyer chose, without paying.
fn update(world: &mut World, id: &str, payment: &Payment) -> Page {
    let is_open = world
        .store
        .find("checkout.session", id)
        .is_some_and(|session| session.text("status") == "open");
    if !is_open {
        return page(world, id, None);
    }
    let wrong = offer::choose(world, id, payment).err();
    page(
        world,
        id,
        wrong.as_ref().map(crate::world::error::ApiError::message),
    )
}

/// The amount that a donor typed, in minor units.
fn minor_units(world: &World, id: &str, typed: &str) -> Option<i64> {
    let currency = world.store.copy(id).text("currency").to_owned();
    let typed = typed.trim().replace(',', ".");
    if ZERO_DECIMAL.contains(&currency.as_str()) {
        return typed.parse().ok();
    }
    let (whole, cents) = typed.split_once('.').unwrap_or((&typed, ""));
    let cents = format!("{cents:0<2}");
    let amount = whole.parse::<i64>().ok()?.checked_mul(100)?;
    amount.checked_add(cents.get(..2)?.parse().ok()?)
}

/// Makes the copy of an expired session that its recovery link promises.
pub(super) async fn recover(State(app): Shared, Path(id): Path<String>) -> Response {
    match app.with(|world| checkout::recover(world, &id)) {
        Ok(session) => Redirect::to(session.text("url")).into_response(),
        Err(_) => Page::sorry(
            StatusCode::NOT_FOUND,
            "This link has expired",
            "Please start again.",
        )
        .into_response(),
    }
}
