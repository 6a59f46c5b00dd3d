//! Rows of `customers`.

use sqlx::postgres::PgExecutor;

use super::StorageError;
use crate::domain::ids::{CustomerId, UserId};

/// Our row of a customer at Stripe.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Ours.
    pub id: CustomerId,
    /// Part of the idempotency key.
    pub generation: i32,
    /// `cus_…`, once Stripe has answered.
    pub stripe_customer: Option<String>,
}

/// A user's customers at Stripe: currency and `cus_…`, in the order of the currencies.
pub async fn find_of_user(
    db: impl PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<(String, String)>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT currency, stripe_customer_id FROM customers
          WHERE user_id = $1 AND stripe_customer_id IS NOT NULL ORDER BY currency",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?)
}

/// Every customer at Stripe that a user ever had: one who was replaced or deleted still has a past.
pub async fn find_stripe_customers(
    db: impl PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<String>, StorageError> {
    Ok(sqlx::query_scalar(
        "SELECT stripe_customer_id FROM customers WHERE user_id = $1 AND stripe_customer_id IS NOT NULL
          UNION SELECT stripe_customer_id FROM checkouts WHERE user_id = $1 AND stripe_customer_id IS NOT NULL
          ORDER BY 1",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?)
}

/// Every customer at Stripe that a user ever had, each with its currency: of each currency first the one with whom she buys
/// now, then those of her newest checkouts.
pub async fn find_of_user_ever(
    db: impl PgExecutor<'_>,
    user: &UserId,
) -> Result<Vec<(String, String)>, StorageError> {
    Ok(sqlx::query_as(
        "SELECT currency, stripe_customer_id FROM (
            SELECT currency, stripe_customer_id, 'infinity'::timestamptz AS used FROM customers
             WHERE user_id = $1 AND stripe_customer_id IS NOT NULL
             UNION ALL
            SELECT currency, stripe_customer_id, created_at FROM checkouts
             WHERE user_id = $1 AND stripe_customer_id IS NOT NULL) AS had
          GROUP BY currency, stripe_customer_id ORDER BY currency, max(used) DESC, stripe_customer_id",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await?)
}

/// Records Stripe's answer for that generation, unless it has a customer already, as an adoption gives one; a later
/// generation's is left alone. Returns whom the generation has, none where it is over.
///
/// Nobody waits for the disk: a process that dies loses nothing by it, and should the whole machine die in the same
/// moment, Stripe answers the same idempotency key with the same customer.
pub async fn update_stripe_customer(
    db: impl PgExecutor<'_>,
    id: CustomerId,
    generation: i32,
    stripe_customer: &str,
) -> Result<Option<String>, StorageError> {
    Ok(sqlx::query_scalar(
        "UPDATE customers SET stripe_customer_id = coalesce(stripe_customer_id, $3)
          WHERE id = $1 AND generation = $2 AND set_config('synchronous_commit', 'off', true) IS NOT NULL
          RETURNING stripe_customer_id",
    )
    .bind(id.0)
    .bind(generation)
    .bind(stripe_customer)
    .fetch_optional(db)
    .await?)
}

/// Gives up a customer whom Stripe has deleted, unless somebody else already did; returns the row as it is then.
pub async fn update_generation(
    db: impl PgExecutor<'_>,
    id: CustomerId,
    generation: i32,
) -> Result<Customer, StorageError> {
    let (generation, stripe_customer): (i32, Option<String>) = sqlx::query_as(
        "UPDATE customers SET generation = CASE WHEN generation = $2 THEN generation + 1 ELSE generation END,
                stripe_customer_id = CASE WHEN generation = $2 THEN NULL ELSE stripe_customer_id END
          WHERE id = $1 RETURNING generation, stripe_customer_id",
    )
    .bind(id.0)
    .bind(generation)
    .fetch_one(db)
    .await?;
    Ok(Customer {
        id,
        generation,
        stripe_customer,
    })
}

/// Gives up a customer whom Stripe reports as deleted; whether it was one of ours that was still in use.
pub async fn update_deleted(
    db: impl PgExecutor<'_>,
    stripe_customer: &str,
) -> Result<bool, StorageError> {
    let updated = sqlx::query(
        "UPDATE customers SET generation = generation + 1, stripe_customer_id = NULL WHERE stripe_customer_id = $1",
    )
    .bind(stripe_customer)
    .execute(db)
    .await?;
    Ok(updated.rows_affected() > 0)
}
