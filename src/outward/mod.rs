//! Who is told what has changed, and how: the feed, which other services read, and the followers, which are called.

mod discourse;
pub mod feed;
pub mod followers;
mod webhook;
