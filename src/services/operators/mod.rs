//! What operators do: so far, look at a whole deployment.

pub mod doctor;
