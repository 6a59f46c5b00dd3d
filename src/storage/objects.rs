//! Whose something is: from any id, ours or Stripe's, to the member and the line, each by an index.

use sqlx::postgres::PgExecutor;
use uuid::Uuid;

use super::StorageError;

/// What an id leads to in our rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The id that was asked about.
    pub id: String,
    /// What has it: `subscription`, `checkout`, `transaction`, `event`, `action`, `member`, `customer`.
    pub what: String,
    /// Ours of what has it; else the id itself.
    pub own: String,
    /// The member.
    pub user_id: Option<String>,
    /// The line, where it is one line's.
    pub subscription_id: Option<Uuid>,
}

from_row!(Owned {
    id,
    what,
    own,
    user_id,
    subscription_id
});

/// By Stripe's ids. An invoice that nobody has paid stands in our rows by its failed attempts, with their numbers.
pub const BY_STRIPES: &str = "
    SELECT n.id, f.* FROM unnest($1::text[]) AS n (id) CROSS JOIN LATERAL (
        SELECT 'subscription' AS what, s.id::text AS own, s.user_id, s.id AS subscription_id
          FROM subscriptions s WHERE s.stripe_subscription_id = n.id
        UNION ALL
        SELECT 'checkout', c.id::text, c.user_id,
               (SELECT s.id FROM subscriptions s WHERE s.checkout_id = c.id ORDER BY s.position LIMIT 1)
          FROM checkouts c WHERE c.stripe_session_id = n.id
        UNION ALL
        SELECT 'customer', k.stripe_customer_id, k.user_id, NULL FROM customers k WHERE k.stripe_customer_id = n.id
        UNION ALL
        SELECT 'customer', c.stripe_customer_id, c.user_id, NULL
          FROM checkouts c WHERE c.stripe_customer_id = n.id AND c.mode = 'adopted'
        UNION ALL
        SELECT 'subscription', s.id::text, s.user_id, s.id
          FROM subscriptions s WHERE s.stripe_payment_intent_id = n.id
        UNION ALL
        SELECT 'transaction', t.id::text, s.user_id, t.subscription_id
          FROM transactions t
         CROSS JOIN LATERAL (SELECT user_id FROM subscriptions WHERE id = t.subscription_id OFFSET 0) AS s
         WHERE t.stripe_payment_intent_id = n.id
        UNION ALL
        SELECT 'transaction', t.id::text, s.user_id, t.subscription_id
          FROM transactions t
         CROSS JOIN LATERAL (SELECT user_id FROM subscriptions WHERE id = t.subscription_id OFFSET 0) AS s
         WHERE t.stripe_reference = ANY (ARRAY [n.id, n.id || '#1', n.id || '#2', n.id || '#3', n.id || '#4',
                                                n.id || '#5', n.id || '#6', n.id || '#7', n.id || '#8'])
        UNION ALL
        SELECT 'event', e.id, NULL, NULL FROM webhook_events e WHERE e.id = n.id
    ) AS f";

/// By our own ids, by a member's id, and by the id that another system gave.
pub const BY_OURS: &str = "
    SELECT $2::text AS id, f.* FROM (
        SELECT 'subscription' AS what, s.id::text AS own, s.user_id, s.id AS subscription_id
          FROM subscriptions s WHERE s.id = $1::uuid
        UNION ALL
        SELECT 'checkout', c.id::text, c.user_id,
               (SELECT s.id FROM subscriptions s WHERE s.checkout_id = c.id ORDER BY s.position LIMIT 1)
          FROM checkouts c WHERE c.id = $1
        UNION ALL
        SELECT 'transaction', t.id::text, s.user_id, t.subscription_id
          FROM transactions t
         CROSS JOIN LATERAL (SELECT user_id FROM subscriptions WHERE id = t.subscription_id OFFSET 0) AS s
         WHERE t.id = $1
        UNION ALL
        SELECT 'action', a.subject, a.user_id, NULL FROM actions a WHERE a.id = $1
        UNION ALL
        SELECT 'subscription', s.id::text, s.user_id, s.id FROM subscriptions s WHERE s.external_id = $2
        UNION ALL
        (SELECT 'member', c.user_id, c.user_id, NULL FROM checkouts c WHERE c.user_id = $2 LIMIT 1)
    ) AS f";

/// What Stripe's ids lead to.
pub async fn find_by_stripes(
    db: impl PgExecutor<'_>,
    ids: &[String],
) -> Result<Vec<Owned>, StorageError> {
    Ok(sqlx::query_as(BY_STRIPES).bind(ids).fetch_all(db).await?)
}

/// What a text leads to that is an id of ours (then also given as one), a member's, or another system's.
pub async fn find_by_ours(
    db: impl PgExecutor<'_>,
    id: Option<Uuid>,
    text: &str,
) -> Result<Vec<Owned>, StorageError> {
    let found = sqlx::query_as(BY_OURS).bind(id).bind(text);
    Ok(found.fetch_all(db).await?)
}

/// Which of these are members whom our rows know.
pub async fn find_members(
    db: impl PgExecutor<'_>,
    users: &[String],
) -> Result<Vec<String>, StorageError> {
    Ok(sqlx::query_scalar(
        "SELECT n.id FROM unnest($1::text[]) AS n (id)
          WHERE EXISTS (SELECT FROM checkouts c WHERE c.user_id = n.id)",
    )
    .bind(users)
    .fetch_all(db)
    .await?)
}
