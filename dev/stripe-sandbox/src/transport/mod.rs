//! From bytes to a call under `/v1` and back.

mod answer;
pub(crate) mod auth;
mod faults;
pub(crate) mod form;
mod gateway;
mod idempotency;
pub(crate) mod server;
