//! What another system sold at Stripe becomes ours: one statement.

use sqlx::postgres::PgExecutor;
use time::OffsetDateTime;

use crate::domain::actor::By;
use crate::domain::ids::{CustomerId, EntryId, UserId};
use crate::domain::subscription::{Checkout, Subscription};
use crate::storage::StorageError;
use crate::storage::feed;

/// A checkout to be recorded that has no session.
#[derive(Clone, Debug)]
pub struct NewAdopted<'a> {
    /// As it will be read.
    pub checkout: &'a Checkout,
    /// Its only line, of which nothing has been told yet.
    pub line: &'a Subscription,
    /// ISO 4217, lower case.
    pub currency: &'a str,
}

/// Why it was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// A row has that subscription at Stripe already.
    #[error("a row has the subscription already")]
    Known,
    /// A line is known by that external id already.
    #[error("another line is known by the external id already")]
    IdTaken,
    /// The member holds the single plan, or one of its group, already.
    #[error("the member holds the plan already")]
    Held,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Records a checkout that was adopted, with its line and its customer; the violated constraint says why it can't be.
pub async fn insert_adopted(
    db: impl PgExecutor<'_>,
    new: &NewAdopted<'_>,
    by: &By,
    now: OffsetDateTime,
) -> Result<(), AdoptError> {
    let (checkout, line) = (new.checkout, new.line);
    let inserted = sqlx::query(include_str!("adopt.sql"))
        .bind(CustomerId::new(now).0)
        .bind(checkout.user.as_str())
        .bind(new.currency)
        .bind(checkout.stripe_customer.as_deref())
        .bind(now)
        .bind(checkout.id.0)
        .bind(line.id.0)
        .bind(&line.plan)
        .bind(line.kind.as_str())
        .bind(line.quantity)
        .bind(line.single)
        .bind(line.upgrade_group.as_deref())
        .bind(line.status.as_str())
        .bind(line.reason.as_str())
        .bind(&line.stripe_price)
        .bind(line.stripe_subscription.as_deref())
        .bind(line.external_id.as_deref())
        .bind(line.created_at)
        .bind(by.cause.as_str())
        .bind(by.reference.as_deref())
        .bind(EntryId::new(now).0)
        .bind(feed::state(line, now))
        .bind(by.is_import.then_some(feed::IMPORT))
        .execute(db)
        .await;
    match inserted.map_err(StorageError::from) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.constraint() {
            Some("subscriptions_stripe_subscription") => AdoptError::Known,
            Some("subscriptions_external") => AdoptError::IdTaken,
            Some("subscriptions_single" | "subscriptions_group") => AdoptError::Held,
            _ => AdoptError::Storage(error),
        }),
    }
}

/// Whose a customer at Stripe is, if anybody's.
pub async fn find_member_of(
    db: impl PgExecutor<'_>,
    stripe_customer: &str,
) -> Result<Option<UserId>, StorageError> {
    let user: Option<String> = sqlx::query_scalar(
        "SELECT user_id FROM customers WHERE stripe_customer_id = $1
          UNION ALL SELECT user_id FROM checkouts WHERE stripe_customer_id = $1 AND mode = 'adopted' LIMIT 1",
    )
    .bind(stripe_customer)
    .fetch_optional(db)
    .await?;
    Ok(user.map(UserId::new))
}
