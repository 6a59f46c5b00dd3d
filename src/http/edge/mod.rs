//! What holds for every route: who may call and typed input, limits, problem documents and their codes, amounts for
//! people, and what machines ask for.

pub mod codes;
pub(super) mod errors;
pub mod extract;
pub(super) mod health;
pub(super) mod limits;
pub(super) mod middleware;
pub(super) mod money;
pub(super) mod openapi;
pub(super) mod page;
pub mod problem;
pub mod state;
