//! The stand-in for Mosaic over real HTTP, as those who use it see it.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod bench;
mod connector;
mod faults;
mod form;
mod members;
mod queries;
mod rules;
mod tokens;
