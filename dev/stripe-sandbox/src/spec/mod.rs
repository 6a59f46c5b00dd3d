//! What Stripe's description says: parameters, objects, versions, and the shapes of older ones.

pub(crate) mod objects;
pub(crate) mod older;
pub(crate) mod table;
pub(crate) mod version;
