//! The sandbox over real HTTP, as those who use it see it.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod bench;
mod changes;
mod checkout;
mod conformance;
mod control;
mod described;
mod discounts;
mod faults;
mod house;
mod invoice_page;
mod lists;
mod money;
mod options;
mod pages;
mod plans;
mod product;
mod receipts;
mod renewals;
mod rules;
mod search;
mod start;
mod tax;
mod webhooks;
