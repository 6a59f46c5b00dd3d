//! Everything that is Stripe's: the transport, the requests, its objects, its signatures, and their translation into
//! our facts. No other room knows a Stripe crate or a Stripe object.

mod account;
pub mod client;
pub mod declines;
pub mod event;
pub mod money;
pub mod objects;
pub mod observe;
mod pace;
mod reading;
pub mod requests;
pub mod signature;

pub use account::Account;
pub use client::{Answer, Operation, Stripe, StripeError};
