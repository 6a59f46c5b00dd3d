//! Dues connects an organisation's own members to Stripe: memberships, top-ups, shares, donations.
//!
//! # The rooms
//!
//! | Room | What is in it | It knows |
//! | --- | --- | --- |
//! | [`domain`] | what a purchase is, and which status its facts give it: plain data, pure functions | nobody |
//! | [`stripe`] | all that is Stripe's: requests, objects, signatures, and their translation into facts | `domain` |
//! | [`storage`] | all SQL | `domain` |
//! | [`catalogue`] | the plans that are on sale, with live prices | `stripe`, `domain` |
//! | [`purchases`] | the one way in for whatever is said about a purchase | the four above |
//! | [`outward`] | who is told what has changed: the feed | `storage`, `domain` |
//! | [`services`] | the use cases, by who calls: members, Stripe's events, operators, upkeep | `purchases` and below |
//! | [`auth`] | who calls | `domain` |
//! | [`http`] | routes, extractors, limits, problem documents | `services`, `auth`; never `stripe` or `storage` |
//! | [`app`] | puts all of it together, runs it and stops it in order | everybody |
//!
//! The architecture test reads the sources and fails on any other arrow. [`clock`] is the only source of the time,
//! [`telemetry`] the only place that knows how logs and metrics leave the process.
//!
//! # A webhook's walk
//!
//! 1. `http::stripe` takes the bytes and the signature and calls [`services::events::Events::ingest`].
//! 2. [`stripe::signature`] checks that Stripe signed them just now; [`stripe::event`] reads a lean envelope, and
//!    [`stripe::observe`] says what the object means: an [`domain::facts::Observation`].
//! 3. `services::events::queue` lets it wait; the writer takes whatever has come as a group.
//! 4. `services::events::group` asks [`storage::baskets::find`] for every basket that the group names, and lets
//!    [`purchases`] merge what each event says, in order: the subject is checked against the rows
//!    ([`domain::facts::Subject::check`]), [`domain::lifecycle::merge`] derives the status, the plan follows the price.
//! 5. [`storage::baskets::write`] writes all of it in one guarded statement. A basket that moved goes round again.
//! 6. After the commit every delivery gets its answer. What left a doubt is recorded as deferred, and upkeep reads
//!    Stripe to be sure.
//!
//! # A purchase's walk
//!
//! 1. `http::members` takes `POST /v1/subscriptions`: an extractor asks [`auth`] who calls, another turns the body into
//!    an order or answers with a problem document, and the handler calls [`services::members::Members::subscribe`].
//! 2. The order is judged against [`catalogue`]; one transaction, in which requests of one member take turns, records
//!    the checkout with its lines.
//! 3. With nothing of ours held open, [`purchases`] has the customer created at Stripe, where there is none yet, and the
//!    session is opened.
//! 4. What Stripe answered is applied like anything that Stripe says: by the same merge, guarded by the same versions.
//! 5. The buyer's return ([`services::members::confirm`]) and Stripe's events end in that merge as well, in any order.

#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod catalogue;
pub mod clock;
pub mod domain;
pub mod http;
pub mod outward;
pub mod purchases;
pub mod services;
pub mod settings;
pub mod storage;
pub mod stripe;
pub mod telemetry;
