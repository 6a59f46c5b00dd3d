//! The one transaction that records a purchase before Stripe is asked: four round trips, one flush.

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Row as _, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{InsertError, Repeated, refused};
use crate::domain::ids::{CheckoutId, CustomerId, EntryId, UserId};
use crate::domain::plan::Kind;
use crate::domain::subscription::Basket;
use crate::storage::customers::Customer;
use crate::storage::feed;
use crate::storage::{self, StorageError};

/// A checkout to be recorded.
#[derive(Clone, Debug)]
pub struct NewCheckout<'a> {
    /// As it will be read: its id, its buyer and its lines, of which nothing has been told yet.
    pub basket: &'a Basket,
    /// ISO 4217, lower case.
    pub currency: &'a str,
    /// The client's.
    pub idempotency_key: Option<&'a str>,
    /// Tells a repeat from another request.
    pub request_hash: &'a [u8],
    /// Of the token in the cancel link.
    pub cancel_token_hash: &'a [u8],
    /// When the sweep first looks for a missing session.
    pub next_repair_at: OffsetDateTime,
}

/// What must be known of a member before a checkout of hers is recorded.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// Currencies in which she has bought or begun to, the last used first.
    pub currencies: Vec<String>,
    /// The checkout that she opened with the idempotency key.
    pub repeated: Option<Repeated>,
    /// Her open checkouts with the hashes of their requests, newest first.
    pub open: Vec<Repeated>,
    /// Kinds of which she holds something live.
    pub kinds: Vec<Kind>,
    /// Whether the plan on trial, or another of its group, was ever hers.
    pub had: bool,
}

/// Begins a transaction in which the user's checkouts are opened one after the other: what a later statement of it
/// reads holds until the commit. (A statement of its own, for one that waits still sees what was there before it
/// waited; in one message with the beginning, which saves a round trip but takes no parameters.)
pub async fn begin(
    pool: &PgPool,
    user: &UserId,
) -> Result<Transaction<'static, sqlx::Postgres>, StorageError> {
    use std::fmt::Write as _;
    // In hexadecimal digits, whatever is in it is nothing but a text.
    let mut digits = String::with_capacity(2 * user.as_str().len());
    for byte in user.as_str().bytes() {
        // Writing to a string can't fail.
        let _infallible = write!(digits, "{byte:02x}");
    }
    let statement = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended(convert_from('\\x{digits}', 'UTF8'), 0))"
    );
    Ok(storage::begin(pool, Some(statement)).await?)
}

/// Reads what must be known of a member; `trial` is the plan that begins with a trial, with its upgrade group.
pub async fn find_buyer(
    db: &mut PgConnection,
    user: &UserId,
    key: Option<&str>,
    trial: Option<(&str, Option<&str>)>,
) -> Result<Buyer, StorageError> {
    let row = sqlx::query(include_str!("find_buyer.sql"))
        .bind(user.as_str())
        .bind(key)
        .bind(trial.map(|(plan, _)| plan))
        .bind(trial.and_then(|(_, group)| group))
        .fetch_one(db)
        .await?;
    let repeated: (Option<Uuid>, Option<Vec<u8>>) = (row.try_get(1)?, row.try_get(2)?);
    let (ids, hashes): (Vec<Uuid>, Vec<Vec<u8>>) = (row.try_get(3)?, row.try_get(4)?);
    let repeat = |(id, request_hash)| Repeated {
        id: CheckoutId(id),
        request_hash,
    };
    let kinds: Vec<String> = row.try_get(5)?;
    Ok(Buyer {
        currencies: row.try_get(0)?,
        repeated: repeated.0.zip(repeated.1).map(repeat),
        open: ids.into_iter().zip(hashes).map(repeat).collect(),
        // The column has a CHECK for these.
        kinds: kinds.iter().filter_map(|text| Kind::parse(text)).collect(),
        had: row.try_get(6)?,
    })
}

/// Records a checkout and its lines, and finds or records its customer.
pub async fn insert(
    db: &mut PgConnection,
    new: &NewCheckout<'_>,
    now: OffsetDateTime,
) -> Result<Customer, InsertError> {
    let (checkout, lines) = (&new.basket.checkout, &new.basket.lines);
    let ids: Vec<Uuid> = lines.iter().map(|line| line.id.0).collect();
    let plans: Vec<&str> = lines.iter().map(|line| line.plan.as_str()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line.kind.as_str()).collect();
    let quantities: Vec<i32> = lines.iter().map(|line| line.quantity).collect();
    let open: Vec<bool> = lines.iter().map(|line| line.quantity_open).collect();
    let single: Vec<bool> = lines.iter().map(|line| line.single).collect();
    let groups: Vec<Option<&str>> = lines
        .iter()
        .map(|line| line.upgrade_group.as_deref())
        .collect();
    let recurring: Vec<bool> = lines.iter().map(|line| line.recurring).collect();
    let terms: Vec<Option<String>> = lines
        .iter()
        .map(|line| line.term.map(|term| term.to_string()))
        .collect();
    let statuses: Vec<&str> = lines.iter().map(|line| line.status.as_str()).collect();
    let reasons: Vec<&str> = lines.iter().map(|line| line.reason.as_str()).collect();
    let prices: Vec<&str> = lines
        .iter()
        .map(|line| line.stripe_price.as_str())
        .collect();
    let entries: Vec<Uuid> = lines.iter().map(|_| EntryId::new(now).0).collect();
    let data: Vec<String> = lines.iter().map(|line| feed::state(line, now)).collect();
    let inserted = sqlx::query_as(include_str!("insert.sql"))
        .bind(CustomerId::new(now).0)
        .bind(checkout.user.as_str())
        .bind(new.currency)
        .bind(now)
        .bind(checkout.id.0)
        .bind(checkout.mode.as_str())
        .bind(new.request_hash)
        .bind(new.cancel_token_hash)
        .bind(checkout.expires_at)
        .bind(new.next_repair_at)
        .bind(new.idempotency_key)
        .bind(ids)
        .bind(plans)
        .bind(kinds)
        .bind(quantities)
        .bind(open)
        .bind(single)
        .bind(groups)
        .bind(recurring)
        .bind(terms)
        .bind(statuses)
        .bind(reasons)
        .bind(prices)
        .bind(entries)
        .bind(data)
        .fetch_one(db)
        .await;
    let (id, generation, stripe_customer): (Uuid, i32, Option<String>) = refused(inserted)?;
    Ok(Customer {
        id: CustomerId(id),
        generation,
        stripe_customer,
    })
}
