//! The tables of who has subscribed, and what followed.

use super::tables::{
    CREATED, Kind, PROVIDER, PROVIDER_KEY, REFERENCE, Relation, Table, UPDATED, column, to,
};

const SUBSCRIPTION_READERS: &[&str] = &["SUBSCRIPTIONS_VIEW", "SUBSCRIPTIONS_EDIT", "ADMIN"];
const STATUS: Kind = Kind::Enum("SubscriptionLifecycleStatus");
const SUBSCRIPTION: Relation = to("subscription", "SubscriptionType", "subscriptionId", "id");

/// `SubscriptionStatusChange`.
pub(super) const SUBSCRIPTION_STATUS_CHANGE: Table = Table {
    name: "SubscriptionStatusChange",
    plural: "SubscriptionStatusChanges",
    one: "subscriptionStatusChange",
    many: "subscriptionStatusChanges",
    key: &["id"],
    columns: &[
        column("id", Kind::Uuid),
        column("subscriptionId", Kind::Uuid),
        column("userId", Kind::Uuid),
        column("newLifecycleStatus", STATUS),
        column("description", Kind::Text).optional().internal(),
        CREATED,
        UPDATED,
    ],
    ones: &[SUBSCRIPTION],
    manys: &[],
    permissions: SUBSCRIPTION_READERS,
    public: false,
};

/// `SubscriptionTransaction`.
pub(super) const SUBSCRIPTION_TRANSACTION: Table = Table {
    name: "SubscriptionTransaction",
    plural: "SubscriptionTransactions",
    one: "subscriptionTransaction",
    many: "subscriptionTransactions",
    key: &["id"],
    columns: &[
        column("id", Kind::Uuid),
        column("subscriptionId", Kind::Uuid),
        column("userId", Kind::Uuid),
        column("transactionType", Kind::Enum("TransactionType")),
        column("totalPrice", Kind::Decimal).optional(),
        column("currency", Kind::Text).optional(),
        column("method", Kind::Text).optional().internal(),
        column("description", Kind::Text).optional(),
        PROVIDER_KEY,
        REFERENCE,
        column("transactionDate", Kind::Moment).optional(),
        column("periodEndDate", Kind::Moment).optional(),
        column("providerDetails", Kind::Json).optional().internal(),
        CREATED,
        UPDATED,
    ],
    ones: &[SUBSCRIPTION, PROVIDER],
    manys: &[],
    permissions: SUBSCRIPTION_READERS,
    public: true,
};

/// `SubscriptionType`.
pub(super) const SUBSCRIPTION_TYPE: Table = Table {
    name: "SubscriptionType",
    plural: "SubscriptionTypes",
    one: "subscription",
    many: "subscriptions",
    key: &["id"],
    columns: &[
        column("id", Kind::Uuid),
        column("userId", Kind::Uuid),
        column("subscriptionPlanId", Kind::Uuid),
        column("paymentPlanId", Kind::Uuid),
        PROVIDER_KEY,
        REFERENCE,
        column("lifecycleStatus", STATUS),
        column("activationDate", Kind::Moment).optional(),
        column("periodEndDate", Kind::Moment).optional(),
        column("country", Kind::Enum("Iso31661Alpha2")).optional(),
        CREATED,
        UPDATED,
    ],
    ones: &[
        to(
            "subscriptionPlan",
            "SubscriptionPlan",
            "subscriptionPlanId",
            "id",
        ),
        to("paymentPlan", "PaymentPlan", "paymentPlanId", "id"),
        PROVIDER,
    ],
    manys: &[
        to(
            "subscriptionStatusChanges",
            "SubscriptionStatusChange",
            "id",
            "subscriptionId",
        ),
        to(
            "subscriptionTransactions",
            "SubscriptionTransaction",
            "id",
            "subscriptionId",
        ),
    ],
    permissions: SUBSCRIPTION_READERS,
    public: true,
};
