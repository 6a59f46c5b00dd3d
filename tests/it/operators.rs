//! What operators see and do, through HTTP.

mod story;
