//! The login over real HTTP, as a page without a secret and an API that takes its tokens see it.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod authorize;
mod bench;
mod control;
mod logout;
mod pages;
mod token;
