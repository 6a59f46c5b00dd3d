//! What happens to money and time: payments, invoices, subscriptions, due work.

pub(crate) mod balance;
pub(crate) mod billing;
pub(crate) mod buyer;
pub(crate) mod catalogue;
pub(crate) mod changes;
pub(crate) mod checkout;
pub(crate) mod clock;
pub(crate) mod completion;
pub(crate) mod customers;
pub(crate) mod debits;
pub(crate) mod discounts;
pub(crate) mod disputes;
pub(crate) mod drafts;
pub(crate) mod dunning;
pub(crate) mod hosted;
pub(crate) mod instruments;
pub(crate) mod offer;
pub(crate) mod payments;
pub(crate) mod periods;
pub(crate) mod previews;
pub(crate) mod proration;
pub(crate) mod refunds;
pub(crate) mod seed;
pub(crate) mod subscriptions;
pub(crate) mod tax;
pub(crate) mod terms;
