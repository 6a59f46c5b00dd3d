//! The tables of what is sold and how it is paid.

use super::tables::{
    CREATED, CREATED_BY, Kind, PROVIDER, PROVIDER_KEY, SETTINGS_READERS, Table, UPDATED,
    UPDATED_BY, column, to,
};

const PLAN_READERS: &[&str] = &[
    "PLANS_VIEW",
    "SUBSCRIPTIONS_VIEW",
    "SUBSCRIPTIONS_EDIT",
    "ADMIN",
];

/// `ClaimSet`.
pub(super) const CLAIM_SET: Table = Table {
    name: "ClaimSet",
    plural: "ClaimSets",
    one: "claimSet",
    many: "claimSets",
    key: &["key"],
    columns: &[
        column("key", Kind::Text),
        column("title", Kind::Text),
        column("description", Kind::Text).optional(),
        column("claims", Kind::Texts),
        CREATED,
        CREATED_BY,
        UPDATED,
        UPDATED_BY,
    ],
    ones: &[],
    manys: &[to(
        "subscriptionPlans",
        "SubscriptionPlanClaimSet",
        "key",
        "claimSetKey",
    )],
    permissions: PLAN_READERS,
    public: false,
};

/// `PaymentPlan`.
pub(super) const PAYMENT_PLAN: Table = Table {
    name: "PaymentPlan",
    plural: "PaymentPlans",
    one: "paymentPlan",
    many: "paymentPlans",
    key: &["id"],
    columns: &[
        column("id", Kind::Uuid),
        column("subscriptionPlanId", Kind::Uuid),
        column("title", Kind::Text),
        column("description", Kind::Text).optional(),
        column("isActive", Kind::Boolean).optional(),
        column("periodUnit", Kind::Enum("PeriodUnit")),
        column("periodQuantity", Kind::Int).optional(),
        CREATED,
        CREATED_BY,
        UPDATED,
        UPDATED_BY,
    ],
    ones: &[to(
        "subscriptionPlan",
        "SubscriptionPlan",
        "subscriptionPlanId",
        "id",
    )],
    manys: &[
        to("prices", "PaymentPlanPrice", "id", "paymentPlanId"),
        to(
            "providerConfigs",
            "PaymentPlanProviderConfig",
            "id",
            "paymentPlanId",
        ),
        to("subscriptions", "SubscriptionType", "id", "paymentPlanId"),
    ],
    permissions: PLAN_READERS,
    public: true,
};

/// `PaymentPlanPrice`.
pub(super) const PAYMENT_PLAN_PRICE: Table = Table {
    name: "PaymentPlanPrice",
    plural: "PaymentPlanPrices",
    one: "paymentPlanPrice",
    many: "paymentPlanPrices",
    key: &["paymentPlanId", "country"],
    columns: &[
        column("paymentPlanId", Kind::Uuid),
        column("country", Kind::Enum("Iso31661Alpha2")),
        column("currency", Kind::Text),
        column("price", Kind::Decimal),
        CREATED,
        CREATED_BY,
        UPDATED,
        UPDATED_BY,
    ],
    ones: &[to("paymentPlan", "PaymentPlan", "paymentPlanId", "id")],
    manys: &[],
    permissions: PLAN_READERS,
    public: false,
};

/// `PaymentPlanProviderConfig`.
pub(super) const PAYMENT_PLAN_PROVIDER_CONFIG: Table = Table {
    name: "PaymentPlanProviderConfig",
    plural: "PaymentPlanProviderConfigs",
    one: "paymentPlanProviderConfig",
    many: "paymentPlanProviderConfigs",
    key: &["paymentPlanId", "paymentProviderKey"],
    columns: &[
        column("paymentPlanId", Kind::Uuid),
        PROVIDER_KEY,
        column("externalId", Kind::Text).optional(),
        CREATED,
        CREATED_BY,
        UPDATED,
        UPDATED_BY,
    ],
    ones: &[
        to("paymentPlan", "PaymentPlan", "paymentPlanId", "id"),
        PROVIDER,
    ],
    manys: &[],
    permissions: PLAN_READERS,
    public: false,
};

/// `PaymentProvider`.
pub(super) const PAYMENT_PROVIDER: Table = Table {
    name: "PaymentProvider",
    plural: "PaymentProviders",
    one: "paymentProvider",
    many: "paymentProviders",
    key: &["key"],
    columns: &[
        column("key", Kind::Text),
        column("title", Kind::Text),
        CREATED,
        UPDATED,
    ],
    ones: &[],
    manys: &[
        to(
            "paymentPlanProviderConfigs",
            "PaymentPlanProviderConfig",
            "key",
            "paymentProviderKey",
        ),
        to(
            "subscriptionPlanProviderConfigs",
            "SubscriptionPlanProviderConfig",
            "key",
            "paymentProviderKey",
        ),
        to(
            "subscriptionTransactions",
            "SubscriptionTransaction",
            "key",
            "paymentProviderKey",
        ),
        to(
            "subscriptions",
            "SubscriptionType",
            "key",
            "paymentProviderKey",
        ),
    ],
    permissions: SETTINGS_READERS,
    public: true,
};

/// `SubscriptionPlan`.
pub(super) const SUBSCRIPTION_PLAN: Table = Table {
    name: "SubscriptionPlan",
    plural: "SubscriptionPlans",
    one: "subscriptionPlan",
    many: "subscriptionPlans",
    key: &["id"],
    columns: &[
        column("id", Kind::Uuid),
        column("title", Kind::Text),
        column("description", Kind::Text).optional(),
        column("coverImagePath", Kind::Text).optional(),
        column("isActive", Kind::Boolean),
        CREATED,
        CREATED_BY,
        UPDATED,
        UPDATED_BY,
    ],
    ones: &[],
    manys: &[
        to(
            "claimSets",
            "SubscriptionPlanClaimSet",
            "id",
            "subscriptionPlanId",
        ),
        to("paymentPlans", "PaymentPlan", "id", "subscriptionPlanId"),
        to(
            "providerConfigs",
            "SubscriptionPlanProviderConfig",
            "id",
            "subscriptionPlanId",
        ),
        to(
            "subscriptions",
            "SubscriptionType",
            "id",
            "subscriptionPlanId",
        ),
    ],
    permissions: PLAN_READERS,
    public: true,
};

/// `SubscriptionPlanClaimSet`.
pub(super) const SUBSCRIPTION_PLAN_CLAIM_SET: Table = Table {
    name: "SubscriptionPlanClaimSet",
    plural: "SubscriptionPlanClaimSets",
    one: "subscriptionPlanClaimSet",
    many: "subscriptionPlanClaimSets",
    key: &["subscriptionPlanId", "claimSetKey"],
    columns: &[
        column("subscriptionPlanId", Kind::Uuid),
        column("claimSetKey", Kind::Text),
        CREATED,
        CREATED_BY,
        UPDATED,
        UPDATED_BY,
    ],
    ones: &[
        to("claimSet", "ClaimSet", "claimSetKey", "key"),
        to(
            "subscriptionPlan",
            "SubscriptionPlan",
            "subscriptionPlanId",
            "id",
        ),
    ],
    manys: &[],
    permissions: PLAN_READERS,
    public: false,
};

/// `SubscriptionPlanProviderConfig`.
pub(super) const SUBSCRIPTION_PLAN_PROVIDER_CONFIG: Table = Table {
    name: "SubscriptionPlanProviderConfig",
    plural: "SubscriptionPlanProviderConfigs",
    one: "subscriptionPlanProviderConfig",
    many: "subscriptionPlanProviderConfigs",
    key: &["subscriptionPlanId", "paymentProviderKey"],
    columns: &[
        column("subscriptionPlanId", Kind::Uuid),
        PROVIDER_KEY,
        column("externalId", Kind::Text).optional(),
        CREATED,
        CREATED_BY,
        UPDATED,
        UPDATED_BY,
    ],
    ones: &[
        to(
            "subscriptionPlan",
            "SubscriptionPlan",
            "subscriptionPlanId",
            "id",
        ),
        PROVIDER,
    ],
    manys: &[],
    permissions: PLAN_READERS,
    public: false,
};
