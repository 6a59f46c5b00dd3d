//! Dues connects an organisation's own members to Stripe: memberships, top-ups, shares, donations.
//!
//! # A request's way through the rooms
//!
//! A member's client app calls `POST /v1/subscriptions`.
//!
//! 1. [`app`] has built everything from [`settings`] and listens; it also runs the worker and stops both in order.
//! 2. [`http`] takes the request: the edge gives it an id, a span, a place in the queue and a deadline; an extractor
//!    asks [`auth`] who calls and turns the body into a typed request, or answers with a problem document.
//! 3. The handler calls one use case of [`services`]. It owns the database transaction and the order of things:
//!    our rows first, then Stripe, then what Stripe said.
//! 4. [`storage`] holds all SQL; [`stripe`] all that is known of Stripe's API, its objects and its signatures.
//! 5. [`domain`] decides. Its lifecycle is one pure function of a subscription's facts and the time.
//!
//! A webhook of Stripe and a browser that returns from Stripe take the same way and end in the same merge of facts.
//!
//! # Which room may know which
//!
//! `auth` → `domain`; `storage` → `domain`; `services` → `domain`, `stripe`, `storage`; `http` → `services`, `auth`,
//! `domain`; `app` puts them together. The architecture test reads the sources and fails on anything else. [`clock`]
//! is the only source of the time, [`telemetry`] the only place that knows how logs and metrics leave the process.

#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod catalogue;
pub mod clock;
pub mod domain;
pub mod http;
pub mod purchases;
pub mod services;
pub mod settings;
pub mod storage;
pub mod stripe;
pub mod telemetry;
