//! What those see and do who look after members.

mod acts;
mod cut_off;
mod login;
